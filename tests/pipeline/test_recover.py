"""The start, and rows that nobody works on."""

from __future__ import annotations

import asyncio

import pytest
from support.pipeline import Life, World, in_world, jobs_of

from relay.core.errors import StorageError
from relay.core.jobs import NewJob
from relay.jobs.ledger import Move
from relay.pipeline import recover
from relay.pipeline.rows import ATTACHED, KIND, row_bytes

# -- the start ---------------------------------------------------------------------------------------------------------


async def left(world: World, state: str, number: int = 1, **named: object) -> str:
    """A record as an earlier life left it: its job in this state."""
    one = world.queue.output(number)
    if state != "SEEN":
        world.queue.write(one, state="processing")
    life = world.life()
    record = (await world.queue.read([one]))[one]
    fields = {"priority": 2, "lane": "default", "bodies": {"row": row_bytes(record)}, **named}
    await life.ledger.add([NewJob(one, KIND, state, **fields)])  # type: ignore[arg-type]
    return one


async def started(world: World) -> Life:
    life = world.life()
    assert await life.recover.start()
    return life


@in_world()
async def test_the_start_reads_back_before_anything_is_sent(world: World) -> None:
    """A claim whose answer was lost with the process is found, and the row as it is now is taken."""
    one = await left(world, "SEEN")
    world.queue.write(one, state="processing", payload="unsafe second")
    life = await started(world)
    assert (world.state(one), world.job(one).lane) == ("CLAIMED", "second")
    assert life.holds.unsafe_work
    assert world.queue.calls["insert"] == world.queue.calls["claim"] == 0


@in_world()
async def test_a_row_that_another_claimed_while_we_were_down_is_left_to_it(world: World) -> None:
    """A seen row in `processing` under another name is dropped, and raises the guard."""
    one = await left(world, "SEEN")
    world.queue.write(one, by="other", state="processing")
    life = await started(world)
    assert world.state(one) == ""
    assert not life.holds.unsafe_work


@pytest.mark.parametrize("state", ["SEEN", "CLAIMED", "UNCERTAIN", "ANSWERED"])
def test_an_answer_that_is_there_ends_the_job(state: str) -> None:
    """Whatever the store says, an answer found at ServiceNow is the end, and is closed."""

    @in_world()
    async def scenario(world: World) -> None:
        one = await left(world, state)
        world.queue.output(9, queue="input", response_to=one, sys_created_by="svc.relay")
        life = world.life()
        await life.run(10)
        assert world.state(one) == "CLOSED"
        assert len(world.queue.answers(one)) == 1
        assert world.appliances.executed[one] == 0
        await life.stop()

    scenario()


@pytest.mark.parametrize(
    ("state", "change", "after"),
    [
        ("CLAIMED", {"state": "processed"}, ""),
        ("CLAIMED", {"agent": "mid.server.other"}, ""),
        ("CLAIMED", {"state": "ready"}, "CLAIMED"),
        ("CLAIMED", None, ""),
        ("SEEN", None, ""),
        ("UNCERTAIN", None, "UNCERTAIN"),
        ("UNCERTAIN", {"state": "processed"}, "CLOSED"),
    ],
)
def test_what_is_not_ours_any_more_is_let_go(state: str, change: dict[str, str] | None, after: str) -> None:
    """A row that is gone or somebody else's is forgotten, unless its call may have been made."""

    @in_world()
    async def scenario(world: World) -> None:
        one = await left(world, state)
        if change is None:
            world.queue.hidden.add(one)
        else:
            world.queue.write(one, **change)
        await started(world)
        assert world.state(one) == after

    scenario()


@in_world()
async def test_a_job_that_made_calls_is_not_forgotten_for_a_hidden_row(world: World) -> None:
    """A claimed job with calls behind it keeps counting them, and a safe one of a foreign row is dropped."""
    one = await left(world, "CLAIMED", attempts=1)
    two = await left(world, "UNCERTAIN", 2, data={"safe": True})
    world.queue.hidden.add(one)
    world.queue.write(two, state="processed")
    await started(world)
    assert world.state(one) == "CLAIMED"
    assert world.state(two) == ""


