"""Posts the appliances' events on to the vendor's application in ServiceNow, each until ServiceNow took it.

"On its way" is on disk before a post's first byte is sent, so that one of unknown outcome is known after a crash too,
and waits before it is repeated. The events of one appliance go one after the other, in the order in which they came as
far as they can; those of another wait for none of them. What was taken is posted on also when the configuration would
not have it taken any more, and also for an appliance that is disabled: the appliance is not needed for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from relay.core.errors import InternalError, RelayError
from relay.core.forward_job import (
    FORWARD,
    POSTING,
    TAKEN,
    UNSURE,
    WAITING,
    Next,
    Past,
    after_failure,
    after_stop,
    forward_of,
    wait_beside,
)
from relay.core.jobs import Job, NewJob
from relay.core.posts import Post
from relay.core.session_events import lsid_of
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger, Move, trace_of
from relay.jobs.ports import Store
from relay.jobs.stage import Stage

log = structlog.get_logger("relay.sessions")

KIND = FORWARD.kind
PRIORITY = 2
DUE = (TAKEN, WAITING, UNSURE)
EVENT = "event"
"""The body that is the event's fields, as pairs in the order in which they came. It goes when it is delivered."""
LONGEST_NAME = 80
GRACE = 0.05
"""Seconds that a rest is longer than asked for: what failed falls due before, and so goes first."""
AT_ONCE = 100
ALL = 1_000_000


class Events(Protocol):
    """The way to the vendor's application."""

    async def forward(self, appliance: str, path: str, fields: Mapping[str, str]) -> None:
        """Post an event on; returns when ServiceNow took it.

        Raises:
            ServiceNowError: it did not, or with `maybe_sent` nobody knows.
            ConfigError: the appliance's token cannot be read; nothing was sent.

        """
        ...


@dataclass(frozen=True, slots=True)
class Forwarders:
    """What posting on needs.

    Attributes:
        ledger: moves the jobs.
        store: holds them.
        events: the way to the vendor's application.
        appliances: whose events have a way there; jobs of others wait until the configuration names these again.
        holds: `pause --all` stops it.
        conditions: hear which appliance's events are not taken.
        jitter: a random number in [0, 1).
        settle: seconds that ServiceNow may still work on a request that got no answer.

    """

    ledger: Ledger
    store: Store
    events: Events
    appliances: Collection[str]
    holds: Holds
    conditions: Conditions
    jitter: Callable[[], float]
    settle: float


