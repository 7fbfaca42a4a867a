"""The loop that has the audit log signed, and brings checkpoints to ServiceNow."""

from __future__ import annotations

import asyncio

import pytest
from support.pipeline import Life, World, in_world

from relay.core.checkpoint import Checkpoint, Note, PublicKey, Signature
from relay.core.errors import RelayError, ServiceNowError, StorageError
from relay.pipeline.checkpoints import ANCHORED, Checkpoints

KEY = PublicKey("bseries-relay/relay01", b"k" * 32)


class FakeNotary:
    """A log of `size` lines; `fail` is raised instead of signing."""

    def __init__(self) -> None:
        self.size = 1
        self.newest: Note | None = None
        self.fail: StorageError | None = None
        self.signed: list[int] = []
        self.tidied = 0
        self.authors: list[str] = []

    async def sign(self) -> Note:
        if self.fail is not None:
            raise self.fail
        checkpoint = Checkpoint(KEY.name, self.size, bytes([self.size % 256]) * 32)
        self.newest = Note(checkpoint, (Signature(KEY.name, KEY.id, b"s" * 64),))
        self.signed.append(self.size)
        return self.newest

    async def rotate(self, author: str) -> PublicKey:
        self.authors.append(author)
        self.size += 1
        self.fail = None
        await self.sign()
        return KEY

    async def tidy(self) -> None:
        self.tidied += 1


class FakeAnchor:
    """A table; each of `faults` is raised once instead."""

    def __init__(self) -> None:
        self.faults: list[ServiceNowError] = []
        self.sizes: list[int] = []
        self.tries = 0

    async def write(self, note: Note) -> None:
        self.tries += 1
        if self.faults:
            raise self.faults.pop(0)
        self.sizes.append(note.size)


class Scene:
    """The loop in a life."""

    def __init__(self, world: World, *, anchored: bool = True, every: float = 300.0) -> None:
        self.life: Life = world.life()
        self.notary, self.anchor = FakeNotary(), FakeAnchor()
        anchor = self.anchor if anchored else None
        self.loop = Checkpoints(self.life.parts, self.notary, anchor, every, self.life.beats)
        self.task = asyncio.create_task(self.loop.run())

    def codes(self) -> dict[str, int]:
        return {one.subject: one.error.number for one in self.life.conditions.all()}

    async def stop(self) -> None:
        self.loop.stop()
        await self.task
        assert self.life.beats.late() == []


@in_world()
async def test_a_log_is_signed_at_the_start_and_from_time_to_time(world: World) -> None:
    """The first checkpoint comes at once, the next each `checkpoint_every`; the log is tidied along the way."""
    scene = Scene(world, anchored=False)
    await asyncio.sleep(1)
    assert scene.notary.signed == [1]
    scene.notary.size = 5
    await asyncio.sleep(298)
    assert scene.notary.signed == [1]
    await asyncio.sleep(602)
    assert scene.notary.signed == [1, 5, 5, 5]
    assert scene.notary.tidied == 4
    assert scene.life.beats.late() == []
    await scene.stop()
    assert scene.anchor.tries == 0


@in_world()
async def test_a_checkpoint_is_anchored_once(world: World) -> None:
    """ServiceNow gets each new checkpoint once, over a restart too, and none while nothing is new."""
    scene = Scene(world)
    await asyncio.sleep(700)
    scene.notary.size = 7
    await asyncio.sleep(300)
    assert scene.anchor.sizes == [1, 7]
    await scene.stop()
    assert ANCHORED in world.store.facts
    again = Scene(world)
    again.notary.size = 7
    await asyncio.sleep(10)
    assert again.anchor.sizes == []
    await again.stop()


