"""Reads the configuration's files: the main one and the drop-ins beside it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from relay.config.document import LARGEST, Document, read
from relay.config.guarded import WRITABLE_BY_OTHERS, name_of, open_to_others
from relay.config.problems import Problem, Source
from relay.config.tree import Map, Mark

MAIN_FILE = "relay.yaml"
DROP_INS = "conf.d"


def is_drop_in(name: str) -> bool:
    """Whether a file of this name in `conf.d` is part of the configuration."""
    return name.endswith(".yaml") and not name.startswith(".")


def read_all(main: Path) -> list[Document]:
    """The main file's document, then those of `conf.d/*.yaml` beside it, in byte order of their names."""
    folder = main.parent / DROP_INS
    try:
        found = [path for path in folder.iterdir() if is_drop_in(path.name)]
    except FileNotFoundError:
        return [_document(main)]
    except OSError as error:
        return [_document(main), _unreadable(folder, error)]
    drop_ins = (_document(path) for path in sorted(found, key=os.fsencode))
    return [_document(main), *_strange(folder, main), *drop_ins]


def _strange(folder: Path, main: Path) -> list[Document]:
    """A problem where a stranger may add drop-ins, or made their folder, as he may where the main file is in `/tmp`."""
    try:
        found, owner = folder.stat(), main.stat().st_uid
    except OSError:
        return []  # the files in it tell more
    name = name_of(folder)
    if found.st_mode & WRITABLE_BY_OTHERS:
        return [_refused(folder, 1010, f"others than its owner may add drop-ins here; run: chmod go-w {name}")]
    if found.st_uid not in {0, os.geteuid(), owner}:
        return [
            _refused(folder, 1010, f"user {found.st_uid} made it, who is neither root nor the owner of {MAIN_FILE}")
        ]
    return []


def _document(path: Path) -> Document:
    """One file. Why the mode is looked at: whoever can write the policy can have any call made."""
    try:
        # Not blocking: a pipe at this place must not stop the start for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                return _refused(path, 1001, "not a file")
            document = read(name_of(path), file.read(LARGEST + 1))
    except OSError as error:
        return _unreadable(path, error)
    why = open_to_others(path, mode)
    if why is not None:
        return replace(document, problems=(*_refused(path, 1010, why).problems, *document.problems))
    return document


def _unreadable(path: Path, error: OSError) -> Document:
    return _refused(path, 1001, error.strerror or type(error).__name__)


def _refused(path: Path, number: int, text: str) -> Document:
    return Document(name_of(path), None, Source(""), (Problem(number, Mark(name_of(path), 1, 1), "", text),))


def empty(file: str) -> Map:
    """A document without keys."""
    return Map(Mark(file, 1, 1), Mark(file, 1, 1))
