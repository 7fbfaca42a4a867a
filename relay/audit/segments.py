"""The files of the audit log: `000001.jsonl`, `000002.jsonl` and so on, one chain through all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.core.chain import LONGEST_LINE

FOLDER = "audit"
"""In the state folder."""
FIRST = "000001.jsonl"
LARGEST_WRITE = 1024 * 1024
"""Bytes written before they are synced. After a power cut, zero bytes in the last so many are pages that were lost."""
_NAME = re.compile(r"([0-9]{6,})\.jsonl", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """Some bytes of a segment: a line with its line feed, or what is there instead."""

    segment: Path
    offset: int
    raw: bytes

    @property
    def text(self) -> bytes:
        """The line without its line feed."""
        return self.raw.removesuffix(b"\n")

    def is_torn(self, size: int) -> bool:
        """Whether a crash or power cut left this at the end of a segment of `size` bytes.

        A write that was cut short has no line feed; a page that never reached the disk reads as zero bytes.
        """
        if not self.raw.endswith(b"\n") and len(self.raw) <= LONGEST_LINE:
            return True
        return b"\0" in self.raw and self.offset >= size - LARGEST_WRITE


def segments(folder: Path) -> list[Path]:
    """The log's files in their order.

    Raises:
        OSError: the folder cannot be read.

    """
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def lines(segment: Path, start: int = 0) -> Iterator[Line]:
    """The lines of a file from the first one that begins at `start` or later. Overlong ones come in pieces."""
    with segment.open("rb") as file:
        offset = start
        if start > 0:
            file.seek(start - 1)
            offset = start - 1 + len(file.readline())
        while raw := file.readline(LONGEST_LINE + 1):
            yield Line(segment, offset, raw)
            offset += len(raw)
