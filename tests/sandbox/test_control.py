"""The control endpoint and the command, from another process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from relay.sandbox.access import Session
from relay.sandbox.box import Sandbox
from relay.sandbox.control import Control
from relay.sandbox.door import Door
from relay.sandbox.remote import ControlError, Remote

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


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command as a process, and its readiness line."""
    command = [sys.executable, "-m", "relay.cli.sandbox", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


async def test_rows_from_outside(box: Sandbox, do: Do) -> None:
    """Rows are inserted, found and changed from another process."""
    [sys_id] = await do("insert", table="ecc_queue", rows=[{"name": "x"}])
    assert [row["sys_id"] for row in await do("find", table="ecc_queue", query="name=x")] == [sys_id]
    assert await do("update", table="ecc_queue", sys_id=sys_id, values={"state": "error"})
    assert not await do("update", table="ecc_queue", sys_id="unknown", values={})
    row = box.servicenow.tables.get("ecc_queue", sys_id)
    assert row is not None
    assert row["state"] == "error"


async def test_rights_from_outside(box: Sandbox, do: Do) -> None:
    """Rows are hidden and shown again, and logins are made invalid, from another process."""
    await do("hide", sys_ids=["a"])
    assert box.servicenow.hidden == {"a"}
    await do("hide", sys_ids=[])
    assert box.servicenow.hidden == set()
    account = next(iter(box.appliance.accounts.by_id.values()))
    account.tokens["t"] = 9e9
    box.servicenow.access.sessions["s"] = Session("s", box.servicenow.access.users["admin"])
    await do("revoke", target="servicenow")
    await do("revoke", target="default")
    assert (account.tokens, box.servicenow.access.sessions) == ({}, {})


async def test_settings_from_outside(box: Sandbox, do: Do) -> None:
    """Every knob of both sides is set by its name; a wrong name is refused."""
    await do("set", target="servicenow", values={"latency": 0.01, "sensors": False, "limit": 7})
    assert (box.servicenow.knobs.latency, box.servicenow.rules.sensors, box.servicenow.rate.limit) == (0.01, False, 7)
    await do("set", target="default", values={"language": "fr", "per_second": 0})
    assert box.appliance.language == "fr"
    assert next(iter(box.appliance.accounts.by_id.values())).per_second == 0
    with pytest.raises(ControlError, match="nothing named colour"):
        await do("set", target="default", values={"colour": "red"})


async def test_faults_from_outside(box: Sandbox, do: Do) -> None:
    """Faults are set, looked at and cleared on each side."""
    fault = {"action": "status", "status": 503, "lane": "poll"}
    assert (await do("fault", target="servicenow", fault=fault))["fired"] == 0
    await do("fault", target="appliance2", fault={"action": "reset"})
    assert [row["status"] for row in await do("faults", target="servicenow")] == [503]
    assert [row["action"] for row in await do("faults", target="appliance2")] == ["reset"]
    await do("clear", target="servicenow")
    assert box.servicenow.faults.all() == ()


async def test_doors_from_outside(box: Sandbox, do: Do) -> None:
    """A side is switched off and on again."""
    await do("door", target="default", open=False)
    assert not box.doors["default"].is_open
    await do("door", target="default", open=True)
    assert box.doors["default"].is_open


async def test_work_from_outside(box: Sandbox, do: Do) -> None:
    """Work is made at once or held back, watched, and judged."""
    ids = await do("work", count=4, kinds=["report"], seed=1)
    assert len(ids) == 4
    await do("work", count=3, kinds=["heartbeat"], seed=2, hold=True)
    assert await do("progress") == {"jobs": 7, "asked": 4, "answered": 0}
    assert await do("release", count=2) == 2
    row = {"agent": box.agent, "queue": "input", "response_to": ids[0], "payload": "<results/>"}
    await do("insert", table="ecc_queue", rows=[row])
    assert await do("progress") == {"jobs": 7, "asked": 6, "answered": 1}
    assert [0 <= seconds < 20 for seconds in await do("latencies")] == [True]
    summary = await do("oracle", final=False)
    assert (summary["jobs"], summary["waiting"]) == (6, 5)


async def test_counters_from_outside(box: Sandbox, do: Do) -> None:
    """The counters of both sides can be read, and no secret is among the facts."""
    box.appliance.begun("terminate_session", {"lsid": "a"})
    counters = await do("counters")
    assert counters["appliances"]["default"]["effects"] == {"terminate_session|a|": 1}
    assert counters["errors"] == []
    facts = json.dumps(await do("facts"))
    assert not any(secret in facts for secret in box.secrets.values())


@pytest.mark.parametrize("action", ["nothing", "set", "fault", "door"])
async def test_bad_actions(do: Do, action: str) -> None:
    """An unknown action, or one without its arguments, is refused with the reason."""
    with pytest.raises(ControlError, match=r"KeyError|TypeError"):
        await do(action)


async def test_the_token_is_needed(box: Sandbox) -> None:
    """Without the token nothing can be done; with it only this one path answers."""
    control = Control(box)
    door = Door(control, box.authority.server("control"))
    await door.open()
    context = ssl.create_default_context(cafile=box.ca_file)
    async with httpx.AsyncClient(verify=context, base_url=door.url, trust_env=False) as client:
        assert (await client.post("/sandbox/control", json={"do": "facts"})).status_code == 401
        headers = {"Authorization": f"Bearer {control.token}"}
        assert (await client.get("/sandbox/control", headers=headers)).status_code == 404
        assert (await client.post("/other", headers=headers)).status_code == 404
        assert (await client.post("/sandbox/control", headers=headers, content=b"[")).status_code == 400
    await door.leave()


async def test_files(box: Sandbox) -> None:
    """Credentials and configuration are private, and the configuration names both sides."""
    for name, secret in box.secrets.items():
        path = box.directory / "credentials" / name
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (secret, 0o600)
    settings = yaml.safe_load(box.config_file.read_text())
    assert settings["servicenow"]["url"] == box.servicenow.url
    assert {name: row["product"] for name, row in settings["appliances"].items()} == {
        "default": "pra",
        "appliance2": "rs",
    }
    assert box.secrets["appliance_secret"] not in box.config_file.read_text()


async def test_a_folder_of_its_own() -> None:
    """Without a folder the sandbox makes one and takes it away again."""
    async with Sandbox.start() as box:
        folder = box.directory
        assert folder.is_dir()
    assert not folder.exists()


def test_the_command(tmp_path: Path) -> None:
    """The command runs until a signal, prints one line of JSON, and keeps its folder."""
    with running("--directory", str(tmp_path / "d"), "--appliances", "3", "--product", "rs") as (_, facts):
        assert facts["schema"] == "bseries-relay/sandbox/1"
        assert set(facts["appliances"]) == {"default", "appliance2", "appliance3"}
        token = Path(facts["control_token_file"]).read_text()
        remote = Remote(facts["control"], token, Path(facts["ca_file"]))
        assert len(remote.do("work", count=5)) == 5
        remote.close()
    assert (tmp_path / "d" / "relay.yaml").exists()


def test_the_command_for_people(tmp_path: Path) -> None:
    """For people it prints what to use and how to start a relay; a taken port is a plain error."""
    with running() as (_, facts):
        port = facts["servicenow"].rpartition(":")[2]
        command = [sys.executable, "-m", "relay.cli.sandbox", "--servicenow-port", port]
        again = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (again.returncode, again.stdout) == (1, "")
        assert "the sandbox cannot start" in again.stderr
        assert "Traceback" not in again.stderr
    command = [sys.executable, "-m", "relay.cli.sandbox", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = "".join(iter(process.stdout.readline, "\n"))
        text += process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert f"bseries-relay run --config {tmp_path}/relay.yaml" in text
    assert "https://127.0.0.1:" in text
