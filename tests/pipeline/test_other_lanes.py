"""One appliance's trouble is not the others'."""

from __future__ import annotations

import asyncio

import pytest
from support.pipeline import World, in_world

from relay.core.errors import ApplianceError
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.pipeline.poll import IN_HAND


@pytest.mark.parametrize("trouble", ["hangs", "budget"])
def test_waiting_records_of_one_appliance_keep_nobody_else(trouble: str) -> None:
    """More records than may be in hand wait for an appliance that hangs or has no calls left; others pass at once."""

    @in_world()
    async def scenario(world: World) -> None:
        real = world.appliances.call

        async def call(request: ApplianceRequest) -> Reply:
            if request.appliance != "default":
                return await real(request)
            if trouble == "budget":
                raise ApplianceError(3011, "no calls left", after=3000.0)
            await asyncio.sleep(30)
            raise ApplianceError(3003, "hangs", maybe_sent=True)

        world.appliances.call = call  # type: ignore[method-assign]  # this appliance's trouble lasts
        for number in range(IN_HAND + 100):
            world.queue.output(number, payload="safe default")
        life = world.life()
        await life.run(60)
        other = world.queue.output(9999, payload="safe second")
        await life.until(lambda: bool(world.queue.answers(other)), longest=10)

    scenario()
