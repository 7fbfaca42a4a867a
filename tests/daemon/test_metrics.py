"""The figures of the daemon, and the socket that shows them."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest
from support.living import QUICK, Living, living

from relay.core.errors import ApplianceError, StorageError
from relay.core.jobs import Job
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.daemon import exposition
from relay.daemon.metrics import FIGURES, Figures, Measured, Now
from relay.daemon.report import now
from relay.host.clock import Clock
from relay.host.metrics import PREFIX, Metrics

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shown_at(port: int) -> str:
    """A drop-in that shows the figures there."""
    return QUICK + f"metrics: {{listen: '127.0.0.1:{port}'}}\n"


async def page(port: int) -> str:
    """What a scrape gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith("HTTP/1.1 200 ")
    return answer


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def listens(made: Living, port: int) -> None:
    """Wait until the figures can be read there."""
    await made.until(lambda: is_open(port))


async def value(port: int, series: str) -> float:
    """One value of the page."""
    found = re.search(rf"^{re.escape(PREFIX)}_{re.escape(series)} (\S+)$", await page(port), re.MULTILINE)
    assert found, series
    return float(found[1])


async def test_work_shows_in_the_figures(tmp_path: Path) -> None:
    """After some work a scrape tells its events, answers, calls, requests, jobs by state, holds and the state."""
    port = free_port()
    async with living(tmp_path, drop_in=shown_at(port)) as made:
        made.put(3, ["typed health"])
        made.put(1, ["heartbeat"], seed=2)
        await made.answered(4)
        await listens(made, port)
        assert await value(port, 'job_events_total{event="seen",kind="queue"}') == 4
        assert await value(port, 'job_events_total{event="responded",kind="queue"}') == 3
        assert await value(port, 'job_events_total{event="outcome unknown",kind="queue"}') == 0
        assert await value(port, 'appliance_calls_total{appliance="default",outcome="HTTP 200"}') == 3
        assert await value(port, 'appliance_call_seconds_count{appliance="default"}') == 3
        assert await value(port, 'servicenow_requests_total{lane="poll"}') > 0
        await made.until(
            lambda: made.process.figures.metrics.registry.get_sample_value(f"{PREFIX}_answer_seconds_count") == 4
        )
        assert await value(port, 'answers_total{outcome="HTTP 200"}') >= 3
        assert 'jobs{kind="queue",lane="default",state="' in await page(port)
        assert await value(port, 'state{state="working"}') == 1
        await made.ask("pause", reason="maintenance")
        assert await value(port, 'state{state="paused"}') == 1
        assert await value(port, 'hold{kind="local"}') == 1
        assert await value(port, 'hold{kind="guard"}') == 0


async def test_what_is_wrong_shows_in_the_figures(tmp_path: Path) -> None:
    """Each condition is a series with its subject, code and severity; a call that failed counts under its code."""
    port = free_port()
    async with living(tmp_path, drop_in=shown_at(port) + "appliances: {default: {retry_for: 0s}}\n") as made:
        await made.box.doors["default"].close()
        made.put(1, ["typed health"])
        await made.answered(1)
        await listens(made, port)
        wrong = await page(port)
        assert f'{PREFIX}_condition{{code="BSR-3001",severity="error",subject="appliance default"}} 1.0' in wrong


async def test_a_port_in_use_is_a_condition_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the address is taken the relay works, says BSR-1021, and serves the figures once the address is free."""
    monkeypatch.setattr(exposition, "AGAIN", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        async with living(tmp_path, drop_in=shown_at(port)) as made:
            await made.until(lambda: made.codes().get("metrics") == "BSR-1021")
            made.put(1, ["typed health"])
            await made.answered(1)
            taken.close()
            await made.until(lambda: "metrics" not in made.codes())
            assert await value(port, 'state{state="working"}') == 1


async def test_a_reload_moves_the_figures_and_keeps_the_counts(tmp_path: Path) -> None:
    """A changed address is taken into use by a reload, an unchanged one is not interrupted, counts go on."""
    first, second = free_port(), free_port()
    async with living(tmp_path, drop_in=shown_at(first)) as made:
        made.put(2, ["typed health"])
        await made.answered(2)
        await listens(made, first)
        before = await value(first, 'servicenow_requests_total{lane="poll"}')
        await made.ask("reload")
        assert await value(first, 'servicenow_requests_total{lane="poll"}') >= before
        made.configure(shown_at(second))
        await made.ask("reload")
        await listens(made, second)
        assert await value(second, 'servicenow_requests_total{lane="poll"}') >= before
        assert await value(second, 'job_events_total{event="seen",kind="queue"}') == 2
        assert await value(second, 'reloads_total{result="applied"}') == 2
        made.configure(QUICK)
        await made.ask("reload")
        await made.until(lambda: not is_open(second))


async def test_a_taken_address_that_is_given_up_is_no_condition_any_more(tmp_path: Path) -> None:
    """A reload without the section ends the condition of its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with living(tmp_path, drop_in=shown_at(int(taken.getsockname()[1]))) as made:
            await made.until(lambda: "metrics" in made.codes())
            made.configure(QUICK)
            await made.ask("reload")
            await made.until(lambda: "metrics" not in made.codes())


