"""Decisions on requests for approval that come as work: taken once, never a call to the appliance."""

from __future__ import annotations

from typing import Any

import pytest
from support.appliances import FakeApprovals
from support.memory import Gate
from support.pipeline import World, in_world

from relay.core.approval_settling import answer_of
from relay.core.approval_values import Answer
from relay.core.errors import StorageError
from relay.core.jobs import NewJob
from relay.pipeline.forward import Forward
from relay.pipeline.poll import IN_HAND

ALLOW = Answer("r1", "allow", "", {"snow_task_id": "t1"})


def waiting(world: World) -> FakeApprovals:
    """A world in which one request waits for its decision."""
    world.approvals = FakeApprovals(("default", "r1"))
    return world.approvals


def test_what_a_decision_is() -> None:
    """The judged arguments are the answer; of attributes their code names."""
    arguments = {"response_id": "7", "response": "deny", "message": "no", "session.custom.a": "1"}
    assert answer_of(arguments) == Answer("7", "deny", "no", {"a": "1"})


@in_world()
async def test_a_decision_settles_its_request(world: World) -> None:
    """It is accepted and answered 200; nothing is sent to the appliance, and the audit log has the intent."""
    approvals = waiting(world)
    one = world.queue.output(1, payload="allow default")
    life = world.life()
    await life.until(lambda: bool(world.queue.answers(one)))
    assert approvals.answers == [ALLOW]
    assert world.queue.answer_text(one).startswith(f"200|{one}|")
    assert '"result": "accepted"' in world.queue.answer_text(one)
    assert not world.appliances.order
    (intent,) = [line for line in world.audit.lines if line["event"] == "intent"]
    assert (intent["operation"], intent["appliance"], intent["job"]) == ("approval-response", "default", one)


@in_world()
async def test_only_the_first_decision_counts(world: World) -> None:
    """A second record is told that the request is decided, whatever it says."""
    approvals = waiting(world)
    one = world.queue.output(1, payload="deny default")
    life = world.life()
    await life.until(lambda: bool(world.queue.answers(one)))
    two = world.queue.output(2, payload="allow default json")
    await life.until(lambda: bool(world.queue.answers(two)))
    assert [answer.response for answer in approvals.answers] == ["deny"]
    assert "BSR-4024" in world.queue.answer_text(two)
    assert world.job(two).data["code"] == 4024


@pytest.mark.parametrize("configured", [True, False])
def test_nobody_waits(configured: bool) -> None:
    """A decision on a request of another appliance, or where nothing is forwarded at all, is refused."""

    @in_world()
    async def scenario(world: World) -> None:
        if configured:
            waiting(world)
        one = world.queue.output(1, payload="allow second")
        life = world.life()
        await life.until(lambda: bool(world.queue.answers(one)))
        assert "BSR-4023" in world.queue.answer_text(one)

    scenario()


@in_world()
async def test_an_appliance_that_is_away_delays_no_decision(world: World) -> None:
    """Decisions have a lane of their own: neither limits nor calls under way of the appliance hold them up."""
    approvals = waiting(world)
    world.appliances.down.add("default")
    calls = [world.queue.output(number, payload="safe default") for number in range(2, 12)]
    life = world.life()
    await life.until(lambda: all(world.state(call) for call in calls))
    one = world.queue.output(1, payload="allow default")
    started = world.clock.monotonic()
    await life.until(lambda: bool(world.queue.answers(one)))
    assert approvals.answers == [ALLOW]
    assert world.clock.monotonic() - started <= 1.5


@in_world()
async def test_enough_in_hand_delays_no_decision(world: World) -> None:
    """Where all appliances are away and no more work is taken, a decision is found nevertheless."""
    approvals = waiting(world)
    world.appliances.down |= {"default", "second"}
    names = [f"lane{number}" for number in range(3)]
    world.concurrent = dict.fromkeys((*names, "default", "second"), 8)
    world.limit(retry_for=dict.fromkeys(world.concurrent, 600.0), expire_safe=86400.0, poll_batch=IN_HAND)
    world.appliances.down |= set(names)
    for number in range(2, 400):
        world.queue.output(number, payload=f"safe lane{number % 3}")
    life = world.life()
    await life.run(20.0)
    assert 2 * await life.poll._free() < IN_HAND
    world.queue.output(1, payload="allow default", priority="1")
    started = world.clock.monotonic()
    await life.until(lambda: bool(approvals.answers))
    assert world.clock.monotonic() - started <= 3.0


