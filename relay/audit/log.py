"""The audit log: entries become lines of one chain, on disk before the effect that they announce.

Entries that come at about the same time share one write and one fsync.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import structlog

from relay.audit import checkpoints
from relay.audit.growth import Place, regrow, save
from relay.audit.keys import known_keys
from relay.audit.memory import Memory
from relay.audit.moments import timestamp
from relay.audit.segment import Segment, open_segment
from relay.audit.segments import FOLDER, LARGEST_WRITE
from relay.core.chain import LONGEST_LINE, Entry, Head, entry_of, key_of, next_line
from relay.core.checkpoint import Note
from relay.core.errors import InternalError, StorageError
from relay.core.jobs import Json
from relay.core.merkle import leaf_hash
from relay.host.clock import Clock
from relay.host.groups import GroupThread

log = structlog.get_logger("relay.audit")

Key = tuple[bytes, bytes]

LARGEST_SEGMENT = 64 * 1024 * 1024
"""Bytes after which the next segment begins. The relay deletes none."""


class AuditLog:
    """The log in `<state folder>/audit`. The caller holds the state folder's lock."""

    def __init__(self, folder: Path, segment: Segment, place: Place, memory: Memory, clock: Clock) -> None:
        self.folder = folder
        self.told: tuple[bytes, ...] = ()
        """Lines about keys that no checkpoint covers and nobody judged: whoever can write the folder can add one."""
        self.witness: Note | None = None
        """The newest checkpoint at the start, until it was judged whether the relay's own key signed it."""
        self._segment = segment
        self._place = self._kept = place
        self._keeping = threading.Lock()
        self._memory = memory
        self._clock = clock
        self._thread: GroupThread[Sequence[Entry], None] = GroupThread("audit", self._serve)

    @classmethod
    async def open(cls, state: Path, clock: Clock) -> Self:
        """Open the log of a state folder; it is made when it is missing. A torn end is set aside and recorded.

        Raises:
            StorageError: BSR-5007 it cannot be written, BSR-5005 a write was lost, BSR-5011 it cannot be continued.

        """
        folder, memory = state / FOLDER, Memory()
        segment, place, told, witness = await asyncio.to_thread(_open, folder, memory, timestamp(clock.wall()))
        opened = cls(folder, segment, place, memory, clock)
        opened.told, opened.witness = told, witness
        return opened

    async def close(self) -> None:
        """Write what was asked, then close the file. May be called twice."""
        await self._thread.close()
        self._segment.close()

    @property
    def failure(self) -> StorageError | None:
        """Why every append fails from now on; None while the log works."""
        return self._segment.failure

    @property
    def place(self) -> Place:
        """The end on disk, of the chain and of the tree."""
        return self._place

    @property
    def head(self) -> Head:
        """The chain's end on disk."""
        return self._place.head

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

    def keep(self, place: Place) -> None:
        """Write down how far the tree had grown at a checkpoint.

        Without that the next start takes longer and finds the same.
        """
        with self._keeping:
            if place.head.seq <= self._kept.head.seq:
                return
            try:
                save(self.folder, place)
            except OSError as error:
                log.warning("audit.tree_not_kept", reason=error.strerror)
            else:
                self._kept = place

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
        head, data, keys, leaves = self._place.head, bytearray(), list[Key](), list[bytes]()
        for key, entry in todo:
            line, head = next_line(head, entry, time)
            data += line + b"\n"
            keys.append(key)
            leaves.append(leaf_hash(line))
            if len(data) > LARGEST_WRITE - LONGEST_LINE:
                self._write(bytes(data), head, keys, leaves)
                data, keys, leaves = bytearray(), [], []
        self._write(bytes(data), head, keys, leaves)

    def _write(self, data: bytes, head: Head, keys: Iterable[Key], leaves: Iterable[bytes]) -> None:
        if self._segment.end >= LARGEST_SEGMENT:
            self._segment = self._segment.next()
        self._segment.append(data)
        tree = self._place.tree.with_leaves(leaves)
        self._place = Place(head, tree, self._segment.number, self._segment.end)
        for key in keys:
            self._memory.add(key)


def _open(folder: Path, memory: Memory, now: str) -> tuple[Segment, Place, tuple[bytes, ...], Note | None]:
    """The segment to go on with, the place that the log has reached, uncovered lines about keys, the checkpoint."""
    segment, head = open_segment(folder, memory, now)
    try:
        witness = _witness(folder)
        tree, told = regrow(folder, head, witness)
    except OSError as error:
        segment.close()
        raise StorageError(5007, f"{folder}: {error.strerror}") from error
    except BaseException:
        segment.close()
        raise
    return segment, Place(head, tree, segment.number, segment.end), told, witness


def _witness(folder: Path) -> Note | None:
    """The newest checkpoint that a known key signed."""
    try:
        return checkpoints.newest(folder, known_keys(folder))
    except ValueError:
        return None  # `keys.vkey` is not as it was written, which the notary tells
