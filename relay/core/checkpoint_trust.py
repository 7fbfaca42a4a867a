"""What signed checkpoints prove of a log that was read: decisions only.

Trust begins with the keys that the reader brings. A log tells of its keys itself, in lines of its own (event `key`): a
trusted checkpoint that covers such a line vouches for the keys in it, because the relay that could sign put them there.
So whoever noted one public key follows every rotation, forward and back.

A key that gave way to another signs no more: beyond the line that says so its signature counts only beside that of its
successor. So who steals a key is out as soon as it was replaced, for whoever trusts the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relay.core.chain import Bad
from relay.core.checkpoint import Check, Note, PublicKey, signers


@dataclass(frozen=True, slots=True)
class Told:
    """A key that the log's line `seq` tells of; with `former`, it took over from that one."""

    seq: int
    key: PublicKey
    former: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of a log: the chain's first bad line, how many lines there are, and the roots at some sizes."""

    bad: Bad | None
    lines: int
    roots: Mapping[int, bytes]
    told: Sequence[Told] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What checkpoints say of a log.

    Attributes:
        bad: the first line that is not as it was written; None when chain and checkpoints are satisfied.
        verified: the checkpoints that fit, the smallest first.
        problems: checkpoints that prove nothing, by name, and why.
        keys: every key that is trusted in the end.

    """

    bad: Bad | None
    verified: tuple[Note, ...]
    problems: tuple[tuple[str, str], ...]
    keys: frozenset[PublicKey]


def judge(seen: Seen, notes: Mapping[str, Note], trusted: Collection[PublicKey], check: Check) -> Judgement:
    """Compare a log with checkpoints; `notes` by the name to call them by."""
    keys = _vouched(seen, notes.values(), frozenset(trusted), check)
    signed, problems = list[Note](), list[tuple[str, str]]()
    for name, note in notes.items():
        try:
            if _signed(seen, note, keys, check):
                signed.append(note)
            elif signers(note, keys, check):
                problems.append((name, "only a key signed it that had given way to another"))
            else:
                problems.append((name, "no known key signed it"))
        except ValueError as error:
            problems.append((name, str(error)))
    signed.sort(key=lambda note: note.size)
    verified = [note for note in signed if _fits(seen, note)]
    return Judgement(_first_bad(seen, signed, verified), tuple(verified), tuple(problems), keys)


def _vouched(seen: Seen, notes: Collection[Note], trusted: frozenset[PublicKey], check: Check) -> frozenset[PublicKey]:
    """The trusted keys, and those that a line tells of which a checkpoint of such a key covers."""
    while True:
        proven = (note.size for note in notes if _fits(seen, note) and _proves(seen, note, trusted, check))
        covered = max(proven, default=0)
        more = trusted | {told.key for told in seen.told if told.seq <= covered}
        if more == trusted:
            return trusted
        trusted = more


def _proves(seen: Seen, note: Note, keys: frozenset[PublicKey], check: Check) -> bool:
    try:
        return _signed(seen, note, keys, check)
    except ValueError:
        return False


def _signed(seen: Seen, note: Note, keys: frozenset[PublicKey], check: Check) -> bool:
    """Whether one of these keys signed a note, and might.

    Why of a note that does not fit any of them may: it accuses the lines, and they cannot speak against it.

    Raises:
        ValueError: a signature is false.

    """
    if not _fits(seen, note):
        return bool(signers(note, keys, check))
    next_of: dict[PublicKey, PublicKey] = {}
    for told in seen.told:
        if told.former is not None and told.seq <= note.size:
            next_of.setdefault(told.former, told.key)
    by = set(signers(note, keys | frozenset(next_of.values()), check))
    return any(_may_sign(key, by, next_of) for key in by & keys)


def _may_sign(key: PublicKey, by: Collection[PublicKey], next_of: Mapping[PublicKey, PublicKey]) -> bool:
    """Whether a key had not given way yet, or all that followed it signed as well."""
    passed = {key}
    while key in next_of:
        key = next_of[key]
        if key not in by or key in passed:
            return False
        passed.add(key)
    return True


def _fits(seen: Seen, note: Note) -> bool:
    return seen.roots.get(note.size) == note.root and (seen.bad is None or note.size < seen.bad.seq)


def _first_bad(seen: Seen, signed: Sequence[Note], verified: Sequence[Note]) -> Bad | None:
    """The earliest line that chain or checkpoints accuse.

    A checkpoint accuses all lines since the one before that fits; where the chain names one of them, that is the line.
    """
    for note in signed:
        if _fits(seen, note) or (seen.bad is not None and note.size >= seen.bad.seq):
            continue
        if note.size > seen.lines:
            return Bad(seen.lines + 1, f"is missing: a signed checkpoint covers {note.size} lines")
        first = 1 + max((one.size for one in verified if one.size < note.size), default=0)
        span = f"line {first}" if first == note.size else f"one of the lines {first} to {note.size}"
        return Bad(first, f"is not proven: {span} is not what a signed checkpoint covers")
    return seen.bad
