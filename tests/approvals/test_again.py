"""Requests that come twice, and relays that are started again: one decision on the wire, if any."""

from __future__ import annotations

import asyncio

import pytest
from support.approvalflow import World, in_world


@in_world()
async def test_a_request_that_comes_twice_is_decided_once(world: World) -> None:
    """Before, while and after it is decided; each post is answered alike."""
    life = world.life()
    assert await life.inbox.put(world.post())
    assert not await life.inbox.put(world.post())
    await life.run(0.05)
    assert not await life.inbox.put(world.post())
    await life.run(3)
    assert not await life.inbox.put(world.post())
    await life.run(30)
    assert [one.response for one in world.box.wire] == ["allow"]
    assert world.snow.asked == 1
    assert world.decisions() == ["allow"]
    await life.stop()


@in_world()
async def test_an_id_that_was_answered_long_ago_is_not_answered_again(world: World) -> None:
    """Only its tombstone is left; the post is taken, since the appliance would else go on posting it."""
    life = world.life()
    await life.ask()
    await world.store.sweep("approval", ["DELIVERED"], world.clock.wall() + 1, 0, 10)
    assert not await life.inbox.put(world.post())
    await life.run(5)
    assert len(world.box.wire) == 1
    await life.stop()


@in_world()
async def test_a_request_that_says_something_else_is_denied(world: World) -> None:
    """Whoever guessed its id first gains nothing."""
    life = world.life()
    await life.run(1)
    await life.inbox.put(world.post())
    await life.inbox.put(world.post(jump_item__computer_name="db01"))
    await life.run(5)
    assert world.box.got() == "deny"
    assert world.decisions() == ["deny"]
    await life.stop()


@in_world()
async def test_an_allow_that_did_not_leave_is_withdrawn_by_another_request_of_its_id(world: World) -> None:
    """The denial is all that arrives."""
    world.box.faults["r1"].extend(["closed"] * 2)
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(0.5)
    assert world.state() == "DECIDED"
    await life.inbox.put(world.post(jump_item__computer_name="db01"))
    await life.run(5)
    assert [one.response for one in world.box.wire] == ["deny"]
    await life.stop()


@in_world()
@pytest.mark.parametrize("fault", ["503", "hangs"])
async def test_an_allow_that_may_have_arrived_is_not_repeated_to_another_request_of_its_id(
    world: World, fault: str
) -> None:
    """The appliance did not know the request when it was told; now that it asks, it hears nothing."""
    world.box.faults["r1"].append(fault)
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(0.3)
    assert world.state() == ("SENT" if fault == "503" else "SENDING")
    for _ in range(2):
        await life.inbox.put(world.post(jump_item__computer_name="db01"))
    await life.run(60)
    assert world.state() == "UNDELIVERED"
    assert [one.response for one in world.box.wire] == ["allow"]
    await life.stop()


@in_world()
@pytest.mark.parametrize("takes", [0.05, 0.15, 0.4, 1.0])
async def test_another_request_of_an_id_is_heard_however_fast_its_job_goes_on(world: World, takes: float) -> None:
    """What was read of the job may be old when it is to be changed: then it is read again."""
    world.store.takes = takes
    world.box.faults["r1"].extend(["closed", "closed", "503", "503"])
    life = world.life()
    await life.inbox.put(world.post())
    await asyncio.gather(life.inbox.put(world.post(jump_item__computer_name="db01")), life.run(60))
    assert world.state() in {"DELIVERED", "UNDELIVERED"}
    assert world.box.got() != "allow"
    assert all(one.at < 10 for one in world.box.wire)
    await life.stop()


@in_world()
async def test_an_allow_that_was_rejected_is_not_sent_otherwise_to_another_request_of_its_id(world: World) -> None:
    """The appliance asks while it still rejects what it did not ask before."""
    world.box.takes = 1.0
    world.box.accepts = {"json"}
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(0.5)
    assert [one.encoding for one in world.box.wire] == ["form"]
    await life.inbox.put(world.post(jump_item__computer_name="db01"))
    await life.run(60)
    assert [one.encoding for one in world.box.wire] == ["form"]
    assert world.state() == "UNDELIVERED"
    await life.stop()


