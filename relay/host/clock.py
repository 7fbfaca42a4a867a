"""This machine's clocks, behind one value so that time is a parameter."""

from __future__ import annotations

import time


class Clock:
    """The system's clocks. What needs time takes a `Clock`; tests hand in one of their own."""

    __slots__ = ()

    def wall(self) -> float:
        """Seconds since the epoch, UTC. May jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump; the same clock as asyncio's loop time. Only differences mean anything."""
        return time.monotonic()
