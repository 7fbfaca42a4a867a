"""Who else could change a file that the relay believes: its group or others, by the file or by a folder on its path."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from relay.config.problems import printable

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40  # as many as Linux follows


def name_of(path: Path) -> str:
    """A path for people; what cannot be printed is replaced."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def open_to_others(path: Path, mode: int) -> str | None:
    """Why others than its owner can change what is read at `path`, and what ends that; None when they cannot.

    Folders count all the way up, and wherever links lead on the way: who may write to one of them may put another file
    there. In a folder with the sticky bit, as `/tmp`, only the owner of an entry may. A folder that the relay's own
    user made, who is not root, may be open to its group: so a developer's folders are on many systems.

    Args:
        path: where the file is.
        mode: of the file as it was opened.

    """
    if mode & WRITABLE_BY_OTHERS:
        return f"others than its owner may write here; run: chmod go-w {name_of(path)}"
    for folder in dict.fromkeys((*path.absolute().parents, *reversed([*_walked(path)]))):
        if _is_open(folder):
            name = name_of(folder)
            return f"others may put another file here, since they may write to {name}; run: chmod go-w {name}"
    return None


def _walked(path: Path) -> Iterator[Path]:
    """Every folder in which a name on the way to the file stands, those between two links included."""
    at, links = Path("/"), 0
    names = list(reversed(path.absolute().parts[1:]))
    while names:
        yield at
        name = names.pop()
        if name == "..":
            at = at.parent
            continue
        at /= name
        try:
            target = at.readlink()
        except OSError:  # no link
            continue
        links += 1
        if links > _MOST_LINKS:
            return  # the file was opened, so its links end, or were changed just now
        at = Path("/") if target.is_absolute() else at.parent
        names += reversed([part for part in target.parts if part != "/"])


def _is_open(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # the file was found, so its folders are there
        found = folder.stat()
        if found.st_mode & stat.S_ISVTX:
            return False
        # A person's own folder: where everybody has a group of his own, new folders can be written by it.
        own = found.st_uid == os.geteuid() != 0
        return bool(found.st_mode & (stat.S_IWOTH if own else WRITABLE_BY_OTHERS))
    return False
