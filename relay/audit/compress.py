"""Closed segments become gzip files, which every reader of the log understands.

The order of durable steps: the compressed form beside, synced; its name, synced; both forms compared; the plain form
goes, synced. A crash in between leaves the plain form, or both, and the next round goes on from there.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relay.audit.segments import compressed, is_compressed, opened
from relay.audit.tail import REMEMBERED
from relay.core.space import may_claim
from relay.host.files import free_bytes, open_private, sync_folder

LEVEL: Final = 6
_CHUNK: Final = 256 * 1024


def ripe(found: Sequence[Path]) -> list[Path]:
    """The segments to compress: plain, closed, and not needed by a start.

    Why the one before the last waits: a start reads the last bytes of the log, and should not have to decompress.
    """
    if not found:
        return []
    *closed, last = found
    if closed and not is_compressed(last) and last.stat().st_size < REMEMBERED:
        closed.pop()
    return [segment for segment in closed if not is_compressed(segment)]


def has_room(segment: Path) -> bool:
    """Whether compressing a segment leaves the disk the room that work needs."""
    return may_claim(free_bytes(segment.parent) - segment.stat().st_size)


def compress(segment: Path) -> bool:
    """Replace a closed segment by its compressed form; the same content always becomes the same bytes.

    Returns whether it was replaced: not when a compressed form of other content stands in its place. Then both are
    kept, since one of them was changed.

    Raises:
        OSError: there is no room, or the disk failed; the plain form is still there.

    """
    target = compressed(segment)
    if not target.exists():
        _write(segment, target)
    if not _same(segment, target):
        return False
    segment.unlink()
    sync_folder(segment.parent)
    return True


def _write(segment: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with (
                segment.open("rb") as source,
                gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=0) as packed,
            ):
                shutil.copyfileobj(source, packed, _CHUNK)
            raw.flush()
            os.fsync(raw.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(target)
    sync_folder(target.parent)


def _same(segment: Path, target: Path) -> bool:
    """Whether both forms hold the same bytes."""
    with segment.open("rb") as plain, opened(target) as packed:
        try:
            while one := plain.read(_CHUNK):
                if packed.read(len(one)) != one:
                    return False
            return packed.read(1) == b""
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return False
