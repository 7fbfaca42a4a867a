"""Sessions come home through the whole daemon: posted on real TLS, fetched, written, noted."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from support.living import QUICK, Living, living

from relay.core.errors import StorageError
from relay.daemon import app, intake
from relay.sandbox.box import free_port
from relay.sandbox.configured import write_private
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.livesessions import Session
from relay.sandbox.sessionoracle import Terms, check_sessions
from relay.storage.sqlite import SqliteStore

TERMS = Terms(
    events=frozenset(
        ["Session Note Added", "File Upload", "File Download", "System Information Retrieved", "Screen Recording"]
    )
)


def happen(made: Living, count: int = 1, seed: int = 0, *, told: bool = True, name: str = "default") -> list[Session]:
    """Sessions that ended, each for a task of its own; `told`: the appliance posts it."""
    lives = Lives(made.box.appliances[name], seed)
    found = []
    for _ in range(count):
        task = made.box.servicenow.insert("incident", {"short_description": "x"})["sys_id"]
        script = Script(events=20, film=1000, attributes={"snow_task_id": task})
        session = lives.begin(script) if told else lives.ended(script)
        if told:
            lives.end(session)
        found.append(session)
    return found


def answers(made: Living) -> Counter[int | str]:
    """What the posts of all appliances were answered."""
    return Counter(
        one for box in made.box.appliances.values() for message in box.outbound.messages for one in message.answers
    )


async def delivered(made: Living) -> None:
    """Wait until every post was answered 200."""
    messages = [message for box in made.box.appliances.values() for message in box.outbound.messages]
    await made.until(lambda: all(message.state == "delivered" for message in messages))


async def home(made: Living, number: int) -> None:
    """Wait until so many sessions are imported, then let the oracle judge."""
    await made.until(lambda: made.steps("session", "kept") >= number)
    judged = check_sessions(made.box.servicenow, made.box.appliances.values(), TERMS, final=True)
    assert judged.violations == ()
    assert judged.imported == number


async def test_sessions_come_home(tmp_path: Path) -> None:
    """The appliances post that sessions ended; ServiceNow has their rows and events, and one note on each task."""
    async with living(tmp_path, products=("pra", "rs"), listens=True) as made:
        happen(made, 3)
        happen(made, 3, name="appliance2")
        await home(made, 6)
        await delivered(made)
        assert set(answers(made)) == {200}
        notes = Counter(
            row["element_id"]
            for row in made.box.servicenow.tables.rows("sys_journal_field")
            if row["name"] == "incident" and row["element"] == "work_notes"
        )
        assert sorted(notes.values()) == [1] * 6


async def test_the_listener_does_not_need_servicenow(tmp_path: Path) -> None:
    """ServiceNow is away from the start: posts are taken, and the sessions come home when it is back."""
    async with living(tmp_path, listens=True, start=False) as made:
        await made.box.doors["servicenow"].close()
        made.start()
        await made.working()
        happen(made, 2)
        await delivered(made)
        await made.until(lambda: made.steps("session", "fetched") >= 2)
        await made.box.doors["servicenow"].open(int(made.box.servicenow.url.rpartition(":")[2]))
        await home(made, 2)


async def test_without_a_store_the_appliance_shall_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store cannot be opened a post is answered 503; once it can, the same post is taken."""
    monkeypatch.setattr(intake, "PATIENCE", 0.05)
    monkeypatch.setattr(app, "STORE_AGAIN", 0.05)
    right = SqliteStore.open
    broken = asyncio.Event()

    async def fails(*given: object) -> SqliteStore:
        if not broken.is_set():
            raise StorageError(5001, "broken")
        return await right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteStore, "open", fails)
    async with living(tmp_path, listens=True, start=False) as made:
        made.start()
        await made.until(lambda: made.codes().get("store") == "BSR-5001")
        happen(made)
        await made.until(lambda: answers(made)[503] >= 2)
        broken.set()
        await home(made, 1)
        await delivered(made)


