"""Verification of the log as it lies on the disk, without the relay and without a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.audit.segments import Line, lines, segments
from relay.core.chain import Verdict, verify


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found.

    Attributes:
        files: how many segments there are; 0 means there is no log.
        verdict: the chain's end and the first bad line.
        torn: bytes at the log's end that a crash tore; the relay sets them aside when it starts.

    """

    files: int
    verdict: Verdict
    torn: int


def verify_folder(folder: Path) -> Report:
    """Follow the chain through all segments of an audit folder. A running relay may go on writing meanwhile.

    Raises:
        OSError: the folder or a file in it cannot be read.

    """
    found = segments(folder)
    walk = _Walk(found)
    verdict = verify(line.text for line in walk)
    return Report(len(found), verdict, walk.torn)


class _Walk:
    """The lines of all segments up to a torn end, whose size is kept."""

    def __init__(self, found: Sequence[Path]) -> None:
        self._found = found
        self.torn = 0

    def __iter__(self) -> Iterator[Line]:
        for segment in self._found:
            size = segment.stat().st_size
            for line in lines(segment):
                if segment == self._found[-1] and line.is_torn(size):
                    self.torn = max(size - line.offset, len(line.raw))
                    return
                yield line
