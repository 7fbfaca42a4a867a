"""How long to wait before the next try. Randomness is a parameter: a number in [0, 1)."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 300.0
"""Seconds. No wait that the relay chooses itself is longer; a stored time further away is a clock's fault."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, each spread over its upper half by jitter."""

    first: float
    longest: float

    def delay(self, tries: int, jitter: float, at_least: float | None = None) -> float:
        """Seconds to wait after `tries` failures in a row (1 after the first).

        `at_least` is what the other side asked for; it is obeyed up to `LONGEST`.
        """
        full = min(self.longest, self.first * 2.0 ** min(tries - 1, 32))
        chosen = full * (0.5 + jitter / 2)
        return max(chosen, min(at_least, LONGEST)) if at_least else chosen


def spread(interval: float, jitter: float) -> float:
    """An interval varied by a tenth to either side, so that many relays do not poll in step."""
    return interval * (0.9 + 0.2 * jitter)