@in_world()
async def test_while_somebody_waits_the_queue_is_asked_often(world: World) -> None:
    """A poll each second while a request is open; at the configured pace otherwise."""
    approvals = waiting(world)
    world.limit(poll_interval=60.0)
    life = world.life()
    await life.run(10.5)
    asked = len(world.queue.polls)
    assert asked >= 9
    approvals.requests.clear()
    await life.run(120.0)
    assert len(world.queue.polls) <= asked + 4


@in_world()
async def test_the_first_who_waits_ends_a_long_wait(world: World) -> None:
    """A relay that polls each minute asks at once when a request begins to wait, and a second later again."""
    world.limit(poll_interval=60.0)
    approvals = FakeApprovals()
    world.approvals = approvals
    life = world.life()
    await life.run(5.0)
    asked = len(world.queue.polls)
    approvals.requests["default", "r1"] = ""
    (job,) = await life.ledger.add([NewJob("x", "queue", "SEEN", 2, "")])
    assert job is not None
    await life.run(2.5)
    assert asked + 3 <= len(world.queue.polls) <= asked + 5


@pytest.mark.parametrize(("everything", "accepted"), [(False, 1), (True, 0)])
def test_holds(everything: bool, accepted: int) -> None:
    """A pause of work lets decisions pass, a pause of all holds them too."""

    @in_world()
    async def scenario(world: World) -> None:
        approvals = waiting(world)
        life = world.life()
        await life.run(1.0)
        await life.holds.set("local", author="a", reason="r", everything=everything)
        one = world.queue.output(1, payload="allow default")
        call = world.queue.output(2, payload="safe default")
        await life.run(30.0)
        assert len(approvals.answers) == accepted
        assert world.state(one) == ("CLOSED" if accepted else "")
        assert world.state(call) in {"SEEN", ""}
        await life.holds.lift("local", author="a")
        await life.until(lambda: bool(world.queue.answers(call)) and bool(world.queue.answers(one)))
        assert len(approvals.answers) == 1

    scenario()


@in_world()
async def test_a_pause_of_all_holds_what_is_claimed(world: World) -> None:
    """A decision that is ours already waits as well, and is accepted afterwards."""
    approvals = waiting(world)
    life = world.life()
    one = world.queue.output(1, payload="allow default")
    await life.poll._round()
    await {stage.name: stage for stage in life.stages()}["claim decisions"].handle([world.job(one)])
    await life.holds.set("local", author="a", reason="r", everything=True)
    await Forward(life.parts)([world.job(one)])
    assert not approvals.answers
    assert world.state(one) == "CLAIMED"
    await life.holds.lift("local", author="a")
    await life.until(lambda: bool(world.queue.answers(one)))
    assert approvals.answers == [ALLOW]


@in_world()
async def test_a_store_that_cannot_say_is_asked_again(world: World) -> None:
    """Trouble of the disk while settling is an unknown outcome of something safe: repeated, and settled once."""
    approvals = waiting(world)
    approvals.trouble.append(StorageError(5004, "full"))
    one = world.queue.output(1, payload="allow default")
    life = world.life()
    await life.until(lambda: bool(world.queue.answers(one)))
    assert approvals.answers == [ALLOW]
    assert "accepted" in world.queue.answer_text(one)


POINTS = ["poll", "claim", "add", "append", "change", "settle", "insert", "close", "bodies"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_anywhere_accepts_it_once(point: str, nth: int, when: Any) -> None:
    """Whenever the relay is killed, the decision is accepted once, and its record is never told `closed`."""

    @in_world()
    async def scenario(world: World) -> None:
        approvals = waiting(world)
        one = world.queue.output(1, payload="allow default")
        gate = Gate()
        gate.kill_at(point, nth, when)
        first = world.life(gate)
        await first.run(30.0)
        await first.crash()
        await world.life().run(200.0)
        assert approvals.answers == [ALLOW]
        assert approvals.requests["default", "r1"] == one
        assert len(world.queue.answers(one)) == 1
        assert '"result": "accepted"' in world.queue.answer_text(one)

    scenario()
