"""The audit log: entries become lines of one chain, on disk before the effect that they announce.

Entries that come at about the same time share one write and one fsync.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from relay.audit.memory import Memory
from relay.audit.segment import Segment, open_segment
from relay.audit.segments import FOLDER, LARGEST_WRITE
from relay.core.chain import LONGEST_LINE, Entry, Head, entry_of, key_of, next_line
from relay.core.errors import InternalError, StorageError
from relay.core.jobs import Json
from relay.host.clock import Clock
from relay.host.groups import GroupThread

Key = tuple[bytes, bytes]


class AuditLog:
    """The log in `<state folder>/audit`. The caller holds the state folder's lock."""

    def __init__(self, segment: Segment, head: Head, memory: Memory, clock: Clock) -> None:
        self._segment = segment
        self._head = head
        self._memory = memory
        self._clock = clock
        self._thread: GroupThread[Sequence[Entry], None] = GroupThread("audit", self._serve)

    @classmethod
    async def open(cls, folder: Path, clock: Clock) -> Self:
        """Open the log of a state folder; it is made when it is missing. A torn end is set aside and recorded.

        Raises:
            StorageError: BSR-5007 it cannot be written, BSR-5005 a write was lost, BSR-5011 it cannot be continued.

        """
        memory = Memory()
        now = timestamp(clock.wall())
        segment, head = await asyncio.to_thread(open_segment, folder / FOLDER, memory, now)
        return cls(segment, head, memory, clock)

    async def close(self) -> None:
        """Write what was asked, then close the file. May be called twice."""
        await self._thread.close()
        self._segment.close()

    @property
    def failure(self) -> StorageError | None:
        """Why every append fails from now on; None while the log works."""
        return self._segment.failure

    @property
    def head(self) -> Head:
        """The chain's end on disk."""
        return self._head

    async def append(self, entries: Iterable[Mapping[str, Json]]) -> None:
        """Append entries and return when they are on disk; those already in the log are skipped.

        An entry holds at least `event`, `job` and `attempt`, and scalars only; texts are cut at 512 characters and
        control characters in them are replaced. One of the relay itself has `job` "" and is never skipped.

        Raises:
            StorageError: BSR-5007 or BSR-5005; the effect that was to follow must not happen.
            InternalError: BSR-9001, an entry is not fit for the log.

        """
        try:
            fit = [entry_of(entry) for entry in entries]
        except ValueError as error:
            raise InternalError(9001, str(error)) from error
        await self._thread.ask(fit)

    def _serve(self, asked: Sequence[Sequence[Entry]]) -> list[Exception | None]:
        """Write what the log does not hold yet."""
        waiting: dict[Key, Entry] = {}
        for number, entry in enumerate(itertools.chain.from_iterable(asked)):
            key = key_of(entry) if entry["job"] else (b"", b"%d" % number)
            waiting.setdefault(key, entry)
        try:
            self._append((key, entry) for key, entry in waiting.items() if key not in self._memory)
        except StorageError as error:
            return [error] * len(asked)
        return [None] * len(asked)

    def _append(self, todo: Iterable[tuple[Key, Entry]]) -> None:
        time = timestamp(self._clock.wall())
        head, data, keys = self._head, bytearray(), list[Key]()
        for key, entry in todo:
            line, head = next_line(head, entry, time)
            data += line + b"\n"
            keys.append(key)
            if len(data) > LARGEST_WRITE - LONGEST_LINE:
                self._write(bytes(data), head, keys)
                data.clear()
                keys.clear()
        self._write(bytes(data), head, keys)

    def _write(self, data: bytes, head: Head, keys: Iterable[Key]) -> None:
        self._segment.append(data)
        self._head = head
        for key in keys:
            self._memory.add(key)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
