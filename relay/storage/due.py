"""Which jobs are due, without looking at those that are not.

The index holds (kind, state, lane, priority, not_before, created). For each lane and priority that has jobs, three
short walks along it find the oldest that were never put off, those put off whose time has come, and those put off
further than any wait of the relay: a clock's fault, so they are due.

Why those put off are taken by the time they fell due, not by age: after a long outage thousands fall due at once, and
sorting them by age anew for each handful would be quadratic. Nobody starves: who is put off again goes to the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from relay.core.jobs import Job
from relay.storage.rows import BY_ROW, job_of

MAX_BACKOFF = 3600.0
"""Seconds. No wait of the relay is longer; what is put off further was written under a wrong clock and is due now."""

_LOWEST = -(2**63)
_FRESH = """
    SELECT created, row FROM jobs
    WHERE kind = ? AND state = ? AND lane = ? AND priority = ? AND not_before <= 0
    ORDER BY not_before, created LIMIT ?"""
_WAITED = """
    SELECT created, row FROM jobs
    WHERE kind = ? AND state = ? AND lane = ? AND priority = ? AND not_before > 0 AND not_before <= ?
    ORDER BY not_before LIMIT ?"""
_FAR = """
    SELECT created, row FROM jobs
    WHERE kind = ? AND state = ? AND lane = ? AND priority = ? AND not_before > ?
    ORDER BY not_before LIMIT ?"""
_NEXT = """
    SELECT min(not_before) FROM jobs
    WHERE kind = ? AND state = ? AND lane = ? AND priority = ? AND not_before > ? AND not_before <= ?"""
_FIRST_LANE = "SELECT min(lane) FROM jobs WHERE kind = ? AND state = ?"
_NEXT_LANE = "SELECT min(lane) FROM jobs WHERE kind = ? AND state = ? AND lane > ?"
_NEXT_PRIORITY = "SELECT min(priority) FROM jobs WHERE kind = ? AND state = ? AND lane = ? AND priority > ?"

Bucket = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Where:
    """Jobs of a kind in some states, of one lane or (None) of all."""

    kind: str
    states: Sequence[str]
    lane: str | None


def due(db: Connection, where: Where, now: float, limit: int) -> list[Job]:
    """Due jobs, up to `limit` of each priority; by priority, then oldest first."""
    found: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for bucket in _buckets(db, where):
        ready = found[bucket[3]]
        ready += db.execute(_FRESH, (*bucket, limit))
        ready += db.execute(_WAITED, (*bucket, now, limit))
        ready += db.execute(_FAR, (*bucket, now + MAX_BACKOFF, limit))
    chosen = [row for priority in sorted(found) for _, row in sorted(found[priority])[:limit]]
    return [job_of(db.execute(BY_ROW, (row,)).fetchone()) for row in chosen]


def next_due(db: Connection, where: Where, now: float) -> float | None:
    """The earliest time at which a job falls due that is not due yet."""
    found = (db.execute(_NEXT, (*bucket, now, now + MAX_BACKOFF)).fetchone()[0] for bucket in _buckets(db, where))
    return min((time for time in found if time is not None), default=None)


def _buckets(db: Connection, where: Where) -> Iterator[Bucket]:
    """Every (kind, state, lane, priority) that has jobs: one step along the index for each."""
    for state in where.states:
        for lane in _lanes(db, where.kind, state) if where.lane is None else [where.lane]:
            priority = _LOWEST
            while priority is not None:
                (priority,) = db.execute(_NEXT_PRIORITY, (where.kind, state, lane, priority)).fetchone()
                if priority is not None:
                    yield where.kind, state, lane, priority


def _lanes(db: Connection, kind: str, state: str) -> Iterator[str]:
    (lane,) = db.execute(_FIRST_LANE, (kind, state)).fetchone()
    while lane is not None:
        yield lane
        (lane,) = db.execute(_NEXT_LANE, (kind, state, lane)).fetchone()
