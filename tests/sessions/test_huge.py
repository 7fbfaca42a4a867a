"""Reports that take much memory: of huge ones one is unfolded at a time, whatever is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from support.sessionflow import World, in_world

from relay.core.jobs import Job
from relay.core.session_report import SessionReport
from relay.core.session_rows import Row
from relay.jobs.ledger import Move
from relay.sessions import parts as sessions_parts
from relay.sessions.parts import stored, unfolding


class Watched:
    """Counts the reports that are unfolded at once, as the reader and the writers have them in hand."""

    def __init__(self, world: World) -> None:
        self.at_once = self.most = 0
        self._session, self._insert = world.boxes.session, world.records.insert
        world.boxes.session = self.session  # type: ignore[method-assign]  # the fake, watched
        world.records.insert = self.insert  # type: ignore[method-assign]

    async def _in_hand(self) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(20)
        self.at_once -= 1

    async def session(self, document: bytes, lsid: str) -> SessionReport | None:
        """As the fake's, slowly."""
        await self._in_hand()
        return await self._session(document, lsid)

    async def insert(self, rows: Sequence[Row]) -> None:
        """As the fake's, slowly."""
        await self._in_hand()
        await self._insert(rows)


@in_world(sweep=0)
@pytest.mark.parametrize(("huge", "most"), [(0, 1), (1024 * 1024, 2)])
async def test_of_huge_reports_one_is_unfolded_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch, huge: int, most: int
) -> None:
    """Two appliances' huge sessions are fetched, written and noted one after the other; others side by side."""
    monkeypatch.setattr(sessions_parts, "HUGE", huge)
    watched, life = Watched(world), world.life()
    first, second = world.session(1), world.session(2, box="second")
    await life.inbox.put(world.post(first))
    await life.inbox.put(world.post(second, appliance="second"))
    await life.run(600)
    assert [world.job(first).state, world.job(second, "second").state] == ["DONE", "DONE"]
    assert watched.most == most
    await life.stop()


@in_world(sweep=0)
async def test_who_waits_for_its_turn_holds_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge report is read from the store once for its size, and once more when it is its turn."""
    monkeypatch.setattr(sessions_parts, "HUGE", 0)
    lsid, life = world.session(1), world.life()
    await life.inbox.put(world.post(lsid))
    world.records.faults["upsert"].extend(["not sent"] * 99)
    await life.run(60)
    assert world.state(lsid) == "FETCHED"
    await life.crash()
    life, asked = world.life(), 0
    real = life.store.bodies

    async def counting(jobs: Sequence[str], name: str) -> list[bytes | None]:
        nonlocal asked
        asked += 1
        found: list[bytes | None] = await real(jobs, name)
        return found

    monkeypatch.setattr(life.store, "bodies", counting, raising=False)
    async with unfolding(life.parts, 1):
        waiting = asyncio.create_task(_told(life.parts, world, lsid))
        await asyncio.sleep(5)
        assert (asked, waiting.done()) == (1, False)
    assert await waiting == lsid
    assert asked == 2


@in_world(sweep=0)
@pytest.mark.parametrize("stage", ["NOTICED", "FETCHED", "WRITTEN", "NOTED"])
async def test_no_stage_seems_stuck_while_another_is_at_work(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Whoever does not get its turn comes again later, so that its stage is heard of; and is done in the end."""
    monkeypatch.setattr(sessions_parts, "HUGE", 0)
    world.keeps, world.site["recordings"] = True, "attach"
    lsid, life = world.session(1), world.life()
    real, aside, holder = life.ledger.step, 0, list[asyncio.Task[bool]]()

    async def stepping(move: Move) -> Job:
        nonlocal aside
        moved = await real(move)
        if moved.state == stage and not holder:
            holder.append(asyncio.create_task(life.parts.turn.acquire()))  # next in turn, before the next stage
        aside += move.event == "put off"
        return moved

    monkeypatch.setattr(life.ledger, "step", stepping)
    if stage == "NOTICED":
        holder.append(asyncio.create_task(life.parts.turn.acquire()))
    await life.inbox.put(world.post(lsid))
    await life.run(3600)
    assert (world.state(lsid), life.beats.late(), aside > 20) == (stage, [], True)
    life.parts.turn.release()
    await life.run(600)
    assert world.state(lsid) == "DONE"
    assert len(world.records.rows) > 1
    assert world.records.notes_of(lsid) == 1
    await life.stop()


async def _told(parts: sessions_parts.Parts, world: World, lsid: str) -> str:
    async with stored(parts, world.job(lsid)) as found:
        return found.report.lsid
