"""Requests for approval, measured from the appliance's post to the decision's arrival, alone and beside an import."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from relay.cli.bench_sides import Sides

RATE = 50.0
"""Requests a second."""
LATENCY = 0.1
"""Seconds to ServiceNow."""
PEOPLE = 10
WARM = 50
"""Requests before anything is measured: what only the first ones of a start pay is not what is asked for."""
EVENTS = 200
"""Of each session that is imported meanwhile."""
SESSIONS_A_SECOND = 12
"""More than can be imported: the import must not end before the requests do."""
PORTION = 100
"""Sessions that the stand-in makes at once."""
DECIDED = 30.0
"""Seconds after the last request in which every one must have its decision."""
PATIENCE = 300.0
"""Seconds that one measurement may take."""
_CONFIGURATION = """\
servicenow:
  poll: {{interval: 5s}}
sessions: {{sweep: 1s, events: all}}
appliances:
  {name}: {{limits: {{requests_per_second: 10000, requests_per_hour: 10000000}}}}
"""


@dataclass(frozen=True, slots=True)
class Approvals:
    """Requests for approval at `RATE`. Times in seconds, from before the post's connection to the decision's arrival.

    `imported` sessions came home meanwhile; `right` counts requests with the one decision that they must have, the rest
    was decided wrongly or not taken.
    """

    beside: str
    latency: float
    requests: int
    right: int
    p50: float
    p99: float
    longest: float
    imported: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and what must become of it."""

    request: Mapping[str, Any]
    response: str


async def measure_approvals(requests: int) -> list[Approvals]:
    """Ask so often on an idle relay, and as often while it imports sessions."""
    from relay.cli.bench_sides import Sides  # noqa: PLC0415  # `--help` stays light
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # as above

    with tempfile.TemporaryDirectory(prefix="bseries-relay-bench-") as folder:
        async with Sides(Path(folder), 1) as sides:
            await sides.unlimited()
            (name,) = sides.facts["appliances"]
            sides.configure(_CONFIGURATION.format(name=name))
            await sides.latency(LATENCY)
            asked = await _tickets(sides)
            async with DaemonProcess(sides.config):
                await _listening(sides)
                await _decisions(sides, asked, WARM)
                alone = await _measured(sides, asked, requests, "nothing")
                await _made(sides, name, max(PORTION, int(requests / RATE * SESSIONS_A_SECOND)))
                await _importing(sides)
                beside = await _measured(sides, asked, requests, "an import of sessions")
                if await _home(sides) >= len(await sides.do("sessions", target=name)):
                    raise click.ClickException("the import ended before the requests did")
    return [alone, beside]


async def _tickets(sides: Sides) -> list[_Asked]:
    """Changes of some people for their computers, and requests: four that are allowed to each one that is not."""
    asked = []
    for number in range(PEOPLE):
        person, computer = f"person{number}", f"web{number:02}"
        (user,) = await sides.do("insert", table="sys_user", rows=[{"user_name": person}])
        (item,) = await sides.do("insert", table="cmdb_ci", rows=[{"name": computer}])
        good = {"assigned_to": user, "cmdb_ci": item, "approval": "approved", "state": "-1"}
        bad = {**good, **({"state": "3"} if number % 2 else {"approval": "requested"})}
        changes = await sides.do("insert", table="change_request", rows=[good, bad])
        tickets = [(await sides.do("find", table="task", query=f"sys_id={one}"))[0]["number"] for one in changes]
        about = {"jump_item": {"computer_name": computer}, "user": {"username": person}}
        allowed = _Asked({"ticket_id": tickets[0], **about}, "allow")
        asked += [*[allowed] * 4, _Asked({"ticket_id": tickets[1], **about}, "deny")]
    return asked


async def _listening(sides: Sides) -> None:
    """Wait until the relay takes a connection."""
    host, port = sides.facts["relay"].removeprefix("https://").split(":")
    until = time.monotonic() + PATIENCE
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            _in_time(until)
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def _measured(sides: Sides, asked: Sequence[_Asked], requests: int, beside: str) -> Approvals:
    before = await _home(sides)
    decided = await _decisions(sides, asked, requests)
    imported = await _home(sides) - before
    times = sorted(ticket["decisions"][0]["after"] for ticket, _ in decided if ticket["decisions"])
    if not times:
        raise click.ClickException("no request was decided")
    right = sum([one["response"] for one in ticket["decisions"]] == [wanted] for ticket, wanted in decided)
    last = len(times) - 1
    p50, p99 = (round(times[min(last, len(times) * percent // 100)], 3) for percent in (50, 99))
    return Approvals(beside, LATENCY, requests, right, p50, p99, round(times[-1], 3), imported)


async def _decisions(sides: Sides, asked: Sequence[_Asked], requests: int) -> list[tuple[Mapping[str, Any], str]]:
    """Ask; returns each request with its decisions, and what it should be."""
    (name,) = sides.facts["appliances"]
    file = Path(sides.facts["credentials"][f"event_token_{name}"])
    token = await asyncio.to_thread(file.read_text)
    url = f"{sides.facts['relay']}/approvals?outbound_event_token={token}"
    before = (await sides.do("decided", target=name))["posted"]
    wanted = [asked[number % len(asked)] for number in range(requests)]
    await sides.do("rush", target=name, url=url, requests=[one.request for one in wanted], rate=RATE)
    await asyncio.sleep(requests / RATE + LATENCY)
    until, every = time.monotonic() + DECIDED, before + requests
    while (found := await sides.do("decided", target=name))["decided"] + found["refused"] < every:
        if time.monotonic() > until:
            raise click.ClickException(f"not every request was decided: {found}")
        await asyncio.sleep(0.5)
    tickets = (await sides.do("tickets", target=name))[before:]
    return [(ticket, one.response) for ticket, one in zip(tickets, wanted, strict=True)]


async def _made(sides: Sides, name: str, number: int) -> None:
    """Sessions that ended untold, so that the sweep finds them."""
    for place in range(0, number, PORTION):
        count = min(PORTION, number - place)
        await sides.do("begin", target=name, count=count, script={"events": EVENTS}, ended=True)


async def _importing(sides: Sides) -> None:
    """Wait until the first sessions are home: the import is at work."""
    until = time.monotonic() + PATIENCE
    while not await _home(sides):
        _in_time(until)
        await asyncio.sleep(0.1)


async def _home(sides: Sides) -> int:
    """Sessions that ServiceNow has."""
    return len(await sides.do("find", table="x_bsr_relay_session", limit=100_000))


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise click.ClickException("the relay did not do its work in time")
