"""When an account that was refused may be tried again, and how many tokens it may hold.

The appliance locks an API account after some consecutive refusals, and it keeps at most 30 valid tokens an account: the
31st makes the oldest invalid, perhaps one that another program uses (vendor's API documentation).

Everything here is a function of a value and the monotonic time, in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SEVERAL = 3
"""Refusals in a row after which calls are no longer said to be refused but to wait."""

PAUSES = (15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0)
"""Seconds after the first, second, ... refusal in a row, then always the last: six attempts in the first 15 minutes."""

CHANCES = 3
"""Changed secrets that end a pause. More of them, within `CHANCES_IN` seconds, are a file that two programs fight over,
each of whose contents would be one refusal more."""

CHANCES_IN = 900.0

MOST_TOKENS = 20
"""Live tokens that the relay takes for itself of the 30: other programs may use the account, too."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often the account was refused in a row, and when it may be tried again."""

    count: int = 0
    not_before: float = -math.inf

    @property
    def several(self) -> bool:
        """Whether this is more than an accident."""
        return self.count >= SEVERAL


def refused(refusals: Refusals, now: float) -> Refusals:
    """The account was refused once more."""
    pause = PAUSES[min(refusals.count, len(PAUSES) - 1)]
    return Refusals(refusals.count + 1, now + pause)


def chance(given: tuple[float, ...], now: float) -> tuple[float, ...] | None:
    """Whether a changed secret ends the pause after a refusal: the times of such chances with this one, or None."""
    recent = tuple(time for time in given if time > now - CHANCES_IN)
    return (*recent, now) if len(recent) < CHANCES else None


def issued(live: tuple[float, ...], now: float, expires: float) -> tuple[float, ...]:
    """Remember a token by the time at which it expires; those that have expired are forgotten."""
    return (*(time for time in live if time > now), expires)


def wait_for_token(refusals: Refusals, live: tuple[float, ...], now: float) -> float:
    """Seconds until a token may be asked for; 0 means now."""
    alive = sorted(time for time in live if time > now)
    room = alive[len(alive) - MOST_TOKENS] - now if len(alive) >= MOST_TOKENS else 0.0
    return max(0.0, refusals.not_before - now, room)


def renew_at(issued_at: float, life: float) -> float:
    """When a token is renewed: five minutes before its end, or at five sixths of a short life."""
    return issued_at + life - min(300.0, life / 6)
