"""Events are posted on: in order as far as they can, each until ServiceNow took it."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.forwarding import LATE, SETTLE, UNKNOWN, World, in_world
from support.memory import When

from relay.core.forward_job import CLOSED_TRIES, REJECTED_TRIES
from relay.core.jobs import Tombstone
from relay.core.session_events import job_of
from relay.jobs.ledger import Move

OWN = "/x_bmgr_bomgar_pam_bomgar_post.do"


@in_world()
async def test_events_are_posted_on_as_they_came(world: World) -> None:
    """Each goes with its path and all its fields in their order, and is forgotten by the disk once it is taken."""
    hostile = {"a+b": "1 + 1 = 50 %", "session.custom.x": "", "lsid": "é&=\0\u202e\U0001f600", "b": "%41+%2B\r\n"}
    life = world.life()
    await life.put("one", path=OWN, fields=hostile)
    stored = {"event": "one", **hostile}
    assert world.bodies("one") == {"event": json.dumps(list(stored.items()), ensure_ascii=False).encode()}
    assert world.job("one").data == {"post": "post one", "path": OWN, "event": "one", "lsid": ""}
    await life.run(5)
    assert world.vendor.got == [("default", OWN, tuple(stored.items()))]
    assert world.bodies("one") == {}
    assert world.job("one").state == "DONE"
    await life.stop()


@in_world({"default": "both", "second": "import", "third": "off"})
async def test_what_becomes_of_an_event_is_said_for_each_appliance(world: World) -> None:
    """It is imported, posted on, both or nothing; every event is posted on, only the end of a session imported."""
    life = world.life()
    for name in ("default", "second", "third", "unnamed"):
        for event in ("access_session_begin", "access_session_end"):
            fields = {"lsid": "ab"}
            await life.put(event, appliance=name, fields=fields, id=f"{name} {event}")
    kinds = sorted((one.job.kind, one.job.lane) for one in world.store.jobs.values())
    assert kinds == [
        ("forward", "default"),
        ("forward", "default"),
        ("session", "default"),
        ("session", "second"),
        ("session", "unnamed"),
    ]
    assert world.store.asked["add"] == 4  # both jobs of an event in one commit; nothing for what needs none
    await life.run(5)
    assert world.vendor.names() == ["access_session_begin", "access_session_end"]
    await life.stop()


@in_world({"default": "both"})
@pytest.mark.parametrize("swept", [False, True])
async def test_a_repeated_event_is_posted_on_once(world: World, swept: bool) -> None:
    """The appliance repeats what it saw no answer to; also after the job is only a memory."""
    post = world.post("access_session_end", fields={"lsid": "ab"})
    life = world.life()
    assert await life.inbox.put(post)
    await life.run(5)
    if swept:
        for kind, states in (("forward", ["DONE"]), ("session", ["NOTICED"])):
            assert await world.store.sweep(kind, states, world.clock.wall(), 0.0, 10) == 1
        assert all(isinstance(stone, Tombstone) for stone in world.store.stones.values())
    assert not await life.inbox.put(post)
    await life.run(5)
    assert len(world.vendor.got) == 1
    # Another event of the same session is another one.
    assert await life.inbox.put(world.post("other", fields={"lsid": "ab"}))
    await life.stop()


@in_world({"default": "both"})
async def test_an_end_without_its_session_is_posted_on_and_kept(world: World) -> None:
    """The vendor's application judges for itself; here it waits for an administrator, and the sweep looks."""
    life = world.life()
    assert await life.inbox.put(world.post("access_session_end"))
    await life.run(1)
    assert world.vendor.names() == ["access_session_end"]
    assert world.store.jobs["post access_session_end"].job.state == "DEAD"
    assert life.swept == ["default"]
    await life.stop()


@in_world({"default": "forward", "second": "off"})
async def test_what_cannot_be_read_is_not_posted_on(world: World) -> None:
    """It is kept with its code where events are taken at all."""
    life = world.life()
    for name in ("default", "second"):
        await life.inbox.put(world.post("x", appliance=name, id=name, fields={}, code=6004, raw=b"%"))
    await life.run(1)
    assert not world.vendor.asked
    (kept,) = world.store.jobs.values()
    assert (kept.job.id, kept.job.kind, kept.job.state, kept.job.data["code"]) == ("default", "session", "DEAD", 6004)
    assert kept.bodies == {"post": b"%"}
    assert not life.swept
    await life.stop()


