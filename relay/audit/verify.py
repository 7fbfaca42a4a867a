"""Verification of the log as it lies on the disk, without the relay: the chain, and the checkpoints over its tree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay.audit import checkpoints
from relay.audit.keys import KEY_EVENT, check, keys_told, known_keys
from relay.audit.segments import Line, lines, segments
from relay.core.chain import Bad, Verdict, verify
from relay.core.checkpoint import Note, PublicKey
from relay.core.checkpoint_trust import Judgement, Seen, Told, judge
from relay.core.merkle import EMPTY, Tree, leaf_hash

_PORTION = 4096
"""Lines whose leaves go into the tree together."""


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found.

    Attributes:
        files: how many segments there are; 0 means there is no log.
        verdict: the chain's end and its first bad line.
        torn: bytes at the log's end that a crash tore; the relay sets them aside when it starts.
        judgement: what the checkpoints say, and the first bad line of all.

    """

    files: int
    verdict: Verdict
    torn: int
    judgement: Judgement

    @property
    def bad(self) -> Bad | None:
        """The first line that chain or checkpoints accuse."""
        return self.judgement.bad

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with lines and checkpoints."""
        return self.bad is None and not self.judgement.problems


def verify_folder(
    folder: Path, keys: Collection[PublicKey] | None = None, given: Mapping[str, Note] | None = None
) -> Report:
    """Follow the chain through all segments of an audit folder, and compare the tree with every checkpoint.

    A running relay may go on writing meanwhile.

    Args:
        folder: the audit folder.
        keys: the public keys that are trusted; None for those that lie in the folder itself.
        given: further checkpoints, from elsewhere, by the names to call them by.

    Raises:
        OSError: the folder or a file in it cannot be read.

    """
    notes, problems = _notes(folder)  # before the lines: what they cover is there by then
    notes |= given or {}
    if keys is None:
        try:
            keys = known_keys(folder)
        except ValueError as error:
            keys = ()
            problems.append(("keys.vkey", str(error)))
    found = segments(folder)
    walk = _Walk(found, {note.size for note in notes.values()})
    verdict = verify(line.text for line in walk)
    judgement = judge(walk.seen(verdict.bad), notes, keys, check)
    if problems:
        judgement = Judgement(judgement.bad, judgement.verified, (*problems, *judgement.problems), judgement.keys)
    return Report(len(found), verdict, walk.torn, judgement)


def _notes(folder: Path) -> tuple[dict[str, Note], list[tuple[str, str]]]:
    """The checkpoints in the folder, and those that are none."""
    notes: dict[str, Note] = {}
    problems: list[tuple[str, str]] = []
    for path in checkpoints.paths(folder):
        try:
            notes[path.name] = checkpoints.read(path)
        except FileNotFoundError:
            continue  # the relay keeps the newest ones
        except ValueError as error:
            problems.append((path.name, str(error)))
    return notes, problems


@dataclass(slots=True)
class _Walk:
    """The lines of all segments up to a torn end, and on the way what is needed to judge checkpoints."""

    found: Sequence[Path]
    sizes: Collection[int]
    torn: int = 0
    _tree: Tree = field(default_factory=Tree)
    _leaves: list[bytes] = field(default_factory=list)
    _roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY})
    _told: list[Told] = field(default_factory=list)

    def __iter__(self) -> Iterator[Line]:
        for segment in self.found:
            size = _size(segment) if segment == self.found[-1] else None
            for line in lines(segment):
                if size is not None and line.is_torn(size):
                    self.torn = max(size - line.offset, len(line.raw))
                    return
                self._note(line.text)
                yield line

    def _note(self, text: bytes) -> None:
        self._leaves.append(leaf_hash(text))
        number = self._tree.size + len(self._leaves)
        if number in self.sizes or len(self._leaves) == _PORTION:
            self._grow()
        if KEY_EVENT in text:
            self._told += keys_told(number, text)

    def _grow(self) -> None:
        self._tree = self._tree.with_leaves(self._leaves)
        self._leaves.clear()
        if self._tree.size in self.sizes:
            self._roots[self._tree.size] = self._tree.root

    def seen(self, bad: Bad | None) -> Seen:
        """What was read."""
        self._grow()
        return Seen(bad, self._tree.size, self._roots, self._told)


def _size(segment: Path) -> int | None:
    """A segment's size; None when it was compressed meanwhile, so that its end is whole."""
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return None
