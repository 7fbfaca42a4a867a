"""Requests that ServiceNow decides: at once, later as work, or not in time."""

from __future__ import annotations

import asyncio

import pytest
from support.approvalflow import DEADLINE, World, in_world

from relay.core.approval_values import Answer
from relay.core.errors import StorageError

LATER = Answer("r1", "allow", "go", {"a": "b", "snow_task_id": "ab"})
DENY = Answer("r1", "deny", "no")


@in_world(mode="forward")
@pytest.mark.parametrize("response", ["allow", "deny"])
async def test_an_immediate_decision_is_passed_on(world: World, response: str) -> None:
    """With its text."""
    world.snow.answer = f'{{"response_id":"r1","response":"{response}","message":"as ServiceNow says"}}'.encode()
    life = world.life()
    await life.ask()
    assert (world.box.got(), world.box.said()) == (response, "as ServiceNow says")
    assert world.snow.handed_on == ["r1"]
    assert world.audit.lines[0]["rule"] == "vendor application"
    await life.stop()


@in_world(mode="forward")
@pytest.mark.parametrize("answer", [b"", b"accepted", b'{"response_id":"r2","response":"allow"}'])
async def test_a_later_decision_is_taken_once(world: World, answer: bytes) -> None:
    """The record that brought it is answered alike when it comes again, every other one finds the request closed."""
    world.snow.answer = answer
    life = world.life()
    await life.ask()
    assert world.state() == "WAITING"
    assert life.settling.waiting()
    assert not world.box.wire
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    assert not life.settling.waiting()
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    assert await life.settling.settle("default", DENY, "rec2") == "closed"
    await life.run(5)
    (sent,) = world.box.wire
    assert (sent.response, sent.answer.message, sent.answer.attributes) == ("allow", "go", LATER.attributes)
    assert await life.settling.settle("default", DENY, "rec2") == "closed"
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    (line,) = world.audit.lines
    assert (line["decision"], line["record"], line["rule"]) == ("allow", "rec1", "approval-response")
    assert line["task"] == "ab"
    await life.run(60)
    assert world.box.wire == [sent]
    await life.stop()


@in_world(mode="forward")
async def test_of_two_decisions_at_once_one_counts(world: World) -> None:
    """Whichever was stored first."""
    life = world.life()
    await life.ask()
    world.store.takes = 0.01
    settled = await asyncio.gather(
        life.settling.settle("default", LATER, "rec1"), life.settling.settle("default", DENY, "rec2")
    )
    assert sorted(settled) == ["accepted", "closed"]
    await life.run(5)
    assert len(world.box.wire) == 1
    await life.stop()


@in_world(mode="forward")
async def test_no_decision_in_time_is_a_denial(world: World) -> None:
    """At the deadline; a decision that comes then is too late."""
    life = world.life()
    await life.ask()
    await life.run(DEADLINE)
    (sent,) = world.box.wire
    assert sent.response == "deny"
    assert DEADLINE <= sent.at - world.came["r1"] < DEADLINE + 0.1
    assert await life.settling.settle("default", LATER, "rec1") == "closed"
    await life.stop()


@in_world(mode="forward")
async def test_a_decision_that_comes_at_the_deadline_is_too_late(world: World) -> None:
    """Even if nobody has denied yet."""
    life = world.life()
    await life.ask()
    await life.holds.set("local", author="a", reason="b", everything=True)
    await life.run(DEADLINE)
    assert world.state() == "WAITING"
    assert await life.settling.settle("default", LATER, "rec1") == "closed"
    await life.holds.lift("local", author="a")
    await life.run(1)
    assert world.box.got() == "deny"
    await life.stop()


@in_world(mode="forward")
async def test_only_a_request_that_was_handed_on_can_be_decided(world: World) -> None:
    """Not one that nobody knows, nor one that is not handed on yet, nor another appliance's."""
    life = world.life()
    assert await life.settling.settle("default", LATER, "rec1") == "unknown"
    await life.inbox.put(world.post())
    assert await life.settling.settle("default", LATER, "rec1") == "unknown"
    await life.run(1)
    assert await life.settling.settle("other", LATER, "rec1") == "unknown"
    assert world.state() == "WAITING"
    await life.stop()


@in_world()
async def test_a_request_that_is_decided_here_cannot_be_decided_there(world: World) -> None:
    """Before, while and after it is looked up."""
    world.snow.takes = 1.0
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(0.5)
    assert await life.settling.settle("default", LATER, "rec1") == "unknown"
    await life.run(5)
    assert await life.settling.settle("default", LATER, "rec1") == "closed"
    await life.stop()


