"""The end of the log as a stopped relay left it: where it goes on, and what a crash tore.

Why a torn end is no sign of tampering: nothing was done on the strength of a line before it was on disk whole, so a
torn one belongs to no effect. It is kept in a file beside and its loss is a line of the log.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.audit.memory import Memory
from relay.audit.segments import Line, is_compressed, lines
from relay.core.chain import Head, head_of, key_in
from relay.core.errors import StorageError
from relay.host.files import open_private, sync_folder

REMEMBERED = 16 * 1024 * 1024
"""Bytes of the log's end that are read at start, to know which entries need not be written again."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the log goes on: the chain's end, the offset in the last segment, and whether bytes lie beyond it."""

    head: Head
    end: int
    torn: bool


def read_tail(found: Sequence[Path], memory: Memory) -> Tail:
    """Look at the last segments; remembers the entries in them.

    Raises:
        OSError: a segment cannot be read.
        StorageError: BSR-5011, the last whole line is not a line of a log.

    """
    size = found[-1].stat().st_size
    good: deque[Line] = deque(maxlen=2)
    end = 0
    for line in _last_lines(found):
        of_last = line.segment == found[-1]
        if of_last and line.is_torn(size):
            break
        good.append(line)
        memory.add(key_in(line.raw))
        end = line.offset + len(line.raw) if of_last else 0
    if good and head_of(good[-1].text) is None and good[-1].segment == found[-1]:
        end = good.pop().offset  # bad at the very end
    if not good:
        return Tail(Head(), end, end < size)
    head = head_of(good[-1].text)
    if head is None:
        raise StorageError(5011, f"{good[-1].segment}: the last line is not a line of the log")
    return Tail(head, end, end < size)


def keep_torn(segment: Path, end: int) -> Path:
    """Copy what lies beyond `end` into a private file beside the segment, durably; returns its path.

    Raises:
        OSError: it cannot be written.

    """
    number = 1
    while (beside := segment.with_name(f"{segment.name}.torn-{number}")).exists():
        number += 1
    descriptor = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with segment.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
            source.seek(end)
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        sync_folder(segment.parent)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _last_lines(found: Sequence[Path]) -> Iterator[Line]:
    """The lines in the last `REMEMBERED` bytes of the log, oldest first."""
    room = REMEMBERED
    starts: list[tuple[Path, int]] = []
    for segment in reversed(found):
        if is_compressed(segment):  # larger than `room`, or it would not be compressed
            starts.append((segment, 0))
            break
        size = segment.stat().st_size
        starts.append((segment, max(0, size - room)))
        room -= size
        if room <= 0:
            break
    for segment, start in reversed(starts):
        yield from lines(segment, start)
