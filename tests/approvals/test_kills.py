"""A process that is killed at any step never sends two decisions on one request, nor an allow that is not fresh."""

from __future__ import annotations

import pytest
from support.approvalflow import World, in_world
from support.memory import When

STEPS = ["add", "due", "find", "change", "append", "send"]


@in_world()
@pytest.mark.parametrize("case", ["allow", "deny", "allow, then closed", "deny, then closed"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", STEPS)
async def test_a_decision_is_made_once(world: World, point: str, nth: int, when: When, case: str) -> None:
    """Whether an operation had its effect or not: what was not decided, or surely not sent, ends as a denial.

    What may have been sent is repeated when it denies, and is over when it allows. The wire is watched for the rest:
    written down, audited, fresh, and never two.
    """
    world.snow.state = "-1" if case.startswith("allow") else "3"
    world.box.faults["r1"].extend(["closed"] if "closed" in case else [])
    killed = await two_lives(world, point, nth, when)
    responses = {one.response for one in world.box.wire}
    if not killed:
        assert responses == {case.partition(",")[0]}
    elif world.state() == "UNDELIVERED":  # it may have been on its way
        assert world.decisions() == ["allow"]
        assert responses <= {"allow"}
    else:
        assert world.state() == "DELIVERED"
        assert responses == {world.decisions()[-1]}
        assert responses == {"deny"} or len(world.box.wire) == 1


async def two_lives(world: World, point: str, nth: int, when: When) -> bool:
    """A request, a life that ends at this operation if it comes to it, and another one; whether it came to it."""
    life = world.life()
    await life.run(1)
    life.gate.kill_at(point, nth, when)
    taken = True
    try:
        await life.inbox.put(world.post())
    except BaseException:  # noqa: BLE001  # the process died; the appliance posts again
        taken = False
    await life.run(10)
    killed = life.gate.dead.is_set()
    await life.crash()
    life = world.life()
    if not taken:
        world.came["r1"] = world.clock.monotonic()
        await life.inbox.put(world.post())
    await life.run(100)
    assert len({one.response for one in world.box.wire}) <= 1
    await life.stop()
    return killed


@in_world(mode="forward")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", ["add", "change", "forward", "append", "send"])
async def test_a_decision_of_servicenow_is_made_once(world: World, point: str, nth: int, when: When) -> None:
    """The same, when the request is handed on and the decision is its answer."""
    world.snow.answer = b'{"response_id":"r1","response":"allow","message":""}'
    killed = await two_lives(world, point, nth, when)
    assert world.state() in ({"DELIVERED", "UNDELIVERED"} if killed else {"DELIVERED"})
    assert world.state() == "DELIVERED" or world.decisions() == ["allow"]
