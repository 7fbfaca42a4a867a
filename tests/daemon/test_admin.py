"""What administrators ask and order through the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import world
from support.living import QUICK, Living, connected, living

from relay.core.errors import StorageError
from relay.core.jobs import NewJob
from relay.core.queue import CLOSED, DEAD, UNCERTAIN, VERIFYING
from relay.daemon import control
from relay.daemon.admin import Admin
from relay.daemon.client import DaemonError, ask
from relay.daemon.control import LONGEST_LINE, ControlSocket
from relay.jobs.ledger import Ledger, StaleJob
from relay.pipeline.poll import Poll
from relay.pipeline.recover import Recover

HELD = QUICK + "policy: {allow: [full-command, session-control]}\nappliances: {default: {retry_for: 1h}}\n"


async def refused(made: Living, command: str, **arguments: Any) -> str:
    """The text of a refusal, which has BSR-1022."""
    with pytest.raises(DaemonError) as found:
        await made.ask(command, **arguments)
    assert found.value.number == 1022
    assert found.value.fix
    return found.value.text


async def test_waiting_jobs_are_listed_shown_retried_and_discarded(tmp_path: Path) -> None:
    """A job that waits for its appliance is listed without bodies, tried at once, and discarded with a reason."""
    async with living(tmp_path, drop_in=HELD) as made:
        await made.box.doors["default"].close()
        (sys_id,) = made.put(1, ["terminate"])
        await made.until(lambda: "appliance default" in made.codes())
        (listed,) = (await made.ask("jobs list"))["jobs"]
        assert (listed["id"], listed["state"]) == (sys_id, "CLAIMED")
        (shown,) = (await made.ask("jobs show", id=sys_id))["jobs"]
        assert shown["appliance"] == "default"
        assert "payload" not in json.dumps(shown)
        assert (await made.ask("jobs retry", id=sys_id))["jobs"][0]["state"] == "CLAIMED"
        discarded = False
        while not discarded:  # the runner may have the job in its hands
            with contextlib.suppress(DaemonError):
                discarded = await made.ask("jobs discard", id=sys_id, reason="not wanted any more") == {
                    "discarded": sys_id
                }
        await made.answered(1)
        assert "BSR-4013" in made.answer(sys_id)
        assert "not wanted any more" in made.answer(sys_id)
        assert (await made.ask("jobs list", state="claimed"))["jobs"] == []
        assert len((await made.ask("jobs list", limit=-5))["jobs"]) == 1


async def test_what_may_not_be_done_is_refused(tmp_path: Path) -> None:
    """A finished job is neither repeated nor discarded; unknown jobs, states and texts are refused with a reason."""
    async with living(tmp_path) as made:
        (sys_id,) = made.put(1, ["typed health"])
        await made.answered(1)
        async with asyncio.timeout(20):
            while not (await made.ask("jobs list", state="CLOSED"))["jobs"]:
                pass
        assert "CLOSED" in await refused(made, "jobs retry", id=sys_id)
        assert "CLOSED" in await refused(made, "jobs discard", id=sys_id, reason="x")
        assert "no such job" in await refused(made, "jobs show", id="0" * 32)
        assert "'id' must be text" in await refused(made, "jobs show", id=7)
        assert "'reason' must be text" in await refused(made, "pause", reason=" ")
        assert "SEEN" in await refused(made, "jobs list", state="NOWHERE")
        assert "does not know" in await refused(made, "format disk")


@contextlib.asynccontextmanager
async def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> AsyncIterator[tuple[Living, str]]:
    """A relay whose loops stand still, with one job in a state."""

    async def nothing(recover: Recover) -> bool:
        await recover._stop.wait()
        return False

    monkeypatch.setattr(Recover, "start", nothing)
    async with living(tmp_path) as made:
        running = made.supervisor.app.running
        assert running is not None
        await running.parts.store.add([NewJob("e" * 32, "queue", state, 2, "default")], 1.0)
        yield made, "e" * 32


async def test_dead_jobs_are_given_up_or_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead job's push is repeated on order, and a dead job is closed without another answer."""
    async with still(tmp_path, monkeypatch, DEAD) as (made, job):
        assert await made.ask("jobs discard", id=job, reason="seen to") == {"discarded": job}
        assert (await made.ask("jobs show", id=job))["jobs"][0]["state"] == "CLOSED"
        running = made.supervisor.app.running
        assert running is not None
        await running.parts.store.add([NewJob("d" * 32, "queue", DEAD, 2, "default")], 1.0)
        assert (await made.ask("jobs retry", id="d" * 32))["jobs"][0]["state"] == "ANSWERED"


