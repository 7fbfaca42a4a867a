"""Sessions that nobody told of are found."""

from __future__ import annotations

import asyncio

import pytest
from support.sessionflow import World, in_world

from relay.core.errors import StorageError
from relay.core.session_report import Listed

FACT = "sessions.swept.default"


def looks(world: World) -> list[int]:
    """Since when each look at the first appliance asked."""
    kind = "AccessSessionListing"
    return [int(asked["end_time"]) for asked in world.boxes.asked if asked["generate_report"] == kind]


@in_world(sweep=300.0)
async def test_a_session_without_an_event_comes_home(world: World) -> None:
    """On every appliance, within the interval of the sweep."""
    one, two = world.session(1, ends_in=50), world.session(2, ends_in=50, box="second")
    life = world.life()
    await life.run(700)
    assert world.state(one) == "DONE"
    assert world.job(two, "second").state == "DONE"
    assert world.records.notes_of(one) == world.records.notes_of(two) == 1
    assert world.job(one).data["by"] == "sweep"
    await life.stop()


@in_world(sweep=300.0)
async def test_each_look_begins_an_hour_before_the_appliances_last_answer(world: World) -> None:
    """The cursor is durable, moves with the appliance's clock and survives a restart, so that downtime is made up."""
    life = world.life()
    await life.run(10)
    await life.stop()
    lsid = world.session(1, ends_in=100)
    await asyncio.sleep(50_000)
    start = world.clock.wall()
    life = world.life()
    await life.run(60)
    first, second = looks(world)[:2]
    assert start - 50_000 - 3600 - 20 <= first == second <= start - 50_000 - 3600
    assert world.state(lsid) == "DONE"
    await life.run(300)
    assert start - 3600 <= looks(world)[-1] <= start - 3540
    await life.stop()


@in_world(sweep=300.0)
async def test_an_appliance_without_a_clock_is_asked_for_everything_again(world: World) -> None:
    """Without the appliance's time the cursor stays: rather the same lines again than a session left out."""
    world.boxes.dates = False
    life = world.life()
    await life.run(1000)
    assert len(looks(world)) == 4
    assert len(set(looks(world))) == 1
    await life.stop()


@in_world(sweep=300.0)
@pytest.mark.parametrize("fault", ["broken", "503", "404", "3009", "3019"])
async def test_a_look_that_failed_is_repeated_from_the_same_moment(world: World, fault: str) -> None:
    """Health says so meanwhile; what ended before the first answer came is found."""
    world.boxes.faults["AccessSessionListing"].extend([fault] * 30)
    lsid = world.session(1, ends_in=5)
    life = world.life()
    await life.run(1500)
    assert life.conditions.has("sweep default")
    assert not world.state(lsid)
    assert len(set(looks(world))) == 1
    world.mend()
    await life.run(400)
    assert world.state(lsid) == "DONE"
    assert not life.conditions.has("sweep default")
    await life.stop()


@in_world(sweep=300.0)
async def test_the_cursor_waits_for_the_disk(world: World) -> None:
    """Sessions that could not be stored are listed again."""
    lsid = world.session(1, ends_in=-10)
    life = world.life()
    world.spoil_disk("add", 2)
    await life.run(1)
    assert not world.state(lsid)
    await life.run(60)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_a_disk_that_lost_a_write_ends_the_process(world: World) -> None:
    """As everywhere else in the relay."""
    world.store.fail = lambda name: StorageError(5005, name) if name == "set_fact" else None
    with pytest.raises(ExceptionGroup):
        await world.life().sweep.run()


@in_world(sweep=300.0)
async def test_a_session_that_was_given_up_is_found_when_it_ended(world: World) -> None:
    """It went on for days after it was named."""
    lsid = world.session(1, ends_in=200_000)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(90_000)
    assert world.state(lsid) == "DEAD"
    await life.run(111_000)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_more_sessions_than_one_commit_holds(world: World) -> None:
    """After a long downtime every one is stored, each once."""
    for number in range(1100):
        world.session(number, ends_in=-5, events=0, task="")
    life = world.life()
    life.sweeps = False
    assert await life.sweep.look("default") == 1100
    assert await life.sweep.look("default") == 0
    assert len(world.store.jobs) == 1100


@in_world(sweep=900.0)
async def test_a_pause_of_everything_stops_the_looks_too(world: World) -> None:
    """A long interval is waited out with signs of life."""
    life = world.life()
    await life.holds.set("local", author="admin", reason="r", everything=True)
    await life.run(2000)
    assert not looks(world)
    assert not life.beats.late()
    await life.holds.lift("local", author="admin")
    life.sweep.wake("default")
    life.sweep.wake("nobody")
    await life.run(1)
    assert len(looks(world)) == 1
    await life.stop()


@in_world(sweep=300.0)
@pytest.mark.parametrize("lag", [0.0, 100.0])
async def test_a_session_of_another_appliance_comes_home_from_there(world: World, lag: float) -> None:
    """Whose an event is that two appliances may have sent, shows: the one is asked at once, the other lets it go."""
    life = world.life()
    await life.run(10)
    lsid = world.session(1, box="second", ends_in=lag)
    assert await life.inbox.put(world.post(lsid, others=("second",)))
    assert world.job(lsid).data["others"] == ["second"]
    await life.run(5 if not lag else 700)
    assert world.job(lsid, "second").data["by"] == "sweep"
    await life.run(400)
    assert world.state(lsid) == "LEFT"
    assert world.job(lsid, "second").state == "DONE"
    assert world.records.notes_of(lsid) == 1
    # A repetition changes nothing, also when only a memory is left of both.
    assert not await life.inbox.put(world.post(lsid, others=("second",)))
    await world.store.sweep("session", ["DONE", "LEFT"], world.clock.wall(), 0.0, 10)
    assert not await life.inbox.put(world.post(lsid, others=("second",)))
    await life.run(700)
    assert not world.store.jobs
    await life.stop()


