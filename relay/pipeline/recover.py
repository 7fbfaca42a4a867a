"""The start: before anything is sent, what the store holds is compared with what ServiceNow shows.

Later, and every two minutes: `processing` rows of our agent that the store does not know. They are ours, since nobody
else may have them, and what became of their calls nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import structlog

from relay.core.errors import RelayError, ServiceNowError, StorageError
from relay.core.instant import epoch
from relay.core.jobs import Job, NewJob
from relay.core.queue import (
    ANSWERED,
    CLAIMED,
    CLOSED,
    FORWARDING,
    INSERTED,
    ORPHAN_AGE,
    SEEN,
    UNCERTAIN,
    VERIFYING,
    at_start,
)
from relay.core.record import Record
from relay.core.retry import LONGEST, Backoff
from relay.jobs.beats import Beats
from relay.jobs.ledger import Move
from relay.jobs.runner import UNWRITABLE
from relay.pipeline.judge import judge
from relay.pipeline.parts import DELIVERED, KEPT, USER, Parts
from relay.pipeline.rows import ATTACHED, KIND, ROW, facts, row_bytes
from relay.pipeline.verify import guard_against, look

log = structlog.get_logger("relay.recover")

CHUNK = 100
"""Jobs settled with one pair of requests."""
ALL = 1_000_000
TROUBLE = Backoff(first=1.0, longest=30.0)
ORPHANS_EVERY = 120.0
T = TypeVar("T")
PAGE = 50
"""Orphans taken in one look: they come with their payloads."""


class Recover:
    """Settles what was left behind."""

    def __init__(self, parts: Parts, beats: Beats) -> None:
        self._parts = parts
        self._beats = beats
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End soon, even when nothing could be settled yet."""
        self._stop.set()

    async def start(self) -> bool:
        """Settle the store's jobs, however long ServiceNow is away; False when told to stop before it was done."""
        tries = 0
        while not self._stop.is_set():
            self._beats.beat("recover", LONGEST + 300.0)
            try:
                await self._remember()
                await self._crashed()
                await self._settle()
            except (ServiceNowError, StorageError) as error:
                if error.number == UNWRITABLE:
                    raise
                tries += 1
                self._parts.conditions.fail("store" if isinstance(error, StorageError) else "servicenow", error)
                await self._wait(TROUBLE.delay(tries, self._parts.jitter(), error.after))
            else:
                break
        self._beats.end("recover")
        return not self._stop.is_set()

    async def _remember(self) -> None:
        """Take up what earlier lives learned of the instance."""
        learned, store = self._parts.learned, self._parts.store
        learned.kept = await store.fact(KEPT)
        learned.user = learned.user or await store.fact(USER) or ""
        newest = await store.select(KIND, [INSERTED], 1)
        learned.delivered = newest[0].id if newest else await store.fact(DELIVERED) or ""

    async def run(self) -> None:
        """Look for orphans until `stop`."""
        while not self._stop.is_set():
            self._beats.beat("orphans", ORPHANS_EVERY + 300.0)
            wait = ORPHANS_EVERY
            try:
                if await self.orphans() == PAGE:
                    wait = 1.0
            except ServiceNowError as error:
                log.warning("recover.orphans_failed", code=error.code, error=error.text)
            except StorageError as error:
                if error.number == UNWRITABLE:
                    raise
                self._parts.conditions.fail("store", error)
            await self._wait(wait)
        self._beats.end("orphans")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    # -- the store's own jobs ----------------------------------------------------------------------------------------

    async def _crashed(self) -> None:
        """Calls and inserts that were under way, or just lost, when the relay stopped."""
        store, ledger = self._parts.store, self._parts.ledger
        calls = await store.select(KIND, [FORWARDING], ALL)
        inserts = [job for job in await store.select(KIND, [ANSWERED], ALL) if job.data.get("inserting")]
        settle = self._parts.limits.settle
        moves = [Move(job, "found at start") for job in calls]
        # How much of their wait is over, only the clock knew that may have been set meanwhile.
        kept = self._parts.learned.kept
        waiting = [
            job
            for job in await store.select(KIND, [VERIFYING], ALL)
            if not job.data.get("looks") and (not kept or job.data.get("finishing"))
        ]
        moves += [Move(job, "put off", wait=settle) for job in waiting]
        moves += [Move(job, "insert unknown", wait=settle) for job in inserts]
        for chunk in _chunks(moves):
            await ledger.apply(chunk)
        if moves:
            log.warning("recover.crashed", calls=len(calls), inserts=len(inserts))

    async def _settle(self) -> None:
        store = self._parts.store
        jobs = await store.select(KIND, [SEEN, CLAIMED, UNCERTAIN], ALL)
        for chunk in _chunks(jobs):
            await self._settle_chunk(chunk)
        answered = await store.select(KIND, [ANSWERED], ALL)
        for chunk in _chunks(answered):
            found = await look(self._parts, [job.id for job in chunk])
            there = [job for job in chunk if job.id in found]
            data = {job.id: {"input": found[job.id].sys_id} for job in there}
            await self._parts.ledger.apply([Move(job, "inserted", data=data[job.id]) for job in there])
        if jobs or answered:
            log.info("recover.settled", jobs=len(jobs), answered=len(answered))

    async def _settle_chunk(self, jobs: Sequence[Job]) -> None:
        parts = self._parts
        ids = [job.id for job in jobs]
        answers = await look(parts, ids)
        now = await parts.queue.read(ids)
        await guard_against(parts, [row for row in now.values() if row["state"] == "processing"])
        moves = [self._move(job, now.get(job.id), answered=job.id in answers) for job in jobs]
        await parts.ledger.apply([move for move in moves if move is not None])

    def _move(self, job: Job, record: Record | None, *, answered: bool) -> Move | None:
        parts = self._parts
        user = parts.learned.user
        event = at_start(job.state, record, agent=parts.limits.agent, user=user, answered=answered)
        if event == "taken" and record is None and job.attempts:
            return None  # the row may only be hidden, and a new job of it would begin to count its calls anew
        if event == "taken" and job.state == UNCERTAIN and not job.data.get("safe"):
            # Its call may have been made: should the row come back, it must not be made again.
            return Move(job, "taken for good", bodies={ROW: None})
        if event is not None and event != "claimed":
            return Move(job, event)
        if record is None or job.data.get("bare"):
            return None if event is None else Move(job, event)
        lane = judge(parts.codec, parts.policy, record).lane
        if event == "claimed":
            data = {**facts(record), "claim_unknown": None}
            return Move(job, event, data=data, bodies={ROW: row_bytes(record)}, fields={"lane": lane})
        # The configuration may have changed while the relay was down: no job waits in a lane that nobody serves.
        moved = job.state != SEEN and lane != job.lane and record.payload.strip() != ATTACHED
        return Move(job, "put off", fields={"lane": lane}) if moved else None

    # -- rows that the store does not know ---------------------------------------------------------------------------

    async def orphans(self) -> int:
        """Take over `processing` rows that nobody works on; returns how many rows were looked at, 0 without any."""
        parts = self._parts
        live = await parts.store.select(KIND, [CLAIMED, FORWARDING, UNCERTAIN, ANSWERED, VERIFYING], CHUNK)
        found = await parts.queue.processing(PAGE, [job.id for job in live])
        known = await parts.store.known([record.sys_id for record in found])
        now = parts.queue.now()
        # A claim that was slow to arrive may have set a row back that was answered meanwhile.
        done = [record.sys_id for record in found if known.get(record.sys_id) in {CLOSED, "tombstone"}]
        strange = [record for record in found if record.sys_id not in known]
        answers = await look(parts, [record.sys_id for record in strange]) if strange else {}
        old = [record for record in strange if record.sys_id in answers or self._is_old(record, now)]
        for record in old:
            log.warning("recover.orphan", job=record.sys_id, answered=record.sys_id in answers)
        await guard_against(parts, [record for record in old if record.sys_id not in answers])
        done += [record.sys_id for record in old if record.sys_id in answers]
        for result in await parts.queue.close(done) if done else ():
            if isinstance(result, RelayError):
                log.warning("recover.close_failed", code=result.code)
        await parts.ledger.add([self._orphan(record) for record in old if record.sys_id not in answers])
        return len(found) if old else 0

    @staticmethod
    def _is_old(record: Record, now: float | None) -> bool:
        updated = epoch(record["sys_updated_on"])
        return now is not None and updated is not None and now - updated > ORPHAN_AGE

    def _orphan(self, record: Record) -> NewJob:
        lane = judge(self._parts.codec, self._parts.policy, record).lane
        bodies = {ROW: row_bytes(record)}
        return NewJob(record.sys_id, KIND, UNCERTAIN, record.priority, lane, data=facts(record), bodies=bodies)


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), CHUNK):
        yield things[start : start + CHUNK]
