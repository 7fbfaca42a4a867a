"""A side that fails is not asked for every session that waits."""

from __future__ import annotations

import pytest
from support.sessionflow import World, in_world

from relay.core.errors import ApplianceError
from relay.core.session_job import of_the_side


def test_what_a_failure_says_of_other_sessions() -> None:
    """What is slow or broke off may be one session's fault, and holds up no other."""
    assert of_the_side(ApplianceError(3011))
    assert not any(of_the_side(ApplianceError(number)) for number in (3003, 3004, 3009, 3019))


@in_world(sweep=0)
async def test_an_appliance_that_is_away_is_asked_now_and_then(world: World) -> None:
    """However many sessions wait for it; when it is back, all of them come home."""
    lsids = [world.session(number, events=0, task="") for number in range(200)]
    call, away, asked = world.boxes.call, True, 0

    async def refusing(request: object) -> object:
        nonlocal asked
        if away:
            asked += 1
            raise ApplianceError(3001, "away")
        return await call(request)

    world.boxes.call = refusing  # type: ignore[assignment,method-assign]
    life = world.life()
    for lsid in lsids:
        await life.inbox.put(world.post(lsid))
    await life.run(3600)
    assert 10 < asked < 80
    away = False
    await life.run(700)
    assert {world.state(lsid) for lsid in lsids} == {"DONE"}
    await life.stop()


@in_world(sweep=0)
async def test_servicenow_that_is_away_is_asked_now_and_then(world: World) -> None:
    """As the appliance; a session that alone fails each time holds up no other."""
    lsids = [world.session(number, events=0, task="") for number in range(200)]
    world.records.faults["find"].extend(["busy"] * 60)
    life = world.life()
    for lsid in lsids:
        await life.inbox.put(world.post(lsid))
    await life.run(600)
    assert len(world.records.faults["find"]) > 20
    world.records.faults.clear()
    await life.run(700)
    assert {world.state(lsid) for lsid in lsids} == {"DONE"}
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("number", [3001, 3003])
async def test_sessions_that_fail_alone_hold_up_no_other(world: World, number: int) -> None:
    """Whatever is wrong with two of them, the others come home at once."""
    lsids = [world.session(number, events=0, task="") for number in range(20)]
    call = world.boxes.call

    async def refusing(request: object) -> object:
        if dict(request.query).get("lsid") in lsids[:2]:  # type: ignore[attr-defined,operator]
            raise ApplianceError(number, "this one")
        return await call(request)

    world.boxes.call = refusing  # type: ignore[assignment,method-assign]
    life = world.life()
    for lsid in lsids:
        await life.inbox.put(world.post(lsid))
    await life.run(20)
    assert {world.state(lsid) for lsid in lsids[2:]} == {"DONE"}
    await life.stop()