async def test_a_swept_job_is_still_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its retention a job is shown as what is remembered of it: that it is done, and how it ended."""
    async with still(tmp_path, monkeypatch, CLOSED) as (made, job):
        running = made.supervisor.app.running
        assert running is not None
        assert await running.parts.store.sweep("queue", [CLOSED], 2.0, 0.0, 10) == 1
        (shown,) = (await made.ask("jobs show", id=job))["jobs"]
        assert (shown["id"], shown["kind"], shown["state"]) == (job, "queue", "SWEPT")
        assert set(shown["data"]) == {"outcome", "digest"}
        assert "no such job" in await refused(made, "jobs retry", id=job)


@pytest.mark.parametrize("state", [VERIFYING, UNCERTAIN])
async def test_what_might_happen_twice_is_not_hurried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """An insert or a call of unknown outcome has its own time, which no administrator shortens."""
    async with still(tmp_path, monkeypatch, state) as (made, job):
        assert state in await refused(made, "jobs retry", id=job)


async def test_a_job_that_went_on_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the job changes between look and order nothing is done, and the administrator is told."""

    async def lost(*_: object) -> None:
        raise StaleJob("e" * 32)

    async with still(tmp_path, monkeypatch, DEAD) as (made, job):
        monkeypatch.setattr(Ledger, "step", lost)
        assert "went on meanwhile" in await refused(made, "jobs retry", id=job)


async def test_pause_and_resume_wake_the_work(tmp_path: Path) -> None:
    """A resume lets what waited go on at once, whatever the poll interval."""
    async with living(tmp_path, drop_in="servicenow: {poll: {interval: 1h}}\n") as made:
        await made.ask("pause", reason="maintenance", all=True)
        made.put(1, ["typed health"])
        assert (await made.ask("status"))["holds"]["local"]["all"] is True
        assert (await made.ask("resume"))["lifted"] == ["local"]
        await made.answered(1)


async def test_orders_before_the_store_is_open_are_refused(tmp_path: Path) -> None:
    """Without a store there is nothing to order yet, which is said; the status is there."""
    async with living(tmp_path, start=False) as made:
        admin = Admin(made.supervisor, made.process)
        async with ControlSocket(made.process.folders.socket, admin.serve, made.process.folders.state):
            assert "ask again" in await refused(made, "jobs list")
            assert (await made.ask("status"))["state"] == "starting"
        await made.supervisor.app.plan.aclose()


