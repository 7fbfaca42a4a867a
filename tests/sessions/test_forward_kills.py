"""A process that is killed at any step of posting an event on loses nothing."""

from __future__ import annotations

import pytest
from support.forwarding import SETTLE, World, in_world
from support.memory import When

from relay.core.session_events import job_of

STEPS = {"add": 3, "get": 3, "change": 6, "bodies": 3, "forward": 3, "due": 5, "select": 2}
"""The operations, and how many of each there surely are."""
EVENTS = ["one", "two", "access_session_end"]


@in_world({"default": "both"})
@pytest.mark.parametrize("fault", ["", "late", "away"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("point", "nth"), [(name, nth + 1) for name, most in STEPS.items() for nth in range(most)])
async def test_every_event_that_was_taken_arrives(world: World, point: str, nth: int, when: When, fault: str) -> None:
    """Whether an operation had its effect or not when the process died; in order, and twice only around the kill."""
    if fault:
        world.vendor.faults["default"].append(fault)
    life = world.life()
    life.gate.kill_at(point, nth, when)
    taken: list[str] = []
    for event in EVENTS:
        try:
            await life.put(event, fields={"lsid": "ab"})
        except BaseException:  # noqa: BLE001  # the process died; the appliance posts again
            break
        taken.append(event)
    await life.run(100)
    assert life.gate.dead.is_set()
    await life.crash()
    life = world.life()
    for event in EVENTS:
        if event not in taken:
            await life.put(event, fields={"lsid": "ab"})
    await life.run(4 * SETTLE)
    got = world.vendor.names()
    assert list(dict.fromkeys(got)) == EVENTS
    assert len(got) <= len(EVENTS) + 2
    for event in EVENTS:
        assert (world.job(event).state, world.bodies(event)) == ("DONE", {})
    assert job_of("default", "ab") in world.store.jobs
    await life.stop()
