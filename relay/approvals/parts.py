"""What the stages of an approval share: both sides, the store, the audit log, and what the configuration says."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from relay.approvals.cache import Cache, Moment
from relay.approvals.ports import Forwarder, Lookups, Responder
from relay.core.approval_job import APPROVAL, time_left
from relay.core.approval_request import restored
from relay.core.approval_values import TASK_ATTRIBUTE, Door, Encoding, Request, RuleSet, Verdict
from relay.core.errors import InternalError
from relay.core.jobs import Job, Json
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.ports import Audit, Clock, Store

T = TypeVar("T")

KIND = APPROVAL.kind
PRIORITY = 0
"""Somebody waits for each of them."""
REQUEST = "request"
"""The body that is the request as it came."""
POST = "post"
"""The body that is a post of which nothing could be made."""
MOST_CHECKS = 40
"""Comparisons that are told of one decision."""
KEPT = 2_000
"""Requests that are kept in memory beside the store."""
LARGE = 4 * 1024
"""Characters of a request from which it is not kept; real ones have some hundred. A character may take four bytes."""
LONGEST = 255
"""Characters of what a request says of itself in lists and in the audit log."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the configuration says of one appliance's requests.

    Attributes:
        mode: `evaluate`: decided here; `forward`: by ServiceNow; `off`: all are denied.
        rules: by which they are decided here.
        door: where decisions may be sent.
        deadline: seconds after receipt in which an allow is good.
        encoding: of a decision.
        remember: seconds that what was allowed is not asked for again; 0 is never.

    """

    mode: Literal["evaluate", "forward", "off"]
    rules: RuleSet
    door: Door
    deadline: float = 20.0
    encoding: Encoding = "form"
    remember: float = 0.0


class Requests:
    """What this process remembers of the newest requests beside the store, which is the truth.

    Attributes:
        waiting: ids of jobs that wait for a decision of ServiceNow's own.

    """

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self._known: OrderedDict[str, Request] = OrderedDict()
        self._contradicted: OrderedDict[str, None] = OrderedDict()

    def put(self, job: str, request: Request) -> None:
        """Keep a request, so that it need not be read back; not one that is large."""
        if request.size <= LARGE:
            _keep(self._known, job, request)

    def get(self, job: str) -> Request | None:
        """A request, if it is still here."""
        return self._known.get(job)

    def drop(self, job: str) -> None:
        """A request is not needed any more."""
        self._known.pop(job, None)

    def contradict(self, job: str) -> None:
        """Another request of this id says something else: whoever is about to send an allow hears it at once."""
        _keep(self._contradicted, job, None)

    def contradicted(self, job: str) -> bool:
        """Whether that was so."""
        return job in self._contradicted


def _keep(known: OrderedDict[str, T], job: str, value: T) -> None:
    """Remember something, and forget the oldest of too many."""
    known[job] = value
    while len(known) > KEPT:
        known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a stage may use.

    Attributes:
        sites: by appliance, as `lookups` are; `forwarders` hold those of the mode `forward`.
        workers: how many requests of one appliance are looked up at once.
        life: of this process and no other; a request with another one is never fresh.

    """

    ledger: Ledger
    store: Store
    audit: Audit
    holds: Holds
    conditions: Conditions
    clock: Clock
    jitter: Callable[[], float]
    sites: Mapping[str, Site]
    lookups: Mapping[str, Lookups]
    responder: Responder
    forwarders: Mapping[str, Forwarder] = field(default_factory=dict)
    workers: int = 16
    life: str = field(default_factory=lambda: secrets.token_hex(8))
    requests: Requests = field(default_factory=Requests)
    cache: Cache = field(default_factory=Cache)

    def open(self) -> bool:
        """Whether requests are worked on: an ordinary pause does not stop them."""
        return self.holds.news

    def moment(self) -> Moment:
        """Now, by both clocks."""
        return self.clock.monotonic(), self.clock.wall()

    def waited(self, job: Job) -> float:
        """Seconds since a request came, by the clock that may be set."""
        received: float = job.data["received"]
        return self.clock.wall() - received

    def left(self, job: Job) -> float:
        """Seconds in which an allow of a request may still be sent; 0.0: none may."""
        steady = self.clock.monotonic() - job.data["steady"] if job.data["life"] == self.life else None
        return time_left(self.sites[job.lane].deadline, wall=self.waited(job), steady=steady)


async def request_of_job(parts: Parts, job: Job) -> Request:
    """The request of a job.

    Raises:
        StorageError: it cannot be read.

    """
    known = parts.requests.get(job.id)
    if known is None:
        (body,) = await parts.store.bodies([job.id], REQUEST)
        if body is None:
            raise InternalError(9001, f"the request {job.id} is not in the store")
        known = restored(body)
        parts.requests.put(job.id, known)
    return known


def decided(job: Job, verdict: Verdict, **more: Json) -> dict[str, Json]:
    """The data of a job once it has this decision; of its tries nothing is left."""
    return {
        "turn": job.data.get("turn", 0) + 1,
        "response": "allow" if verdict.allow else "deny",
        "outcome": "allow" if verdict.allow else "deny",
        "reason": verdict.reason,
        "rule": verdict.rule,
        "text": verdict.text,
        "attributes": dict(verdict.attributes) or None,
        "checks": [one.line for one in verdict.compared[:MOST_CHECKS]] or None,
        "tries": None,
        **more,
    }


def verdict_of(job: Job) -> Verdict:
    """The decision that a job has."""
    data = job.data
    attributes = data.get("attributes", {})
    return Verdict(data["response"] == "allow", data["reason"], data["rule"], data["text"], attributes=attributes)


def audit_line(job: Job, decision: str) -> dict[str, Json]:
    """The line of the audit log about a job's decision: `allow`, `deny`, or `refused` when nobody is answered.

    Why `seen`: an appliance may count its requests from the beginning again, and a request of a former number must not
    be taken for this one.
    """
    data = job.data
    checks: Sequence[str] = data.get("checks", ())
    attributes: Mapping[str, str] = data.get("attributes", {})
    return {
        "event": "approval",
        "job": job.id,
        "attempt": data.get("turn", 0),
        "seen": job.created,
        "operation": "approval",
        "appliance": job.lane,
        "decision": decision,
        **{
            name: data[name]
            for name in ("reason", "rule", "request", "ticket", "user", "computer", "record")
            if name in data
        },
        **({"task": attributes[TASK_ATTRIBUTE]} if TASK_ATTRIBUTE in attributes else {}),
        **{f"check_{number}": line for number, line in enumerate(checks, 1)},
    }
