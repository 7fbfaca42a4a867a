"""How things end: close, sweep, pulse, an orderly stop, rest."""

from __future__ import annotations

import asyncio

import pytest
from support.pipeline import World, in_world, jobs_of
from support.sides import sys_id

from relay.core.errors import ServiceNowError, StorageError
from relay.core.jobs import NewJob
from relay.pipeline import close
from relay.pipeline.close import Sweep
from relay.pipeline.pulse import Pulse
from relay.pipeline.rows import KIND

# -- close and sweep ---------------------------------------------------------------------------------------------------


@in_world(marks=False)
async def test_an_output_is_processed_only_after_its_answer_is_there(world: World) -> None:
    """Where the instance does not mark it, the relay does, later, and forgets the bodies."""
    one = world.queue.output(1)
    world.queue.faults["close"].extend(["not sent", "lost"])
    life = world.life()
    await life.run(2)
    assert world.state(one) == "INSERTED"
    assert world.queue.rows[one]["state"] == "processing"
    await life.run(60)
    assert world.state(one) == "CLOSED"
    assert world.queue.rows[one]["state"] == "processed"
    assert world.store.jobs[one].bodies == {}
    assert world.audit.has("delivered", one)
    assert "tries" not in world.job(one).data
    await life.stop()


@in_world()
async def test_bodies_are_kept_when_that_is_wanted(world: World) -> None:
    """With `keep_bodies` the row and the answer stay in the store."""
    world.limit(keep_bodies=3600.0)
    one = world.queue.output(1)
    life = world.life()
    await life.run(10)
    assert set(world.store.jobs[one].bodies) == {"row", "answer"}
    await life.stop()


@pytest.mark.parametrize(
    ("payload", "outcome"), [("safe default", "HTTP 200"), ("denied", "BSR-4002"), ("unsafe default", "HTTP 200")]
)
def test_a_tombstone_tells_the_outcome_and_the_answers_digest(payload: str, outcome: str) -> None:
    """After its retention a finished job is a tombstone, which outlives it by thirty days."""

    @in_world()
    async def scenario(world: World) -> None:
        world.limit(retention=100.0)
        one = world.queue.output(1, payload=payload)
        life = world.life()
        await life.run(10)
        sweep = Sweep(life.parts, life.beats)
        assert await sweep.once() == 0
        await life.run(101)
        assert await sweep.once() == 1
        stone = world.store.stones[one]
        assert stone.outcome == outcome
        assert stone.digest.startswith("digest of ")
        world.queue.write(one, by="admin", state="ready")
        await life.run(30)
        assert world.queue.rows[one]["state"] == "processed"
        assert world.appliances.executed[one] == (payload != "denied")
        await life.stop()
        await asyncio.sleep(30 * 86400.0)
        await sweep.once()
        assert world.store.stones == {}

    scenario()


@in_world()
async def test_a_large_sweep_goes_in_pieces(world: World) -> None:
    """A thousand finished jobs are swept, five hundred in a commit."""
    life = world.life()
    for number in range(1001):
        await life.ledger.add([NewJob(f"{number}", KIND, "CLOSED", 2, "")])
    await asyncio.sleep(8 * 86400.0)
    assert await Sweep(life.parts, life.beats).once() == 1001
    assert world.store.asked["sweep"] == 3
    assert world.store.stones["7"].outcome == "CLOSED"


@in_world()
async def test_kept_bodies_go_when_their_time_is_over(world: World) -> None:
    """With `keep_bodies` the bodies of a delivered job stay that long; the job itself stays for its retention."""
    world.limit(keep_bodies=3600.0)
    one = world.queue.output(1)
    life = world.life()
    await life.run(10)
    assert world.store.jobs[one].bodies
    sweep = Sweep(life.parts, life.beats)
    await asyncio.sleep(3000)
    await sweep.once()
    assert world.store.jobs[one].bodies
    await asyncio.sleep(700)
    await sweep.once()
    assert world.state(one) == "CLOSED"
    assert not world.store.jobs[one].bodies
    await life.stop()


