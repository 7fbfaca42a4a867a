"""A stage: which jobs it takes, how many at once, and what it does with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.core.jobs import Job


def _always() -> bool:
    return True


def _one() -> int:
    return 1


def _not_at_all() -> float:
    return 0.0


def _any(_job: Job) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Stage:
    """Jobs of `kind` in `states` go to `handle`, in calls of up to `size()` jobs, `workers` calls at a time.

    Attributes:
        name: for logs and proof of life.
        lane: only jobs of this lane; None means all.
        accepts: only jobs for which it is true; must depend on nothing but the job.
        open: asked before each take; a closed stage takes nothing until the runner is told to look again.
        linger: gives the seconds to wait for more jobs after the first, so that a batch can fill.
        longest: seconds that one call may take; each request in it has a much shorter limit of its own.
        drains: goes on while the relay stops, since it only brings home what was done.

    `handle` moves the jobs by itself. What it raises is logged, and its jobs rest for a while.

    """

    name: str
    kind: str
    states: tuple[str, ...]
    handle: Callable[[Sequence[Job]], Awaitable[None]]
    lane: str | None = None
    accepts: Callable[[Job], bool] = _any
    open: Callable[[], bool] = _always
    size: Callable[[], int] = _one
    workers: int = 1
    linger: Callable[[], float] = _not_at_all
    longest: float = 600.0
    drains: bool = False

    def wants(self, job: Job) -> bool:
        """Whether the job is one of this stage's."""
        return (
            job.kind == self.kind
            and job.state in self.states
            and (self.lane is None or job.lane == self.lane)
            and self.accepts(job)
        )
