"""A request from its post to its decision, and all that may go wrong on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.approvalflow import DEADLINE, ITEM, TASK, World, in_world

from relay.core.approval_values import DEFAULT_RULE, Rule, RuleSet
from relay.core.errors import StorageError
from relay.core.instant import written


@in_world()
async def test_an_approved_request_is_allowed(world: World) -> None:
    """The appliance hears it at once, with the attributes by which its session is found again."""
    life = world.life()
    await life.run(1)
    await life.ask()
    (sent,) = world.box.wire
    assert (sent.response, sent.encoding) == ("allow", "form")
    assert sent.at - world.came["r1"] == pytest.approx(0.1, abs=0.01)
    assert sent.answer.attributes == {"snow_task_id": TASK, "snow_cmdb_ci_id": ITEM}
    assert world.state() == "DELIVERED"
    assert world.store.jobs[world.job().id].bodies == {}
    (line,) = world.audit.lines
    assert (line["decision"], line["rule"], line["ticket"], line["user"]) == ("allow", "default", "CHG0001", "jdoe")
    assert line["check_1"] == "task.number: 'CHG0001' = 'CHG0001': yes"
    assert line["check_6"] == "task.state: '-1' < '3': yes"
    assert line["task"] == TASK
    await life.stop()


@in_world()
async def test_a_ticket_that_is_closed_is_denied(world: World) -> None:
    """The person reads why, and the audit log has the comparison that failed."""
    world.snow.state = "3"
    life = world.life()
    await life.ask()
    assert world.box.got() == "deny"
    assert world.box.said() == "The ticket's state, '3', does not allow access; it must be < 3."
    assert world.box.wire[0].answer.attributes == {}
    assert world.audit.lines[0]["check_6"] == "task.state: '3' < '3': no"
    await life.stop()


@in_world()
async def test_servicenow_that_is_down_is_a_denial_at_the_deadline(world: World) -> None:
    """It is asked again and again, and then the person reads that it could not be."""
    world.snow.faults.extend(["down"] * 1000)
    life = world.life()
    await life.ask()
    assert world.state() == "RECEIVED"
    assert life.conditions.has("approvals default")
    await life.run(30)
    (sent,) = world.box.wire
    assert DEADLINE <= sent.at - world.came["r1"] < DEADLINE + 0.2
    assert (sent.response, "BSR-2001" in sent.answer.message) == ("deny", True)
    world.mend()
    await life.ask("r2")
    assert world.box.got("r2") == "allow"
    assert not life.conditions.has("approvals default")
    await life.stop()


@in_world()
async def test_servicenow_that_comes_back_in_time_is_heard(world: World) -> None:
    """Two failures cost two seconds, not the decision."""
    world.snow.faults.extend(["down", "lost"])
    life = world.life()
    await life.ask()
    assert world.box.got() == "allow"
    await life.stop()


@in_world()
async def test_servicenow_that_hangs_is_a_denial_at_the_deadline(world: World) -> None:
    """The person reads that there was no answer in time."""
    world.snow.faults.append("hangs")
    life = world.life()
    await life.ask()
    await life.run(30)
    (sent,) = world.box.wire
    assert DEADLINE <= sent.at - world.came["r1"] < DEADLINE + 0.2
    assert sent.answer.message.startswith("ServiceNow did not answer in time")
    await life.stop()


@in_world()
@pytest.mark.parametrize(("fault", "text"), [("forbidden", "BSR-2015"), ("busy", "BSR-2007"), ("bug", "BSR-9001")])
async def test_what_no_waiting_mends_is_denied_at_once(world: World, fault: str, text: str) -> None:
    """A refusal by ServiceNow, one that lasts beyond the deadline, or a fault of ours."""
    world.snow.faults.append(fault)
    life = world.life()
    await life.ask()
    assert world.box.got() == "deny"
    assert text in world.box.said()
    await life.stop()


@in_world(mode="off")
async def test_approvals_that_are_off_deny_everything(world: World) -> None:
    """Nobody is asked."""
    life = world.life()
    await life.ask()
    assert (world.box.got(), world.snow.asked) == ("deny", 0)
    await life.stop()


@in_world()
@pytest.mark.parametrize(("jump", "response"), [(-0.5, "allow"), (-30.0, "deny"), (30.0, "deny"), (5.0, "allow")])
async def test_a_clock_that_is_set_never_lengthens_an_allow(world: World, jump: float, response: str) -> None:
    """Set forward by more than the deadline, or back by more than it may drift, nothing is fresh any more."""
    world.snow.takes = 2.0
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(1)
    world.clock.jump(jump)
    await life.run(30)
    assert world.box.got() == response
    await life.stop()


@in_world()
async def test_only_a_pause_of_everything_stops_approvals(world: World) -> None:
    """And what it held longer than the deadline is denied."""
    life = world.life()
    await life.run(1)
    await life.holds.set("local", author="a", reason="b")
    await life.ask()
    assert world.box.got() == "allow"
    await life.holds.set("local", author="a", reason="b", everything=True)
    await life.ask("r2")
    assert world.state("r2") == "RECEIVED"
    await life.run(30)
    await life.holds.lift("local", author="a")
    await life.run(3)
    assert world.box.got("r2") == "deny"
    await life.stop()


@in_world()
async def test_many_requests_are_looked_up_at_once(world: World) -> None:
    """None waits for another one's look-up; all are denied in time when none comes back."""
    life = world.life()
    await life.run(1)
    for number in range(16):
        await life.inbox.put(world.post(f"r{number}"))
    await life.run(1)
    assert world.snow.most == 16
    assert {one.response for one in world.box.wire} == {"allow"}
    world.snow.faults.extend(["hangs"] * 1000)
    for number in range(100, 160):
        await life.inbox.put(world.post(f"r{number}"))
        await life.run(0.2)
    await life.run(60)
    late = [one.at - world.came[one.request] for one in world.box.wire if one.response == "deny"]
    assert len(late) == 60
    assert max(late) < DEADLINE + 0.5
    await life.stop()


