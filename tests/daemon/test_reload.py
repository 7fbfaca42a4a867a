"""Reloads, stops and what comes between them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.living import QUICK, Living, living

from relay.config.problems import ConfigProblems
from relay.core.errors import ConfigError
from relay.daemon import app, supervisor
from relay.daemon.client import DaemonError
from relay.daemon.plan import Plan


def closed_plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans in the order in which they are closed."""
    closed: list[Plan] = []
    aclose = Plan.aclose

    async def noted(self: Plan) -> None:
        closed.append(self)
        await aclose(self)

    monkeypatch.setattr(Plan, "aclose", noted)
    return closed


async def busy(made: Living) -> None:
    """A call is under way that takes long; its token was there before."""
    made.put(1, ["typed health"], seed=7)
    await made.answered(1)
    made.box.appliance.latency = 20.0
    made.put(1, ["terminate"])
    sample = made.process.figures.metrics.registry.get_sample_value
    labels = {"kind": "queue", "event": "sending"}
    await made.until(lambda: sample("bseries_relay_job_events_total", labels) == 2)


async def test_a_reload_is_over_when_the_new_plan_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command returns when the new plan is at work, each plan is closed once, and our row never says Down."""
    closed = closed_plans(monkeypatch)
    async with living(tmp_path) as made:
        first = made.supervisor.app.plan
        await made.until(lambda: any(made.box.servicenow.tables.rows("ecc_agent")))
        made.configure(QUICK + "policy: {allow: []}\n")
        assert await made.ask("reload") == {"reloaded": True}
        assert made.supervisor.app.plan is not first
        assert closed == [first]
        assert made.manager.count("ready") == 2
        assert [row["status"] for row in made.box.servicenow.tables.rows("ecc_agent")] == ["Up"]
        second = made.supervisor.app.plan
        await made.stop()
        assert closed == [first, second]
        assert [row["status"] for row in made.box.servicenow.tables.rows("ecc_agent")] == ["Down"]


async def test_a_row_that_nobody_goes_on_with_says_down(tmp_path: Path) -> None:
    """A reload that gives the row up lets it say Down."""
    async with living(tmp_path) as made:
        await made.until(lambda: any(made.box.servicenow.tables.rows("ecc_agent")))
        made.configure("servicenow: {register: false}\n", "zz.yaml")
        await made.ask("reload")
        assert [row["status"] for row in made.box.servicenow.tables.rows("ecc_agent")] == ["Down"]


async def test_two_reloads_at_once_end_in_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a call holds the first reload up a second one replaces its plan, which is closed unused."""
    closed = closed_plans(monkeypatch)
    monkeypatch.setattr(app, "FINISH", 0.5)
    async with living(tmp_path) as made:
        await busy(made)
        first = made.supervisor.app.plan
        made.supervisor.reload()
        made.configure(QUICK + "policy: {allow: []}\n")
        await made.ask("reload")
        assert made.supervisor.app.plan.settings.policy.allow == ()
        assert closed[0] is first
        assert len(closed) == 2
        made.box.appliance.latency = 0.0


async def test_a_stop_during_a_reload_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop wins over a reload that waits: nothing starts anew, no plan is left open, the waiting command is told."""
    closed = closed_plans(monkeypatch)
    monkeypatch.setattr(app, "FINISH", 0.3)
    async with living(tmp_path) as made:
        await busy(made)
        asked = asyncio.create_task(made.ask("reload"))
        await made.until(lambda: made.manager.count("reloading"))
        await made.stop()
        with pytest.raises(DaemonError) as refused:
            await asked
        assert refused.value.number == 1020
        assert len(closed) == 2
        assert made.manager.count("ready") == 1
        with pytest.raises(ConfigError, match="stopping"):
            made.supervisor.reload()


async def test_an_overdue_stop_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that outlasts the stop is left to the next start, which answers that its outcome is unknown."""
    monkeypatch.setattr(app, "FINISH", 0.2)
    async with living(tmp_path) as made:
        await busy(made)
        await made.stop()
        assert len(made.box.servicenow.answered) == 1
        assert made.supervisor.app.beats.late() == []


async def test_a_second_signal_aborts_at_once(tmp_path: Path) -> None:
    """SIGTERM lets a call finish, a second one does not wait for it."""
    async with living(tmp_path) as made:
        await busy(made)
        os.kill(os.getpid(), signal.SIGTERM)
        await made.until(lambda: made.manager.count("stopping"))
        os.kill(os.getpid(), signal.SIGINT)
        assert made.task is not None
        async with asyncio.timeout(10):
            await made.task
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_conditions_of_what_was_configured_before_end_with_it(tmp_path: Path) -> None:
    """A reload without an appliance takes away what was wrong with it."""
    async with living(tmp_path, products=("pra", "rs"), drop_in=QUICK) as made:
        await made.box.doors["appliance2"].close()
        maker = made.box.maker()
        job = maker.make("typed health", made.box.appliances["appliance2"])
        made.box.put([job])
        await made.until(lambda: "appliance appliance2" in made.codes())
        made.configure("appliances: {appliance2: {enabled: false}}\n", "zz.yaml")
        await made.ask("reload")
        assert "appliance appliance2" not in made.codes()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("relay: {nam: x}\n", 1003),
        ("storage: {directory: /elsewhere}\n", 1020),
        ("logging: {format: console}\n", 1020),
        ("storage: {key: {file: /nowhere/at-all}}\n", 1009),
    ],
)
async def test_what_cannot_be_applied_is_refused(tmp_path: Path, text: str, number: int) -> None:
    """A reload that cannot be carried out is refused with its code, counted, and everything stays as it is."""
    async with living(tmp_path) as made:
        plan = made.supervisor.app.plan
        made.configure(text, "zz.yaml")
        with pytest.raises(DaemonError) as refused:
            await made.ask("reload")
        assert refused.value.number == number
        os.kill(os.getpid(), signal.SIGHUP)
        await made.until(lambda: made.manager.count("ready") == 3)
        assert made.supervisor.app.plan is plan
        sample = made.process.figures.metrics.registry.get_sample_value
        assert sample("bseries_relay_reloads_total", {"result": "refused"}) == 2


async def test_a_fault_in_a_reload_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own while a plan is made is BSR-9001 to whoever asked, and the manager hears that all is well."""

    def broken(*_: Any) -> Plan:
        raise RuntimeError

    async with living(tmp_path) as made:
        monkeypatch.setattr(supervisor, "make_plan", broken)
        with pytest.raises(DaemonError) as refused:
            await made.ask("reload")
        assert refused.value.number == 9001
        assert made.manager.count("ready") == 2
        made.put(1, ["typed health"])
        await made.answered(1)


async def test_a_warning_of_the_new_configuration_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a reloaded configuration asks for and this version lacks is a warning of the reload too."""
    async with living(tmp_path) as made:
        made.configure("servicenow: {wake: amb}\n", "zz.yaml")
        await made.ask("reload")
    assert "config.warning" in "".join(capfd.readouterr())


async def test_problems_know_their_number(tmp_path: Path) -> None:
    """SIGHUP with a bad file changes nothing and raises nothing; the same by call raises every problem."""
    async with living(tmp_path) as made:
        made.configure("relay: {nam: x, nme: y}\n", "zz.yaml")
        with pytest.raises(ConfigProblems) as found:
            made.supervisor.reload()
        assert len(found.value.problems) == 2
