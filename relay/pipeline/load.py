"""How much is in hand, by urgency, and how long a batch may therefore wait to fill.

A single record waits for nobody. Among hundreds, each waits seconds for its turn anyway, and a quarter of a second more
lets one request to ServiceNow carry dozens of them.
"""

from __future__ import annotations

from relay.core.jobs import Job
from relay.core.queue import CLOSED, DEAD, DROPPED, INSERTED

FILL = 0.02
"""Seconds that a batch of standard work waits for more; urgent work does not wait."""
LONGEST_FILL = 0.25
BUSY = 40
"""Records in hand from which on filling batches counts more than the single record."""
EACH = 0.0005
"""Seconds of filling for each record in hand."""
ENDED = frozenset({INSERTED, CLOSED, DEAD, DROPPED})


def is_urgent(job: Job) -> bool:
    """Interactive and expedited work, as opposed to standard work."""
    return job.priority < 2  # noqa: PLR2004  # 0 interactive, 1 expedited, 2 standard


class Load:
    """What is in hand; hears of every job that moves."""

    def __init__(self) -> None:
        self._in_hand: dict[bool, set[str]] = {True: set(), False: set()}

    def hear(self, job: Job) -> None:
        """A job was stored in a new state."""
        for known in self._in_hand.values():
            known.discard(job.id)  # the claimed row may have another priority than the one that was seen
        if job.state not in ENDED:
            self._in_hand[is_urgent(job)].add(job.id)

    def busy(self, *, urgent: bool) -> bool:
        """Whether there is so much of this urgency that batches should fill."""
        return len(self._in_hand[urgent]) >= BUSY

    def fill(self, *, urgent: bool) -> float:
        """Seconds that a batch of this urgency waits for more."""
        if self.busy(urgent=urgent):
            return min(LONGEST_FILL, EACH * len(self._in_hand[urgent]))
        return 0.0 if urgent else FILL
