"""What keeps a call from being made: its age, and holds."""

from __future__ import annotations

import asyncio

import pytest
from support.pipeline import Life, World, claimed, in_world

from relay.pipeline.forward import Forward


async def forward(life: Life, handler: Forward, *ids: str) -> None:
    await handler([life.world.job(one) for one in ids])


def answer(world: World, one: str) -> str:
    """The stored answer."""
    return world.store.jobs[one].bodies["answer"].decode()


@pytest.mark.parametrize(
    ("kind", "after", "expired"), [("unsafe", 119, 0), ("unsafe", 122, 1), ("safe", 122, 0), ("safe", 3602, 1)]
)
def test_old_work_is_answered_and_not_executed(kind: str, after: int, expired: int) -> None:
    """Unsafe work lives two minutes, safe work an hour, by the instance's clock, checked right before the call."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=f"{kind} default")
        life = await claimed(world, one)
        world.jump(50_000.0)
        await asyncio.sleep(after)
        await forward(life, Forward(life.parts), one)
        assert ("BSR-4012" in answer(world, one)) == bool(expired)
        assert world.appliances.executed[one] == 1 - expired

    scenario()


@in_world()
async def test_work_waits_when_its_age_cannot_be_told(world: World) -> None:
    """Without the instance's clock a dated record waits, and an undated one counts from when it was seen."""
    one, two = world.queue.output(1), world.queue.output(2, sys_created_on="")
    life = await claimed(world, one, two)
    world.queue.server_now = lambda: None
    await forward(life, Forward(life.parts), one, two)
    assert (world.state(one), world.state(two)) == ("CLAIMED", "ANSWERED")
    assert world.job(one).not_before == world.clock.wall() + 5.0


@in_world()
async def test_a_record_that_grows_too_old_while_it_waits_is_not_executed(world: World) -> None:
    """The age is asked again after the admission, which may take a while."""
    one = world.queue.output(1, payload="unsafe default")
    life = await claimed(world, one)
    await asyncio.sleep(119.5)

    async def slow(_request: object) -> None:
        await asyncio.sleep(1.0)

    world.appliances.admit = slow  # type: ignore[method-assign]
    await forward(life, Forward(life.parts), one)
    assert "BSR-4012" in answer(world, one)


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_hold_stops_work_and_heartbeats_are_answered_meanwhile(kind: str) -> None:
    """On hold nothing is claimed or called; a heartbeat is answered at once and says Paused; a resume goes on."""

    @in_world()
    async def scenario(world: World) -> None:
        before = world.queue.output(1)
        world.appliances.faults["admit"].extend(["paced"] * 3)
        life = world.life()
        await life.run(1)
        assert world.state(before) == "CLAIMED"
        await life.holds.set("local" if kind == "local" else "remote", author="a", reason="r")
        one = world.queue.output(2)
        beat = world.queue.output(3, topic="HeartbeatProbe", priority="0")
        await life.run(60)
        assert world.queue.answer_text(beat).endswith("mid_operational_state=Paused|")
        assert world.state(before) == "CLAIMED"
        assert world.state(one) == ""
        assert world.appliances.executed.total() == 0
        await life.holds.lift("local" if kind == "local" else "remote", author="a")
        await life.run(10)
        assert world.queue.answer_text(one).startswith("200")
        assert world.queue.answer_text(before).startswith("200")
        await life.stop()

    scenario()


@in_world()
async def test_the_guard_stops_unsafe_work_alone(world: World) -> None:
    """Under the guard safe calls are made, unsafe ones wait, and grow too old."""
    safe, unsafe = world.queue.output(1), world.queue.output(2, payload="unsafe default")
    life = world.life()
    await life.holds.set("guard", author="relay", reason="another poller")
    await life.run(100)
    assert world.queue.answer_text(safe).startswith("200")
    assert world.state(unsafe) == "CLAIMED"
    await life.run(60)
    assert "BSR-4012" in world.queue.answer_text(unsafe)
    assert world.appliances.executed[unsafe] == 0
    await life.stop()


@in_world()
async def test_a_hold_that_comes_between_is_seen_before_the_call(world: World) -> None:
    """A job that a stage took just before the pause waits as well."""
    one = world.queue.output(1)
    life = await claimed(world, one)
    await life.holds.set("local", author="root", reason="r")
    await forward(life, Forward(life.parts), one)
    assert world.state(one) == "CLAIMED"
    assert world.job(one).not_before == world.clock.wall() + 30.0
