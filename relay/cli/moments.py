"""Moments and durations as people write them on the command line."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

import click

from relay.config.values import parse_duration

EARLIEST: Final = 0.0
LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999."""
_MOMENT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2}))?", re.ASCII
)


def read_moment(value: str, now: float) -> float:
    """Seconds since the epoch of RFC 3339 with its offset, a date (its beginning in UTC), or how long ago it was.

    Raises:
        click.BadParameter: it is none of these.

    """
    ago = parse_duration(value)
    moment = now - ago if ago is not None else _moment(value)
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise click.BadParameter(
            f"{value!r} is no time; write 2026-01-31, 2026-01-31T12:00:00Z, or how long ago: 2h, 7d"
        )
    return moment


def moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """An option's callback: see `read_moment`."""
    return None if value is None else read_moment(value, time.time())


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """An option's callback: seconds, written like `30s`, `5m` or `2h`."""
    if value is None:
        return None
    seconds = parse_duration(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is no duration; write 30s, 5m or 2h")
    return seconds


def _moment(text: str) -> float | None:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    day, clock, offset = found[1], found[2] or "00:00:00", (found[3] or "Z").upper().replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
