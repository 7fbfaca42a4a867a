"""What administrators ask and order through the control socket."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.daemon import FAST, World, world

from relay.daemon.control import LONGEST_LINE, ControlSocket

HELD = FAST + "policy: {allow: [full-command, session-control]}\nappliances: {default: {retry_for: 1h}}\n"


async def jobs(made: World, *arguments: str) -> list[dict[str, Any]]:
    """What `jobs ... --json` prints."""
    code, out, err = await made.run("jobs", *arguments, "--json")
    assert code == 0, err
    listed = json.loads(out)
    assert listed["schema"] == "bseries-relay/jobs/1"
    return listed["jobs"]


async def test_waiting_jobs_are_listed_shown_retried_and_discarded(tmp_path: Path) -> None:
    """A job that waits for its appliance is listed without bodies, can be tried at once, and discarded with a reason."""
    async with world(tmp_path, products=("pra",), drop_in=HELD) as made:
        await made.box.doors["default"].close()
        (sys_id,) = made.put(1, ["terminate"])
        while not (found := [job for job in await jobs(made, "list") if job["data"].get("tries")]):
            await asyncio.sleep(0)
        assert found[0]["id"] == sys_id
        assert found[0]["state"] == "CLAIMED"
        (shown,) = await jobs(made, "show", sys_id)
        assert shown["appliance"] == "default"
        assert "payload" not in json.dumps(shown)
        (retried,) = await jobs(made, "retry", sys_id)
        assert "tries" not in retried["data"]
        code, _, err = await made.run("jobs", "discard", sys_id, "--reason", "not wanted any more")
        assert code == 0, err
        await made.answered(1)
        (row,) = [row for row in made.box.servicenow.tables.rows("ecc_queue") if row["response_to"]]
        assert "BSR-4013" in row["payload"]
        assert "not wanted any more" in row["payload"]
        code, out, _ = await made.run("jobs", "list", "--state", "CLAIMED")
        assert (code, sys_id in out) == (0, False)


async def test_what_may_not_be_done_is_refused(tmp_path: Path) -> None:
    """A finished job is neither repeated nor discarded, an unknown one is not found; each refusal says why."""
    async with world(tmp_path) as made:
        (sys_id,) = made.put(1, ["typed health"])
        await made.answered(1)
        await made.processed()
        while not await jobs(made, "list", "--state", "CLOSED"):
            await asyncio.sleep(0)
        for arguments in (("retry", sys_id), ("discard", sys_id, "--reason", "x"), ("show", "0" * 32)):
            code, _, err = await made.run("jobs", *arguments)
            assert code == 1
            assert "fix:" in err


async def test_the_socket_belongs_to_the_group(tmp_path: Path) -> None:
    """The control socket has mode 0660, and is gone after the stop."""
    async with world(tmp_path) as made:
        (path,) = [entry for entry in made.box.directory.rglob("control.sock")]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        await made.daemon.stop()
        assert not path.exists()


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

    async def serve(command: str, arguments: object, author: str) -> object:
        return [command, author]

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve):
        answer = json.loads(await _exchange(path, sent))
        assert isinstance(answer["ok"], bool)
        assert json.loads(await _exchange(path, b'{"command": "x", "arguments": {}}\n'))["ok"]


async def test_a_client_that_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent client and one with an endless line are hung up on."""
    monkeypatch.setattr("relay.daemon.control.PATIENCE", 0.05)

    async def serve(command: str, arguments: object, author: str) -> object:
        raise AssertionError

    path = tmp_path / "control.sock"
    async with ControlSocket(path, serve):
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
        async with asyncio.timeout(20):
            while made.daemon.alive:
                await asyncio.sleep(0.05)
        assert made.daemon.alive is False
        assert "BSR-5001" in made.daemon.log.read_text()
        assert os.environ.get("RUNTIME_DIRECTORY") is None
