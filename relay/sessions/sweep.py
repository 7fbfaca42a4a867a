"""Finds sessions whose event never came: each appliance is asked which sessions ended since a durable moment.

Why the moment is one of the appliance's own clock, the `Date` of its answers: the ends of sessions are told by that
clock. It moves only after every session of an answer is on disk. Each look begins an hour before it, since a session
may be listed late. A listing that is larger than an answer may be is asked for in pieces of time.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from relay.core.errors import ApplianceError, InternalError, StorageError
from relay.core.record import Reply
from relay.core.retry import spread
from relay.core.servertime import http_date
from relay.core.session_cursor import OVERLAP, cursor_after, narrower, start_of
from relay.core.session_events import job_of
from relay.jobs.beats import Beats
from relay.jobs.runner import UNWRITABLE
from relay.sessions.inbox import again, new_job
from relay.sessions.parts import TROUBLE, Parts, listing_of

log = structlog.get_logger("relay.sessions")

CHUNK = 500
ROUND = 300.0
"""Seconds. A wait is never longer than this without a sign of life."""
TOO_LARGE = 3008


class Sweep:
    """The look of every appliance, one loop each."""

    def __init__(self, parts: Parts, beats: Beats) -> None:
        self._parts = parts
        self._beats = beats
        self._stopping = False
        self._wakes = {name: asyncio.Event() for name in parts.importing}

    def wake(self, appliance: str) -> None:
        """Look now instead of at the end of the interval."""
        if appliance in self._wakes:
            self._wakes[appliance].set()

    def stop(self) -> None:
        """End after the looks that are under way."""
        self._stopping = True
        for wake in self._wakes.values():
            wake.set()

    async def run(self) -> None:
        """Look until `stop`."""
        async with asyncio.TaskGroup() as group:
            for name in self._wakes:
                group.create_task(self._loop(name), name=f"sweep {name}")

    async def _loop(self, name: str) -> None:
        tries, subject = 0, f"sweep {name}"
        site, wake = self._parts.sites[name], self._wakes[name]
        while not self._stopping:
            wake.clear()
            self._beats.beat(subject, ROUND)
            wait = spread(site.sweep, self._parts.jitter())
            try:
                if self._parts.fetches():
                    await self.look(name)
            except (ApplianceError, StorageError) as error:
                if error.number == UNWRITABLE:
                    raise
                tries += 1
                wait = TROUBLE.delay(tries, self._parts.jitter(), error.after)
                self._parts.conditions.fail(subject, error)
            except Exception as error:  # an answer that breaks the look must not end the relay
                tries += 1
                wait = TROUBLE.delay(tries, self._parts.jitter())
                fault = InternalError(9001, type(error).__name__)
                log.exception("sessions.sweep_fault", appliance=name, code=fault.code)
                self._parts.conditions.fail(subject, fault)
            else:
                tries = 0
                self._parts.conditions.clear(subject)
            await self._rest(subject, wait)
        self._beats.end(subject)

    async def _rest(self, name: str, seconds: float) -> None:
        """Wait, with a sign of life now and then: an interval may be hours."""
        end = self._parts.clock.monotonic() + seconds
        wake = self._wakes[name.removeprefix("sweep ")]
        while not wake.is_set() and (left := end - self._parts.clock.monotonic()) > 0:
            self._beats.beat(name, 2 * ROUND)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), min(left, ROUND))

    async def look(self, appliance: str) -> int:
        """Store a job for each session that nobody told of; returns how many were new.

        Raises:
            ApplianceError: the appliance could not be asked.
            StorageError: not all of them are on disk; the next look finds them again.

        """
        parts, fact = self._parts, f"sessions.swept.{appliance}"
        since = await parts.store.fact(fact)
        if since is None:
            # On disk before the first answer: however long that takes, nothing from now on is left out.
            since = parts.clock.wall()
            await parts.store.set_fact(fact, since)
        start, piece, new, listed = start_of(since), 0, 0, 0
        while True:
            try:
                reply = await listing_of(parts, appliance, start, piece)
            except ApplianceError as error:
                piece = narrower(piece or parts.clock.wall() - start)
                if error.number != TOO_LARGE or not piece:
                    raise
                continue
            lsids = list({one.lsid.lower(): one.lsid for one in await parts.reader.listing(reply.body)}.values())
            listed += len(lsids)
            for first in range(0, len(lsids), CHUNK):
                new += await self._store(appliance, lsids[first : first + CHUNK])
            # A piece of time that is over is over, whether or not the appliance tells its time.
            wall = parts.clock.wall()
            until = cursor_after(since, _date(reply) or (wall if piece else None), wall)
            ended = not piece or start + piece >= until
            moved = until if ended else min(start + piece + OVERLAP, until)
            if moved != since:
                await parts.store.set_fact(fact, moved)
            if ended or self._stopping:
                break
            since, start, piece = moved, start + piece, 2 * piece
            self._beats.beat(f"sweep {appliance}", ROUND)
        if new:
            log.info("sessions.swept", appliance=appliance, listed=listed, new=new)
        return new

    async def _store(self, appliance: str, lsids: list[str]) -> int:
        stored = await self._parts.ledger.add([new_job(appliance, lsid, "sweep") for lsid in lsids])
        known = [job_of(appliance, lsid) for lsid, job in zip(lsids, stored, strict=True) if job is None]
        moves = [move for job in await self._parts.store.get(known) for move in again(job)]
        await self._parts.ledger.apply(moves)
        return len(lsids) - len(known)


def _date(reply: Reply) -> float | None:
    """The moment of an answer by the appliance's clock; None when it does not say: the cursor stays then."""
    return next((http_date(value) for name, value in reply.headers if name.lower() == "date"), None)
