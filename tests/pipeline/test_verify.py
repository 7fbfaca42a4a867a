"""VERIFYING: inserts of unknown outcome are asked for before they are repeated."""

from __future__ import annotations

import pytest
from support.pipeline import Life, World, in_world
from support.sides import USER, sys_id

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


@in_world(keeps=False)
async def test_a_lone_lost_answer_waits_until_the_account_has_seen_one_of_its_own(world: World) -> None:
    """Without sight "absent" means nothing; the next confirmed answer is looked for, and gives it."""
    one = world.queue.output(1)
    world.queue.faults["insert"].append("lost")
    life = world.life()
    await life.run(80)
    assert world.state(one) == "VERIFYING"
    assert not life.parts.learned.sight
    world.queue.output(2, topic="HeartbeatProbe", priority="0")
    await life.run(40)
    assert life.parts.learned.sight
    assert world.state(one) == "CLOSED"
    assert len(world.queue.answers(one)) == 1
    await life.stop()


@in_world(keeps=False)
async def test_the_very_first_answer_is_repeated_when_its_insert_was_lost(world: World) -> None:
    """A relay that never delivered anything does not wait for ever for an answer of its own that it could see."""
    one = world.queue.output(1)
    world.queue.faults["insert"].append("lost")
    life = world.life()
    await life.run(200)
    assert world.state(one) == "CLOSED"
    assert len(world.queue.answers(one)) == 1
    await life.stop()


@in_world(keeps=False)
async def test_what_was_delivered_before_a_restart_gives_sight_after_it(world: World) -> None:
    """An answer that was lost before a crash is repeated after it, though nothing is delivered meanwhile."""
    world.queue.output(1)
    life = world.life()
    await life.run(10)
    two = world.queue.output(2)
    world.queue.faults["insert"].append("lost")
    await life.run(3)
    assert world.state(two) == "VERIFYING"
    await life.crash()
    life = world.life()
    await life.run(100)
    assert world.state(two) == "CLOSED"
    assert len(world.queue.answers(two)) == 1
    await life.stop()


@in_world(keeps=False)
async def test_an_account_that_cannot_see_repeats_nothing(world: World) -> None:
    """As long as no own answer can be read back, an answer that is there is not taken for absent."""
    one = world.queue.output(1)
    world.queue.blind = True
    world.queue.faults["insert"].append("done")
    life = world.life()
    await life.run(2)
    world.queue.output(2)
    await life.run(2000)
    assert world.state(one) == "VERIFYING"
    world.queue.blind = False
    await life.run(20)
    assert world.state(one) == "CLOSED"
    assert len(world.queue.answers(one)) == 1
    await life.stop()


@in_world(keeps=False)
async def test_verifying_outlasts_an_outage(world: World) -> None:
    """Failed looks wait longer each time, and count for nothing."""
    world.queue.output(1)
    world.queue.faults["insert"].append("lost")
    life = world.life()
    await life.run(10)
    world.queue.faults["find"].extend(["not sent"] * 4)
    await life.run(80)
    assert world.job(sys_id(1)).data["tries"] >= 3
    assert "looks" not in world.job(sys_id(1)).data
    world.queue.output(2)
    await life.run(200)
    assert world.state(sys_id(1)) == "CLOSED"
    await life.stop()


@in_world(keeps=False)
async def test_an_answer_that_somebody_else_gave_raises_the_guard(world: World) -> None:
    """A foreign answer ends our work on its record, and stops unsafe work."""
    one = world.queue.output(1)
    world.queue.faults["insert"].append("done")
    life = world.life()
    await life.run(10)
    world.queue.answers(one)[0]["sys_created_by"] = "other"
    await life.run(70)
    assert world.state(one) == "CLOSED"
    guard = life.holds.get("guard")
    assert guard is not None
    assert "other answered the output" in guard.reason
    assert not life.holds.unsafe_work
    await life.stop()


@in_world(keeps=False)
async def test_our_own_name_in_another_case_is_ours(world: World) -> None:
    """A user name that the configuration writes in another case raises no guard."""
    world.user = USER.upper()
    one = world.queue.output(1)
    world.queue.faults["insert"].append("done")
    life = world.life()
    await life.run(100)
    assert world.state(one) == "CLOSED"
    assert life.holds.unsafe_work
    await life.stop()


@pytest.mark.parametrize("jump", [-10_000.0, 10_000.0])
def test_a_jump_of_the_clock_does_not_shorten_what_settles(jump: float) -> None:
    """An insert that may still run is not repeated before its time is over, however the clock is set."""

    @in_world(keeps=False)
    async def scenario(world: World) -> None:
        one = world.queue.output(1)
        world.queue.faults["insert"].append("late")
        life = world.life()
        await life.run(1)
        other = world.queue.output(2)
        await life.run(6)
        assert world.state(other) in {"INSERTED", "CLOSED"}
        world.jump(jump)
        await life.run(5)
        await life.crash()
        world.jump(-jump)
        life = world.life()
        await life.run(200)
        assert len(world.queue.answers(one)) == 1
        assert world.state(one) == "CLOSED"
        await life.stop()

    scenario()
