"""The daemon killed at each durable step of a decision: nobody is told two things, and nobody gets in by a crash."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support.daemon import World, world
from support.killer import APPROVAL_STEPS
from support.lives import Life, eventually, jobs, killed_at, status

from relay.audit.segments import FOLDER
from relay.audit.verify import verify_folder
from relay.daemon.client import DaemonAway
from relay.sandbox.poster import NoAnswerError, post
from relay.sandbox.tickets import RESPONSE_PATH, Ticket

KILLED = -9
PERSON, COMPUTER = "jane.doe", "web01"
LATER = {
    "decision withdrawn": ("decided", "allow"),
    "decision found": ("decision sent", "deny"),
    "decision over": ("decision sent", "allow"),
    "decision taken again": ("decision sent", "deny"),
}
"""Steps of the life after a crash: the step before which the first life ends, and what it decided."""
FIRST = [step for step in APPROVAL_STEPS if step not in LATER]


def change(made: World, **values: str) -> str:
    """A change that lets PERSON work on COMPUTER; returns its number."""
    insert = made.box.servicenow.insert
    user = insert("sys_user", {"user_name": PERSON})["sys_id"]
    item = insert("cmdb_ci", {"name": COMPUTER})["sys_id"]
    change = {"assigned_to": user, "cmdb_ci": item, "approval": "approved", "state": "-1", **values}
    return str(insert("change_request", change)["number"])


async def ask(made: World, ticket_id: str) -> Ticket:
    """A person jumps to a computer; the appliance posts its request once."""
    (recipient,) = made.box.appliance.outbound.recipients.values()
    way = made.box.way(recipient.way.url.replace("/events", "/approvals"))
    url = made.box.appliance.url + RESPONSE_PATH
    facts: dict[str, Any] = {"jump_item": {"computer_name": COMPUTER}, "user": {"username": PERSON}}
    return await made.box.appliance.tickets.ask(way, ticket_id, url, **facts)


async def ask_again(made: World, ticket: Ticket) -> None:
    """The same request, until it is taken."""
    (recipient,) = made.box.appliance.outbound.recipients.values()
    way = made.box.way(recipient.way.url.replace("/events", "/approvals"))
    while ticket.receipt != 200:
        try:
            ticket.receipt, _ = await post(way, ticket.fields)
        except NoAnswerError:
            await asyncio.sleep(0.05)


async def dies_at(made: World, step: str, side: str, ticket_id: str | None) -> Ticket | None:
    """A life that ends at a step, of a new request if there is one."""
    life = killed_at(made, step, side)
    await life.start()
    ticket = None
    if ticket_id is not None:
        await eventually(lambda: "listener.listening" in made.events(), 20.0)
        ticket = await ask(made, ticket_id)
    assert await life.ended() == KILLED, life.log.read_text()[-3000:]
    assert f"killed {side} {step}" in life.log.read_text()
    life.log.unlink()
    return ticket


async def come_to_rest(made: World, ticket: Ticket) -> tuple[set[str], list[str]]:
    """A whole life: what the appliance was told, and what the audit log says was decided."""
    await Life(made).start()
    await ask_again(made, ticket)
    await eventually(lambda: over(made), 30.0)
    assert await made.daemon.stop() == 0
    assert set(jobs(made)) in ({"DELIVERED"}, {"UNDELIVERED"})
    assert verify_folder(made.state / FOLDER).sound
    files = sorted((made.state / FOLDER).glob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    told = {one.response for one in ticket.decisions}
    assert len(told) <= 1
    return told, [line["decision"] for line in lines if line["event"] == "approval"]


def over(made: World) -> bool:
    """Whether the running daemon has settled what it held, and has nothing more to decide or send."""
    try:
        found = status(made)
    except DaemonAway:
        return False
    return found["state"] != "starting" and not found["kinds"]["approval"]["open"]


@pytest.mark.parametrize(("state", "side"), [("-1", "before"), ("-1", "after"), ("3", "after")])
@pytest.mark.parametrize("step", FIRST)
async def test_a_kill_at_any_step_tells_one_thing(tmp_path: Path, step: str, state: str, side: str) -> None:
    """What was not decided or surely not sent is denied, what may have been sent is repeated if it denies."""
    async with world(tmp_path, products=("pra",), start=False, listens=True) as made:
        ticket = await dies_at(made, step, side, change(made, state=state))
        assert ticket is not None
        first = {one.response for one in ticket.decisions}
        if (step, side) == ("decision taken", "after"):
            assert first == {"allow" if state == "-1" else "deny"}
            return
        told, decided = await come_to_rest(made, ticket)
        assert told <= {decided[-1]}
        if (step, side) == ("request stored", "before"):
            assert told == {"allow"}  # it came to the second life
        elif told == {"allow"}:
            assert first == {"allow"}
        elif not told:
            assert decided == ["allow"]
            assert step in {"decision leaves", "decision sent"}


@pytest.mark.parametrize("step", LATER)
async def test_a_kill_while_a_crash_is_settled_tells_one_thing(tmp_path: Path, step: str) -> None:
    """Killed before and after each step that settles an earlier crash."""
    cause, decision = LATER[step]
    async with world(tmp_path, products=("pra",), start=False, listens=True) as made:
        side = "after" if cause == "decided" else "before"
        ticket = await dies_at(made, cause, side, change(made, state="-1" if decision == "allow" else "3"))
        assert ticket is not None
        await dies_at(made, step, "before", None)
        await dies_at(made, step, "after", None)
        told, decided = await come_to_rest(made, ticket)
        assert told == (set() if step == "decision over" else {"deny"})
        assert decided[-1] == ("allow" if step == "decision over" else "deny")
