"""A runner over a store in memory, with a handler that notes what it gets."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from relay.core.jobs import Job, NewJob
from relay.core.queue import QUEUE
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.ledger import Ledger, Move
from relay.jobs.runner import Runner
from relay.jobs.stage import Stage
from support.memory import MemoryStore
from support.virtual import VirtualClock, run


class Bench:
    """A runner over a store in memory, and a handler that notes what it got and closes it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, [QUEUE], clock)
        self.beats = Beats(clock)
        self.conditions = Conditions(clock)
        self.runner = Runner(
            store=self.store,
            ledger=self.ledger,
            clock=clock,
            beats=self.beats,
            conditions=self.conditions,
            jitter=lambda: 0.0,
        )
        self.calls: list[tuple[float, list[str]]] = []
        self.task: asyncio.Task[None] | None = None
        self.before: Callable[[Sequence[Job]], Awaitable[None]] | None = None

    async def handle(self, jobs: Sequence[Job]) -> None:
        """Note the call, then move the jobs on."""
        self.calls.append((self.clock.monotonic(), [job.id for job in jobs]))
        if self.before is not None:
            await self.before(jobs)
        await self.ledger.apply([Move(job, "closed") for job in jobs])

    def stage(self, name: str = "s", **named: Any) -> Stage:
        return Stage(name, "queue", ("INSERTED",), self.handle, **named)

    async def add(self, *names: str, priority: int = 2, lane: str = "", not_before: float = 0.0) -> list[Job]:
        new = [NewJob(name, "queue", "INSERTED", priority, lane, not_before) for name in names]
        return [job for job in await self.ledger.add(new) if job is not None]

    def start(self, *stages: Stage) -> None:
        self.task = asyncio.create_task(self.runner.run(stages))

    async def stop(self) -> None:
        self.runner.stop()
        assert self.task is not None
        await self.task

    @property
    def handled(self) -> list[str]:
        return [name for _, names in self.calls for name in names]


def on_bench(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test in virtual time with a bench of its own."""

    @functools.wraps(test)
    def wrapper() -> None:
        run(lambda clock: test(Bench(clock)))

    del wrapper.__wrapped__  # type: ignore[attr-defined]
    return wrapper
