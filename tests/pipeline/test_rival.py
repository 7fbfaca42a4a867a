"""Another poller of our agent that is quicker than our claim."""

from __future__ import annotations

import pytest
from support.pipeline import Life, World, in_world, seen
from support.sides import sys_id

from relay.core.exchange import NewInput
from relay.pipeline.claim import Claim
from relay.pipeline.rows import answer_sys_id


async def seen_then_answered(world: World, life: Life, by: str = "rival") -> str:
    """An output that somebody else claims and answers after we saw it, and whose row a claim may still set."""
    one = world.queue.output(1, sys_mod_count="0", payload="unsafe default")
    await seen(life, [one])
    answer = NewInput(one, answer_sys_id(one), "RESTProbe", "get", "", "", "rival's")
    world.queue.rows[world.queue._add_input(answer, "ready", one, "rival's")]["sys_created_by"] = by
    world.queue.write(one, by="rival", state="processing", sys_mod_count="2")
    world.queue.write(one, by="rival", state="ready", sys_mod_count="3")
    return one


@in_world()
async def test_an_output_that_a_rival_answered_is_not_executed(world: World) -> None:
    """A row that changed more than by our claim and has an answer is done; the guard stands."""
    life = world.life()
    one = await seen_then_answered(world, life)
    await Claim(life.parts)([world.job(one)])
    assert world.state(one) == "INSERTED"
    assert "rival answered the output" in life.holds.all()["guard"].reason


@in_world()
async def test_a_row_that_was_only_edited_is_ours(world: World) -> None:
    """A row that changed more than by our claim and has no answer is worked on."""
    life = world.life()
    one = world.queue.output(1, sys_mod_count="4")
    await seen(life, [one])
    world.queue.write(one, by="admin", sys_mod_count="9")
    await Claim(life.parts)([world.job(one)])
    assert world.state(one) == "CLAIMED"
    assert not life.holds.all()


@in_world()
async def test_a_doubtful_claim_waits_until_answers_can_be_asked_for(world: World) -> None:
    """While nobody can tell whether a doubtful row has an answer, it stays what it was; then it is settled."""
    life = world.life()
    one = await seen_then_answered(world, life)
    world.queue.faults["find"].extend(["not sent", "not sent"])
    await Claim(life.parts)([world.job(one)])
    assert world.job(one).data["claim_unknown"]
    await Claim(life.parts)([world.job(one)])
    assert world.state(one) == "SEEN"
    await Claim(life.parts)([world.job(one)])
    assert world.state(one) == "INSERTED"


@pytest.mark.parametrize("answered", [True, False])
def test_a_taken_row_is_looked_at(answered: bool) -> None:
    """A row that was done before our claim raises the guard when another poller answered it, else it is forgotten."""

    @in_world()
    async def scenario(world: World) -> None:
        life = world.life()
        one = await seen_then_answered(world, life)
        world.queue.rows[one]["state"] = "processed"
        if not answered:
            del world.queue.rows[answer_sys_id(sys_id(1))]
        await Claim(life.parts)([world.job(one)])
        assert world.state(one) == ""
        assert bool(life.holds.all()) == answered

    scenario()