@in_world(mode="forward")
async def test_what_surely_did_not_get_there_is_handed_on_again(world: World) -> None:
    """What may have is not: its decision may come."""
    world.snow.faults.extend(["down", "down", "lost"])
    life = world.life()
    await life.ask()
    await life.run(5)
    assert world.snow.handed_on == ["r1"] * 3
    assert world.state() == "WAITING"
    assert life.conditions.has("approvals default")
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    await life.run(1)
    assert world.box.got() == "allow"
    await life.stop()


FAULTS = [("forbidden", 3), ("busy", 3), ("down", DEADLINE + 1), ("hangs", DEADLINE + 1)]


@in_world(mode="forward")
@pytest.mark.parametrize(("fault", "wait"), FAULTS)
async def test_what_cannot_be_handed_on_is_denied(world: World, fault: str, wait: float) -> None:
    """At once when no waiting helps, else at the deadline."""
    world.snow.faults.extend([fault] * 1000)
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(wait)
    assert world.box.got() == "deny"
    await life.stop()


@in_world(mode="forward")
async def test_a_request_of_an_earlier_life_is_denied(world: World) -> None:
    """Whether it was handed on or not; the decision that then comes finds it closed."""
    life = world.life()
    await life.ask()
    await life.inbox.put(world.post("r2"))
    await life.crash()
    life = world.life()
    await life.run(1)
    assert (world.box.got(), world.box.got("r2")) == ("deny", "deny")
    assert world.snow.handed_on == ["r1"]
    assert await life.settling.settle("default", LATER, "rec1") == "closed"
    await life.stop()


@in_world(mode="forward")
async def test_a_reload_leaves_open_what_is_open(world: World) -> None:
    """The process is the same, and so is its clock: the decision may still come, until the deadline."""
    first = world.life()
    await first.ask()
    await first.ask("r2")
    await first.stop()
    world.name = first.parts.life
    life = world.life()
    await life.run(1)
    assert life.settling.waiting()
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    await life.run(30)
    assert (world.box.got(), world.box.got("r2")) == ("allow", "deny")
    assert world.box.of("r2")[0].at - world.came["r2"] >= DEADLINE
    assert not life.settling.waiting()
    await life.stop()


@in_world(mode="forward")
async def test_who_turns_approvals_off_lets_nobody_in_any_more(world: World) -> None:
    """A request that is open at the reload is denied at once, and its decision comes too late."""
    first = world.life()
    await first.ask()
    await first.stop()
    world.name, world.site["mode"] = first.parts.life, "off"
    life = world.life()
    await life.run(2)
    assert await life.settling.settle("default", LATER, "rec1") == "closed"
    assert (world.box.got(), "turned off" in world.box.said()) == ("deny", True)
    assert not life.settling.waiting()
    await life.stop()


@in_world()
@pytest.mark.parametrize(("fault", "got", "state"), [("closed", "deny", "DELIVERED"), ("503", "", "UNDELIVERED")])
async def test_an_allow_on_its_way_ends_when_approvals_are_turned_off(
    world: World, fault: str, got: str, state: str
) -> None:
    """One that surely did not leave becomes a denial; one that may have arrived is not repeated."""
    world.box.faults["r1"].extend([fault] * 1000)
    first = world.life()
    await first.ask()
    await first.crash()
    world.name, world.site["mode"] = first.parts.life, "off"
    world.mend()
    life = world.life()
    await life.run(5)
    assert (world.box.got(), world.state()) == (got, state)
    await life.stop()


@in_world(mode="forward")
async def test_a_decision_that_could_not_be_stored_is_none(world: World) -> None:
    """Who brings it hears that nobody knows, and may bring it again."""
    life = world.life()
    await life.ask()
    world.spoil_disk("change", 1)
    with pytest.raises(StorageError):
        await life.settling.settle("default", LATER, "rec1")
    assert await life.settling.settle("default", LATER, "rec1") == "accepted"
    await life.run(1)
    assert world.box.got() == "allow"
    await life.stop()


@in_world(mode="forward")
async def test_what_is_not_fresh_is_not_even_handed_on(world: World) -> None:
    """A clock that was set while the request waited: nobody is asked."""
    life = world.life()
    await life.inbox.put(world.post())
    world.clock.jump(1000)
    await life.run(3)
    assert world.box.got() == "deny"
    assert world.snow.handed_on == []
    await life.stop()


@in_world(mode="forward")
async def test_a_fault_of_ours_while_handing_on_is_a_denial_at_the_deadline(world: World) -> None:
    """The request may be there; its decision may come, and if not nobody gets in."""
    world.snow.faults.append("bug")
    life = world.life()
    await life.ask()
    await life.run(DEADLINE + 2)
    assert world.box.got() == "deny"
    await life.stop()