def new_forward(appliance: str, post: Post) -> NewJob:
    """The job that posts an event on, for one of the appliances whose it may be."""
    name = "".join(filter(str.isprintable, post.fields.get("event", "")))[:LONGEST_NAME]
    data = {"post": post.id, "path": post.path, "event": name, "lsid": lsid_of(post.fields)}
    body = json.dumps(list(post.fields.items()), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return NewJob(forward_of(post.id), KIND, TAKEN, PRIORITY, appliance, data=data, bodies={EVENT: body})


class Forward:
    """Posts events on. To be told by `changed` who shall look for work again when an appliance's rest is over."""

    def __init__(self, parts: Forwarders) -> None:
        self._parts = parts
        self._failures = dict.fromkeys(parts.appliances, 0)
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self.changed: Callable[[], None] = lambda: None

    def stages(self) -> list[Stage]:
        """One for each appliance, so that none waits for another, and one for what ended without a decision."""
        return [
            *(
                Stage(f"events {name}", KIND, DUE, self._post, lane=name, open=partial(self._open, name))
                for name in self._parts.appliances
            ),
            Stage("events abandoned", KIND, (POSTING,), self._abandoned, size=lambda: AT_ONCE),
        ]

    async def recover(self) -> None:
        """Settle the store's jobs; to be called once, before the stages run.

        Raises:
            StorageError: the store cannot be read or written; may be called again.

        """
        parts = self._parts
        # What may have come to ServiceNow waits its whole time anew: how much of it is over, only the clock knew that
        # may have been set meanwhile. What did not is tried at once, so that what came later does not go before it.
        unsure = await parts.store.select(KIND, [UNSURE], ALL)
        waiting = await parts.store.select(KIND, [WAITING], ALL)
        await parts.ledger.apply(
            [
                *(Move(job, "put off", wait=self._anew(job)) for job in unsure),
                *(Move(job, "put off") for job in waiting if not job.data.get("refusals")),
            ]
        )
        posting = await parts.store.select(KIND, [POSTING], ALL)
        if posting:
            log.warning("sessions.posts_crashed", posts=len(posting))
            await self._abandoned(posting)
        self._rest({job.lane for job in unsure}, parts.settle)

    def _anew(self, job: Job) -> float:
        return wait_beside(self._parts.settle, _past(job, 0).tries, self._parts.jitter())

    def _open(self, appliance: str) -> bool:
        return appliance not in self._resting and not any(one.everything for one in self._parts.holds.all().values())

    def _rest(self, appliances: Iterable[str], seconds: float) -> None:
        """Post nothing of these appliances for so long from now on."""
        for name in self._failures.keys() & appliances:
            if name in self._resting:
                self._resting[name].cancel()
            over = asyncio.get_running_loop().call_later(seconds + GRACE, self._rested, name)
            self._resting[name] = over

    def _rested(self, appliance: str) -> None:
        del self._resting[appliance]
        self.changed()

    # -- one event -------------------------------------------------------------------------------------------------

    async def _post(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self._one(job)

    async def _one(self, job: Job) -> None:
        parts = self._parts
        (body,) = await parts.store.bodies([job.id], EVENT)
        if body is None:
            raise InternalError(9001, "the event is not in the store")
        fields = dict(json.loads(body.decode("utf-8", "surrogatepass")))
        job = await parts.ledger.step(Move(job, "posting", fields={"attempts": job.attempts + 1}))
        try:
            await parts.events.forward(job.lane, job.data["path"], fields)
        except RelayError as error:
            await self._failed(job, error)
            return
        self._failures[job.lane] = 0
        parts.conditions.clear(subject_of(job.lane))
        gone = dict.fromkeys(("tries", "refusals", "code"))
        await parts.ledger.step(Move(job, "delivered", data=gone, bodies={EVENT: None}))

    async def _failed(self, job: Job, error: RelayError) -> None:
        parts = self._parts
        then = after_failure(error, _past(job, self._failures[job.lane]), settle=parts.settle, jitter=parts.jitter())
        log.warning(
            "sessions.not_forwarded", appliance=job.lane, code=error.code, error=error.text, tries=then.past.tries
        )
        self._failures[job.lane] = then.past.failures
        if then.rest:
            parts.conditions.fail(subject_of(job.lane), error)
        await parts.ledger.step(Move(job, then.event, data=_facts(then), wait=then.wait))
        if then.rest:
            self._rest([job.lane], then.rest)

    async def _abandoned(self, jobs: Sequence[Job]) -> None:
        """Nobody knows what became of these posts: by a crash, a fault of ours, or a disk that took no more.

        The runner leaves out what is being handled, so that no post that is under way comes here.
        """
        parts, moves = self._parts, []
        for job in jobs:
            then = after_stop(_past(job, 0), settle=parts.settle, jitter=parts.jitter())
            moves.append(Move(job, then.event, data=_facts(then), wait=then.wait))
        await parts.ledger.apply(moves)
        self._rest({job.lane for job in jobs}, parts.settle)


def subject_of(appliance: str) -> str:
    """The condition that events of an appliance are not taken."""
    return f"events {appliance}"


def _past(job: Job, failures: int) -> Past:
    return Past(job.data.get("tries", 0), job.data.get("refusals", 0), failures)


def _facts(then: Next) -> dict[str, int | None]:
    """What the job remembers of a failure. Who has a dead one tried again has all of its tries before him."""
    if then.code:
        return {"tries": None, "refusals": None, "code": then.code}
    return {"tries": then.past.tries or None, "refusals": then.past.refusals or None}
