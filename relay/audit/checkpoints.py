"""The signed checkpoints in the log's folder: one file each, named by the number of lines that it covers."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from relay.audit.keys import check
from relay.core.checkpoint import LONGEST_NOTE, Note, PublicKey, parse_note, signers
from relay.host.files import private_folder, write_private

FOLDER: Final = "checkpoints"
"""In the log's folder."""
KEPT: Final = 1000
"""Checkpoints that are kept, the newest. An older one proves nothing that a newer one does not prove, but for those
of a rotation, which two keys signed: they all stay."""
_NAME = re.compile(r"[0-9]{12,18}\.note", re.ASCII)


def write(log_folder: Path, note: Note) -> Path:
    """Store a checkpoint, durably; older ones than are kept go.

    Raises:
        OSError: it cannot be written.

    """
    folder = log_folder / FOLDER
    private_folder(folder)
    path = folder / f"{note.size:012}.note"
    write_private(path, note.text.encode())
    for old in paths(log_folder)[:-KEPT]:
        if _may_go(old):
            old.unlink(missing_ok=True)
    return path


def paths(log_folder: Path) -> list[Path]:
    """The checkpoints' files, the smallest first.

    Raises:
        OSError: the folder cannot be read.

    """
    folder = log_folder / FOLDER
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem))


def read(path: Path) -> Note:
    """A checkpoint of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.

    """
    with path.open("rb") as file:
        return parse_note(file.read(4 * LONGEST_NOTE + 1).decode())


def newest(log_folder: Path, keys: Collection[PublicKey]) -> Note | None:
    """The newest checkpoint that one of these keys signed; None when there is none.

    Raises:
        OSError: one cannot be read.

    """
    for path in reversed(paths(log_folder)):
        try:
            note = read(path)
            if signers(note, keys, check):
                return note
        except ValueError:
            continue
    return None


def _may_go(path: Path) -> bool:
    try:
        return len(read(path).signatures) == 1
    except (OSError, ValueError):
        return False  # not ours
