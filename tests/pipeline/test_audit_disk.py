"""The audit log's disk is full: work waits before the step that it could not tell of, and says why."""

from __future__ import annotations

import pytest
from support.pipeline import World, in_world

LINES = ["intent", "outcome", "delivered"]


@pytest.mark.parametrize("skip", range(3))
@pytest.mark.parametrize("kind", ["safe", "unsafe"])
def test_work_waits_for_its_line_and_goes_on(skip: int, kind: str) -> None:
    """Whichever line of a record finds no room, its step waits and is told; with room again all is done once."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=f"{kind} default")
        world.spoil_disk("append", 10_000, skip=skip)
        life = world.life()
        await life.until(lambda: life.conditions.has("audit"))
        await life.run(30)
        (found,) = [each for each in life.conditions.all() if each.subject == "audit"]
        assert found.error.number == 5007
        assert [world.audit.has(line, one) for line in LINES] == [number < skip for number in range(3)]
        assert world.appliances.executed.total() == (skip > 0)
        assert len(world.queue.answers(one)) == (skip > 1)
        world.mend()
        await life.until(lambda: world.state(one) == "CLOSED")
        assert not life.conditions.has("audit")
        assert all(world.audit.has(line, one) for line in LINES)
        assert world.appliances.executed.total() == len(world.queue.answers(one)) == 1
        await life.stop()

    scenario()