async def test_without_a_listener_nothing_listens_and_the_sweep_is_asked_for(tmp_path: Path) -> None:
    """Without a listener sessions are looked for only where the section `sessions` is written."""
    async with living(tmp_path) as made:
        happen(made, told=False)
        made.put(1, ["typed health"])
        await made.answered(1)
        assert made.supervisor._listener.ports == ()
        assert made.steps("session", "noticed") == 0
        made.configure(f"{QUICK}sessions: {{sweep: 1s}}\n")
        await made.ask("reload")
        await home(made, 1)


async def test_sessions_that_are_off_are_let_be(tmp_path: Path) -> None:
    """With `mode: off` posts are answered 200, and nothing is imported."""
    async with living(tmp_path, listens=True, drop_in=f"{QUICK}sessions: {{mode: off}}\n") as made:
        happen(made, 2)
        await delivered(made)
        assert made.steps("session", "noticed") == 0


async def test_a_reload_moves_the_listener(tmp_path: Path) -> None:
    """After a reload with another address the old one is closed and the new one served; without a listener none is."""
    async with living(tmp_path, listens=True) as made:
        await made.until(lambda: made.supervisor._listener.ports)
        port = free_port()
        made.configure(f"{QUICK}listener: {{listen: '127.0.0.1:{port}'}}\n")
        await made.ask("reload")
        await made.until(lambda: made.supervisor._listener.ports == (port,))
        with pytest.raises(OSError):  # noqa: PT011  # refused or reset, as the system likes
            await asyncio.open_connection("127.0.0.1", int(made.box.relay.rpartition(":")[2]))


async def test_an_address_that_is_taken_is_a_condition(tmp_path: Path) -> None:
    """Somebody listens at the address already: the work goes on, health says BSR-6001, and it is tried again."""
    async with living(tmp_path, listens=True, start=False) as made:
        port = int(made.box.relay.rpartition(":")[2])
        squatter = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        made.start()
        await made.until(lambda: made.codes().get("listener") == "BSR-6001")
        made.put(1, ["typed health"])
        await made.answered(1)
        squatter.close()
        await squatter.wait_closed()


async def test_token_and_certificate_are_taken_over(tmp_path: Path) -> None:
    """The token's file and the listener's certificate change while the relay runs: both are used from then on."""
    async with living(tmp_path, listens=True) as made:
        happen(made)
        await home(made, 1)
        box = made.box
        certificate, key = box.authority.files("listener again")
        (box.directory / "listener.pem").write_bytes(certificate)
        write_private(box.directory / "credentials" / "listener_key", key.decode())
        write_private(box.directory / "credentials" / "event_token_default", "another token")
        before = made.supervisor.app.plan.stations.now
        await made.until(lambda: made.supervisor.app.plan.stations.now is not before)
        await made.until(lambda: not made.codes())
        happen(made, seed=1)
        await made.until(lambda: answers(made)[403])
        (recipient,) = box.appliance.outbound.recipients.values()
        recipient.way = box.way(f"{box.relay}/events?outbound_event_token=another%20token")
        await home(made, 2)
        await delivered(made)
        posts = made.process.figures._posts
        assert posts.labels("", "403")._value.get() == answers(made)[403]
        assert posts.labels("default", "200")._value.get() == answers(made)[200]


async def test_posts_of_approvals_are_refused_while_nobody_takes_them(tmp_path: Path) -> None:
    """With approvals off a request is answered 404, so that whoever set up the ticket system sees it at once."""
    async with living(tmp_path, listens=True, drop_in=f"{QUICK}approvals: {{mode: off}}\n") as made:
        (recipient,) = made.box.appliance.outbound.recipients.values()
        way = made.box.way(recipient.way.url.replace("/events", "/approvals"))
        ticket = await made.box.appliance.tickets.ask(way, "INC1", made.box.appliance.url + "/api/endpoint_approval")
        assert ticket.receipt == 404
