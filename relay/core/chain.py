"""The audit log's chain of hashes: how a line is made, and how a changed one is found.

A line is one JSON object in canonical form (names sorted, no spaces, UTF-8). `seq` counts from 1, `prev` is the SHA-256
(hexadecimal) of the exact bytes of the line before, without its line feed; the first line's is `GENESIS`. `check` is
the first 16 digits of the SHA-256 of the same line without `check`.

Why `check`, when anybody can make it anew: the chain alone says that one of two neighbours was changed, and nothing of
the last line. With it the line itself tells, unless its maker took care, and then its successor does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relay.core.jobs import Json
from relay.core.plain import clean

GENESIS = hashlib.sha256(b"bseries-relay audit log v1").hexdigest()
"""`prev` of the first line: the hash of the text `bseries-relay audit log v1`."""
LONGEST_TEXT = 512
"""Characters of a value. A log line tells what happened; it is no place for what was sent."""
LONGEST_LINE = 64 * 1024
"""Bytes. A reader never needs more memory than this for a line."""
OWN_FIELDS = frozenset({"seq", "time", "prev", "check"})
NEEDED_FIELDS = frozenset({"event", "job", "attempt"})
_CHECK_DIGITS = 16
_OWN_BYTES = 256  # of the log's own fields in a line, generously
_TOKEN = re.compile(rb'[{,]"(appliance|attempt|event|job|operation|seen)":("(?:[^"\\]|\\.)*"|[^,}"]*)')

_TELLING = ("seen", "operation", "appliance")

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

Entry = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the last line's number and hash."""

    seq: int = 0
    digest: str = GENESIS


@dataclass(frozen=True, slots=True)
class Bad:
    """The first line that is not as it was written: its number, and what is wrong."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look along the chain found: its end, and the first bad line (None: sound)."""

    head: Head
    bad: Bad | None


def entry_of(fields: Mapping[str, Json]) -> Entry:
    """An entry fit for the log: texts are cleaned and cut.

    Raises:
        ValueError: a field is missing, is the log's own, or is no scalar, or there are too many; a fault of the caller.

    """
    missing, own = NEEDED_FIELDS - fields.keys(), OWN_FIELDS & fields.keys()
    if missing or own:
        msg = f"an audit entry lacks {sorted(missing)} or sets {sorted(own)}"
        raise ValueError(msg)
    entry = {clean(name)[:LONGEST_TEXT]: _scalar(name, value) for name, value in fields.items()}
    if len(_canonical(entry)) > LONGEST_LINE - _OWN_BYTES:
        msg = "an audit entry is too long"
        raise ValueError(msg)
    return entry


def _scalar(name: str, value: Json) -> str | int | float | bool | None:
    if isinstance(value, str):
        return clean(value[:LONGEST_TEXT])[:LONGEST_TEXT]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    msg = f"audit field {name} is no scalar"
    raise ValueError(msg)


def key_of(entry: Entry) -> tuple[bytes, bytes]:
    """What makes an entry the same as one in the log: its job, its event with attempt, and more. As bytes of JSON.

    Why `seen`, where an entry has it: a record that was given up and comes back is a new job of the same id. Its calls
    must not be left out because those of the former were logged. Why operation and appliance: an intent may be on disk
    and its call not made, and the next configuration make another call of the record.
    """
    found = {name.encode(): _canonical(entry[name]) for name in ("event", "attempt", *_TELLING) if name in entry}
    return _canonical(entry["job"]), _step(found)


def key_in(line: bytes) -> tuple[bytes, bytes]:
    """`key_of` the entry of a line that this log wrote. Whatever the line is, it does not raise."""
    found = dict(_TOKEN.findall(line))
    return found.get(b"job", b""), _step(found)


def _step(found: Mapping[bytes, bytes]) -> bytes:
    more = b"".join(b" %s=%s" % (name.encode(), found[name.encode()]) for name in _TELLING if name.encode() in found)
    return found.get(b"event", b"") + b" " + found.get(b"attempt", b"") + more


def next_line(head: Head, entry: Entry, time: str) -> tuple[bytes, Head]:
    """The line (without line feed) that an entry becomes, and the chain's new end."""
    whole = {**entry, "seq": head.seq + 1, "time": time, "prev": head.digest}
    whole["check"] = _check(_canonical(whole)).decode()
    line = _canonical(whole)
    return line, Head(head.seq + 1, digest_of(line))


def digest_of(line: bytes) -> str:
    """The hash that the next line's `prev` holds."""
    return hashlib.sha256(line).hexdigest()


def head_of(line: bytes) -> Head | None:
    """The chain's end when this is its last line; None when it is no line of a log."""
    read = _read(line)
    return None if read is None else Head(read["seq"], digest_of(line))


def follows(line: bytes, head: Head) -> bool:
    """Whether a line says that it comes right after this end of a chain."""
    read = _read(line)
    return read is not None and (read["seq"], read["prev"]) == (head.seq + 1, head.digest)


def verify(lines: Iterable[bytes]) -> Verdict:
    """Follow the chain from its beginning, lines without line feeds, up to the first bad one.

    Where a line's `prev` is not the hash of the line before, either may have been changed: it is the earlier one,
    unless the later one is disowned by its own successor as well.
    """
    head, following = Head(), iter(lines)
    for line in following:
        read = _read(line)
        bad = _look(line, read, head)
        if bad is not None or read is None:
            return Verdict(head, bad)
        if read["prev"] != head.digest:
            return Verdict(head, _blame(head, digest_of(line), following))
        head = Head(head.seq + 1, digest_of(line))
    return Verdict(head, None)


def _look(line: bytes, read: dict[str, Json] | None, head: Head) -> Bad | None:
    """What is wrong with a line by itself."""
    expected = head.seq + 1
    if read is None:
        return Bad(expected, "is not a line of the log")
    if read["seq"] != expected:
        return Bad(expected, f"line {read['seq']} stands in its place")
    token = b'"check":"%s",' % str(read.get("check")).encode("utf-8", "surrogatepass")
    if _canonical(read) != line or token != b'"check":"%s",' % _check(line.replace(token, b"", 1)):
        return Bad(expected, "was changed")
    return None


def _blame(head: Head, digest: str, following: Iterator[bytes]) -> Bad:
    """Which of two neighbours that do not fit was changed; `digest` is the later one's hash."""
    if head.seq == 0:
        return Bad(1, "does not begin the chain")
    successor = _read(next(following, b""))
    if successor is not None and successor["prev"] != digest:
        return Bad(head.seq + 1, "was changed: neither neighbour fits it")
    return Bad(head.seq, "was changed: the next line holds another hash of it")


def _read(line: bytes) -> dict[str, Json] | None:
    """The object of a line with its number and link, None when it is none."""
    try:
        read = json.loads(line) if len(line) <= LONGEST_LINE else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or type(read.get("seq")) is not int or not isinstance(read.get("prev"), str):
        return None
    return read


def _check(line: bytes) -> bytes:
    """What `check` holds in the line that is this one without it."""
    return hashlib.sha256(line).hexdigest()[:_CHECK_DIGITS].encode()


def _canonical(value: Json) -> bytes:
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")