async def test_a_poll_that_dies_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in a loop is the end of the process, which the service manager starts anew; nothing hangs."""

    async def broken(_: Poll) -> float:
        await connected(made, 1)
        raise RuntimeError("fault")

    monkeypatch.setattr(Poll, "_round", broken)
    async with living(tmp_path, start=False, drop_in="servicenow: {register: false}\n") as made:
        made.start()
        assert made.task is not None
        with pytest.raises(BaseExceptionGroup):
            await made.task
        assert not made.process.folders.socket.exists()


async def test_the_socket_belongs_to_the_group(tmp_path: Path) -> None:
    """The control socket has mode 0660, and is gone after the stop."""
    async with living(tmp_path) as made:
        path = made.process.folders.socket
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        await made.stop()
        assert not path.exists()


async def test_a_fault_in_a_command_is_told(tmp_path: Path) -> None:
    """A fault of ours is BSR-9001 to whoever asked, and the socket goes on."""

    async def serve(*_: object) -> object:
        raise RuntimeError

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        for _ in range(2):
            with pytest.raises(DaemonError) as found:
                await asyncio.to_thread(ask, [path], tmp_path, "status")
            assert found.value.number == 9001


async def test_the_end_waits_for_answers_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being answered when the socket closes gets a moment; what takes longer is cut off."""
    monkeypatch.setattr(control, "LAST_ANSWERS", 0.2)
    under_way = asyncio.Event()

    async def serve(command: str, *_: object) -> object:
        under_way.set()
        await asyncio.sleep(0.05 if command == "short" else 60)
        return "done"

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        short = asyncio.create_task(_exchange(path, b'{"command": "short", "arguments": {}}\n'))
        long = asyncio.create_task(_exchange(path, b'{"command": "long", "arguments": {}}\n'))
        await under_way.wait()
    assert json.loads(await short)["result"] == "done"
    assert await long == b""


async def test_an_author_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the machine does not know by name is told by number."""

    def unknown(_: int) -> None:
        raise KeyError

    async def serve(_: str, __: object, author: str) -> object:
        return author

    monkeypatch.setattr(control.pwd, "getpwuid", unknown)
    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        assert (await asyncio.to_thread(ask, [path], tmp_path, "x")).isdigit()


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"command": 1, "arguments": {}}\n',
        b'{"command": "status", "arguments": []}\n',
        b"\xff\xfe\n",
        b'{"command": "format disk", "arguments": {}}\n',
        b"[" * 50_000 + b"\n",
        b'{"command": "pause", "arguments": {"reason": ""}}\n',
        b'{"command": "jobs list", "arguments": {"limit": "all"}}\n',
    ],
)
async def test_hostile_requests_get_an_answer(tmp_path: Path, sent: bytes) -> None:
    """Whatever a client writes, it gets one line of JSON, and the daemon goes on."""

    async def serve(command: str, _: object, author: str) -> object:
        return [command, author]

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        answer = json.loads(await _exchange(path, sent))
        assert isinstance(answer["ok"], bool)
        assert json.loads(await _exchange(path, b'{"command": "x", "arguments": {}}\n'))["ok"]


async def test_a_client_that_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent client and one with an endless line are hung up on."""
    monkeypatch.setattr("relay.daemon.control.PATIENCE", 0.05)

    async def serve(*_: object) -> object:
        raise AssertionError

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        assert await _exchange(path, b"") == b""
        assert await _exchange(path, b"x" * (2 * LONGEST_LINE)) == b""


async def _exchange(path: Path, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(sent)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_socket_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A control socket that cannot be made ends the start with a storage code, not a traceback."""
    async with world(tmp_path, start=False, RUNTIME_DIRECTORY="/proc/self") as made:
        await made.daemon.start()
        assert await made.daemon.ended() == 74
        assert "BSR-5001" in made.daemon.log.read_text()


async def test_a_name_too_long_for_a_socket_is_a_clear_error(tmp_path: Path) -> None:
    """A path that no socket can have is no traceback either."""
    path = tmp_path / ("x" * 120) / "control.sock"
    with pytest.raises(StorageError):
        await ControlSocket(path, lambda *_: None, tmp_path).__aenter__()  # type: ignore[arg-type,return-value]


async def test_an_order_for_another_relay_is_not_obeyed(tmp_path: Path) -> None:
    """A client that means the relay of another state folder is sent away with BSR-1023."""

    async def serve(*asked: object) -> object:
        return asked[0]

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve, tmp_path):
        sent = {"command": "pause", "arguments": {}, "state": str(tmp_path / "other")}
        answer = json.loads(await _exchange(path, json.dumps(sent).encode() + b"\n"))
        assert (answer["ok"], answer["number"]) == (False, 1023)
        sent["state"] = str(tmp_path)
        assert json.loads(await _exchange(path, json.dumps(sent).encode() + b"\n"))["ok"]
