"""Sessions, events, tickets and tables from another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.server import HttpsServer, Reply, Request, Response

from relay.sandbox.box import Sandbox
from relay.sandbox.control import Control
from relay.sandbox.door import Door
from relay.sandbox.remote import ControlError, Remote
from relay.sandbox.schema import SESSION
from relay.sandbox.tickets import RESPONSE_PATH

Do = Callable[..., Any]


@pytest.fixture
async def do(box: Sandbox) -> AsyncIterator[Do]:
    """Does one action through HTTPS, as another process would."""
    control = Control(box)
    door = Door(control, box.authority.server("control"))
    await door.open()
    remote = Remote(f"{door.url}/sandbox/control", control.token, box.ca_file)

    async def act(action: str, **arguments: object) -> Any:
        return await asyncio.to_thread(remote.do, action, **arguments)

    yield act
    remote.close()
    await door.leave()
    assert door.errors == []


@pytest.fixture
async def listener(box: Sandbox) -> AsyncIterator[HttpsServer]:
    async def take(_: Request) -> Reply:
        return Response(200, b"")

    async with HttpsServer(take, box.authority.server("listener")) as server:
        yield server


async def test_sessions_of_jobs_end_as_well(box: Sandbox, do: Do) -> None:
    """A session that was made for a job, in which nobody takes part, ends with the others."""
    bare = box.appliance.sessions.begin()
    (full,) = await do("begin", target="default")
    assert set(await do("end", target="default")) == {bare.lsid, full}
    assert bare.end is not None


async def test_sessions_and_their_events(box: Sandbox, do: Do, listener: HttpsServer) -> None:
    """Sessions begin and end, and the recipient is told of them; those that are `ended` at once tell nobody."""
    await do("recipient", target="default", url=f"{listener.url}/events", events=["access_session_end"])
    first, second = await do("begin", target="default", count=2, script={"events": 3, "film": 7, "shells": [1, 2]})
    silent = await do("begin", target="default", ended=True, start=1_750_000_000)
    other = await do("begin", target="default", seed=9)
    assert len({first, second, *silent, *other}) == 4
    assert await do("end", target="default", lsids=[first, *silent]) == [first]
    assert set(await do("end", target="default")) == {second, *other}
    await box.appliance.until(lambda: not box.appliance.outbound.queued("relay"))
    assert [request.form["lsid"] for request in listener.requests] == [first, second, *other]
    shown = {row["lsid"]: row for row in await do("sessions", target="default")}
    assert (shown[first]["recording"], shown[first]["shells"], shown[silent[0]]["recording"]) == (7, [1, 2], None)
    assert shown[silent[0]]["start"] == 1_750_000_000
    assert [row["state"] for row in await do("outbound", target="default")] == ["delivered"] * 3
    with pytest.raises(ControlError, match="KeyError"):
        await do("end", target="default", lsids=["unknown"])


async def test_an_event_of_any_name(box: Sandbox, do: Do, listener: HttpsServer) -> None:
    """An event of any name with any variables goes to every recipient, from the address that was chosen."""
    assert await do("event", target="default", event="nobody") == 0
    options = {"source": "127.0.0.2", "trust": str(box.ca_file), "name": "two", "retry_interval": 5}
    await do("recipient", target="default", url=f"{listener.url}/events", **options)
    await do("recipient", target="default", url=f"{listener.url}/events", **options)
    assert await do("event", target="default", event="odd", variables={"a": "é"}) == 1
    await box.appliance.until(lambda: not box.appliance.outbound.queued("two"))
    assert listener.requests[0].form["a"] == "é"
    assert box.trusted == [box.ca_file]


async def test_a_rush_of_requests(box: Sandbox, do: Do, listener: HttpsServer) -> None:
    """Many requests are posted at a rate; how many have a decision is told without listing them."""
    asked = [{"ticket_id": f"CHG{number}", "user": {"username": "zoë"}} for number in range(5)]
    url = f"{listener.url}/approvals"
    assert await do("rush", target="default", url=url, requests=asked, rate=1000.0) == 5
    tickets = box.appliance.tickets.by_id
    await box.appliance.until(lambda: [ticket.receipt for ticket in tickets.values()] == [200] * 5)
    assert [ticket.fields["ticket_id"] for ticket in tickets.values()] == [one["ticket_id"] for one in asked]
    assert await do("decided", target="default") == {"posted": 5, "decided": 0, "refused": 0}


async def test_tickets(box: Sandbox, do: Do, listener: HttpsServer) -> None:
    """A ticket is asked about, its decisions are listed, and the appliance can refuse to take one."""
    url = f"{listener.url}/approvals"
    ticket = await do("ticket", target="default", url=url, ticket_id="CHG1", user={"username": "zoë"})
    assert (ticket["receipt"], ticket["fields"]["user.username"]) == (200, "zoë")
    assert ticket["fields"]["response_url"] == box.appliance.url + RESPONSE_PATH
    foreign = await do(
        "ticket", target="default", url=url, ticket_id="x", response_url="https://x/", trust=str(box.ca_file)
    )
    assert foreign["fields"]["response_url"] == "https://x/"
    await do("decide", target="default", accepts=["application/json"], status=500)
    tickets = box.appliance.tickets
    assert (tickets.accepts, tickets.status) == ({"application/json"}, 500)
    await do("decide", target="default")
    assert (tickets.accepts, tickets.status) == ({"application/json"}, 200)
    assert [row["request_id"] for row in await do("tickets", target="default")] == list(tickets.by_id)


async def test_tables(box: Sandbox, do: Do, client: httpx.AsyncClient) -> None:
    """Tables are made and dropped, one that the stand-in knows comes back empty, and roles can be asked for."""
    await do("insert", table=SESSION, rows=[{"lsid": "x"}])
    await do("drop", name=SESSION)
    with pytest.raises(ControlError, match="KeyError"):
        await do("insert", table=SESSION, rows=[{}])
    await do("define", name=SESSION)
    assert await do("find", table=SESSION) == []
    await do("define", name="u_mine", columns=["u_key", "task"], references={"task": "task"})
    incident = box.servicenow.insert("incident", {"number": "INC7"})["sys_id"]
    await do("insert", table="u_mine", rows=[{"u_key": "k", "task": incident}])
    assert [row["u_key"] for row in await do("find", table="u_mine", query="task.number=INC7")] == ["k"]
    assert (await client.get(f"/api/now/table/{SESSION}")).status_code == 200
    await do("define", name=SESSION, roles=["x_bsr_relay.writer"])
    assert (await client.get(f"/api/now/table/{SESSION}")).status_code == 403


async def test_judgement(box: Sandbox, do: Do) -> None:
    """Sessions and tickets are judged, under the terms that are told."""
    await do("begin", target="default", ended=True)
    found = await do("judge")
    assert (found["sessions"], found["imported"], found["violations"], found["tickets"]) == (1, 0, [], [])
    assert (await do("judge", final=True))["violations"]
    assert (await do("judge", terms={"external": False, "events": ["Session End"]}, final=True))["violations"] == []
    await do("set", target="default", values={"lag": 3600})
    assert ((await do("judge"))["running"], (await do("sessions", target="default"))[0]["end"]) == (1, None)
    await do("set", target="servicenow", values={"journal": "hidden", "decides": "deny"})
    assert (box.servicenow.knobs.journal, box.servicenow.vendor.decides) == ("hidden", "deny")
