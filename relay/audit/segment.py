"""The log's last file, which is written to: whole lines or nothing.

A write that fails is cut off again, so that the chain never holds half a line and goes on when there is room. What a
failed fsync left on the disk nobody knows: after it nothing is written any more, and the next start reads the file.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import structlog

from relay.audit.memory import Memory
from relay.audit.segments import FIRST, is_compressed, name_of, number_of, segments
from relay.audit.tail import Tail, keep_torn, read_tail
from relay.core.chain import Head, entry_of, next_line
from relay.core.errors import StorageError
from relay.host.files import open_private, private_folder, sync_folder, write_at

log = structlog.get_logger("relay.audit")


class Segment:
    """A segment open for appending at `end`; used from one thread at a time."""

    def __init__(self, path: Path, end: int) -> None:
        """Open a file, which is made when it is missing.

        Raises:
            OSError: it cannot be opened for writing.

        """
        self._path = path
        self._end = end
        self._descriptor = open_private(path)
        self.failure: StorageError | None = None

    @property
    def number(self) -> int:
        """Its place among the segments."""
        return number_of(self._path)

    @property
    def end(self) -> int:
        """How many bytes it holds."""
        return self._end

    def append(self, data: bytes) -> None:
        """Write whole lines and make them durable.

        Raises:
            StorageError: BSR-5007 nothing of it is in the file; BSR-5005 a write was lost, now or earlier.

        """
        if self.failure is not None:
            raise self.failure
        if not data:
            return
        try:
            write_at(self._descriptor, data, self._end)
        except OSError as error:
            self._cut(self._end)
            raise _unwritable(self._path, error) from error
        self._sync()
        self._end += len(data)

    def replace_end(self, data: bytes) -> None:
        """Write whole lines over whatever lies beyond the end.

        Why not cut first and write then: a crash in between would lose the record that something was cut.

        Raises:
            StorageError: BSR-5007, what lies beyond the end is still there; BSR-5005.

        """
        try:
            write_at(self._descriptor, data, self._end)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._sync()
        self._end += len(data)
        self._cut(self._end)

    def next(self) -> Segment:
        """The segment after this one, empty and durable; this one is closed and never written to again.

        Raises:
            StorageError: BSR-5007 there is none, this one goes on; BSR-5005.

        """
        if self.failure is not None:
            raise self.failure
        path = self._path.with_name(name_of(self.number + 1))
        try:
            if path.exists() and path.stat().st_size > 0:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            following = Segment(path, 0)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            sync_folder(path.parent)
        except OSError as error:
            following.close()
            raise self._lost(error) from error
        self.close()
        return following

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _cut(self, end: int) -> None:
        try:
            os.ftruncate(self._descriptor, end)
        except OSError as error:
            raise self._lost(error) from error
        self._sync()

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> StorageError:
        self.failure = StorageError(5005, f"{self._path}: {error.strerror}")
        return self.failure


def open_segment(folder: Path, memory: Memory, now: str) -> tuple[Segment, Head]:
    """The segment to go on with and the chain's end; a torn end is set aside and recorded.

    Args:
        folder: holds the segments; made when it is missing.
        memory: learns which entries the log holds.
        now: the time of the record of a torn end.

    Raises:
        StorageError: BSR-5007 it cannot be written, BSR-5005 a write was lost, BSR-5011 it cannot be continued.

    """
    try:
        private_folder(folder)
        found = segments(folder) or [folder / FIRST]
        if is_compressed(found[-1]):
            found.append(folder / name_of(number_of(found[-1]) + 1))
        Segment(found[-1], 0).close()
        sync_folder(folder)
        tail = read_tail(found, memory)
        segment = Segment(found[-1], tail.end)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        return segment, _mended(segment, found[-1], tail, now) if tail.torn else tail.head
    except BaseException:
        segment.close()
        raise


def _mended(segment: Segment, path: Path, tail: Tail, now: str) -> Head:
    """Set aside what a crash tore and put the record of it in its place; returns the chain's new end."""
    size = path.stat().st_size - tail.end
    try:
        beside = keep_torn(path, tail.end)
    except OSError as error:
        raise _unwritable(path, error) from error
    number = int(beside.name.rpartition("-")[2])
    event = {"event": "torn", "job": "", "attempt": number, "code": "BSR-5010", "file": beside.name, "bytes": size}
    line, head = next_line(tail.head, entry_of(event), now)
    segment.replace_end(line + b"\n")
    log.warning("audit.torn", code="BSR-5010", file=beside.name, bytes=size, seq=head.seq)
    return head


def _unwritable(where: Path, error: OSError) -> StorageError:
    return StorageError(5007, f"{where}: {error.strerror}")
