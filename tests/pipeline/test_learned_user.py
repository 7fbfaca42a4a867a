"""The ServiceNow user that the relay takes itself for, where only ServiceNow can tell."""

from __future__ import annotations

from support.pipeline import World, in_world
from support.sides import USER

from relay.pipeline.parts import USER as FACT
from relay.pipeline.verify import GUARD, forget_user


@in_world()
async def test_who_we_are_is_learned_from_our_own_insert(world: World) -> None:
    """Where the configuration does not tell the user, who made our first answer does, over a restart too."""
    world.user = ""
    one = world.queue.output(1)
    life = world.life()
    await life.until(lambda: bool(world.queue.answers(one)))
    await life.until(lambda: life.parts.learned.user == USER)
    await life.crash()
    again = world.life()
    assert await again.recover.start()
    assert again.parts.learned.user == USER
    await again.stop()


@in_world()
async def test_another_account_is_learned_after_a_resume(world: World) -> None:
    """With another account all claims look like another poller's; what `resume` does makes them our own again."""
    world.user = ""
    await world.store.set_fact(FACT, "the former account")
    world.queue.output(1, payload="unsafe default")
    life = world.life()
    await life.until(lambda: life.conditions.has(GUARD))
    await forget_user(life.parts)
    assert await life.holds.lift("guard", author="somebody")
    life.conditions.clear(GUARD)
    one = world.queue.output(2, payload="unsafe default")
    await life.until(lambda: bool(world.queue.answers(one)))
    assert not life.conditions.has(GUARD)
    assert await world.store.fact(FACT) == life.parts.learned.user == USER
