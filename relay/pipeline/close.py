"""Ends what is done: outputs `processed` at ServiceNow, bodies gone, finished jobs swept into tombstones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

import structlog

from relay.core.errors import RelayError, ServiceNowError, StorageError
from relay.core.jobs import Job
from relay.core.queue import CLOSED
from relay.core.retry import Backoff
from relay.core.signature import forgettable
from relay.jobs.beats import Beats
from relay.jobs.ledger import Move
from relay.jobs.runner import UNWRITABLE
from relay.pipeline.parts import DELIVERED, SIGNATURES, Parts
from relay.pipeline.rows import ANSWER, KIND, ROW

log = structlog.get_logger("relay.close")

TROUBLE = Backoff(first=5.0, longest=300.0)
REMEMBERED = 30 * 86400.0
"""Seconds. ServiceNow keeps queue records for 7 days; a tombstone outlives every way in which one may come back."""
EVERY = 600.0
"""Seconds between sweeps."""
OF_THE_QUEUE: Mapping[str, Collection[str]] = {KIND: (CLOSED,)}
AT_ONCE = 500
"""Jobs swept in one commit."""


class Close:
    """Handles INSERTED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Log the delivery, see that the outputs are `processed`, forget the bodies."""
        parts = self._parts
        await parts.audit.append([self._line(job) for job in jobs])
        parts.conditions.clear("audit")
        results = await parts.queue.close([job.id for job in jobs])
        moves = []
        for job, result in zip(jobs, results, strict=True):
            moves.append(self._failed(job, result) if isinstance(result, ServiceNowError) else self._closed(job))
        await parts.ledger.apply(moves)
        await parts.store.set_fact(DELIVERED, jobs[-1].id)

    def _line(self, job: Job) -> dict[str, object]:
        return {"event": "delivered", "job": job.id, "attempt": job.attempts, "input": job.data.get("input", "")}

    def _closed(self, job: Job) -> Move:
        bodies = {ROW: None, ANSWER: None} if not self._parts.limits.keep_bodies else {}
        known = {"outcome": _outcome(job), "digest": job.data.get("answer_digest", "")}
        return Move(job, "closed", data={"tries": None, **known}, bodies=bodies)

    def _failed(self, job: Job, error: ServiceNowError) -> Move:
        tries = job.data.get("tries", 0) + 1
        wait = TROUBLE.delay(tries, self._parts.jitter(), error.after)
        log.warning("close.failed", job=job.id, code=error.code, error=error.text)
        return Move(job, "put off", data={"tries": tries}, wait=wait)


def _outcome(job: Job) -> str:
    """What a tombstone tells: the code of the answer, else the status that the appliance gave."""
    code, status = job.data.get("code"), job.data.get("status")
    return f"BSR-{code}" if code else f"HTTP {status}" if status else "answered"


class Sweep:
    """The loop that ends what time ends: kept bodies go, finished jobs become tombstones, tombstones are forgotten.

    It waits while this machine's clock is not to be trusted: a jump would make everything look old.

    Args:
        parts: shared.
        beats: proof of life.
        finished: by kind of jobs, the states in which they are done.

    """

    def __init__(self, parts: Parts, beats: Beats, finished: Mapping[str, Collection[str]] = OF_THE_QUEUE) -> None:
        self._parts = parts
        self._beats = beats
        self._finished = finished
        self._stop = asyncio.Event()
        self._drift = parts.clock.wall() - parts.clock.monotonic()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    async def run(self) -> None:
        """Sweep until `stop`."""
        while not self._stop.is_set():
            self._beats.beat("sweep", 2 * EVERY)
            try:
                await self.once()
            except StorageError as error:
                if error.number == UNWRITABLE:
                    raise
                self._parts.conditions.fail("store", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), EVERY)
        self._beats.end("sweep")

    async def once(self) -> int:
        """Sweep what is old enough; returns how many jobs became tombstones."""
        parts = self._parts
        now = parts.clock.wall()
        if not self._clock_is_sound(now):
            return 0
        keep = parts.limits.keep_bodies
        while keep and await parts.store.forget_bodies(KIND, [CLOSED], now - keep, AT_ONCE) == AT_ONCE:
            pass
        await self._forget_nonces(now)
        return sum([await self._sweep(kind, sorted(states), now) for kind, states in self._finished.items()])

    async def _sweep(self, kind: str, states: Sequence[str], now: float) -> int:
        retention = self._parts.limits.retention
        swept = 0
        while True:
            number = await self._parts.store.sweep(kind, states, now - retention, now - retention - REMEMBERED, AT_ONCE)
            swept += number
            if number < AT_ONCE:
                return swept

    async def _forget_nonces(self, now: float) -> None:
        """Forget the nonces of signatures that are too old to pass, by the clock of the two that is behind."""
        parts = self._parts
        parts.conditions.clear(SIGNATURES)  # whoever still waits says so again at once
        server = parts.queue.now()
        oldest = max(parts.limits.expire_safe, parts.limits.expire_unsafe)
        before = forgettable(min(now, now if server is None else server), oldest)
        while await parts.store.forget_nonces(before, AT_ONCE) == AT_ONCE:
            pass

    def _clock_is_sound(self, now: float) -> bool:
        """Whether this machine's clock neither jumped since the start nor differs from the instance's."""
        server = self._parts.queue.now()
        drift = now - self._parts.clock.monotonic()
        jumped = abs(drift - self._drift) > JUMP
        # After a jump one round is left out; the next believes the clock again if the instance's agrees with it.
        self._drift = drift
        sound = server is not None and abs(server - now) <= JUMP and not jumped
        if sound:
            self._parts.conditions.clear("clock")
        elif server is not None:
            self._parts.conditions.fail("clock", _clock_error(now - server))
        return sound


JUMP = 300.0
"""Seconds. More than this between two clocks, or in one step, is no drift."""


def _clock_error(difference: float) -> RelayError:
    return ServiceNowError(2021, f"{difference:.0f} s ahead of ServiceNow's")