@in_world({"default": "import", "second": "forward", "third": "both"})
async def test_an_event_of_one_of_several_appliances(world: World) -> None:
    """It is posted on once, for the first whose events are; who else imports is looked through for its session."""
    life = world.life()
    await life.put("access_session_end", fields={"lsid": "ab"}, others=("second", "third"))
    assert {one.job.lane for one in world.store.jobs.values() if one.job.kind == "forward"} == {"second"}
    assert job_of("default", "ab") in world.store.jobs
    assert life.swept == ["third"]
    # Whoever it is, when the first does not import.
    assert await life.inbox.put(
        world.post("session_end", appliance="second", fields={"lsid": "cd"}, others=("default",), id="x")
    )
    assert life.swept == ["third", "default"]
    world.modes["second"] = "off"
    assert await life.inbox.put(
        world.post("session_end", appliance="second", fields={"lsid": "cd"}, others=("default",), id="y")
    )
    assert life.swept == ["third", "default", "default"]
    assert len(world.store.jobs) == 3


@in_world()
@pytest.mark.parametrize("fault", ["away", "busy", "closed", "no token", "lost", "late"])
async def test_events_keep_their_order_while_servicenow_is_away(world: World, fault: str) -> None:
    """What came later waits for what came before, with health saying so, and an hour later all arrive in order."""
    world.vendor.faults["default"].extend([fault] * (2 if fault in {"closed", "lost", "late"} else 30))
    life = world.life()
    names = [f"event {number}" for number in range(20)]
    await life.put(*names)
    await life.run(1)
    assert life.conditions.has("events default")
    assert set(world.vendor.asked) == {"event 0"}
    await life.run(9000)
    firsts = list(dict.fromkeys(world.vendor.names()))
    assert firsts == names
    assert not life.conditions.has("events default")
    assert all(one.job.state == "DONE" and not one.bodies for one in world.store.jobs.values())
    await life.stop()


@in_world()
@pytest.mark.parametrize("fault", ["away", "lost"])
async def test_an_outage_is_waited_out_with_few_posts(world: World, fault: str) -> None:
    """However long it takes and however many events wait, a day of it takes a post every few minutes, and none dies."""
    life = world.life()
    names = [f"event {number}" for number in range(50)]
    world.vendor.always = dict.fromkeys(names, fault)
    await life.put(*names)
    await life.run(86_400)
    assert len(world.vendor.asked) < 86_400 / 150 + 20
    world.mend()
    await life.run(3600)
    assert sorted(world.vendor.names()) == sorted(names)
    if fault == "away":
        assert world.vendor.names() == names
    await life.stop()


@in_world()
@pytest.mark.parametrize("fault", ["rejected", "closed", "lost", "bug"])
async def test_an_event_that_is_not_taken_lets_the_others_pass(world: World, fault: str) -> None:
    """One that alone is refused, or makes the application or the relay itself fail, holds up later ones for a while."""
    world.vendor.always["bad"] = fault
    life = world.life()
    await life.put("first", "bad", "second", "third")
    await life.run(10 if fault == "rejected" else 600)
    assert world.vendor.names() == ["first", "second", "third"]
    await life.put("fourth")
    await life.run(10 if fault == "rejected" else 300)
    assert world.vendor.names()[-1] == "fourth"
    world.mend()
    await life.run(1500)
    assert world.vendor.names()[-1] == "bad"
    assert world.job("bad").state == "DONE"
    await life.stop()


@in_world()
@pytest.mark.parametrize(
    ("fault", "code", "tries"), [("rejected", 2015, REJECTED_TRIES), ("closed", 2027, CLOSED_TRIES)]
)
async def test_an_event_that_stays_refused_waits_for_an_administrator(
    world: World, fault: str, code: int, tries: int
) -> None:
    """It has minutes to be mended; then it is dead with code and fields, and may be tried again as if new."""
    world.vendor.always["bad"] = fault
    life = world.life()
    await life.put("bad")
    await life.run(420)
    assert world.job("bad").state == "WAITING"
    await life.run(12_000)
    for _ in range(2):
        job = world.job("bad")
        assert (job.state, job.data["code"], len(world.vendor.asked)) == ("DEAD", code, tries)
        assert world.bodies("bad")
        world.vendor.asked.clear()
        await life.ledger.step(Move(job, "retried"))
        await life.run(12_000)
    world.mend()
    await life.ledger.step(Move(world.job("bad"), "retried"))
    await life.run(600)
    assert world.job("bad").state == "DONE"
    assert "code" not in world.job("bad").data
    await life.stop()