@in_world()
async def test_a_stop_leaves_nothing_half_done(world: World) -> None:
    """What is decided is delivered before the end."""
    life = world.life()
    await life.inbox.put(world.post())
    await life.run(0.05)
    await life.stop()
    assert world.box.got() == "allow"


@in_world(rules=RuleSet((Rule("rules 1", (), groups=frozenset({"Workstations"})),)))
async def test_a_request_that_no_rule_fits_is_denied(world: World) -> None:
    """There is no rule for servers."""
    life = world.life()
    await life.ask()
    assert world.box.got() == "deny"
    await life.stop()


@in_world()
async def test_a_store_that_fails_is_told(world: World) -> None:
    """The appliance is to post again; nothing is decided."""
    life = world.life()
    world.spoil_disk("add", 1)
    with pytest.raises(StorageError):
        await life.inbox.put(world.post())
    assert await life.inbox.put(world.post())


@in_world(remember=30.0)
async def test_what_was_allowed_is_remembered_when_asked_to(world: World) -> None:
    """For a while, for the same person, ticket and computer; a denial is never remembered."""
    life = world.life()
    await life.ask()
    await life.ask("r2")
    assert (world.box.got("r2"), world.snow.asked) == ("allow", 1)
    assert [line["reason"] for line in world.audit.lines] == [
        "every check holds",
        "every check holds, by what was answered to an equal request",
    ]
    await life.ask("r3", user__username="other")
    assert (world.box.got("r3"), world.snow.asked) == ("deny", 2)
    await life.ask("r4", user__username="other")
    assert world.snow.asked == 3
    await life.run(30)
    world.snow.state = "3"
    await life.ask("r5")
    assert (world.box.got("r5"), world.snow.asked) == ("deny", 4)
    await life.stop()


@in_world(remember=3600.0, rules=RuleSet((replace(DEFAULT_RULE, grace=0.0),)))
async def test_what_is_remembered_is_judged_by_the_time_that_it_is(world: World) -> None:
    """A change whose planned time has ended since then is denied; ServiceNow is asked again before."""
    start = world.clock.wall()
    world.snow.more = {"start_date": written(start - 60), "end_date": written(start + 60)}
    life = world.life()
    await life.ask()
    await life.ask("r2")
    assert (world.box.got("r2"), world.snow.asked) == ("allow", 1)
    await life.run(60)
    await life.ask("r3")
    assert (world.box.got("r3"), world.snow.asked) == ("deny", 2)
    assert "ended" in world.box.said("r3")
    await life.stop()


@in_world()
async def test_nothing_is_remembered_unless_asked_to(world: World) -> None:
    """Each request is a question to ServiceNow."""
    life = world.life()
    await life.ask()
    await life.ask("r2")
    assert world.snow.asked == 2
    await life.stop()


@in_world(remember=30.0)
async def test_a_large_request_is_decided_like_any_other(world: World) -> None:
    """It is read back from the store, and not remembered: memory is bounded."""
    life = world.life()
    await life.ask(extra="x" * 20_000)
    await life.ask("r2", extra="x" * 20_000)
    assert (world.box.got(), world.box.got("r2"), world.snow.asked) == ("allow", "allow", 2)
    assert life.parts.requests.get(world.job().id) is None
    assert world.store.asked["bodies"] >= 4
    await life.stop()
