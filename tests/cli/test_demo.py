"""`bseries-relay demo`: real work through the real daemon."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import demo
from relay.cli.daemon_process import DaemonProcess
from relay.cli.demo_approvals import Approvals, Case
from relay.cli.main import main
from relay.sandbox.box import Sandbox
from relay.sandbox.oracle import Summary
from relay.sandbox.tickets import Decision, Ticket


def test_every_promise_is_kept() -> None:
    """`demo --jobs 40 --json` exits 0 after a kill, with every record answered once and the log verified."""
    done = CliRunner().invoke(main, ["demo", "--jobs", "40", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["schema"] == "bseries-relay/demo/1"
    assert found["good"] is True
    assert (found["jobs"], found["answered_once"], found["kills"], found["exit_code"]) == (40, 40, 1, 0)
    assert found["violations"] == found["surprises"] == []
    assert found["audit_verified"] is True
    assert found["outcomes"]["BSR-3001"] == 2
    assert found["approvals"] == {"asked": 14, "right": 14, "allowed": 2, "violations": []}


def test_a_broken_promise_is_said_and_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the stand-ins tell of a call made twice, the plain summary says so and the command exits 1."""
    check = Sandbox.check

    def broken(self: Sandbox, *, final: bool = False) -> Summary:
        return replace(check(self, final=final), violations=("0123: executed 2 times",))

    monkeypatch.setattr(Sandbox, "check", broken)
    monkeypatch.setenv("NO_COLOR", "1")
    done = CliRunner().invoke(main, ["demo", "--jobs", "20"])
    assert done.exit_code == 1
    assert "WRONG: 0123: executed 2 times" in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("executed more than once")]
    assert line.split()[-1] == "1"
    assert done.stdout.splitlines()[-1] == "NOT every promise was kept"


async def test_a_wrong_decision_is_no_success() -> None:
    """Requests that nobody took are none; one that is decided otherwise than it must be is told with what came."""
    async with Sandbox.start(products=("pra",), relay_port=0) as box:
        approvals = Approvals(box, "default")
        await approvals.ask(0.0)
        assert (approvals.judge().good, approvals.asked) == (False, 0)
        ticket = Ticket("1", {"ticket_id": "CHG1"}, receipt=200, decisions=[Decision("deny", "no", "", {})])
        approvals._asked.append((Case("CHG1"), ticket))
        found = approvals.judge()
        assert (found.good, found.right, found.violations) == (False, 0, ("CHG1: the decision is wrong: deny no",))
        ticket.decisions.clear()
        assert approvals.judge().violations[-1] == "CHG1: the decision is wrong: none"


async def test_a_daemon_that_was_not_started_cannot_be_asked(tmp_path: Path) -> None:
    """What was not started has no process id and no end."""
    process = DaemonProcess(tmp_path / "relay.yaml")
    assert not process.alive
    with pytest.raises(RuntimeError, match="not started"):
        _ = process.pid
    with pytest.raises(RuntimeError, match="not started"):
        await process.stop()


async def test_no_answers_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that ends by itself, or work that is not done in time, is no good demonstration."""
    monkeypatch.setattr(demo, "_DROP_IN", "relay: {nam: wrong}\n")
    found = await demo._demonstrate(20, 10.0)
    assert not found.good
    assert found.exit_code == 78
    assert found.summary.waiting == 20
    assert demo._facts(found)["latency_p50"] == 0.0