def test_many_kept_bodies_go_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs have bodies whose time is over, one sweep deletes them all, in small commits."""
    monkeypatch.setattr(close, "AT_ONCE", 1)

    @in_world()
    async def scenario(world: World) -> None:
        world.limit(keep_bodies=60.0)
        jobs = [world.queue.output(number) for number in (1, 2, 3)]
        life = world.life()
        await life.run(10)
        await asyncio.sleep(100)
        await Sweep(life.parts, life.beats).once()
        assert [world.store.jobs[one].bodies for one in jobs] == [{}, {}, {}]
        await life.stop()

    scenario()


@in_world()
async def test_nothing_is_swept_by_a_clock_that_cannot_be_trusted(world: World) -> None:
    """Without the instance's clock, away from it, or after a jump, sweeping waits and health says so."""
    life = world.life()
    sweep = Sweep(life.parts, life.beats)
    await life.ledger.add([NewJob("a", KIND, "CLOSED", 2, "")])
    await asyncio.sleep(8 * 86400.0)
    now = world.queue.server_now
    world.queue.server_now = lambda: None
    assert await sweep.once() == 0
    assert not life.conditions.has("clock")
    world.queue.server_now = lambda: world.clock.wall() - 301.0
    assert await sweep.once() == 0
    assert life.conditions.has("clock")
    world.queue.server_now = now
    world.clock.jump(-400.0)
    assert await sweep.once() == 0
    world.clock.jump(400.0)
    assert await sweep.once() == 0
    assert await sweep.once() == 1
    assert not life.conditions.has("clock")


@in_world()
async def test_the_sweep_goes_on_after_a_full_disk_and_ends_on_a_lost_write(world: World) -> None:
    """The loop sweeps every ten minutes until it is stopped."""
    life = world.life()
    sweep = Sweep(life.parts, life.beats)
    task = asyncio.create_task(sweep.run())
    world.spoil_disk("sweep", 1)
    await asyncio.sleep(1250)
    assert world.store.asked["sweep"] == 3
    assert life.conditions.has("store")
    sweep.stop()
    await task
    assert life.beats._due == {}
    world.store.fail = lambda _name: StorageError(5005)
    with pytest.raises(StorageError):
        await Sweep(life.parts, life.beats).run()


# -- pulse -------------------------------------------------------------------------------------------------------------


