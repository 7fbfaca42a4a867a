"""The runner's two looks at the store: what is due now, and when the next falls due."""

from __future__ import annotations

import asyncio
from typing import Any

from support.bench import Bench, on_bench

from relay.core.jobs import Job


@on_bench
async def test_what_falls_due_between_two_looks_is_not_missed(bench: Bench) -> None:
    """A job that falls due after the look for due work and before the look for the next time is handled at once."""
    look = bench.store.due

    async def slow(*given: Any) -> list[Job]:
        found = await look(*given)
        await asyncio.sleep(0.2)
        return found

    bench.store.due = slow  # type: ignore[method-assign]
    await bench.add("a", not_before=bench.clock.wall() + 0.1)
    bench.start(bench.stage())
    await asyncio.sleep(1)
    assert bench.handled == ["a"]
    await bench.stop()
