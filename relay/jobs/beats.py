"""Proof of life: every loop says within which time it will be heard of again.

Why deadlines of its own for each loop: the watchdog must see a stuck loop, not a slow other side. A loop that waits an
hour for an appliance's budget beats while it waits.
"""

from __future__ import annotations

from relay.jobs.ports import Clock


class Beats:
    """Who has to be heard of by when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}

    def beat(self, name: str, within: float) -> None:
        """`name` lives, and will beat again within so many seconds."""
        self._due[name] = self._clock.monotonic() + within

    def end(self, name: str) -> None:
        """`name` has ended as it should."""
        self._due.pop(name, None)

    def late(self) -> list[str]:
        """Who has not been heard of in time."""
        now = self._clock.monotonic()
        return sorted(name for name, due in self._due.items() if due < now)
