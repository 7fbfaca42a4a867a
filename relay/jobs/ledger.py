"""The only way a job's state changes: an event, checked against the kind's table, stored by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from relay.core.jobs import Change, Job, Json, NewJob, Nonce, changed
from relay.core.machine import StateTable
from relay.jobs.ports import Clock, Store

log = structlog.get_logger("relay.jobs")

FORGOTTEN = "DROPPED"
"""A job that enters this state leaves no trace in the store."""


class StaleJob(Exception):  # noqa: N818  # tells of a lost race, which is nobody's error
    """The job changed since it was read: whoever changed it goes on with it."""


@dataclass(frozen=True, slots=True)
class Move:
    """An event for a job, with the attributes and bodies that go with it.

    `fields` are attributes of `Job` other than state and version; `data` is merged into the job's data, where a value
    of None removes the name; `bodies` as in `Change`. The job is not due again for `wait` seconds.

    Why a wait and not a time: the clock may be set between the decision and its storage, and then a time read before
    would be hours away.
    """

    job: Job
    event: str
    data: Mapping[str, Json] = field(default_factory=dict)
    bodies: Mapping[str, bytes | None] = field(default_factory=dict)
    fields: Mapping[str, Json] = field(default_factory=dict)
    wait: float = 0.0


class Ledger:
    """Moves jobs along their tables and tells a listener where they went.

    `count` is called with each event that was stored and the job after it; a new job's event is its state.
    """

    def __init__(
        self,
        store: Store,
        tables: Sequence[StateTable],
        clock: Clock,
        count: Callable[[str, Job], None] = lambda _event, _job: None,
    ) -> None:
        self._store = store
        self._tables = {table.kind: table for table in tables}
        self._clock = clock
        self._count = count
        self._listeners: list[Callable[[Job], None]] = []

    def listen(self, listener: Callable[[Job], None]) -> None:
        """Call `listener` with every job that was stored in a new state."""
        self._listeners.append(listener)

    async def add(self, jobs: Sequence[NewJob]) -> list[Job | None]:
        """Store new jobs; None for those that are known already."""
        stored = await self._store.add(jobs, self._clock.wall())
        for job in stored:
            if job is not None:
                event = f"{job.kind}.{job.state.lower()}"
                log.info(event, job=job.id, trace=trace_of(job.id), lane=job.lane)
                self._count(job.state.lower(), job)
                self._tell(job)
        return stored

    async def apply(self, moves: Sequence[Move]) -> list[Job | None]:
        """Store the moves, in one commit where the store can; None where a job had changed meanwhile.

        Raises:
            ImpossibleTransition: an event that the table does not have in that state; nothing was stored.
            StorageError: nothing of it can be relied on.

        """
        now = self._clock.wall()
        changes = [self._change(move, now) for move in moves]
        dropped = [change for change in changes if change.after.state == FORGOTTEN]
        kept = [change for change in changes if change.after.state != FORGOTTEN]
        done: dict[str, bool] = {}
        if kept:
            done.update(zip((c.before.id for c in kept), await self._store.change(kept), strict=True))
        if dropped:
            forgotten = await self._store.forget([change.before for change in dropped])
            done.update(zip((c.before.id for c in dropped), forgotten, strict=True))
        results: list[Job | None] = []
        for move, change in zip(moves, changes, strict=True):
            results.append(change.after if done[change.before.id] else None)
            self._report(move, change, stored=done[change.before.id])
        return results

    async def step(self, move: Move) -> Job:
        """Store one move.

        Raises:
            StaleJob: the job had changed meanwhile.

        """
        (job,) = await self.apply([move])
        if job is None:
            raise StaleJob(move.job.id)
        return job

    async def step_once(self, move: Move, nonce: Nonce) -> Job | Literal["used", "forgotten"]:
        """Store one move and make a nonce its job's own, in one commit; else why the nonce cannot be.

        Raises:
            StaleJob: the job had changed meanwhile.

        """
        change = self._change(move, self._clock.wall())
        done = await self._store.change_once(change, nonce)
        if done in {"used", "forgotten"}:
            return done
        self._report(move, change, stored=done == "done")
        if done == "stale":
            raise StaleJob(move.job.id)
        return change.after

    def _change(self, move: Move, now: float) -> Change:
        state = self._tables[move.job.kind].advance(move.job.state, move.event)
        data = {name: value for name, value in {**move.job.data, **move.data}.items() if value is not None}
        after = changed(move.job, state, now, wait=move.wait, data=data, **move.fields)
        return Change(move.job, after, move.bodies)

    def _report(self, move: Move, change: Change, *, stored: bool) -> None:
        event = move.event.replace(" ", "_").replace(",", "")
        say = log.debug if change.before.state == change.after.state else log.info
        if not stored:
            say, event = log.warning, "stale"
        say(
            f"{move.job.kind}.{event}",
            job=move.job.id,
            trace=trace_of(move.job.id),
            state=change.after.state,
            attempt=change.after.attempts,
        )
        if stored:
            self._count(move.event, change.after)
            self._tell(change.after)

    def _tell(self, job: Job) -> None:
        for listener in self._listeners:
            listener(job)


def trace_of(job_id: str) -> str:
    """The trace id of a job: the same on every line, on every machine, after every restart."""
    return job_id[:32].rjust(32, "0")