@in_world()
async def test_a_failed_anchor_is_told_and_tried_again(world: World) -> None:
    """While the table cannot be written that is a condition, the tries grow rarer, and the newest one counts."""
    scene = Scene(world)
    scene.anchor.faults = [ServiceNowError(2026, "no right") for _ in range(4)]
    await asyncio.sleep(5)
    assert scene.codes() == {"anchor": 2026}
    assert scene.anchor.tries == 1
    scene.notary.size = 9
    await asyncio.sleep(295)
    assert scene.anchor.tries == 5
    assert scene.anchor.sizes in ([1], [9])
    await asyncio.sleep(300)
    assert scene.anchor.sizes[-1] == 9
    assert scene.codes() == {}
    await scene.stop()


@in_world()
async def test_an_instance_that_is_away_is_told_once(world: World) -> None:
    """While ServiceNow cannot be asked at all, the anchor's trouble is not told beside it."""
    scene = Scene(world)
    scene.life.conditions.fail("servicenow", ServiceNowError(2001))
    scene.anchor.faults = [ServiceNowError(2026, after=40.0)]
    await asyncio.sleep(39)
    assert scene.codes() == {"servicenow": 2001}
    assert scene.anchor.tries == 1
    await asyncio.sleep(2)
    assert scene.anchor.sizes == [1]
    await scene.stop()


@in_world()
async def test_a_key_that_cannot_be_used_is_told_and_stops_nothing(world: World) -> None:
    """Without a signature the loop goes on, says so, and signs once it can."""
    scene = Scene(world)
    scene.notary.fail = StorageError(5012, "gone")
    await asyncio.sleep(1)
    assert scene.codes() == {"checkpoint": 5012}
    assert scene.anchor.tries == 0
    scene.notary.fail = None
    await asyncio.sleep(300)
    assert scene.codes() == {}
    assert scene.anchor.sizes == [1]
    await scene.stop()


@in_world()
async def test_orders_of_an_administrator_reach_servicenow_soon(world: World) -> None:
    """A checkpoint on demand and a change of the key are anchored at once, and a new key ends the trouble with it."""
    scene = Scene(world, every=86400.0)
    await asyncio.sleep(1)
    scene.notary.size = 3
    assert (await scene.loop.now()).size == 3
    await asyncio.sleep(1)
    assert scene.anchor.sizes == [1, 3]
    scene.life.conditions.fail("checkpoint", StorageError(5012))
    assert await scene.loop.rotate("admin") == KEY
    await asyncio.sleep(1)
    assert scene.notary.authors == ["admin"]
    assert scene.anchor.sizes == [1, 3, 4]
    assert scene.codes() == {}
    await scene.stop()


@in_world()
async def test_a_stop_during_a_write_ends_the_loop(world: World) -> None:
    """Told to stop while it writes to ServiceNow, the loop ends after that without another wait."""
    scene = Scene(world, every=86400.0)
    stopped = world.clock.monotonic()

    async def slow(_: Note) -> None:
        scene.loop.stop()
        await asyncio.sleep(2)

    scene.anchor.write = slow  # type: ignore[method-assign]  # this write takes long
    await scene.task
    assert world.clock.monotonic() - stopped < 3


@pytest.mark.parametrize("number", [5004, 5005])
def test_a_store_that_fails(number: int) -> None:
    """A full disk is told and the anchor tried again later; a lost write ends the loop."""

    @in_world()
    async def scenario(world: World) -> None:
        world.store.fail = lambda name: StorageError(number) if name == "set_fact" else None
        scene = Scene(world)
        if number == 5005:
            with pytest.raises(RelayError):
                await scene.task
            return
        await asyncio.sleep(1)
        assert scene.codes() == {"store": 5004}
        world.mend()
        await asyncio.sleep(301)
        assert scene.anchor.sizes == [1, 1]
        await scene.stop()

    scenario()


@in_world()
async def test_a_lost_write_of_the_log_ends_the_loop(world: World) -> None:
    """A signature that finds the log's disk failing ends the loop, and with it the process."""
    scene = Scene(world)
    scene.notary.fail = StorageError(5005)
    with pytest.raises(StorageError):
        await scene.task
