"""Imports step back while somebody waits for a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from support.virtual import VirtualClock, run

from relay.core.jobs import Job
from relay.core.session_job import FETCHED, NOTED, NOTICED, SESSION
from relay.daemon.courtesy import LONGEST, REST, courteous
from relay.jobs.stage import Stage


class Work:
    """Handlers of two stages, and how many ran at once; each takes `takes` seconds."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.running = self.most = 0
        self.ends: list[float] = []

    async def handle(self, _: Sequence[Job]) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.running -= 1
        self.ends.append(asyncio.get_running_loop().time())

    def stages(self, *, waiting: bool, states: tuple[str, ...] = (NOTICED, FETCHED)) -> list[Stage]:
        plain = [Stage(state, SESSION.kind, (state,), self.handle) for state in states]
        return courteous(plain, lambda: waiting)


async def _all(stages: Sequence[Stage]) -> None:
    await asyncio.gather(*(stage.handle([]) for stage in stages))


@pytest.mark.parametrize(("waiting", "most"), [(True, 1), (False, 2)])
def test_steps_take_turns_only_while_somebody_waits(waiting: bool, most: int) -> None:
    """With a decision at hand one step of an import runs at a time, after a rest; without, all at once."""

    async def story(clock: VirtualClock) -> None:
        work = Work(1.0)
        await _all(work.stages(waiting=waiting))
        assert work.most == most
        assert clock.monotonic() >= (2 * (1.0 + REST) if waiting else 1.0)

    run(story)


def test_nobody_waits_for_ever() -> None:
    """A step that does not end lets the others go on after a while."""

    async def story(clock: VirtualClock) -> None:
        work = Work(600.0)
        begun = clock.monotonic()
        task = asyncio.create_task(_all(work.stages(waiting=True)))
        await asyncio.sleep(LONGEST + 0.1)
        assert work.most == 2
        await task
        assert clock.monotonic() - begun < 600.0 + LONGEST + 1.0

    run(story)


def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    """A step that is ended in its rest or its work does not hold the others up."""

    async def story(_: VirtualClock) -> None:
        work = Work(1.0)
        stages = work.stages(waiting=True)
        for pause in (REST / 2, REST + 0.5):
            task = asyncio.create_task(_all(stages[:1]))
            await asyncio.sleep(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(2.0):
                await stages[1].handle([])
        assert work.most == 1

    run(story)


def test_recordings_do_not_take_turns() -> None:
    """What only streams, and may take hours, is left as it is."""

    async def story(_: VirtualClock) -> None:
        work = Work(1.0)
        await _all(work.stages(waiting=True, states=(NOTED, NOTED)))
        assert work.most == 2

    run(story)