@in_world()
async def test_a_call_whose_row_comes_back_is_not_made_again(world: World) -> None:
    """An unsafe call that may have been made is remembered when its row was given away, and the row is closed."""
    one = await left(world, "UNCERTAIN")
    world.queue.write(one, by="admin", state="processed")
    life = world.life()
    await life.run(5)
    world.queue.write(one, by="admin", state="ready")
    await life.run(30)
    assert world.appliances.executed[one] == 0
    assert world.queue.rows[one]["state"] == "processed"
    await life.stop()


@in_world()
async def test_jobs_move_to_the_lanes_of_the_present_configuration(world: World) -> None:
    """No job waits in a lane that nobody serves; a fetched payload and a bare row stay where they are."""
    one = await left(world, "CLAIMED", lane="removed")
    two = await left(world, "CLAIMED", 2, lane="second")
    world.queue.write(two, payload=ATTACHED)
    three = await left(world, "CLAIMED", 3, lane="", data={"bare": True})
    await started(world)
    assert [world.job(name).lane for name in (one, two, three)] == ["default", "second", ""]
    assert world.job(two).version == 1


@in_world()
async def test_a_bare_claim_is_found_without_its_payload(world: World) -> None:
    """A claim of a row too large to be read is taken up without judging it."""
    one = await left(world, "SEEN", lane="", data={"bare": True})
    world.queue.write(one, state="processing")
    await started(world)
    assert (world.state(one), world.job(one).lane) == ("CLAIMED", "")


@in_world(keeps=False)
async def test_what_was_under_way_is_settled_first(world: World) -> None:
    """Calls become UNCERTAIN, marked inserts wait to be asked for, and so do those that were lost just before."""
    call = await left(world, "FORWARDING", 1, attempts=1)
    marked = await left(world, "ANSWERED", 2, data={"inserting": True})
    plain = await left(world, "ANSWERED", 3)
    lost = await left(world, "VERIFYING", 4)
    looked = await left(world, "VERIFYING", 5, data={"looks": 1})
    await started(world)
    states = [world.state(one) for one in (call, marked, plain, lost, looked)]
    assert states == ["UNCERTAIN", "VERIFYING", "ANSWERED", "VERIFYING", "VERIFYING"]
    waits = [world.job(one).not_before - world.clock.wall() for one in (marked, lost)]
    assert waits == [65.0, 65.0]
    assert world.job(looked).not_before == 0.0


@in_world()
async def test_the_start_waits_as_long_as_servicenow_is_away(world: World) -> None:
    """Nothing is done before the sides agree; health says why; a full disk is waited out as well."""
    one = await left(world, "CLAIMED")
    world.queue.down = True
    world.spoil_disk("select", 1)
    life = world.life()
    await life.run(100)
    assert {condition.subject for condition in life.conditions.all()} == {"servicenow", "store"}
    assert world.appliances.executed[one] == 0
    assert life.beats.late() == []
    world.queue.down = False
    await life.run(60)
    assert world.queue.answer_text(one).startswith("200")
    await life.stop()


@in_world()
async def test_a_start_that_is_told_to_stop_stops(world: World) -> None:
    """A stop before everything was settled ends the start, and its proof of life."""
    await left(world, "CLAIMED")
    world.queue.down = True
    life = world.life()
    await life.run(3)
    await life.stop()
    assert life.beats._due == {}
    assert world.clock.monotonic() == 3.0


@in_world()
async def test_a_lost_write_ends_the_start(world: World) -> None:
    """BSR-5005 is raised."""
    world.store.fail = lambda _name: StorageError(5005)
    with pytest.raises(StorageError):
        await world.life().recover.start()


@in_world()
async def test_a_backlog_is_settled_in_chunks(world: World) -> None:
    """Hundreds of jobs are settled with a few requests."""
    for number in range(250):
        await left(world, "CLAIMED", number)
    world.queue.calls.clear()
    await started(world)
    assert world.queue.calls["read"] == world.queue.calls["find"] == 3
    assert len(jobs_of(world, "CLAIMED")) == 250


