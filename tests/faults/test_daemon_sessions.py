"""The daemon killed at each durable step of a session's way home: nothing posted is lost, nothing is there twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemon import World, world
from support.killer import SESSION_STEPS
from support.lives import eventually, impatient, killed_at, status

from relay.daemon.client import DaemonAway
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.sessionoracle import Terms, check_sessions

KILLED = -9
FAST = "servicenow:\n  poll: {interval: 1s}\n  settle: 300ms\nsessions: {sweep: 1s}\n"
TERMS = Terms(
    events=frozenset(
        ["Session Note Added", "File Upload", "File Download", "System Information Retrieved", "Screen Recording"]
    )
)
OF_NOTES = {"noting", "note", "noted"}
AFTER_A_CRASH = {"note crashed": "note", "note asked for": "note", "note found": "note"}


def happen(made: World, count: int = 2, *, told: bool = True) -> None:
    """Sessions that ended, each for an incident and at a configuration item of its own."""
    lives = Lives(made.box.appliance, seed=len(made.box.appliance.sessions.by_id))
    for _ in range(count):
        task = made.box.servicenow.insert("incident", {"short_description": "x"})["sys_id"]
        item = made.box.servicenow.insert("cmdb_ci", {"name": "x"})["sys_id"]
        script = Script(events=24, film=1000, attributes={"snow_task_id": task, "snow_cmdb_ci_id": item})
        if told:
            lives.end(lives.begin(script))
        else:
            lives.ended(script)


async def dies_at(made: World, step: str, side: str, number: int = 1) -> None:
    """A life that ends at a step."""
    life = killed_at(made, step, side, number)
    await life.start()
    assert await life.ended() == KILLED, life.log.read_text()[-3000:]
    assert f"killed {side} {step}" in life.log.read_text()


async def home(made: World) -> None:
    """Let the running daemon bring everything home, and judge it."""
    ended = [one for one in made.box.appliance.sessions.by_id.values() if not one.active]

    def done() -> bool:
        try:
            found = status(made)
        except DaemonAway:
            return False
        posts = made.box.appliance.outbound.messages
        judged = check_sessions(made.box.servicenow, made.box.appliances.values(), TERMS)
        return (
            judged.imported == len(ended)
            and found["state"] != "starting"
            and not found["kinds"]["session"]["open"]
            and all(one.state == "delivered" for one in posts)
        )

    await eventually(done, 40.0)
    assert await made.daemon.stop() == 0
    assert check_sessions(made.box.servicenow, made.box.appliances.values(), TERMS, final=True).violations == ()


async def with_sight(made: World) -> None:
    """A first whole life: a relay that never saw a note of its own repeats none of unknown outcome."""
    happen(made, 1)
    await impatient(made).start()
    await home(made)


@pytest.mark.parametrize("step", [step for step in SESSION_STEPS if step not in AFTER_A_CRASH])
async def test_a_kill_at_any_step_brings_every_session_home_once(tmp_path: Path, step: str) -> None:
    """Killed before a durable step, then after it: every session, event and journal entry is there exactly once."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=FAST, listens=True) as made:
        if step in OF_NOTES:
            await with_sight(made)
        happen(made)
        await dies_at(made, step, "before")
        happen(made, 1)
        await dies_at(made, step, "after")
        await impatient(made).start()
        await home(made)


@pytest.mark.parametrize("step", AFTER_A_CRASH)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_kill_while_a_note_is_settled_writes_it_once(tmp_path: Path, step: str, side: str) -> None:
    """A note was on its way in a crash, and the step that settles it crashes too: the task has it exactly once."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=FAST, listens=True) as made:
        await with_sight(made)
        happen(made)
        await dies_at(made, AFTER_A_CRASH[step], side)
        await dies_at(made, step, "before")
        await dies_at(made, step, "after")
        await impatient(made).start()
        await home(made)


async def test_kills_at_random_moments(tmp_path: Path) -> None:
    """Killed six times at random while sessions end, told and untold, the relay brings each home once."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=FAST, listens=True) as made:
        for seed in range(6):
            happen(made, 2)
            happen(made, 1, told=False)
            life = impatient(made)
            await life.start()
            noticed = _logged(made, "session.")
            await eventually(lambda noticed=noticed, seed=seed: noticed() > 12 * seed + random.randint(1, 20), 30.0)  # type: ignore[misc]
            await life.kill()
        await impatient(made).start()
        await home(made)


def _logged(made: World, beginning: str) -> Callable[[], int]:
    return lambda: sum(event.startswith(beginning) for event in made.events())
