"""Large answers: in parts, with crashes and faults between them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from support.pipeline import Life, World, in_world
from support.sides import sys_id

from relay.pipeline.push import Push


async def answered(world: World, number: int = 1, *, large: bool = False) -> Life:
    """A life with records up to this number in ANSWERED, nothing pushed yet."""
    ids = [world.queue.output(one) for one in range(1, number + 1)]
    world.appliances.large |= set(ids) if large else set()
    life = world.life()
    await life.poll._round()
    stages = {stage.name: stage for stage in life.stages()}
    for name in ("claim", "forward default"):
        await stages[name].handle([world.job(one) for one in ids])
    assert {world.state(one) for one in ids} == {"ANSWERED"}
    return life


async def push(life: Life, *numbers: int) -> None:
    await Push(life.parts)([life.world.job(sys_id(number)) for number in numbers or (1,)])


def wait_of(world: World, number: int = 1) -> float:
    """Seconds until a job is due."""
    return round(world.job(sys_id(number)).not_before - world.clock.wall(), 3)


@in_world()
async def test_a_large_answer_goes_up_in_parts(world: World) -> None:
    """First a record that answers nobody, then its attachment, then it becomes the answer."""
    life = await answered(world, large=True)
    gone: list[str] = []
    begin, finish = world.queue.begin_large, world.queue.finish_large

    async def first(*given: Any) -> str:
        gone.append("begin")
        return await begin(*given)

    async def second(*given: Any) -> None:
        assert world.queue.answers(sys_id(1)) == []
        assert world.job(sys_id(1)).data["part"] == given[0]
        gone.append("finish")
        await finish(*given)

    world.queue.begin_large, world.queue.finish_large = first, second  # type: ignore[method-assign]
    await push(life)
    assert gone == ["begin", "finish"]
    assert world.state(sys_id(1)) == "INSERTED"
    assert len(world.queue.answer_text(sys_id(1))) > 500_000


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("point", ["begin_large", "finish_large", "change"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_between_the_parts_makes_one_answer(
    keeps: bool, point: str, when: Literal["before", "after"], nth: int
) -> None:
    """Wherever a life ends on the way of a large answer, the next one completes it, once."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        life = await answered(world, large=True)
        life.gate.kill_at(point, nth, when)
        await life.run(30)
        world.queue.output(2)
        life = world.life()
        await life.run(200)
        assert world.state(sys_id(1)) == "CLOSED"
        assert len(world.queue.answers(sys_id(1))) == 1
        assert world.appliances.executed[sys_id(1)] == 1
        await life.stop()

    scenario()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize(
    ("begin", "finish"),
    [
        ("not sent", ""),
        ("done", ""),
        ("lost", ""),
        ("", "not sent"),
        ("", "lost"),
        ("", "done"),
        ("", "late"),
        ("", "gone"),
        ("", "late refused"),
        ("", "late gone"),
        ("", "done refused"),
        ("", "lost refused"),
    ],
)
def test_a_fault_between_the_parts_makes_one_answer(keeps: bool, begin: str, finish: str) -> None:
    """Each way in which a part may fail, and a refusal after a try that may still run, ends in one answer."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        one = world.queue.output(1)
        world.appliances.large.add(one)
        world.queue.faults["begin_large"].extend([begin] if begin else [])
        world.queue.faults["finish_large"].extend([finish] if finish == "not sent" else finish.split())
        life = world.life()
        await life.run(2)
        world.queue.output(2)
        await life.run(300)
        assert world.state(one) == "CLOSED"
        assert world.queue.answer_text(one).startswith("200")
        assert len(world.queue.answers(one)) == 1
        await life.stop()

    scenario()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_large_answer_that_is_refused_is_replaced_by_a_small_one(keeps: bool) -> None:
    """The small answer does not collide with the record that the large one left behind."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        one = world.queue.output(1)
        world.appliances.large.add(one)
        world.queue.faults["finish_large"].append("refused")
        life = world.life()
        await life.run(30)
        assert "BSR-4016" in world.queue.answer_text(one)
        assert world.state(one) == "CLOSED"
        await life.stop()

    scenario()


@in_world()
async def test_a_last_step_that_may_still_run_is_waited_for_over_a_restart(world: World) -> None:
    """Refused after a try that may still run, a restart and a jump of the clock: no second answer."""
    one = world.queue.output(1)
    world.appliances.large.add(one)
    world.queue.faults["finish_large"].extend(["late", "refused", "refused"])
    life = world.life()
    await life.run(3)
    assert world.state(one) == "VERIFYING"
    await life.crash()
    world.jump(1000.0)
    life = world.life()
    await life.run(200)
    assert world.state(one) == "CLOSED"
    assert len(world.queue.answers(one)) == 1
    assert world.queue.answer_text(one).startswith("200")
    await life.stop()


@in_world()
async def test_a_part_that_keeps_vanishing_is_given_up(world: World) -> None:
    """A record that is gone each time it should be finished ends in a small error answer."""
    one = world.queue.output(1)
    world.appliances.large.add(one)
    world.queue.faults["finish_large"].extend(["gone"] * 50)
    life = world.life()
    await life.run(120)
    assert "BSR-4016" in world.queue.answer_text(one)
    assert world.queue.calls["finish_large"] == 5
    await life.stop()


@in_world()
async def test_small_answers_do_not_wait_for_large_ones(world: World) -> None:
    """In a batch with both, the small ones are inserted first and in one request."""
    life = await answered(world, 3)
    world.store.jobs[sys_id(2)].bodies["answer"] = b"x" * 600_000
    await push(life, 1, 2, 3)
    assert world.queue.inserted == [[sys_id(1), sys_id(3)]]
    assert [world.state(sys_id(number)) for number in (1, 2, 3)] == ["INSERTED"] * 3
