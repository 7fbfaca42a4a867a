"""Finds new records: asks ServiceNow for ready outputs of our agent and stores them.

Why every poll starts at the top: `sys_created_on` is set before the row is committed, so a cursor over it loses rows.
What must not be seen again for a while is left out by its sys_id instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from relay.core.errors import RelayError, ServiceNowError, StorageError
from relay.core.exchange import Page
from relay.core.jobs import Job, NewJob
from relay.core.queue import CLAIMED, CLOSED, DROPPED, INSERTED, SEEN
from relay.core.record import Record
from relay.core.retry import Backoff, spread
from relay.jobs.beats import Beats
from relay.jobs.runner import UNWRITABLE
from relay.pipeline.judge import judge
from relay.pipeline.parts import Parts
from relay.pipeline.rows import KIND, LOCAL, ROW, facts, row_bytes

log = structlog.get_logger("relay.poll")

URGENT_TOPICS = ("HeartbeatProbe", "SystemCommand")
"""What is served while work is held, or while enough is in hand."""
URGENT_PAGE = 10
IN_HAND = 500
"""Records that are ours and not answered yet. More are not taken: claimed work grows old while it waits."""
OF_ONE_LANE = IN_HAND // 4
"""Of one appliance no more are counted: one that hangs, or whose hour is used up, must not keep those of the others,
nor urgent ones of its own, in ServiceNow until the waiting ones are too old."""
MOST_IN_HAND = 4 * IN_HAND
"""Records in hand at all, counted or not."""
LEFT_OUT = 150
"""sys_ids that a poll can leave out; as many as fit into a URL of 8 KB."""
BENCH = Backoff(first=10.0, longest=300.0)
TROUBLE = Backoff(first=1.0, longest=60.0)
ROUND = 300.0
"""Seconds. A round of the loop is never longer: an hour of Retry-After is waited for in pieces."""
AWAITED = 1.0
"""Seconds between polls while a person waits for a decision that comes as work."""
UNFINISHED = frozenset({SEEN, CLAIMED, "FORWARDING", "UNCERTAIN"})


class Poll:
    """The polling loop."""

    def __init__(self, parts: Parts, beats: Beats, room: Callable[[], bool]) -> None:
        self._parts = parts
        self._beats = beats
        self._room = room
        self._wake = asyncio.Event()
        self._bench: dict[str, tuple[int, float]] = {}
        self._trouble = 0
        self._hurried = False
        self._stopping = False
        parts.ledger.listen(self._hear)

    def wake(self) -> None:
        """Poll now instead of at the end of the interval."""
        self._wake.set()

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Poll until `stop`."""
        while not self._stopping:
            self._beats.beat("poll", ROUND + 120)
            self._wake.clear()
            wait = await self._round()
            if wait > 0 and not self._stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), min(wait, ROUND))
        self._beats.end("poll")

    async def _round(self) -> float:
        """One poll; returns the seconds until the next."""
        parts = self._parts
        interval = spread(parts.limits.poll_interval, parts.jitter())
        try:
            room = await self._free()
            # Half a page at least: many small pages would cost ServiceNow more than a few large ones.
            ordinary = parts.holds.work and self._room() and 2 * room >= min(parts.limits.poll_batch, IN_HAND)
            # A decision that a person waits for comes with any topic: a few of all kinds are seen even then.
            topics = () if ordinary or (self._room() and self._awaited()) else URGENT_TOPICS
            page = await parts.queue.poll(room if ordinary else URGENT_PAGE, await self._left_out(), topics)
            new = await self._store(page)
        except ServiceNowError as error:
            self._trouble += 1
            parts.conditions.fail("servicenow", error)
            # Where these met it first, they have told it as a trouble of their own, with a fix that leads astray.
            parts.conditions.clear("agent")
            parts.conditions.clear("anchor")
            return TROUBLE.delay(self._trouble, parts.jitter(), error.after)
        except StorageError as error:
            if error.number == UNWRITABLE:
                raise
            parts.conditions.fail("store", error)
            return TROUBLE.delay(1, parts.jitter())
        self._trouble = 0
        parts.conditions.clear("servicenow")
        if self._awaited():
            interval = min(interval, AWAITED)
        return 0.0 if page.more and new else interval

    def _awaited(self) -> bool:
        """Whether a person waits for a decision that comes as work."""
        approvals = self._parts.approvals
        return approvals is not None and self._parts.holds.news and approvals.waiting()

    async def _free(self) -> int:
        lanes: Counter[str] = Counter()
        for (kind, state, lane), number in (await self._parts.store.counts()).items():
            if kind == KIND and state in UNFINISHED:
                lanes[lane] += number
        counted = sum(min(number, OF_ONE_LANE) for number in lanes.values())
        return min(self._parts.limits.poll_batch, IN_HAND - counted, MOST_IN_HAND - lanes.total())

    async def _left_out(self) -> list[str]:
        now = self._parts.clock.monotonic()
        seen = await self._parts.store.select(KIND, [SEEN], LEFT_OUT)
        benched = [sys_id for sys_id, (_, until) in self._bench.items() if until > now]
        return list(dict.fromkeys([*(job.id for job in seen), *benched]))[:LEFT_OUT]

    async def _store(self, page: Page) -> int:
        """Store what is new of a page, deal with what is known; returns how many records were new."""
        if page.foreign:
            log.warning("poll.foreign_rows", code="BSR-2019", rows=page.foreign)
        jobs = [self._job(record) for record in page.records] + [self._bare(record) for record in page.bare]
        if not jobs:
            return 0
        stored = await self._parts.ledger.add(jobs)
        known = [job.id for job, new in zip(jobs, stored, strict=True) if new is None]
        if known:
            await self._known(known)
        number = len(jobs) - len(known)
        log.debug("poll.page", records=len(jobs), new=number, more=page.more)
        return number

    def _job(self, record: Record) -> NewJob:
        judged = judge(self._parts.codec, self._parts.policy, record)
        return NewJob(
            record.sys_id,
            KIND,
            SEEN,
            record.priority,
            judged.lane,
            data=facts(record),
            bodies={ROW: row_bytes(record)},
        )

    @staticmethod
    def _bare(record: Record) -> NewJob:
        """A record whose payload is too large to be read: claimed without it, and refused."""
        data = {**facts(record), "bare": True}
        return NewJob(record.sys_id, KIND, SEEN, record.priority, LOCAL, data=data, bodies={ROW: row_bytes(record)})

    async def _known(self, ids: Iterable[str]) -> None:
        """Rows that are `ready` again though we know them: leave them out for a while, close what was answered."""
        states = await self._parts.store.known(list(ids))
        again = [sys_id for sys_id, state in states.items() if state in {INSERTED, CLOSED, "tombstone"}]
        for sys_id, state in states.items():
            if state != SEEN:
                self._put_on_bench(sys_id)
        if again:
            log.warning("poll.set_back", rows=len(again), jobs=again[:10])
            results = await self._parts.queue.close(again)
            for sys_id, result in zip(again, results, strict=True):
                if isinstance(result, RelayError):
                    log.warning("poll.close_failed", job=sys_id, code=result.code)

    def _hear(self, job: Job) -> None:
        """A row that could not be claimed may still be shown as `ready`: leave it out for a while.

        And the first request that waits for a decision ends the wait for the next poll.
        """
        awaited = self._awaited()
        if awaited and not self._hurried:
            self.wake()
        self._hurried = awaited
        if job.kind == KIND and job.state == DROPPED:
            self._put_on_bench(job.id)

    def _put_on_bench(self, sys_id: str) -> None:
        now = self._parts.clock.monotonic()
        tries = self._bench.get(sys_id, (0, 0.0))[0] + 1
        self._bench[sys_id] = (tries, now + BENCH.delay(tries, self._parts.jitter()))
        if len(self._bench) > LEFT_OUT:
            oldest = min(self._bench, key=lambda known: self._bench[known][1])
            del self._bench[oldest]
