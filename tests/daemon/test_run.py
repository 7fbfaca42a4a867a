"""The process around the supervisor: what ends it, and how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.living import Living, living

from relay.config.load import load
from relay.core.errors import InternalError, StorageError
from relay.daemon import supervisor
from relay.daemon.plan import make_plan
from relay.daemon.report import status_line
from relay.sandbox.box import Sandbox


async def configured(tmp_path: Path) -> Path:
    """A configuration of a sandbox that has gone."""
    async with Sandbox.start(tmp_path / "box") as box:
        return box.config_file


def failing(error: BaseException) -> Callable[..., object]:
    """Stands for the supervised life."""

    async def fails(*_: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize("deep", [StorageError(5005), BaseExceptionGroup("loops", [StorageError(5005)])])
async def test_a_lost_write_is_the_error_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: BaseException
) -> None:
    """However deep in the loops a write was lost, the process ends with BSR-5005."""
    main = await configured(tmp_path)
    monkeypatch.setattr(supervisor, "_supervise", failing(deep))
    monkeypatch.setattr(supervisor.asyncio, "run", _driven)
    with pytest.raises(StorageError, match="BSR-5005"):
        supervisor.run(main, {})


@pytest.mark.parametrize("fault", [ValueError("quoted"), BaseExceptionGroup("loops", [ValueError("quoted")])])
async def test_a_fault_of_ours_ends_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: BaseException
) -> None:
    """A fault that nobody expected is told with its place in the log, which quotes no value, and ends with BSR-9001."""
    main = await configured(tmp_path)
    monkeypatch.setattr(supervisor, "_supervise", failing(fault))
    monkeypatch.setattr(supervisor.asyncio, "run", _driven)
    with pytest.raises(InternalError, match="BSR-9001"):
        supervisor.run(main, {})
    (line,) = (json.loads(line) for line in capfd.readouterr().err.splitlines() if "daemon.failed" in line)
    assert line["code"] == "BSR-9001"
    assert "test_run.py:" in line["traceback"]
    assert "quoted" not in str(line)


def _driven(life: object) -> None:
    """Drive a life that awaits nothing, since a loop runs already."""
    life.send(None)  # type: ignore[attr-defined]


async def test_warnings_of_the_start_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the configuration warns of is in the log of the start."""
    main = await configured(tmp_path)
    monkeypatch.setattr(supervisor, "_supervise", failing(StorageError(5006)))
    monkeypatch.setattr(supervisor.asyncio, "run", _driven)
    with pytest.raises(StorageError, match="BSR-5006"):
        supervisor.run(main, {"HTTPS_PROXY": "http://proxy.example.com"})
    assert "BSR-1018" in capfd.readouterr().err


async def test_a_client_alone_has_no_user(tmp_path: Path) -> None:
    """Where the way to sign in names no user, the plan knows none: it is learned from the first claim."""
    async with living(tmp_path, start=False) as made:
        assert made.supervisor.app.plan.user == "svc.relay"
        await made.supervisor.app.plan.aclose()
        secret = made.box.directory / "credentials" / "servicenow_client"
        text = made.box.config_file.read_text()
        start, end = text.index("  auth:"), text.index("  tls:")
        auth = f"  auth: {{oauth_client: {{client_id: relay-oauth-client, client_secret: {{file: {secret}}}}}}}\n"
        made.box.config_file.write_text(text[:start] + auth + text[end:])
        plan = make_plan(load(made.box.config_file, {}).settings, made.process)
        assert plan.user == ""
        await plan.aclose()


async def test_the_status_line_tells_what_is_wrong(tmp_path: Path) -> None:
    """The one line for the service manager has the state and at most three things that are wrong."""
    async with living(tmp_path, start=False) as made:
        _wrong(made, 5)
        line = status_line(made.supervisor.app, made.process)
        assert line.startswith("starting: mid.server.relay01, 1 appliance(s); part 0: BSR-5001: ")
        assert "part 2" in line
        assert "part 3" not in line
        await made.supervisor.app.plan.aclose()


def _wrong(made: Living, number: int) -> None:
    for one in range(number):
        made.process.conditions.fail(f"part {one}", StorageError(5001))


async def test_a_configuration_without_an_agent_row_has_no_pulse(tmp_path: Path) -> None:
    """With `register: false` no row of ours is made, and the stop has nothing to say."""
    async with living(tmp_path, drop_in="servicenow: {register: false, poll: {interval: 100ms}}\n") as made:
        made.put(1, ["typed health"])
        await made.answered(1)
        await made.stop()
        assert list(made.box.servicenow.tables.rows("ecc_agent")) == []
