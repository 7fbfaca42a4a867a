"""How many changes go into one batch: it starts small, grows while the instance is quick, halves on trouble.

Why it adapts: ServiceNow serves a batch one part after the other under a quota of 30 s, and what does not fit comes
back unserved. One table write may cost it 1 ms or 50 ms, depending on the instance's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

START = 20
AIM = 5.0
"""Seconds that a batch should take the instance at most: far from its 30 s, and soon enough for what waits behind."""
URGENT = 5
"""Changes that an urgent batch holds at most, so that the first of them is not kept by the last."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The present size and its bound."""

    most: int
    size: int = START

    def now(self, *, urgent: bool) -> int:
        """How many changes the next batch should hold at most."""
        return max(1, min(self.size, self.most, URGENT if urgent else self.most))

    def served(self, count: int, seconds: float) -> BatchSize:
        """The size after a batch of `count` was served whole in `seconds`.

        Only a batch as large as the size says anything about a larger one.
        """
        if seconds > AIM:
            return self.trouble()
        if count < self.size:
            return self
        # Never beyond what would take AIM at the speed just seen; at most doubled, since speed varies.
        fits = int(min(self.most, count * AIM / seconds)) if seconds > 0 else self.most
        return replace(self, size=max(1, min(self.most, self.size * 2, max(fits, self.size))))

    def trouble(self) -> BatchSize:
        """The size after a batch was not served whole, or too slowly."""
        return replace(self, size=max(1, self.size // 2))
