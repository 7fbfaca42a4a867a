"""The instance's clock, as its `Date` headers tell it.

Why not this machine's: records are dated by the instance, and only two readings of one clock can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

FRESH = 300.0
"""Seconds. An older reading tells nothing any more: this machine may have slept, or its monotonic clock may drift."""
STEP = 30.0
"""Seconds. Less than any `expire` that makes sense, more than NTP slews within `FRESH`."""

_LAST_YEAR = 9999  # a time in it could pass the end of the calendar


@dataclass(frozen=True, slots=True)
class ServerClock:
    """One reading: the instance's time, and this machine's clocks when it arrived; None before the first."""

    reading: float | None = None
    monotonic: float = 0.0
    wall: float = 0.0

    def heard(self, date: str | None, monotonic: float, wall: float) -> ServerClock:
        """The clock after an answer with this `Date` header; unchanged when the header is absent or no date."""
        time = http_date(date)
        return self if time is None else ServerClock(time, monotonic, wall)

    def now(self, monotonic: float, wall: float) -> float | None:
        """Seconds since the epoch; None without a fresh reading. Exact to about a second.

        The monotonic clock stands still while a machine sleeps: what then looks fresh may be hours old. So a step of
        one clock against the other makes the reading an old one, until the next answer comes.
        """
        if self.reading is None or not 0 <= monotonic - self.monotonic <= FRESH:
            return None
        if abs((wall - self.wall) - (monotonic - self.monotonic)) > STEP:
            return None
        return self.reading + (monotonic - self.monotonic)


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date, None when it is none."""
    if not text or len(text) > len("Wednesday, 01-January-1970 00:00:00 GMT "):
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.timestamp() if parsed.tzinfo and parsed.year < _LAST_YEAR else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