@in_world(sweep=300.0)
async def test_a_session_that_no_appliance_knows_waits_for_an_administrator(world: World) -> None:
    """The other was asked, and what it has no report of either is not let go."""
    life = world.life()
    await life.inbox.put(world.post(f"{1:032x}", others=("second",)))
    await life.run(4500)
    assert world.state(f"{1:032x}") == "DEAD"
    assert world.job(f"{1:032x}").data["code"] == 3020
    await life.stop()


@in_world(sweep=300.0)
async def test_a_session_of_the_first_appliance_is_not_let_go(world: World) -> None:
    """What another might have, and has not, comes home from the first, however late its report is."""
    life = world.life()
    lsid = world.session(1, ends_in=400)
    await life.inbox.put(world.post(lsid, others=("second",)))
    await life.run(1500)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_a_date_of_long_ago_imports_nothing_of_long_ago(world: World) -> None:
    """The appliance's clock was not set for some minutes: what ended before anybody listened stays where it is."""
    life = world.life()
    old = world.session(1, ends_in=-40 * 86_400)
    await life.run(700)
    world.boxes.tells = lambda: 1_000.0
    lsid = world.session(2, ends_in=10)
    await life.run(700)
    world.boxes.tells = None
    await life.run(700)
    assert min(looks(world)) > world.clock.wall() - 86_400
    assert not world.state(old)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_a_date_of_years_to_come_leaves_no_session_out(world: World) -> None:
    """What answers is a proxy with a clock of its own: sessions of these hours are found all the same."""
    life = world.life()
    await life.run(700)
    world.boxes.tells = lambda: world.clock.wall() + 10 * 365 * 86_400
    lsid = world.session(1, ends_in=10)
    await life.run(700)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
@pytest.mark.parametrize("dates", [True, False])
async def test_a_listing_that_is_too_large_is_asked_for_in_pieces(world: World, *, dates: bool) -> None:
    """After a long downtime with more sessions than an answer may hold, every one is found in the first look."""
    life = world.life()
    await life.run(10)
    await life.stop()
    await asyncio.sleep(20 * 86_400)
    world.boxes.dates = dates
    for number in range(300):
        world.session(number, ends_in=-number * 5_000, events=0, task="")
    world.boxes.most_lines = 20
    life = world.life()
    life.sweeps = False
    assert await life.sweep.look("default") == 300
    assert await life.sweep.look("default") == 0
    assert looks(world)[-1] > world.clock.wall() - (3_700 if dates else 90_000)
    await life.stop()


@in_world(sweep=300.0)
async def test_a_minute_that_is_too_large_is_told(world: World) -> None:
    """A listing that no piece of time makes small enough is what health says, and is asked for again later."""
    life = world.life()
    lsid = world.session(1, ends_in=-5)
    world.boxes.most_lines = 0
    await life.run(30)
    assert life.conditions.has("sweep default")
    assert not world.state(lsid)
    world.boxes.most_lines = 10
    await life.run(700)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_a_fault_of_a_look_ends_nothing(world: World) -> None:
    """An answer that breaks what reads it is told and tried again; everything else goes on."""
    life = world.life()
    lsid, listing = world.session(1, ends_in=-5), world.boxes.listing

    async def broken(_document: bytes) -> list[Listed]:
        raise ZeroDivisionError

    world.boxes.listing = broken  # type: ignore[assignment,method-assign]
    await life.run(60)
    (condition,) = [one for one in life.conditions.all() if one.subject == "sweep default"]
    assert condition.error.number == 9001
    world.boxes.listing = listing  # type: ignore[method-assign]
    await life.run(400)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=300.0)
async def test_a_stop_ends_a_look_between_two_pieces(world: World) -> None:
    """What was listed until then is on disk, and the next life goes on from there."""
    life = world.life()
    life.sweeps = False
    await world.store.set_fact(FACT, world.clock.wall() - 20 * 86_400)
    for number in range(100):
        world.session(number, ends_in=-number * 15_000, events=0, task="")
    world.boxes.most_lines = 20
    life.sweep.stop()
    first = await life.sweep.look("default")
    assert 0 < first < 100
    assert await world.life().sweep.look("default") == 100 - first


@in_world(sweep=300.0)
async def test_a_session_that_is_listed_often_is_moved_once(world: World) -> None:
    """A session that waits for its end looks again, though an appliance lists it a thousand times."""
    life = world.life()
    lsid = world.session(1, ends_in=5_000)
    await life.inbox.put(world.post(lsid))
    await life.run(400)
    listing = world.boxes.listing

    async def often(document: bytes) -> list[Listed]:
        return [*(await listing(document)), *(Listed(one, has_recording=False) for one in (lsid, lsid.upper()) * 500)]

    world.boxes.listing = often  # type: ignore[method-assign]
    version = world.job(lsid).version
    life.sweep.wake("default")
    await life.run(0.001)
    assert world.job(lsid).version <= version + 2
    await life.stop()
