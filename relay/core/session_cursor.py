"""The moment since when an appliance is asked which sessions ended: where a look begins, and what it moves to.

It is one of the appliance's clock, which may be wrong for a while, or may not be what answers at all: a proxy writes
`Date` headers of its own. A moment that is too early costs a longer listing. One that is too late leaves sessions out,
and one that is years too early has the appliance's whole past imported. So it never runs ahead of this machine's clock
for more than the overlap, nor back for more than a day while one of the two clocks contradicts.
"""

from __future__ import annotations

from typing import Final

OVERLAP: Final = 3_600.0
"""Seconds before the cursor that each look begins."""
FARTHEST_BACK: Final = 86_400.0
"""Seconds that the cursor follows a clock that was set back."""
SHORTEST: Final = 60
"""Seconds of the shortest piece of time that is asked for by itself."""


def start_of(since: float) -> int:
    """Where a look begins, given the cursor."""
    return int(max(0.0, since - OVERLAP))


def cursor_after(since: float, date: float | None, wall: float) -> float:
    """The cursor after a look that asked for everything until now.

    Args:
        since: the cursor before.
        date: the moment of the answer by the appliance's clock; None when it does not say: the cursor stays then.
        wall: this machine's clock.

    """
    if date is None:
        return since
    until = min(date, wall + OVERLAP)
    if until >= since - FARTHEST_BACK:
        return until
    # Far back only when both clocks say so: then it is the cursor that was wrong.
    latest = max(date, wall)
    return since if latest >= since - FARTHEST_BACK else latest


def narrower(seconds: float) -> int:
    """The piece of time to ask for after the listing of one was too large; 0: none is left that is shorter."""
    half = int(seconds) // 2
    return half if half >= SHORTEST else 0
