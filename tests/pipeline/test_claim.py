"""Claiming: what is executed, claims of unknown outcome, another poller."""

from __future__ import annotations

import pytest
from support.pipeline import Life, World, in_world, seen
from support.sides import sys_id

from relay.pipeline.claim import Claim
from relay.pipeline.rows import rows


async def claim(life: Life, *ids: str) -> None:
    await Claim(life.parts)([life.world.job(one) for one in ids])


@in_world()
async def test_what_is_executed_is_the_row_that_the_claim_answered(world: World) -> None:
    """A row that was changed between poll and claim is taken as it is at the claim, lane and priority included."""
    one = world.queue.output(1)
    life = world.life()
    await seen(life, [one])
    world.queue.write(one, by="caller", payload="unsafe second", priority="0")
    await claim(life, one)
    job = world.job(one)
    assert (job.state, job.lane, job.priority) == ("CLAIMED", "second", 0)
    assert (await rows(life.store, [job]))[0].payload == "unsafe second"
    assert world.queue.rows[one]["state"] == "processing"


@in_world()
async def test_a_row_that_is_gone_is_forgotten(world: World) -> None:
    """A row that cannot be claimed leaves no trace, so that it may come back."""
    one = world.queue.output(1)
    life = world.life()
    await seen(life, [one])
    del world.queue.rows[one]
    await claim(life, one)
    assert world.state(one) == ""


@in_world()
async def test_a_claim_that_surely_failed_is_put_off(world: World) -> None:
    """Not sent means: again later, with growing waits, and health says so until one succeeds."""
    one = world.queue.output(1)
    life = world.life()
    await seen(life, [one])
    world.queue.faults["claim"].extend(["not sent", "busy"])
    waits = []
    for _ in range(2):
        await claim(life, one)
        waits.append(world.job(one).not_before - world.clock.wall())
    assert waits == pytest.approx([0.75, 30.0])
    assert life.conditions.has("claim")
    await claim(life, one)
    assert world.state(one) == "CLAIMED"
    assert "tries" not in world.job(one).data
    assert not life.conditions.has("claim")


@pytest.mark.parametrize(
    ("fault", "then", "state"),
    [("lost", "", "CLAIMED"), ("done", "", "CLAIMED"), ("done", "other", ""), ("lost", "gone", "")],
)
def test_a_claim_of_unknown_outcome_is_read_back(fault: str, then: str, state: str) -> None:
    """A row still `ready` is claimed again, one in `processing` by us is ours, one by another or gone is not."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1)
        life = world.life()
        await seen(life, [one])
        world.queue.faults["claim"].append(fault)
        await claim(life, one)
        assert world.job(one).data["claim_unknown"]
        if then == "other":
            world.queue.rows[one]["sys_updated_by"] = "other"
        if then == "gone":
            world.queue.hidden.add(one)
        world.queue.faults["read"].append("not sent")
        await claim(life, one)
        assert world.state(one) == "SEEN"
        await claim(life, one)
        assert world.state(one) == state
        assert life.holds.unsafe_work == (then != "other")
        if state:
            assert "claim_unknown" not in world.job(one).data

    scenario()


@in_world()
async def test_a_row_that_another_poller_claimed_first_is_left_to_it(world: World) -> None:
    """Our claim of a row in `processing` leaves the other's name on it: we stand back, and raise the guard."""
    one = world.queue.output(1, payload="unsafe default")
    life = world.life()
    await seen(life, [one])
    world.queue.write(one, by="other", state="processing")
    await claim(life, one)
    assert world.state(one) == ""
    assert not life.holds.unsafe_work
    assert life.holds.work
    assert [condition.error.number for condition in life.conditions.all()] == [2013]
    since = life.holds.get("guard")
    world.queue.output(2)
    await seen(life, [sys_id(2)])
    world.queue.write(sys_id(2), by="other", state="processing")
    await claim(life, sys_id(2))
    assert life.holds.get("guard") == since


@in_world()
async def test_a_claimed_row_does_not_say_who_we_are(world: World) -> None:
    """Somebody who sets a row to `processing` before our claim is not taken for the relay's own user."""
    world.user = ""
    one = world.queue.output(1)
    life = world.life()
    await seen(life, [one])
    world.queue.write(one, by="mallory", state="processing")
    await claim(life, one)
    assert life.parts.learned.user == ""


@in_world()
async def test_a_record_too_large_to_be_read_is_claimed_without_its_payload(world: World) -> None:
    """A bare row is claimed and answered with BSR-4007, beside ordinary ones."""
    one, other = world.queue.output(1), world.queue.output(2)
    world.queue.too_large.add(one)
    life = world.life()
    await life.run(10)
    assert "BSR-4007" in world.queue.answer_text(one)
    assert world.queue.answer_text(other).startswith("200")
    assert world.appliances.executed[one] == 0
    await life.stop()


@in_world()
async def test_a_bare_record_whose_claim_was_lost_is_answered_too(world: World) -> None:
    """The read-back of a row too large to be read settles it like any other, also after a restart."""
    one, two = world.queue.output(1), world.queue.output(2)
    world.queue.too_large |= {one, two}
    world.queue.faults["claim"].append("done")
    life = world.life()
    await life.run(5)
    assert "BSR-4007" in world.queue.answer_text(one)
    life.gate.kill_at("claim", 1, "after")
    three = world.queue.output(3)
    world.queue.too_large.add(three)
    await life.run(20)
    assert life.gate.dead.is_set()
    life = world.life()
    await life.run(10)
    assert "BSR-4007" in world.queue.answer_text(three)
    await life.stop()
