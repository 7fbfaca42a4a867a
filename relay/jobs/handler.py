"""A handler of a stage that takes its jobs one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import structlog

from relay.core.jobs import Job
from relay.jobs.ledger import trace_of


class OneByOne(ABC):
    """Each job is on every line that is logged while it is handled."""

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """See `relay.jobs.stage.Stage.handle`."""
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self.one(job)

    @abstractmethod
    async def one(self, job: Job) -> None:
        """Handle one job."""
