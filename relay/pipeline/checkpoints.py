"""Signs what the audit log holds from time to time, and writes the newest checkpoint to ServiceNow where that is asked.

Why nothing here stops work: a line is on disk and chained before its effect; a checkpoint proves it to others later,
and the next one proves what this one would have.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from relay.core.checkpoint import Note, PublicKey
from relay.core.errors import ServiceNowError, StorageError
from relay.core.retry import Backoff
from relay.jobs.beats import Beats
from relay.jobs.runner import UNWRITABLE
from relay.pipeline.parts import Parts

PATIENCE = 300.0
"""Seconds that signing, compressing and one try at ServiceNow may take."""
TROUBLE = Backoff(first=15.0, longest=300.0)
ANCHORED = "audit.anchored"
"""The durable fact which checkpoint ServiceNow has."""


class Notary(Protocol):
    """Signs the audit log."""

    @property
    def newest(self) -> Note | None:
        """The newest checkpoint."""
        ...

    async def sign(self) -> Note:
        """A checkpoint of everything that is in the log; the newest one when nothing was added since.

        Raises:
            StorageError: BSR-5012 or BSR-5007, there is none; BSR-5005.

        """
        ...

    async def rotate(self, author: str) -> PublicKey:
        """Sign with a new key from now on; the old one signs the last time, together with the new one.

        Raises:
            StorageError: as `sign`.

        """
        ...

    async def tidy(self) -> None:
        """Compress what the log does not need any more for a start."""
        ...


class Anchor(Protocol):
    """Where a checkpoint is out of this machine's reach."""

    async def write(self, note: Note) -> None:
        """Write a checkpoint.

        Raises:
            ServiceNowError: BSR-2026 with the reason; it may have been written all the same, which is no harm.

        """
        ...


class Checkpoints:
    """The loop that signs and anchors. `every`: seconds between checkpoints of a log that grows."""

    def __init__(self, parts: Parts, notary: Notary, anchor: Anchor | None, every: float, beats: Beats) -> None:
        self._parts = parts
        self._notary = notary
        self._anchor = anchor
        self._every = every
        self._beats = beats
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._tries = 0

    def stop(self) -> None:
        """End soon."""
        self._stop.set()
        self._wake.set()

    async def now(self) -> Note:
        """A checkpoint on demand; ServiceNow gets it soon.

        Raises:
            StorageError: as `Notary.sign`.

        """
        note = await self._notary.sign()
        self._wake.set()
        return note

    async def rotate(self, author: str) -> PublicKey:
        """Change the signing key; ServiceNow soon gets the checkpoint that both keys signed.

        Raises:
            StorageError: as `Notary.sign`.

        """
        key = await self._notary.rotate(author)
        self._parts.conditions.clear("checkpoint")
        self._wake.set()
        return key

    async def run(self) -> None:
        """Sign and anchor until `stop`."""
        due = clock = self._parts.clock.monotonic()
        while not self._stop.is_set():
            self._beats.beat("checkpoints", self._every + PATIENCE)
            self._wake.clear()
            if clock >= due:
                await self.sign()
                await self._notary.tidy()
                due = clock + self._every
            wait = min(due - clock, await self._anchored())
            if self._stop.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            clock = self._parts.clock.monotonic()
        self._beats.end("checkpoints")

    async def sign(self) -> None:
        """Sign once; says so when that fails."""
        try:
            await self._notary.sign()
        except StorageError as error:
            if error.number == UNWRITABLE:
                raise
            self._parts.conditions.fail("checkpoint", error)
        else:
            self._parts.conditions.clear("checkpoint")

    async def _anchored(self) -> float:
        """See that ServiceNow has the newest checkpoint; returns the seconds after which to look again."""
        parts, note = self._parts, self._notary.newest
        if self._anchor is None or note is None:
            return self._every
        try:
            known, name = await parts.store.fact(ANCHORED), f"{note.size} {note.root.hex()}"
            if known != name:
                await self._anchor.write(note)
                await parts.store.set_fact(ANCHORED, name)
        except ServiceNowError as error:
            return self._failed(error)
        except StorageError as error:
            if error.number == UNWRITABLE:
                raise
            parts.conditions.fail("store", error)
            return TROUBLE.longest
        self._tries = 0
        parts.conditions.clear("anchor")
        return self._every

    def _failed(self, error: ServiceNowError) -> float:
        self._tries += 1
        # While ServiceNow cannot be asked at all, that is what is wrong, and it is said already.
        if not self._parts.conditions.has("servicenow"):
            self._parts.conditions.fail("anchor", error)
        return TROUBLE.delay(self._tries, self._parts.jitter(), error.after)