@in_world()
async def test_an_outage_is_no_refusal(world: World) -> None:
    """Refusals that an outage interrupts are counted, the outage is not: the minutes to mend are for refusals."""
    world.vendor.faults["default"].extend(["closed", *["away"] * 40, "closed"])
    life = world.life()
    await life.put("one")
    await life.run(20_000)
    assert world.job("one").state == "DONE"
    await life.stop()


@in_world()
@pytest.mark.parametrize("fault", UNKNOWN)
async def test_an_unknown_outcome_is_repeated_when_the_first_is_over(world: World, fault: str) -> None:
    """Not before that request can have no effect any more; the application gets it at least once."""
    world.vendor.faults["default"].append(fault)
    life = world.life()
    await life.put("one")
    await life.run(SETTLE - 1)
    assert world.vendor.asked == ["one"]
    await life.run(5)
    assert world.vendor.asked == ["one"] * 2
    assert world.vendor.names() == ["one"] * (1 if fault == "lost" else 2)
    await life.stop()


@in_world()
async def test_one_slow_appliance_holds_up_no_other(world: World) -> None:
    """Each has its own queue."""
    world.vendor.slow["default"] = 500.0
    life = world.life()
    await life.put("slow", "behind")
    await life.put("quick", appliance="second")
    await life.run(5)
    assert world.vendor.names("second") == ["quick"]
    assert world.vendor.names() == []
    world.vendor.faults["second"].extend(["away"] * 4)
    await life.put("again", appliance="second")
    await life.run(1100)
    assert world.vendor.names() == ["slow", "behind"]
    assert world.vendor.names("second") == ["quick", "again"]
    await life.stop()


@in_world()
async def test_only_a_pause_of_everything_stops_it(world: World) -> None:
    """An ordinary pause is for work from ServiceNow."""
    life = world.life()
    await life.holds.set("local", author="admin", reason="r")
    await life.put("one")
    await life.run(5)
    assert world.vendor.names() == ["one"]
    await life.holds.set("local", author="admin", reason="r", everything=True)
    await life.put("two")
    await life.run(500)
    assert world.vendor.names() == ["one"]
    await life.holds.lift("local", author="admin")
    await life.run(5)
    assert world.vendor.names() == ["one", "two"]
    await life.stop()


@in_world({"default": "both", "second": "import"})
async def test_what_was_taken_is_posted_on_whatever_the_configuration_says_now(world: World) -> None:
    """Also of an appliance that imports only, or not at all, since; of one that has left it waits."""
    life = world.life()
    world.modes["second"] = "forward"
    await life.put("one")
    await life.put("two", appliance="second")
    world.modes["second"] = "off"
    del world.modes["default"]
    life = world.life()
    await life.run(10)
    assert world.vendor.names("second") == ["two"]
    assert world.job("one").state == "TAKEN"
    await life.stop()
    world.modes["default"] = "off"
    life = world.life()
    await life.run(10)
    assert world.vendor.names() == ["one"]
    await life.stop()


@in_world()
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stop_keeps_order_and_waits(world: World, when: When) -> None:
    """What was under way at a crash waits its time anew, and those behind it wait too."""
    life = world.life()
    await life.put("one", "two")
    life.gate.kill_at("forward", 1, when)
    await life.run(10)
    life = world.life()
    await life.run(SETTLE - 1)
    assert world.vendor.asked == ["one"] * (when == "after")
    await life.run(10)
    assert list(dict.fromkeys(world.vendor.names())) == ["one", "two"]
    await life.stop()


@in_world()
async def test_a_restart_in_an_outage_keeps_the_order(world: World) -> None:
    """What waits for an outage is tried at once after a start, before what came later."""
    world.vendor.faults["default"].extend(["away"] * 12)
    life = world.life()
    await life.put("one", "two")
    await life.run(800)
    await life.stop()
    world.mend()
    life = world.life()
    await life.run(1)
    assert world.vendor.names() == ["one", "two"]
    await life.stop()


