"""Jobs as values: what the store keeps, what a flow asks it to change.

Times are seconds since the epoch by this machine's clock. `data` is small JSON that may be shown to an administrator:
never a body, never a secret. Bodies are named bytes that the store encrypts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Json = Any
"""What `json.loads` gives: None, bool, int, float, str, list, dict."""


@dataclass(frozen=True, slots=True)
class Job:
    """One durable piece of work.

    Attributes:
        id: unique over all kinds, for a queue record the output's sys_id.
        kind: which state table it follows.
        state: a state of that table.
        version: grows by one with each change; the compare of compare-and-set.
        priority: 0 interactive, 1 expedited, 2 standard.
        lane: work of one lane never waits for another's; the appliance's name, or "" for what needs none.
        not_before: it is not due earlier than this.
        attempts: how often its effect was begun.
        created: when the store first had it.
        updated: when it last changed.
        data: small facts of its kind.

    """

    id: str
    kind: str
    state: str
    version: int
    priority: int
    lane: str
    not_before: float
    attempts: int
    created: float
    updated: float
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored, unless a job or a tombstone of its id exists."""

    id: str
    kind: str
    state: str
    priority: int
    lane: str
    not_before: float = 0.0
    attempts: int = 0
    data: Mapping[str, Json] = field(default_factory=dict)
    bodies: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A compare-and-set: `before` is what the caller saw, the rest is what the job shall be.

    `bodies` adds or replaces named bodies; a value of None deletes that body.
    """

    before: Job
    after: Job
    bodies: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Nonce:
    """The nonce of signed work, which is good for one job; `time` is the moment that the signature names."""

    text: str
    time: float


Once = Literal["done", "stale", "used", "forgotten"]
"""What became of a change that goes with a nonce: made; the job is no longer what it was; another job has the nonce;
the nonce is of a time that is not remembered any more. Nothing was stored but for the first."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is remembered of a finished job, so that its record is never taken for a new one."""

    id: str
    kind: str
    outcome: str
    digest: str
    closed: float


def changed(job: Job, state: str, now: float, *, wait: float = 0.0, **fields: Json) -> Job:
    """The job in its next version, due after `wait` seconds. `fields` are other attributes of `Job`."""
    not_before = now + wait if wait > 0 else 0.0
    return replace(job, state=state, version=job.version + 1, updated=now, not_before=not_before, **fields)
