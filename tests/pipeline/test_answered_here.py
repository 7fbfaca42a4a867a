"""What is answered without a call: commands, refusals, payloads that cannot be had, answers that are too large."""

from __future__ import annotations

import pytest
from support.pipeline import Life, World, claimed, in_world

from relay.core.record import Failure, Record, Reply
from relay.pipeline.forward import Forward
from relay.pipeline.local import NAMED
from relay.pipeline.render import render
from relay.pipeline.rows import ATTACHED


async def forward(life: Life, handler: Forward, *ids: str) -> None:
    await handler([life.world.job(one) for one in ids])


def answer(world: World, one: str) -> str:
    """The stored answer."""
    return world.store.jobs[one].bodies["answer"].decode()


@pytest.mark.parametrize(
    ("command", "text", "held"),
    [
        ("getResourceState", '{"mid_operational_state": "Up"}', False),
        ("pauseMid", '{"mid_operational_state": "Paused"}', True),
        ("resumeMid", '{"mid_operational_state": "Up"}', False),
        ("restart", "BSR-4014", False),
        ("grabLog", "BSR-4014", False),
        ("hunter2-typed-here", "BSR-4014", False),
    ],
)
def test_commands_for_the_agent_are_served_or_refused(command: str, text: str, held: bool) -> None:
    """Three commands are served, others refused; the audit log repeats only names that ServiceNow knows."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, topic="SystemCommand", source=command, priority="0")
        life = world.life()
        await life.run(5)
        assert text in world.queue.answer_text(one)
        assert (life.holds.get("remote") is not None) == held
        if held:
            assert life.holds.all()["remote"].author == "servicenow:caller"
        line = next(line for line in world.audit.lines if line["event"] == "outcome")
        assert line["decision"] == ("deny" if "BSR" in text else "allow")
        assert line["operation"] == "system-command" + (f":{command}" if command in NAMED else "")
        await life.stop()

    scenario()


@in_world()
async def test_servicenow_can_resume_what_it_paused_and_nothing_else(world: World) -> None:
    """`resumeMid` comes through a pause, lifts the remote hold, and leaves the local one."""
    life = world.life()
    await life.run(1)
    world.queue.output(1, topic="SystemCommand", source="pauseMid", priority="0")
    await life.run(10)
    await life.holds.set("local", author="root", reason="r")
    world.queue.output(2, topic="SystemCommand", source="resumeMid", priority="0")
    await life.run(10)
    assert set(life.holds.all()) == {"local"}
    await life.stop()


@in_world()
async def test_a_vendor_script_gets_a_placeholder_for_its_token(world: World) -> None:
    """The answer to a token request holds no real token, and no appliance is called."""
    one = world.queue.output(1, payload="token")
    life = world.life()
    await life.run(5)
    assert '"access_token": "held-by-the-relay"' in world.queue.answer_text(one)
    assert world.appliances.order == []
    await life.stop()


@pytest.mark.parametrize(
    ("payload", "code", "rule"),
    [("denied", 4002, "policy.allow"), ("disabled", 3012, "policy.allow"), ("broken", 4006, None), ("bug", 9001, None)],
)
def test_what_the_policy_refuses_is_answered_with_its_code(payload: str, code: int, rule: str | None) -> None:
    """A refusal of any family is an answer, and a line in the log."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=payload)
        life = world.life()
        await life.run(5)
        assert f"BSR-{code}" in world.queue.answer_text(one)
        (line,) = [line for line in world.audit.lines if line["event"] == "outcome"]
        assert (line["decision"], line["code"], line.get("rule"), line["attempt"]) == ("deny", code, rule, 0)
        await life.stop()

    scenario()


@in_world()
async def test_a_payload_in_an_attachment_is_fetched_and_then_judged(world: World) -> None:
    """The record goes to the lane of what its attachment asks for, fetched again after a failure."""
    one = world.queue.output(1, payload=ATTACHED)
    world.queue.attachments[one] = "unsafe second"
    world.queue.faults["fetch_payload"].extend(["not sent", "busy"])
    life = world.life()
    await life.run(60)
    assert world.queue.answer_text(one).startswith("200")
    assert world.job(one).lane == "second"
    assert world.queue.calls["fetch_payload"] == 3
    await life.stop()


@pytest.mark.parametrize(
    ("content", "text"), [(None, "BSR-4006"), (ATTACHED, "holds no payload"), ("broken", "BSR-4006")]
)
def test_an_attachment_that_is_no_payload_is_refused(content: str | None, text: str) -> None:
    """A missing attachment, one that refers to itself and one that cannot be read are answered with an error."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=ATTACHED)
        if content is not None:
            world.queue.attachments[one] = content
        life = world.life()
        await life.run(10)
        assert text in world.queue.answer_text(one)
        await life.stop()

    scenario()


@in_world()
async def test_an_attachment_that_can_never_be_fetched_is_given_up(world: World) -> None:
    """After as long as safe work may live, the record is answered with what is wrong."""
    world.limit(expire_safe=100.0)
    one = world.queue.output(1, payload=ATTACHED)
    world.queue.faults["fetch_payload"].extend(["forbidden"] * 1000)
    life = world.life()
    await life.run(90)
    assert world.state(one) == "CLAIMED"
    await life.run(30)
    assert "BSR-2006" in world.queue.answer_text(one)
    await life.stop()


@in_world()
async def test_a_job_goes_to_the_lane_that_the_policy_gives_it_now(world: World) -> None:
    """A job in a lane that is no longer its own moves before anything else happens."""
    one = world.queue.output(1)
    life = await claimed(world, one)
    world.store.jobs[one].bodies["row"] = world.store.jobs[one].bodies["row"].replace(b"safe default", b"safe second")
    await forward(life, Forward(life.parts), one)
    assert (world.state(one), world.job(one).lane) == ("CLAIMED", "second")


@in_world()
async def test_an_answer_too_large_for_servicenow_becomes_an_error_with_its_size(world: World) -> None:
    """BSR-4015 names the real size, and large answers are written off the loop."""
    world.limit(answer_bytes=300_000)
    one = world.queue.output(1)
    world.appliances.large.add(one)
    life = world.life()
    await life.run(5)
    assert "BSR-4015" in world.queue.answer_text(one)
    assert "600033 bytes" in world.queue.answer_text(one)
    assert world.job(one).data["oversize"] == 600_033
    await life.stop()


@pytest.mark.parametrize("outcome", [Reply(200, (), b"x"), Reply(200, (), b"x" * 300_000), Failure("BSR-3001: no")])
def test_an_answer_is_described_by_size_and_digest(outcome: Reply | Failure) -> None:
    """The facts beside an answer hold its size and a digest, never its text."""

    @in_world()
    async def scenario(world: World) -> None:
        rendered = await render(world.life().parts, Record({"sys_id": "a"}), (), outcome, 1)
        assert rendered.facts["answer_bytes"] == len(rendered.payload)
        assert rendered.facts["answer_digest"] == f"digest of {len(rendered.payload)}"
        assert "BSR-3001: no" not in str(rendered.facts)

    scenario()