@in_world()
async def test_a_restart_cuts_no_wait_short_that_an_unknown_outcome_needs(world: World) -> None:
    """Not even when the clock was set meanwhile; and an event that is refused waits on."""
    world.vendor.faults["default"].append("late")
    life = world.life()
    await life.put("one", "two")
    await life.run(1)
    await life.stop()
    world.clock.jump(5000.0)
    life = world.life()
    await life.run(SETTLE - 2)
    assert world.vendor.asked == ["one"]
    await life.run(10)
    assert world.vendor.names() == ["one", "one", "two"]
    world.vendor.always["bad"] = "rejected"
    await life.put("bad")
    await life.run(100)
    due = world.job("bad").not_before
    await life.stop()
    life = world.life()
    await life.forward.recover()
    assert world.job("bad").not_before == due
    await asyncio.sleep(0)


@in_world()
async def test_a_restart_waits_no_longer_than_it_must(world: World) -> None:
    """What may be at ServiceNow is posted when the former post is over, before what came later."""
    world.vendor.faults["default"].extend([*["away"] * 7, "done"])
    life = world.life()
    await life.put("one", "two")
    await life.run(200)
    assert world.job("one").state == "UNSURE"
    assert world.job("one").not_before > world.clock.wall() + SETTLE + 50
    await life.stop()
    life = world.life()
    await life.run(SETTLE + 5)
    assert world.vendor.names() == ["one", "one", "two"]
    await life.stop()


@in_world()
@pytest.mark.parametrize("stop", [False, True])
async def test_an_event_that_ends_the_relay_each_time_lets_the_others_pass(world: World, stop: bool) -> None:
    """After some crashes it goes behind them, also when the relay is stopped in between."""
    life = world.life()
    await life.put("bad", "good")
    for _ in range(3):
        life.gate.kill_at("forward", 1, "before")
        await life.run(1000)
        assert life.gate.dead.is_set()
        life = world.life()
    if stop:
        await life.run(10)
        await life.stop()
        life = world.life()
    await life.run(SETTLE + 5)
    assert world.vendor.asked == ["good"]
    await life.run(SETTLE + 300)
    assert world.vendor.names() == ["good", "bad"]
    await life.stop()


@in_world()
async def test_a_success_ends_the_growth_of_pauses(world: World) -> None:
    """The next outage begins with short ones."""
    world.vendor.faults["default"].extend(["away"] * 8)
    life = world.life()
    await life.put("one")
    await life.run(2000)
    assert world.vendor.names() == ["one"]
    world.vendor.faults["default"].append("away")
    await life.put("two")
    await life.run(5)
    assert world.vendor.names() == ["one", "two"]
    await life.stop()


@in_world()
@pytest.mark.parametrize("name", ["change", "bodies", "due", "select"])
async def test_a_full_disk_delays_only(world: World, name: str) -> None:
    """Whatever the disk does not take, the event arrives."""
    life = world.life()
    await life.put("one", "two")
    world.spoil_disk(name, 3)
    await life.run(SETTLE * 8)
    assert set(world.vendor.names()) == {"one", "two"}
    assert world.job("one").state == world.job("two").state == "DONE"
    await life.stop()


@in_world()
async def test_an_event_whose_body_is_lost_holds_up_nobody(world: World) -> None:
    """Nothing is posted of it, and it stays for somebody to find."""
    life = world.life()
    await life.put("one", "two")
    world.bodies("one").clear()
    await life.run(120)
    assert world.vendor.asked == ["two"]
    assert world.job("one").state == "TAKEN"
    await life.stop()


@in_world()
async def test_a_name_that_is_hostile_is_told_short_and_printable(world: World) -> None:
    """What an administrator is shown of an event is bounded."""
    life = world.life()
    await life.inbox.put(world.post("x", fields={"event": "\x1b[2J" + "a" * 1000}))
    assert world.job("x").data["event"] == "[2J" + "a" * 77


def test_late_posts_are_over_in_time() -> None:
    """The stand-in's late effects come before the relay repeats."""
    assert LATE < SETTLE