class Agent:
    """Notes what the row should say."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.error: Exception | None = None
        self.hang = False

    async def refresh(self, status: str) -> None:
        self.said.append(status)
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@in_world()
async def test_the_agents_row_says_up_paused_and_down(world: World) -> None:
    """The row is refreshed every two minutes, sooner after a failure, at once when woken, and says Down at the end."""
    life, agent = world.life(), Agent()
    pulse = Pulse(life.parts, agent, life.beats)
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(100)
    await life.holds.set("local", author="a", reason="r")
    agent.error = ServiceNowError(2018)
    pulse.wake()
    await asyncio.sleep(10)
    assert agent.said == ["Up", "Paused"]
    assert life.conditions.has("agent")
    agent.error = None
    await asyncio.sleep(100)
    assert agent.said == ["Up", "Paused", "Paused"]
    pulse.stop()
    await task
    assert agent.said == ["Up", "Paused", "Paused", "Down"]
    assert not life.conditions.has("agent")
    assert life.beats._due == {}


@in_world()
async def test_an_away_servicenow_is_said_once(world: World) -> None:
    """While ServiceNow itself is the trouble, the row that cannot be refreshed is no second one."""
    life, agent = world.life(), Agent()
    agent.error = ServiceNowError(2018)
    life.conditions.fail("servicenow", ServiceNowError(2001))
    pulse = Pulse(life.parts, agent, life.beats)
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(1)
    assert not life.conditions.has("agent")
    pulse.stop(says_down=False)
    await task


@in_world()
async def test_a_row_that_somebody_goes_on_with_is_not_said_to_be_down(world: World) -> None:
    """A stop for a reload leaves the row as it is."""
    life, agent = world.life(), Agent()
    pulse = Pulse(life.parts, agent, life.beats)
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(1)
    pulse.stop(says_down=False)
    await task
    assert agent.said == ["Up"]
    assert life.beats._due == {}


@in_world()
async def test_the_last_word_does_not_hold_up_the_stop(world: World) -> None:
    """When ServiceNow does not answer, the stop goes on after five seconds."""
    life, agent = world.life(), Agent()
    pulse = Pulse(life.parts, agent, life.beats)
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(1)
    agent.hang = True
    pulse.stop()
    await task
    assert world.clock.monotonic() == 6.0


# -- an orderly stop ---------------------------------------------------------------------------------------------------


@in_world()
async def test_a_stop_brings_home_what_was_done(world: World) -> None:
    """Calls under way end, their answers are delivered and closed, and nothing new is taken."""
    world.concurrent = {"default": 2, "second": 1}
    world.queue.latency = 0.2
    gate = world.appliances.gates["default"] = asyncio.Event()
    ids = [world.queue.output(number, payload="unsafe default") for number in range(1, 7)]
    life = world.life()
    await life.run(5)
    assert world.appliances.under_way == 2
    stopping = asyncio.create_task(life.stop())
    await asyncio.sleep(1)
    world.queue.output(99)
    gate.set()
    await stopping
    assert sorted(world.state(one) for one in ids) == ["CLAIMED"] * 4 + ["CLOSED"] * 2
    assert world.appliances.executed.total() == 2
    assert world.state(sys_id(99)) == ""
    assert life.beats._due == {}


@in_world()
async def test_a_poll_that_fails_takes_over_what_others_met_first(world: World) -> None:
    """The row and the anchor find ServiceNow away before the first poll does: their fixes would lead astray."""
    life = world.life()
    life.conditions.fail("agent", ServiceNowError(2018))
    life.conditions.fail("anchor", ServiceNowError(2026))
    world.queue.faults["poll"].append("not sent")
    await life.until(lambda: life.conditions.has("servicenow"))
    assert not life.conditions.has("agent")
    assert not life.conditions.has("anchor")
    await life.stop()


@in_world()
async def test_a_stop_with_servicenow_away_leaves_the_answers_in_the_store(world: World) -> None:
    """What cannot be delivered waits for the next start, and the stop does not wait for it."""
    one = world.queue.output(1)
    life = world.life()
    world.queue.faults["insert"].extend(["not sent"] * 50)
    await life.run(3)
    await life.stop()
    assert world.state(one) == "ANSWERED"
    assert world.clock.monotonic() < 10
    world.queue.faults.clear()
    again = world.life()
    await again.run(20)
    assert world.state(one) == "CLOSED"
    assert world.appliances.executed[one] == 1
    await again.stop()


@in_world()
async def test_an_idle_relay_asks_the_store_only_for_its_polls(world: World) -> None:
    """At rest the stages look once in a minute each, and nothing spins."""
    life = world.life()
    await life.run(100)
    before = world.store.asked["due"]
    await life.run(600)
    assert world.store.asked["due"] - before == len(life.stages()) * 10
    assert world.queue.calls["poll"] <= 141
    await life.stop()


@in_world()
async def test_priorities_and_lanes_share_the_path(world: World) -> None:
    """An interactive record overtakes hundreds of standard ones, and a dead appliance delays no other."""
    world.appliances.latency = 1.0
    world.appliances.gates["second"] = asyncio.Event()
    for number in range(1, 101):
        world.queue.output(number)
    for number in range(101, 151):
        world.queue.output(number, payload="safe second")
    life = world.life()
    await life.run(4)
    urgent = world.queue.output(500, priority="0")
    now = world.clock.monotonic()
    await life.until(lambda: bool(world.queue.answers(urgent)))
    assert world.clock.monotonic() - now < 8
    await life.until(lambda: len(world.appliances.order) == 101)
    assert world.clock.monotonic() < 25
    world.appliances.gates["second"].set()
    await life.run(30)
    await life.stop()
    assert jobs_of(world, "CLOSED") == list(world.store.jobs)
