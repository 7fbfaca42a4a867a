"""The log's lines for people, chosen by time, job and event. Nothing is verified; a running relay may write on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.audit.segments import lines, segments
from relay.core.jobs import Json

Entry = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: those that satisfy every part that is given.

    Attributes:
        since: not before this time, as lines write it (`2026-01-31T23:59:59.123Z`).
        until: before this time.
        job: of this job, or of all whose id begins so.
        events: with one of these events; empty for all.

    """

    since: str = ""
    until: str = ""
    job: str = ""
    events: frozenset[str] = frozenset()

    def __contains__(self, entry: Entry) -> bool:
        time = str(entry.get("time", ""))
        return (
            self.since <= time
            and (not self.until or time < self.until)
            and str(entry.get("job", "")).startswith(self.job)
            and (not self.events or str(entry.get("event", "")) in self.events)
        )


def every(folder: Path, wanted: Wanted) -> Iterator[tuple[bytes, Entry]]:
    """The wanted lines, the oldest first: as they are written, and read.

    What is no line (a torn end, something that does not belong there) is left out; verification tells of it.

    Raises:
        OSError: the log cannot be read.

    """
    for segment in segments(folder):
        yield from _in(segment, wanted)


def newest(folder: Path, wanted: Wanted, most: int) -> list[Entry]:
    """The newest wanted lines, the oldest of them first. Reads backwards as far as is needed.

    Raises:
        OSError: the log cannot be read.

    """
    found: list[Entry] = []
    for segment in reversed(segments(folder)):
        some = deque((entry for _, entry in _in(segment, wanted)), maxlen=most - len(found))
        found = [*some, *found]
        if len(found) >= most or _begins_before(segment, wanted.since):
            break
    return found


def _in(segment: Path, wanted: Wanted) -> Iterator[tuple[bytes, Entry]]:
    for line in lines(segment):
        entry = _entry(line.raw)
        if entry is not None and entry in wanted:
            yield line.text, entry


def _begins_before(segment: Path, time: str) -> bool:
    """Whether a segment's first line is older than a time: then those before it have nothing to give."""
    if not time:
        return False
    first = next(lines(segment), None)
    entry = _entry(first.raw) if first is not None else None
    return entry is not None and str(entry.get("time", "")) < time


def _entry(raw: bytes) -> Entry | None:
    try:
        entry = json.loads(raw) if raw.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
