"""An operation's own limit, `per_minute`, as a value that time is given to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW: Final = 60.0
"""Seconds that the limit counts over; any 60 seconds, not calendar minutes."""


@dataclass(frozen=True, slots=True)
class RateWindow:
    """The calls of the last minute. `starts` are times of a monotonic clock, oldest first."""

    starts: tuple[float, ...] = ()

    def take(self, limit: int, now: float) -> tuple[RateWindow, float]:
        """Count a call that is to start now.

        Returns the new state and 0.0 when it may start; else the state without it and the seconds to wait. A limit
        of 0 is none.
        """
        if not limit:
            return self, 0.0
        recent = tuple(start for start in self.starts if start + WINDOW > now)
        if len(recent) < limit:
            return RateWindow((*recent, now)), 0.0
        return RateWindow(recent), recent[-limit] + WINDOW - now
