"""The daemon's figures: what is counted while it works, and what is looked up when somebody asks.

Names and labels are an interface: dashboards and alerts are made of them. They only ever become more.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from prometheus_client import Counter as Growing
from prometheus_client import Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.core.errors import RelayError
from relay.core.jobs import Job
from relay.core.policy_values import ApplianceRequest
from relay.core.queue import QUEUE
from relay.core.record import Reply
from relay.daemon.kinds import TABLES
from relay.host.certificates import Held
from relay.host.metrics import PREFIX, Metrics
from relay.host.network import CONNECTS, Outcome
from relay.jobs.conditions import Condition
from relay.jobs.holds import Kind
from relay.jobs.ports import Clock

State = Literal["starting", "working", "degraded", "paused"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, named without the prefix and the `_total` of a counter."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


# fmt: off
FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in (
    Figure("build_info", "gauge", ("version", "python"), "Always 1: the relay's version and Python's."),
    Figure("start_time_seconds", "gauge", (), "When the process started, seconds since the epoch."),
    Figure("state", "gauge", ("state",), "1 for the state that the relay is in, 0 for the others."),
    Figure("condition", "gauge", ("subject", "code", "severity"), "1 for each thing that is wrong at the moment."),
    Figure("hold", "gauge", ("kind",), "1 for each hold in force, 0 for the others."),
    Figure("jobs", "gauge", ("kind", "state", "lane"), "Jobs in the store; a lane is an appliance, or empty."),
    Figure("job_events", "counter", ("kind", "event"), "Stored steps of jobs, by the event of the state table."),
    Figure("answers", "counter", ("outcome",), "Answers that ServiceNow confirmed, by error code or HTTP status."),
    Figure("answer_seconds", "histogram", (), "Seconds from a record's first sight to its answer's confirmation."),
    Figure("servicenow_requests", "counter", ("lane",), "Requests sent to ServiceNow."),
    Figure("appliance_calls", "counter", ("appliance", "outcome"), "Calls to appliances, by status or error code."),
    Figure("appliance_call_seconds", "histogram", ("appliance",), "Seconds that a call took, also a failed one."),
    Figure("posts", "counter", ("appliance", "answer"), "Posts to the listener by appliance, if any, and HTTP status."),
    Figure("connects", "counter", ("target", "result"), "Connections by the side they were for."),
    Figure("egress_refusals", "counter", ("target",), "Connections and requests that the relay did not let out."),
    Figure(
        "certificate_expiry_seconds",
        "gauge",
        ("target", "certificate"),
        "When a certificate ends, seconds since the epoch: the server's, the proxy's, or the relay's own (client).",
    ),
    Figure("reloads", "counter", ("result",), "Reloads of the configuration: applied or refused."),
)}
# fmt: on
ANSWER_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONFIRMED = frozenset({"inserted", "found", "answered there"})
"""Events that mean: ServiceNow has the answer."""


@dataclass(frozen=True, slots=True)
class Now:
    """What is looked up for one page. `requests`: of the plan at work, since it began."""

    state: State
    conditions: Iterable[Condition] = ()
    holds: Iterable[Kind] = ()
    jobs: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    certificates: Iterable[Held] = ()


class Figures:
    """The figures of the process; they outlive reloads."""

    def __init__(self, clock: Clock, version: str) -> None:
        self.metrics = Metrics()
        self._clock = clock
        self._requests: Counter[str] = Counter()
        self._events = self._counter("job_events")
        self._answers = self._counter("answers")
        self._answer_seconds = self._histogram("answer_seconds", ANSWER_BUCKETS)
        self._calls = self._counter("appliance_calls")
        self._call_seconds = self._histogram("appliance_call_seconds", CALL_BUCKETS)
        self._reloads = self._counter("reloads")
        self._posts = self._counter("posts")
        # What may be counted starts at 0, so that the first of its kind shows as a growth.
        for table in TABLES:
            for event in sorted({table.initial.lower(), *(event for row in table.rows.values() for event in row)}):
                self._events.labels(table.kind, event)
        for result in ("applied", "refused"):
            self._reloads.labels(result)
        self._shown = _Shown(version, clock.wall())
        self.metrics.registry.register(self._shown)

    def _counter(self, name: str) -> Growing:
        figure = FIGURES[name]
        return self.metrics.counter(figure.name, figure.help, figure.labels)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        figure = FIGURES[name]
        return self.metrics.histogram(figure.name, figure.help, figure.labels, buckets)

    def count(self, event: str, job: Job) -> None:
        """An event of a job was stored; the job is as it is after it."""
        self._events.labels(job.kind, event).inc()
        if job.kind == QUEUE.kind and event in CONFIRMED:
            code, status = job.data.get("code"), job.data.get("status")
            self._answers.labels(f"BSR-{code}" if code else f"HTTP {status}" if status else "other").inc()
            self._answer_seconds.observe(max(0.0, job.updated - job.created))

    def called(self, appliance: str, outcome: str, seconds: float) -> None:
        """A call to an appliance ended."""
        self._calls.labels(appliance, outcome).inc()
        self._call_seconds.labels(appliance).observe(seconds)

    def posted(self, appliance: str, status: int) -> None:
        """The listener answered a post of an appliance, "" where nobody knows whose it was."""
        self._posts.labels(appliance, str(status)).inc()

    def reloaded(self, result: Literal["applied", "refused"]) -> None:
        """A reload ended."""
        self._reloads.labels(result).inc()

    def keep(self, requests: Mapping[str, int]) -> None:
        """The plan at work has ended: add its requests to those of the process."""
        self._requests.update(requests)
        self._shown.now = None

    def show(self, now: Now) -> None:
        """What the next page tells beside the counts."""
        self._shown.now = now
        self._shown.requests = self._requests + Counter(now.requests)


class _Shown(Collector):
    """The figures that are looked up."""

    def __init__(self, version: str, started: float) -> None:
        self._version = version
        self._started = started
        self.now: Now | None = None
        self.requests: Counter[str] = Counter()

    def collect(self) -> Iterator[Metric]:
        now = self.now or Now("starting")
        yield _gauge("build_info", {(self._version, platform.python_version()): 1.0})
        yield _gauge("start_time_seconds", {(): self._started})
        yield _gauge("state", {(state,): float(state == now.state) for state in get_args(State)})
        wrong = [(one.subject, one.error.code, one.error.entry.severity) for one in now.conditions]
        yield _gauge("condition", dict.fromkeys(wrong, 1.0))
        holds = set(now.holds)
        yield _gauge("hold", {(kind,): float(kind in holds) for kind in get_args(Kind)})
        ends: dict[tuple[str, ...], float] = {(one.target, one.certificate): one.ends for one in now.certificates}
        yield _gauge("certificate_expiry_seconds", ends)
        yield _gauge("jobs", {labels: float(number) for labels, number in now.jobs.items()})
        yield _grown("servicenow_requests", {(lane,): number for lane, number in self.requests.items()})
        targets = {target for target, _ in CONNECTS}
        results: tuple[Outcome, ...] = ("connected", "failed")
        yield _grown("connects", {(one, result): CONNECTS[one, result] for one in targets for result in results})
        yield _grown("egress_refusals", {(one,): CONNECTS[one, "refused"] for one in targets})


def _grown(name: str, values: Mapping[tuple[str, ...], int]) -> CounterMetricFamily:
    figure = FIGURES[name]
    family = CounterMetricFamily(f"{PREFIX}_{figure.name}", figure.help, labels=figure.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _gauge(name: str, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    figure = FIGURES[name]
    family = GaugeMetricFamily(f"{PREFIX}_{figure.name}", figure.help, labels=figure.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


class Appliances(Protocol):
    """What is measured."""

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now."""
        ...

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send a call once."""
        ...


class Measured:
    """Appliances whose calls are counted and timed."""

    def __init__(self, appliances: Appliances, figures: Figures, clock: Clock) -> None:
        self._appliances = appliances
        self._figures = figures
        self._clock = clock

    async def admit(self, request: ApplianceRequest) -> None:
        """Waiting for a turn is no part of a call."""
        await self._appliances.admit(request)

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send a call once, and take its time."""
        started = self._clock.monotonic()
        outcome = "other"
        try:
            reply = await self._appliances.call(request)
            outcome = f"HTTP {reply.status}"
        except RelayError as error:
            outcome = error.code
            raise
        finally:
            self._figures.called(request.appliance, outcome, self._clock.monotonic() - started)
        return reply
