"""From ServiceNow to SEEN: judging, polling, what is in hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from support.appliances import FakeCodec, FakePolicy
from support.pipeline import World, in_world, jobs_of, seen
from support.sides import sys_id

from relay.core.errors import StorageError, WorkError
from relay.core.exchange import Taken
from relay.core.jobs import Job, NewJob
from relay.core.policy_values import Allowed, Denied
from relay.core.record import Record
from relay.jobs.ledger import Move
from relay.pipeline.judge import judge
from relay.pipeline.load import LONGEST_FILL, Load, is_urgent
from relay.pipeline.poll import IN_HAND, LEFT_OUT, MOST_IN_HAND, OF_ONE_LANE, URGENT_PAGE, URGENT_TOPICS
from relay.pipeline.rows import answer_sys_id, row_bytes, row_of, rows, same_work

# -- rows and judgement ------------------------------------------------------------------------------------------------


def test_a_row_is_stored_as_it_came() -> None:
    """Every text comes back from the store, half a surrogate pair included."""
    record = Record({"sys_id": "a", "payload": "\ud800 ä \x00"})
    assert row_of(row_bytes(record)) == record


def test_an_answer_has_one_sys_id_and_its_stand_in_another() -> None:
    """The sys_id of an answer is the same at every try, and 32 hexadecimal digits."""
    assert answer_sys_id("a") == answer_sys_id("a")
    ids = {answer_sys_id("a"), answer_sys_id("b"), answer_sys_id("a", in_place_of_large=True)}
    assert len(ids) == 3
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)


def test_the_same_work_is_told_by_what_is_asked_for() -> None:
    """Another payload is other work, another state is not."""
    one = Record({"payload": "a", "state": "ready"})
    assert same_work(one, Record({"payload": "a", "state": "processing"}))
    assert not same_work(one, Record({"payload": "b", "state": "ready"}))


@in_world()
async def test_a_job_without_its_row_is_damage(world: World) -> None:
    """A stored job whose row is missing is BSR-5002."""
    (job,) = await seen(world.life(), [world.queue.output(1)])
    world.store.jobs[job.id].bodies.clear()
    with pytest.raises(StorageError, match="5002"):
        await rows(world.life().store, [job])


@pytest.mark.parametrize("payload", ["broken", "bug", "", "denied", "disabled", "safe default", "token"])
def test_every_record_can_be_judged(payload: str) -> None:
    """Whatever stands in a record, even what a fault of ours trips over, gives a ruling and a lane."""
    record = Record({"sys_id": "a", "topic": "RESTProbe", "payload": payload})
    judged = judge(FakeCodec(), cast("Any", FakePolicy()), record)
    expected = {"broken": WorkError, "": WorkError, "denied": Denied, "disabled": Denied, "safe default": Allowed}
    if payload == "bug":
        assert getattr(judged.ruling, "number", 0) == 9001
    elif payload in expected:
        assert isinstance(judged.ruling, expected[payload])
    assert judged.lane == ("default" if payload.startswith("safe") else "")


# -- how much is in hand -----------------------------------------------------------------------------------------------


def moved(number: int, state: str = "SEEN", priority: int = 2) -> Job:
    return Job(f"{number}", "queue", state, 1, priority, "", 0.0, 0, 0.0, 0.0)


def test_batches_fill_longer_the_more_is_in_hand() -> None:
    """A single record waits 20 ms, hundreds up to a quarter of a second, urgent ones only when there are many."""
    load = Load()
    assert (load.fill(urgent=False), load.fill(urgent=True)) == (0.02, 0.0)
    for number in range(200):
        load.hear(moved(number))
        load.hear(moved(1000 + number, priority=0))
    assert load.busy(urgent=True)
    assert load.fill(urgent=False) == load.fill(urgent=True) == 0.1
    for number in range(2000):
        load.hear(moved(number))
    assert load.fill(urgent=False) == LONGEST_FILL


def test_what_has_ended_or_changed_its_priority_is_not_counted_twice() -> None:
    """A job counts once, by the priority that it has now, until its answer is there."""
    load = Load()
    for number in range(60):
        load.hear(moved(number, priority=2))
        load.hear(moved(number, "CLAIMED", priority=1))
    assert not load.busy(urgent=False)
    assert load.busy(urgent=True)
    for number in range(60):
        load.hear(moved(number, "INSERTED", priority=1))
    assert not load.busy(urgent=True)
    assert is_urgent(moved(1, priority=1))
    assert not is_urgent(moved(1, priority=2))


# -- poll --------------------------------------------------------------------------------------------------------------


@in_world()
async def test_new_records_are_stored_once_and_in_their_lanes(world: World) -> None:
    """A poll stores what is new, with the lane that its work needs, and the next one stores nothing."""
    ids = [
        world.queue.output(1),
        world.queue.output(2, payload="unsafe second", priority="1"),
        world.queue.output(3, topic="HeartbeatProbe", priority="0"),
    ]
    life = world.life()
    jobs = await seen(life, ids)
    assert [(job.state, job.lane, job.priority) for job in jobs] == [
        ("SEEN", "default", 2),
        ("SEEN", "second", 1),
        ("SEEN", "", 0),
    ]
    assert jobs[0].data == {
        "topic": "RESTProbe",
        "by": "caller",
        "created_on": world.queue.rows[ids[0]]["sys_created_on"],
    }
    again = await seen(life, ids)
    assert again == jobs
    assert set(world.queue.polls[-1][1]) == set(ids)


@in_world()
async def test_a_full_page_of_news_is_followed_at_once(world: World) -> None:
    """The next poll comes at once while there is more that is new, and after the interval otherwise."""
    world.limit(poll_batch=2)
    for number in range(3):
        world.queue.output(number)
    life = world.life()
    assert await life.poll._round() == 0.0
    assert await life.poll._round() == 5.0
    assert len(jobs_of(world, "SEEN")) == 3


@in_world()
async def test_rows_that_are_known_start_no_rush(world: World) -> None:
    """A full page of rows that are known already is no reason to ask again at once."""
    world.limit(poll_batch=1)
    one = world.queue.output(1)
    life = world.life()
    await life.poll._round()
    world.store.jobs[one].job = await life.ledger.step(Move(world.job(one), "claimed"))
    assert await life.poll._round() == 5.0
    await life.poll._round()
    assert world.queue.polls[-1][1] == (one,)


@in_world()
async def test_trouble_with_servicenow_spaces_the_polls(world: World) -> None:
    """Failed polls wait longer each time or as long as asked, health says why, and a good one ends that."""
    life = world.life()
    world.queue.faults["poll"].extend(["not sent", "not sent", "busy"])
    assert [await life.poll._round() for _ in range(3)] == [0.75, 1.5, 30.0]
    assert life.conditions.has("servicenow")
    assert await life.poll._round() == 5.0
    assert not life.conditions.has("servicenow")


@in_world()
async def test_a_store_that_fails_spaces_the_polls_and_a_lost_write_ends_them(world: World) -> None:
    """BSR-5004 is waited out, BSR-5005 is the end."""
    life = world.life()
    world.store.fail = lambda _name: StorageError(5004)
    assert await life.poll._round() == 0.75
    assert life.conditions.has("store")
    world.store.fail = lambda _name: StorageError(5005)
    with pytest.raises(StorageError):
        await life.poll.run()


@in_world()
async def test_the_poll_waits_for_a_wake_up_or_its_interval(world: World) -> None:
    """A wake-up polls at once, a stop ends after the round that is under way."""
    life = world.life()
    task = asyncio.create_task(life.poll.run())
    await asyncio.sleep(1)
    assert world.queue.calls["poll"] == 1
    life.poll.wake()
    await asyncio.sleep(1)
    assert world.queue.calls["poll"] == 2
    await asyncio.sleep(5)
    assert world.queue.calls["poll"] == 3
    life.poll.stop()
    await task
    assert world.queue.calls["poll"] == 3
    assert life.beats._due == {}


@pytest.mark.parametrize("reason", ["held", "full", "one lane full", "no room"])
def test_urgent_commands_come_through_whatever_is_held(reason: str) -> None:
    """On hold, with enough in hand, or with a full disk, heartbeats and commands are polled, and nothing else."""

    @in_world()
    async def scenario(world: World) -> None:
        life = world.life()
        if reason == "held":
            await life.holds.set("remote", author="a", reason="r")
        if reason in {"full", "one lane full"}:
            lanes = IN_HAND // OF_ONE_LANE if reason == "full" else 1
            number = IN_HAND if reason == "full" else MOST_IN_HAND
            await life.ledger.add([NewJob(f"{one}", "queue", "CLAIMED", 2, f"{one % lanes}") for one in range(number)])
        world.room = reason != "no room"
        ordinary = world.queue.output(1)
        beat = world.queue.output(2, topic="HeartbeatProbe", priority="0")
        await life.poll._round()
        assert world.queue.polls[-1][0] == URGENT_PAGE
        assert world.queue.polls[-1][2] == URGENT_TOPICS
        assert (world.state(ordinary), world.state(beat)) == ("", "SEEN")

    scenario()


@in_world()
async def test_foreign_rows_are_counted_and_not_taken(world: World) -> None:
    """Rows that were not asked for change nothing."""
    world.queue.faults["poll"].append("foreign")
    assert await world.life().poll._round() == 5.0
    assert world.store.jobs == {}


@in_world()
async def test_an_answered_row_that_is_ready_again_is_closed_and_not_done_again(world: World) -> None:
    """A finished record set back to `ready` is closed again, and left out of the next polls."""
    one = world.queue.output(1, payload="unsafe default")
    life = world.life()
    await life.run(10)
    world.queue.write(one, by="admin", state="ready")
    world.queue.faults["close"].append("refused")
    await life.run(5)
    assert world.queue.rows[one]["state"] == "ready"
    await life.run(60)
    assert world.queue.rows[one]["state"] == "processed"
    assert world.appliances.executed[one] == 1
    assert len(world.queue.answers(one)) == 1
    await life.stop()


@in_world()
async def test_a_row_that_cannot_be_claimed_is_left_out_for_a_while(world: World) -> None:
    """A row that is shown as `ready` but gone when it is claimed is asked for with growing gaps."""
    one = world.queue.output(1)
    life = world.life()
    world.queue._claim = lambda _one, _payload: Taken("gone")  # type: ignore[method-assign]
    await life.run(600)
    assert world.state(one) == ""
    assert 4 <= world.queue.calls["claim"] <= 8
    await life.stop()


@in_world()
async def test_a_seen_row_that_is_shown_again_is_not_benched(world: World) -> None:
    """A row that waits to be claimed stays within sight of the polls when there are too many to leave out."""
    one = world.queue.output(1)
    life = world.life()
    await seen(life, [one])
    page = await world.queue.poll(10, [])
    assert await life.poll._store(page) == 0
    assert life.poll._bench == {}


@in_world()
async def test_the_bench_is_bounded(world: World) -> None:
    """No more rows are left out than fit into a query, the oldest give way."""
    life = world.life()
    for number in range(LEFT_OUT + 5):
        life.poll._put_on_bench(sys_id(number))
        await asyncio.sleep(0.001)
    assert len(life.poll._bench) == LEFT_OUT
    assert sys_id(0) not in life.poll._bench
    assert len(await life.poll._left_out()) == LEFT_OUT
