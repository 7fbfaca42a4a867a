"""The runner, with stages of a test's own: order, workers, lanes, waits, rests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from support.bench import Bench, on_bench
from support.virtual import VirtualClock, run

from relay.core.errors import ServiceNowError, StorageError
from relay.core.jobs import Job
from relay.jobs.ledger import Move, StaleJob
from relay.jobs.runner import LONGEST_SLEEP


@on_bench
async def test_waiting_work_is_shared_by_weight(bench: Bench) -> None:
    """With all priorities waiting, 16 interactive, 4 expedited and 1 standard job go of each 21."""
    for priority in range(3):
        await bench.add(*(f"{priority}.{number}" for number in range(40)), priority=priority)
    bench.start(bench.stage())
    await asyncio.sleep(1)
    assert Counter(name[0] for name in bench.handled[:21]) == {"0": 16, "1": 4, "2": 1}
    assert Counter(name[0] for name in bench.handled[:42]) == {"0": 32, "1": 8, "2": 2}
    assert len(bench.handled) == 120
    await bench.stop()


@on_bench
async def test_a_batch_lingers_for_more(bench: Bench) -> None:
    """A batch that is not full waits once for company, a full one goes at once."""
    bench.start(bench.stage(size=lambda: 3, linger=lambda: 0.5))
    await asyncio.sleep(1)
    await bench.add("a")
    await asyncio.sleep(0.2)
    await bench.add("b")
    await asyncio.sleep(1)
    await bench.add("c", "d", "e")
    await asyncio.sleep(0.1)
    assert bench.calls == [(1.5, ["a", "b"]), (2.2, ["c", "d", "e"])]
    await bench.stop()


@on_bench
async def test_no_more_calls_run_than_the_stage_has_workers(bench: Bench) -> None:
    """Three workers handle three jobs at a time, and each that ends takes the next."""
    gate = asyncio.Event()
    under_way = Counter[str]()
    most = []

    async def wait(_jobs: Sequence[Job]) -> None:
        under_way["now"] += 1
        most.append(under_way["now"])
        await gate.wait()
        under_way["now"] -= 1

    bench.before = wait
    await bench.add(*"abcdefgh")
    bench.start(bench.stage(workers=3))
    await asyncio.sleep(1)
    assert bench.runner.busy == 3
    gate.set()
    await asyncio.sleep(1)
    assert len(bench.handled) == 8
    assert max(most) == 3
    assert bench.runner.busy == 0
    await bench.stop()


@on_bench
async def test_free_workers_share_one_look_at_the_store(bench: Bench) -> None:
    """Where a look takes long, as many jobs as workers are free begin after each, every one in a call of its own."""
    due, looks = bench.store.due, 0

    async def slow(*args: Any) -> list[Job]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(1.0)
        return await due(*args)

    bench.store.due = slow  # type: ignore[method-assign]
    await bench.add(*"abcd")
    bench.start(bench.stage(workers=3))
    await asyncio.sleep(1.5)
    assert [names for _, names in bench.calls] == [["a"], ["b"], ["c"]]
    assert looks == 2  # the second is under way
    await asyncio.sleep(1.0)
    assert bench.handled == ["a", "b", "c", "d"]
    await bench.stop()


@on_bench
async def test_a_dead_lane_delays_no_other(bench: Bench) -> None:
    """While one lane's handlers hang, another lane's jobs go as they come."""
    never = asyncio.Event()

    async def hang(jobs: Sequence[Job]) -> None:
        if jobs[0].lane == "dead":
            await never.wait()

    bench.before = hang
    await bench.add(*(f"d{number}" for number in range(50)), lane="dead", priority=0)
    bench.start(bench.stage("dead", lane="dead", workers=2), bench.stage("alive", lane="alive"))
    await asyncio.sleep(1)
    for number in range(5):
        await bench.add(f"a{number}", lane="alive")
        await asyncio.sleep(0.01)
        assert bench.handled[-1] == f"a{number}"
    never.set()
    await asyncio.sleep(0)
    await bench.stop()


@on_bench
async def test_jobs_of_another_stage_hide_nobody(bench: Bench) -> None:
    """A stage finds its own job behind any number of older ones that are another stage's."""
    await bench.add(*(f"x{number}" for number in range(300)), lane="other")
    await bench.add("mine", lane="mine")
    bench.start(bench.stage(accepts=lambda job: job.lane == "mine"))
    await asyncio.sleep(1)
    assert bench.handled == ["mine"]
    await bench.stop()