async def test_without_the_store_the_figures_lack_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be asked, or is not open, takes the jobs from the page and nothing else."""
    async with living(tmp_path) as made:
        running = made.supervisor.app.running
        assert running is not None

        async def fails() -> None:
            raise StorageError(5001)

        monkeypatch.setattr(running.parts.store, "counts", fails)
        found = await now(made.supervisor.app, made.process)
        assert (found.jobs, found.state) == ({}, "working")
        await made.stop()
        assert (await now(made.supervisor.app, made.process)).state == "starting"


def job(**data: object) -> Job:
    """A job that took 2 s."""
    return Job("1" * 32, "queue", "INSERTED", 3, 2, "default", 0.0, 1, 100.0, 102.0, data)


@pytest.mark.parametrize(
    ("data", "outcome"), [({"code": 4002}, "BSR-4002"), ({"status": 404}, "HTTP 404"), ({}, "other")]
)
def test_answers_count_by_outcome(data: dict[str, object], outcome: str) -> None:
    """An answer counts under its code, else under the appliance's status, once it is confirmed and not before."""
    figures = Figures(Clock(), "1")
    figures.count("put off", job(**data))
    figures.count("inserted", job(**data))
    sample = figures.metrics.registry.get_sample_value
    assert sample(f"{PREFIX}_answers_total", {"outcome": outcome}) == 1
    assert sample(f"{PREFIX}_answer_seconds_sum") == 2


async def test_calls_count_whatever_becomes_of_them() -> None:
    """A call that raises counts under its code, with a fault of ours under `other`; waiting for a turn does not."""

    class Failing:
        async def admit(self, request: ApplianceRequest) -> None:
            assert request.path

        async def call(self, request: ApplianceRequest) -> Reply:
            raise {"/coded": ApplianceError(3003, maybe_sent=True), "/broken": ValueError()}[request.path]

    figures = Figures(Clock(), "1")
    measured = Measured(Failing(), figures, Clock())
    for path, kind in (("/coded", ApplianceError), ("/broken", ValueError)):
        request = ApplianceRequest("default", "health", "GET", path, safe=True)
        await measured.admit(request)
        with pytest.raises(kind):
            await measured.call(request)
    sample = figures.metrics.registry.get_sample_value
    for outcome in ("BSR-3003", "other"):
        assert sample(f"{PREFIX}_appliance_calls_total", {"appliance": "default", "outcome": outcome}) == 1
    assert sample(f"{PREFIX}_appliance_call_seconds_count", {"appliance": "default"}) == 2


def test_the_documented_figures_are_those_that_are_shown() -> None:
    """Every figure of the registry stands on the page with its kind and labels, and no other does."""
    figures = Figures(Clock(), "1")
    figures.called("default", "HTTP 200", 1.0)
    figures.count("inserted", job())
    figures.show(Now("working", requests={"poll": 1}, jobs={("queue", "SEEN", ""): 1}))
    made = {family.name.removeprefix(f"{PREFIX}_"): family for family in figures.metrics.registry.collect()}
    process = {family.name.removeprefix(f"{PREFIX}_") for family in Metrics().registry.collect()}
    assert made.keys() == FIGURES.keys() | process
    for name, figure in FIGURES.items():
        assert made[name].type == figure.kind
        labels = {label for sample in made[name].samples for label in sample.labels} - {"le"}
        assert labels == set(figure.labels) or not made[name].samples
    text = (ROOT / "docs/metrics.md").read_text()
    documented = dict(re.findall(rf"^\| `{PREFIX}_(\w+?)(?:_total)?` \| (\w+) \|", text, re.MULTILINE))
    assert documented == {name: family.type for name, family in made.items()}