# -- orphans -----------------------------------------------------------------------------------------------------------


async def orphan(world: World, number: int = 1, **fields: str) -> str:
    one = world.queue.output(number, **{"state": "processing", "sys_updated_by": "svc.relay", **fields})
    await asyncio.sleep(0)
    return one


@in_world()
async def test_a_processing_row_that_nobody_knows_is_taken_over(world: World) -> None:
    """After ten minutes: safe work is done, unsafe work is answered as unknown, answered work is closed."""
    safe = await orphan(world)
    unsafe = await orphan(world, 2, payload="unsafe default")
    done = await orphan(world, 3, sys_updated_by="an administrator")
    world.queue.output(9, queue="input", response_to=done, sys_created_by="svc.relay")
    world.queue.faults["close"].append("refused")
    life = world.life()
    await life.run(590)
    assert world.store.jobs == {}
    assert world.queue.rows[done]["state"] == "processed"
    await life.run(1300)
    assert world.queue.answer_text(safe).startswith("200")
    assert "BSR-3010" in world.queue.answer_text(unsafe)
    assert world.appliances.executed[unsafe] == 0
    assert world.queue.rows[done]["state"] == "processed"
    assert life.holds.unsafe_work
    await life.stop()


@in_world()
async def test_an_answered_row_that_a_slow_claim_set_back_is_closed_again(world: World) -> None:
    """A row in `processing` whose job is finished is no orphan, and is closed at the next look."""
    one = world.queue.output(1)
    life = world.life()
    await life.run(10)
    world.queue.write(one, state="processing")
    await life.run(recover.ORPHANS_EVERY + 10)
    assert world.queue.rows[one]["state"] == "processed"
    assert len(world.queue.answers(one)) == 1
    await life.stop()


@in_world()
async def test_an_orphan_of_another_user_raises_the_guard(world: World) -> None:
    """A row of our agent that somebody else claimed long ago says that there is another poller."""
    await orphan(world, payload="unsafe default", sys_updated_by="other")
    life = world.life()
    await life.run(1250)
    assert not life.holds.unsafe_work
    await life.stop()


@in_world()
async def test_many_orphans_are_taken_page_after_page(world: World) -> None:
    """A full page with orphans is followed by the next one soon."""
    for number in range(recover.PAGE + 5):
        await orphan(world, number)
    life = world.life()
    await asyncio.sleep(700)
    await life.run(30)
    assert len(world.store.jobs) == recover.PAGE + 5
    await life.stop()


@in_world()
async def test_live_work_is_no_reason_to_look_for_orphans_again(world: World) -> None:
    """A page full of rows in hand is not read every second."""
    for number in range(300):
        await left(world, "CLAIMED", number, not_before=world.clock.wall() + 3000.0)
    life = world.life()
    await life.run(2.5 * recover.ORPHANS_EVERY)
    assert world.queue.calls["processing"] == 3
    await life.crash()


@in_world()
async def test_the_look_for_orphans_survives_both_sides_troubles(world: World) -> None:
    """An error of ServiceNow or a full disk puts it off to the next round, a lost write ends it."""
    world.queue.faults["processing"].append("not sent")
    life = world.life()
    await life.run(10)
    world.spoil_disk("known", 1)
    await life.run(600)
    assert life.beats.late() == []
    world.store.fail = lambda name: StorageError(5005) if name == "known" else None
    with pytest.raises(StorageError):
        await world.life().recover.run()
    await life.crash()


@in_world()
async def test_moves_of_other_kinds_do_not_concern_the_poll(world: World) -> None:
    """Only dropped queue records are left out of the polls."""
    one = await left(world, "CLAIMED")
    life = world.life()
    await life.ledger.step(Move(world.job(one), "put off"))
    assert life.poll._bench == {}
    await life.ledger.step(Move(world.job(one), "taken"))
    assert set(life.poll._bench) == {one}