@on_bench
async def test_a_job_that_was_put_off_goes_when_its_time_has_come(bench: Bench) -> None:
    """A stored wait is kept to the millisecond, and the earliest of several wakes the stage."""
    wall = bench.clock.wall()
    await bench.add("late", not_before=wall + 20.0)
    await bench.add("soon", not_before=wall + 10.0)
    bench.start(bench.stage())
    await asyncio.sleep(30)
    assert [(round(when, 2), names) for when, names in bench.calls] == [(10.0, ["soon"]), (20.0, ["late"])]
    await bench.stop()


@pytest.mark.parametrize("jump", [-1800.0, 1800.0, -1e6, 1e6])
def test_a_jump_of_the_wall_clock_delays_and_hastens_nothing(jump: float) -> None:
    """A wait of 30 s ends after 30 s, at most a stage's longest sleep later, however the wall clock is set."""

    async def scenario(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.start(bench.stage())
        (job,) = await bench.add("a", not_before=clock.wall() + 1000.0)
        await bench.ledger.step(Move(job, "put off", wait=30.0))
        await asyncio.sleep(10)
        clock.jump(jump)
        bench.runner.look_again()
        await asyncio.sleep(19)
        assert bench.handled == []
        await asyncio.sleep(1 + LONGEST_SLEEP)
        assert bench.handled == ["a"]
        await bench.stop()

    run(scenario)


@on_bench
async def test_a_clock_set_forward_cannot_hide_what_is_due_behind_what_waits(bench: Bench) -> None:
    """Jobs whose wait goes on are passed over, and one that never waited goes at once."""
    bench.start(bench.stage())
    await bench.add(*(f"w{number}" for number in range(50)), not_before=bench.clock.wall() + 50.0)
    bench.clock.jump(500.0)
    await bench.add("now")
    await asyncio.sleep(1)
    assert bench.handled == ["now"]
    await asyncio.sleep(49 + LONGEST_SLEEP)
    assert len(bench.handled) == 51
    await bench.stop()


@pytest.mark.parametrize("error", [ZeroDivisionError(), ServiceNowError(2001), StorageError(5004), StorageError(5007)])
def test_a_job_rests_after_a_fault_and_the_others_go_on(error: Exception) -> None:
    """A handler's fault makes its job rest for 0.5, 1, 2 seconds and so on, and keeps nobody else."""

    async def scenario(clock: VirtualClock) -> None:
        bench = Bench(clock)
        left = [3]

        async def fail(jobs: Sequence[Job]) -> None:
            if jobs[0].id == "bad" and left[0]:
                left[0] -= 1
                raise error

        bench.before = fail
        await bench.add("bad", "good")
        bench.start(bench.stage())
        await asyncio.sleep(10)
        times = [round(when, 1) for when, names in bench.calls if names == ["bad"]]
        assert times == [0.0, 0.5, 1.5, 3.5]
        assert bench.calls[1] == (0.0, ["good"])
        await bench.add("later")
        await asyncio.sleep(0.1)
        assert bench.handled[-1] == "later"
        assert bench.conditions.has("store") is False
        await bench.stop()

    run(scenario)


@on_bench
async def test_a_handler_that_never_ends_is_ended(bench: Bench) -> None:
    """After its longest time a handling is cancelled, and its job rests like after any fault."""
    never = asyncio.Event()
    hung: list[str] = []

    async def hang(jobs: Sequence[Job]) -> None:
        if not hung:
            hung.append(jobs[0].id)
            await never.wait()

    bench.before = hang
    await bench.add("a")
    bench.start(bench.stage())
    await asyncio.sleep(602.0)
    assert bench.calls == [(0.0, ["a"]), (pytest.approx(600.5, abs=0.01), ["a"])]
    await bench.stop()


@on_bench
async def test_who_lost_a_race_does_not_rest(bench: Bench) -> None:
    """A job that changed under its handler is left to whoever changed it, and goes on at once."""
    (job,) = await bench.add("a")
    bench.start(bench.stage())

    async def race(_jobs: Sequence[Job]) -> None:
        bench.before = None
        await bench.ledger.step(Move(job, "put off"))
        raise StaleJob(job.id)

    bench.before = race
    await asyncio.sleep(0.1)
    assert bench.handled == ["a", "a"]
    await bench.stop()
