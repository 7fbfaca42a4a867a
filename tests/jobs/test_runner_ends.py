"""The runner, with stages of a test's own: failing disks, the stop, rest, proof of life."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.bench import Bench, on_bench

from relay.core.errors import StorageError
from relay.core.jobs import Job, NewJob
from relay.jobs.ledger import Move
from relay.jobs.runner import LONGEST_SLEEP
from relay.jobs.stage import Stage


@on_bench
async def test_a_lost_write_is_the_end(bench: Bench) -> None:
    """BSR-5005 in a handling ends every stage."""

    async def fail(_jobs: Sequence[Job]) -> None:
        raise StorageError(5005)

    bench.before = fail
    await bench.add("a")
    bench.start(bench.stage(), bench.stage("other", lane="x"))
    assert bench.task is not None
    with pytest.raises(ExceptionGroup) as caught:
        await bench.task
    assert caught.group_contains(StorageError, match="5005")
    assert bench.conditions.has("store")


@on_bench
async def test_a_lost_write_while_looking_for_work_is_the_end(bench: Bench) -> None:
    """BSR-5005 of the store itself ends the runner too."""
    bench.store.fail = lambda _name: StorageError(5005)
    bench.start(bench.stage())
    assert bench.task is not None
    with pytest.raises(ExceptionGroup):
        await bench.task


@on_bench
async def test_a_full_disk_is_survived(bench: Bench) -> None:
    """While the store fails with BSR-5004 health says so, and work goes on by itself soon after it is over."""
    bench.store.fail = lambda name: StorageError(5004) if name == "due" else None
    await bench.add("a")
    bench.start(bench.stage())
    await asyncio.sleep(30)
    assert bench.conditions.has("store")
    assert bench.store.asked["due"] < 40
    bench.store.fail = lambda _name: None
    await asyncio.sleep(1.1)
    assert bench.handled == ["a"]
    assert not bench.conditions.has("store")
    await bench.stop()


@on_bench
async def test_a_stop_does_not_wait_for_a_store_that_fails(bench: Bench) -> None:
    """A draining stage that cannot ask the store ends as well."""
    bench.store.fail = lambda _name: StorageError(5004)
    bench.start(bench.stage(drains=True))
    await asyncio.sleep(0.5)
    await bench.stop()


@on_bench
async def test_a_stop_takes_nothing_new(bench: Bench) -> None:
    """What is under way ends, what waits for its worker stays for the next start."""
    gate = asyncio.Event()

    async def wait(_jobs: Sequence[Job]) -> None:
        await gate.wait()

    bench.before = wait
    await bench.add("a", "b", "c")
    bench.start(bench.stage())
    await asyncio.sleep(1)
    bench.runner.stop()
    gate.set()
    await asyncio.sleep(1)
    assert bench.task is not None
    assert bench.task.done()
    assert bench.handled == ["a"]
    assert bench.beats._due == {}


@on_bench
async def test_a_stop_drains_what_was_done(bench: Bench) -> None:
    """A draining stage goes on until nothing of its own is due, including what a handling under way brings it."""
    gate = asyncio.Event()

    async def answer(jobs: Sequence[Job]) -> None:
        await gate.wait()
        await bench.ledger.apply([Move(job, "inserted") for job in jobs])

    await bench.add("old1", "old2", not_before=0.0)
    await bench.add("resting", not_before=bench.clock.wall() + 500.0)
    await bench.ledger.add([NewJob("new", "queue", "ANSWERED", 2, "")])
    bench.start(
        Stage("push", "queue", ("ANSWERED",), answer), bench.stage(size=lambda: 9, linger=lambda: 2.0, drains=True)
    )
    await asyncio.sleep(0.1)
    bench.runner.stop()
    await asyncio.sleep(5)
    assert bench.task is not None
    assert not bench.task.done()
    gate.set()
    await bench.task
    assert sorted(bench.handled) == ["new", "old1", "old2"]
    assert bench.clock.monotonic() == pytest.approx(5.1)


@on_bench
async def test_a_closed_stage_takes_nothing_until_told_to_look(bench: Bench) -> None:
    """A stage asks whether it is open before each take, and again when told that something changed."""
    is_open = [False]
    await bench.add("a")
    bench.start(bench.stage(open=lambda: is_open[0]))
    await asyncio.sleep(1)
    is_open[0] = True
    await asyncio.sleep(1)
    assert bench.handled == []
    bench.runner.look_again()
    await asyncio.sleep(0.01)
    assert bench.handled == ["a"]
    await bench.stop()


@on_bench
async def test_at_rest_the_store_is_asked_once_in_a_longest_sleep(bench: Bench) -> None:
    """An idle stage asks twice, for what is due and for what comes next, and then sleeps."""
    bench.start(bench.stage("a"), bench.stage("b", drains=True))
    await asyncio.sleep(10 * LONGEST_SLEEP + 1)
    assert bench.store.asked["due"] == bench.store.asked["next_due"] == 2 * 11
    await bench.stop()


@on_bench
async def test_a_stuck_loop_is_late_and_a_waiting_one_is_not(bench: Bench) -> None:
    """A store that never answers makes the stage late; sleeping without work does not."""
    bench.start(bench.stage())
    for _ in range(100):
        await asyncio.sleep(LONGEST_SLEEP)
        assert bench.beats.late() == []

    async def never(*_: Any) -> list[Job]:
        await asyncio.Event().wait()
        return []

    bench.store.due = never  # type: ignore[method-assign]
    await asyncio.sleep(2 * 600.0 + 3 * LONGEST_SLEEP)
    assert bench.beats.late() == ["stage s"]
    assert bench.task is not None
    bench.task.cancel()


@on_bench
async def test_a_job_that_appears_while_a_stage_looks_is_not_missed(bench: Bench) -> None:
    """A wake-up between the look at the store and the sleep still counts."""
    real = bench.store.next_due

    async def late(*given: Any) -> float | None:
        bench.store.next_due = real  # type: ignore[method-assign]
        await bench.add("a")
        return await real(*given)

    bench.store.next_due = late  # type: ignore[method-assign]
    bench.start(bench.stage())
    await asyncio.sleep(0.01)
    assert bench.handled == ["a"]
    await bench.stop()
