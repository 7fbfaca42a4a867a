"""The files of the audit log: `000001.jsonl`, `000002.jsonl` and so on, one chain through all of them.

The last one is written to. Those before it are complete and may be compressed: `000001.jsonl.gz` holds the same bytes.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from relay.core.chain import LONGEST_LINE

FOLDER = "audit"
"""In the state folder."""
FIRST = "000001.jsonl"
COMPRESSED = ".gz"
LARGEST_WRITE = 1024 * 1024
"""Bytes written before they are synced. After a power cut, zero bytes in the last so many are pages that were lost."""
DAMAGED = b"\0damaged\n"
"""What is read where a compressed segment cannot be read on: no line of a log."""
_NAME = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.jsonl(?:\.gz)?", re.ASCII)


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

        A write that was cut short has no line feed; a page that never reached the disk reads as zero bytes. Nobody
        writes to a compressed segment.
        """
        if is_compressed(self.segment):
            return False
        if not self.raw.endswith(b"\n") and len(self.raw) <= LONGEST_LINE:
            return True
        return b"\0" in self.raw and self.offset >= size - LARGEST_WRITE


def segments(folder: Path) -> list[Path]:
    """The log's files in their order; of a segment in both forms the plain one.

    Raises:
        OSError: the folder cannot be read.

    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):  # the plain form comes first
        if _NAME.fullmatch(path.name):
            found.setdefault(number_of(path), path)
    return [path for _, path in sorted(found.items())]


def number_of(segment: Path) -> int:
    """A segment's place in the order."""
    return int(segment.name.partition(".")[0])


def name_of(number: int) -> str:
    """The name of a segment that is written to."""
    return f"{number:06}.jsonl"


def is_compressed(segment: Path) -> bool:
    """Whether a segment has the compressed form."""
    return segment.suffix == COMPRESSED


def compressed(segment: Path) -> Path:
    """The path of a plain segment's compressed form."""
    return segment.with_name(segment.name + COMPRESSED)


def opened(segment: Path) -> BinaryIO:
    """The content of a segment in either form; it may be compressed between being listed and being opened.

    Raises:
        OSError: it cannot be opened.

    """
    try:
        file = segment.open("rb")
    except FileNotFoundError:
        if is_compressed(segment):
            raise
        segment = compressed(segment)
        file = segment.open("rb")
    if not is_compressed(segment):
        return file
    return cast("BinaryIO", io.BufferedReader(_Unzipped(file)))


def lines(segment: Path, start: int = 0) -> Iterator[Line]:
    """The lines of a segment from the first one that begins at `start` or later. Overlong ones come in pieces."""
    with opened(segment) as file:
        offset = start
        try:
            if start > 0:
                file.seek(start - 1)
                offset = start - 1 + len(file.readline())
            while raw := file.readline(LONGEST_LINE + 1):
                yield Line(segment, offset, raw)
                offset += len(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield Line(segment, offset, DAMAGED)


class _Unzipped(gzip.GzipFile):
    """The content of a compressed segment; closes the file beneath it as well."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()