@in_world()
async def test_a_denial_stays_one_whatever_else_is_asked(world: World) -> None:
    """Also when the other request would have been allowed."""
    world.snow.state = "3"
    world.box.faults["r1"].extend(["closed"] * 4)
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(1)
    await life.inbox.put(world.post(ticket_id="CHG0002"))
    await life.run(20)
    assert [one.response for one in world.box.wire] == ["deny"]
    await life.stop()


@in_world()
async def test_what_was_not_decided_before_a_restart_is_denied(world: World) -> None:
    """Nobody can tell how old it is; the person reads that the relay was restarted."""
    life = world.life()
    await life.inbox.put(world.post())
    await life.crash()
    life = world.life()
    await life.run(3)
    assert world.box.got() == "deny"
    assert "restarted" in world.box.said()
    await life.stop()


@in_world()
async def test_an_allow_that_was_not_sent_before_a_restart_is_denied(world: World) -> None:
    """It surely did not leave."""
    world.box.faults["r1"].extend(["closed"] * 1000)
    life = world.life()
    await life.ask()
    await life.crash()
    world.mend()
    life = world.life()
    await life.run(10)
    assert [one.response for one in world.box.wire] == ["deny"]
    assert "restarted" in world.box.said()
    assert world.decisions() == ["allow", "deny"]
    await life.stop()


@in_world()
async def test_an_allow_that_may_have_left_before_a_restart_is_over(world: World) -> None:
    """Neither is it sent again, nor does a denial follow it."""
    world.box.faults["r1"].append("hangs")
    life = world.life()
    await life.ask()
    assert world.state() == "SENDING"
    await life.crash()
    life = world.life()
    await life.run(60)
    assert [one.response for one in world.box.wire] == ["allow"]
    assert world.state() == "UNDELIVERED"
    await life.stop()


@in_world()
async def test_a_denial_that_may_have_left_before_a_restart_is_repeated(world: World) -> None:
    """It harms nobody."""
    world.snow.state = "3"
    world.box.faults["r1"].append("hangs")
    life = world.life()
    await life.ask()
    await life.crash()
    life = world.life()
    await life.run(5)
    assert [one.response for one in world.box.wire] == ["deny", "deny"]
    assert world.decisions() == ["deny"]
    await life.stop()


@in_world()
async def test_a_repetition_does_not_make_an_old_request_fresh(world: World) -> None:
    """The appliance posts again to a relay that was restarted: the request is still of an earlier life."""
    life = world.life()
    await life.inbox.put(world.post())
    await life.crash()
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(3)
    assert world.box.got() == "deny"
    await life.stop()


@in_world()
async def test_requests_of_an_appliance_that_left_the_configuration_end(world: World) -> None:
    """Nobody is answered, which is audited."""
    life = world.life()
    await life.inbox.put(world.post())
    await life.crash()
    world.names = ()
    life = world.life()
    await life.run(3)
    assert world.state() == "REFUSED"
    assert world.audit.lines[0]["code"] == 3012
    assert await life.inbox.put(world.post("r2"))
    assert [one.job.state for one in world.store.jobs.values()] == ["REFUSED", "UNREADABLE"]
    await life.stop()


@in_world()
async def test_a_clock_that_was_set_back_delays_no_denial_after_a_restart(world: World) -> None:
    """How much of a wait is over, that clock alone would know."""
    world.snow.state = "3"
    world.box.faults["r1"].extend(["closed", "503", "503", "503"])
    life = world.life()
    await life.ask()
    assert world.job().not_before > 0.0
    await life.crash()
    world.clock.jump(-3000)
    world.mend()
    life = world.life()
    await life.run(1)
    assert world.box.got() == "deny"
    await life.stop()
