"""A process that is killed at any step loses nothing and doubles nothing."""

from __future__ import annotations

import pytest
from support.memory import When
from support.sessionflow import ITEM, World, in_world

STEPS = [
    "add",
    "change",
    "bodies",
    "admit",
    "call",
    "tables",
    "find",
    "has",
    "upsert",
    "insert",
    "note",
    "entry",
    "keep",
]


@in_world(recordings="attach")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("point", STEPS)
async def test_every_session_comes_home_once(world: World, point: str, nth: int, when: When) -> None:
    """Whether an operation had its effect or not when the process died, rows and journal entries are there once."""
    world.keeps = True
    seen = world.session(9, ends_in=-10_000, item=ITEM)
    life = world.life()
    await life.inbox.put(world.post(seen))
    await life.run(60)
    lsid = world.session(1, events=249, recordings=2, item=ITEM)
    life.gate.kill_at(point, nth, when)
    taken = True
    try:
        await life.inbox.put(world.post(lsid))
    except BaseException:  # noqa: BLE001  # the process died; the appliance posts again
        taken = False
    await life.run(60)
    await life.crash()
    life = world.life()
    if not taken:
        await life.inbox.put(world.post(lsid))
    await life.run(400)
    assert world.state(lsid) == "DONE"
    assert len([row for row in world.records.rows.values() if row.values["lsid"] == lsid]) == 251
    assert world.records.notes_of(lsid) == world.records.entries_of(lsid) == 1
    assert {name for one, name in world.records.kept if one == lsid} == {"screen", "shell 0"}
    await life.stop()
