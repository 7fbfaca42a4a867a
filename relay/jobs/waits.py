"""Waits that began in this process, by the clock that does not jump.

Why beside the stored `not_before`: that one is wall time, which has to do after a restart; but a clock that is set
forward must not cut short the time that an insert of unknown outcome may still run, and one that is set back must not
hold up anything.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.core.jobs import Job
from relay.jobs.ports import Clock

STEADY = 1.0
"""Seconds that the two clocks may drift apart before the wall clock counts as set."""
DOUBT = 4000.0
"""Seconds that the waits are compared after that: longer than any wait of the relay."""


class Waits:
    """Who waits until when; hears of every job that moves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, tuple[float, Job]] = {}
        self._drift = clock.wall() - clock.monotonic()
        self._doubt = 0.0

    def hear(self, job: Job) -> None:
        """A job was stored in a new state."""
        # By the moment of the change, not by now: the clock may have been set while the change was written.
        wait = job.not_before - job.updated
        if wait > 0:
            self._until[job.id] = (self._clock.monotonic() + wait, job)
        else:
            self._until.pop(job.id, None)

    def not_over(self) -> set[str]:
        """Jobs whose wait is not over, though the wall clock may say so; only told after that clock was set."""
        if not self._was_set():
            return set()
        now = self._clock.monotonic()
        return {job for job, (until, _) in self._until.items() if until > now}

    def over(self) -> list[Job]:
        """Jobs whose wait is over though the wall clock says that it is not."""
        if not self._was_set():
            return []
        now, wall = self._clock.monotonic(), self._clock.wall()
        return [job for until, job in self._until.values() if until <= now and job.not_before > wall]

    def next_over(self, wants: Callable[[Job], bool], looked: float) -> float | None:
        """Seconds until the first wait of such a job is over that was not at `looked`, None without one.

        Only told after the wall clock was set. `looked` is the monotonic time of the look that found nothing: what was
        over since then is over now.
        """
        if not self._was_set():
            return None
        now = self._clock.monotonic()
        waits = [until - now for until, job in self._until.values() if until > looked and wants(job)]
        return max(0.0, min(waits)) if waits else None

    def _was_set(self) -> bool:
        now = self._clock.monotonic()
        drift = self._clock.wall() - now
        if abs(drift - self._drift) > STEADY:
            self._drift, self._doubt = drift, now + DOUBT
        return now < self._doubt
