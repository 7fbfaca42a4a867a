"""How far the Merkle tree over the log has grown: kept in a file, so that a start need not read the whole log.

The file is a help and no evidence. It is used only up to what a signed checkpoint covers, since the roots are compared
there, and if the chain goes on from it: the line after its place links to the line before. Without it, or when it does
not fit, the tree is made anew from the lines.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from relay.audit.keys import KEY_EVENT
from relay.audit.segments import lines, number_of, segments
from relay.core.chain import Head, follows
from relay.core.checkpoint import Note
from relay.core.errors import StorageError
from relay.core.merkle import Tree, leaf_hash
from relay.host.files import write_private

FILE: Final = "tree.json"
"""In the log's folder."""
_LARGEST = 16 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines: the chain and the tree up to it, and where the next line begins."""

    head: Head = field(default_factory=Head)
    tree: Tree = field(default_factory=Tree)
    segment: int = 0
    offset: int = 0


def save(folder: Path, place: Place) -> None:
    """Write a place down, durably.

    Raises:
        OSError: it cannot be written.

    """
    value = {
        "seq": place.head.seq,
        "hash": place.head.digest,
        "segment": place.segment,
        "offset": place.offset,
        "peaks": [peak.hex() for peak in place.tree.peaks],
    }
    write_private(folder / FILE, json.dumps(value).encode() + b"\n")


def load(folder: Path) -> Place | None:
    """The place that was written down; None when there is none that can be used."""
    try:
        with (folder / FILE).open("rb") as file:
            match json.loads(file.read(_LARGEST)):
                case {"seq": int(seq), "hash": str(digest), "segment": int(segment), "offset": int(offset),
                      "peaks": list(peaks)} if offset >= 0:  # fmt: skip
                    tree = Tree(seq, tuple(bytes.fromhex(peak) for peak in peaks))
                    return Place(Head(seq, digest), tree, segment, offset)
    except (OSError, ValueError, TypeError, RecursionError):
        pass
    return None


def regrow(folder: Path, head: Head, witness: Note | None) -> tuple[Tree, tuple[bytes, ...]]:
    """The tree over a log whose chain ends at `head`, and the lines about keys that no checkpoint covers.

    `witness` is the newest checkpoint that this log's key signed.

    Raises:
        OSError: the log cannot be read.
        StorageError: BSR-5011, lines are missing, or are not those that the checkpoint covers.

    """
    if witness is not None and witness.size > head.seq:
        raise StorageError(5011, f"line {head.seq + 1} is missing: a signed checkpoint covers {witness.size} lines")
    saved = load(folder) if witness is not None else None
    told: list[bytes] = []
    tree = _from(folder, saved, head, witness, told) if saved is not None else None
    if tree is None:
        told.clear()
        tree = _from(folder, Place(), head, witness, told)
    if tree is None:
        raise StorageError(5011, f"{folder}: its lines do not fit its last line, {head.seq}, or its newest checkpoint")
    return tree, tuple(told)


def _from(folder: Path, start: Place, head: Head, witness: Note | None, told: list[bytes]) -> Tree | None:
    """The tree, begun at a place; None when the log does not go on from there to its end, by way of the witness."""
    covered = witness.size if witness is not None else 0
    texts = _noted(_after(folder, start), start.head.seq, covered, told)
    first = next(texts, None)
    fits = start.head == head if first is None else follows(first, start.head)
    if not fits:
        return None
    leaves = map(leaf_hash, itertools.chain([] if first is None else [first], texts))
    tree = start.tree
    if witness is not None:
        if witness.size < tree.size:
            return None  # nothing proves it
        tree = tree.with_leaves(itertools.islice(leaves, witness.size - tree.size))
        if (tree.size, tree.root) != (witness.size, witness.root):
            return None
    tree = tree.with_leaves(leaves)
    return tree if tree.size == head.seq else None


def _noted(texts: Iterable[bytes], seq: int, covered: int, told: list[bytes]) -> Iterator[bytes]:
    """The lines after number `seq`; what tells of a key and lies beyond `covered` is kept."""
    for number, text in enumerate(texts, seq + 1):
        if number > covered and KEY_EVENT in text:
            told.append(text)
        yield text


def _after(folder: Path, start: Place) -> Iterator[bytes]:
    """The lines from a place on."""
    for segment in segments(folder):
        number = number_of(segment)
        if number >= start.segment:
            yield from (line.text for line in lines(segment, start.offset if number == start.segment else 0))
