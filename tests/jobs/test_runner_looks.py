"""The runner's two looks at the store: what is due now, and when the next falls due."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.bench import Bench, on_bench
from support.virtual import VirtualClock, run

from relay.core.errors import WorkError
from relay.core.jobs import Job
from relay.jobs.ledger import Move


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


@on_bench
async def test_a_rest_that_ends_during_a_look_is_not_missed(bench: Bench) -> None:
    """A job whose rest after a fault ends between the look for due work and the sleep goes at once."""
    look = bench.store.next_due

    async def slow(*given: Any) -> float | None:
        found = await look(*given)
        await asyncio.sleep(0.7)
        return found

    async def fail(_: object) -> None:
        if len(bench.calls) == 1:
            raise WorkError(4006)

    bench.store.next_due, bench.before = slow, fail  # type: ignore[method-assign]
    bench.start(bench.stage())
    await bench.add("a")
    await asyncio.sleep(5)
    assert bench.handled == ["a", "a"]
    await bench.stop()


@pytest.mark.parametrize("jump", [-1800.0, 15.0])
def test_waits_end_in_time_after_a_jump_of_the_wall_clock(jump: float) -> None:
    """When the wall clock is set while several jobs wait, each goes at its own time and not a longest sleep later."""

    async def scenario(clock: VirtualClock) -> None:
        bench = Bench(clock)
        for name, seconds in (("a", 10.0), ("b", 20.0)):
            (job,) = await bench.add(name, not_before=clock.wall() + 1000.0)
            await bench.ledger.step(Move(job, "put off", wait=seconds))
        bench.start(bench.stage())
        await asyncio.sleep(5)
        clock.jump(jump)
        await asyncio.sleep(20)
        assert [(round(when), names) for when, names in bench.calls] == [(10, ["a"]), (20, ["b"])]
        await bench.stop()

    run(scenario)
