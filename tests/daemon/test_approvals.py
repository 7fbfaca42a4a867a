"""Requests for approval through the whole daemon: posted on real TLS, decided, answered, audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.lives import eventually
from support.living import QUICK, Living, living

from relay.sandbox.sessionoracle import check_tickets
from relay.sandbox.tickets import RESPONSE_PATH, Ticket

PERSON, COMPUTER = "jane.doe", "web01"


def allowed_change(made: Living, **values: str) -> str:
    """A change that lets PERSON work on COMPUTER; returns its number."""
    insert = made.box.servicenow.insert
    user = insert("sys_user", {"user_name": PERSON})["sys_id"]
    item = insert("cmdb_ci", {"name": COMPUTER})["sys_id"]
    change = {"assigned_to": user, "cmdb_ci": item, "approval": "approved", "state": "-1", **values}
    return str(insert("change_request", change)["number"])


async def ask(made: Living, ticket_id: str, path: str = "/approvals", **facts: Any) -> Ticket:
    """A person jumps to a computer and gives a ticket."""
    (recipient,) = made.box.appliance.outbound.recipients.values()
    way = made.box.way(recipient.way.url.replace("/events", path))
    known = {"jump_item": {"computer_name": COMPUTER}, "user": {"username": PERSON}, **facts}
    return await made.box.appliance.tickets.ask(way, ticket_id, made.box.appliance.url + RESPONSE_PATH, **known)


async def decision(made: Living, ticket: Ticket) -> Any:
    """The decision that the appliance got."""
    await made.until(lambda: ticket.decisions)
    assert check_tickets([made.box.appliance]) == ()
    return ticket.decisions[0]


def audited(made: Living) -> list[dict[str, Any]]:
    """The lines of the audit log about approvals."""
    files = sorted((made.state / "audit").glob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line["event"] == "approval"]


async def test_a_good_ticket_lets_in_and_a_bad_one_does_not(tmp_path: Path) -> None:
    """The right person with an approved change is let in, another one is not; both decisions are in the audit log."""
    async with living(tmp_path, listens=True) as made:
        number = allowed_change(made)
        let_in = await decision(made, await ask(made, number))
        assert let_in.response == "allow"
        assert set(let_in.attributes) == {"snow_task_id", "snow_cmdb_ci_id"}
        refused = await decision(made, await ask(made, number, user={"username": "john.roe"}))
        assert (refused.response, bool(refused.message)) == ("deny", True)
        assert [line["decision"] for line in audited(made)] == ["allow", "deny"]
        await made.until(lambda: made.steps("approval", "delivered") == 2)


async def test_servicenow_away_is_a_denial_in_time(tmp_path: Path) -> None:
    """ServiceNow cannot be reached from the start: the answer is a denial that says so, within seconds."""
    async with living(tmp_path, listens=True, start=False, drop_in=f"{QUICK}approvals: {{deadline: 1s}}\n") as made:
        number = allowed_change(made)
        await made.box.doors["servicenow"].close()
        made.start()
        await made.until(lambda: made.supervisor._listener.ports)
        found = await decision(made, await ask(made, number))
        assert found.response == "deny"
        assert "ServiceNow" in found.message


async def test_a_reload_does_not_keep_anybody_waiting(tmp_path: Path) -> None:
    """While a reload waits for a long call, requests are still decided; after it by the new rules."""
    async with living(tmp_path, listens=True) as made:
        number = allowed_change(made)
        made.box.appliance.latency = 3.0
        made.put(1, ["typed health"])
        await made.until(lambda: made.steps("queue", "sending"))
        overrides = '[{field: state, comparator: greater, value: "0", message: "no"}]'
        made.configure(f"{QUICK}approvals: {{overrides: {overrides}}}\n")
        made.supervisor.reload()
        assert (await decision(made, await ask(made, number))).response == "allow"
        await made.supervisor.applied()
        found = await decision(made, await ask(made, number))
        assert (found.response, found.message) == ("deny", "no")


async def test_decisions_of_servicenows_own(tmp_path: Path) -> None:
    """With `forward` the vendor's application decides, at once or later by a record in the queue; once."""
    async with living(tmp_path, listens=True, drop_in=f"{QUICK}approvals: {{mode: forward}}\n") as made:
        made.box.servicenow.vendor.decides = "allow"
        assert (await decision(made, await ask(made, "CHG1"))).response == "allow"
        made.box.servicenow.vendor.decides = "later"
        ticket = await ask(made, "CHG2")
        await made.until(lambda: made.steps("approval", "handed on"))
        row = {
            "agent": made.box.agent,
            "topic": "BSeriesProbe",
            "name": "approval-response",
            "queue": "output",
            "state": "ready",
            "payload": f'<parameters><parameter name="response_id" value="{ticket.request_id}"/>'
            '<parameter name="response" value="allow"/></parameters>',
        }
        first = made.box.servicenow.insert("ecc_queue", row)["sys_id"]
        assert (await decision(made, ticket)).response == "allow"
        second = made.box.servicenow.insert("ecc_queue", row)["sys_id"]
        await eventually(lambda: {first, second} <= set(made.box.servicenow.answered))
        assert "BSR-" not in made.answer(first)
        assert "BSR-4024" in made.answer(second)


async def test_appliances_that_share_a_token_are_each_answered(tmp_path: Path) -> None:
    """Nothing tells their posts apart but where the answer shall go: there it goes."""
    token = tmp_path / "box" / "credentials" / "event_token_default"
    shared = f"{QUICK}appliances: {{appliance2: {{event_token: {{file: {token}}}}}}}\n"
    async with living(tmp_path, products=("pra", "pra"), listens=True, drop_in=shared) as made:
        number = allowed_change(made)
        (recipient,) = made.box.appliance.outbound.recipients.values()
        way = made.box.way(recipient.way.url.replace("/events", "/approvals"))
        known: Any = {"jump_item": {"computer_name": COMPUTER}, "user": {"username": PERSON}}
        for appliance in made.box.appliances.values():
            ticket = await appliance.tickets.ask(way, number, appliance.url + RESPONSE_PATH, **known)
            await made.until(lambda ticket=ticket: ticket.decisions)
            assert ticket.decisions[0].response == "allow"
        assert [line["appliance"] for line in audited(made)] == ["default", "appliance2"]
