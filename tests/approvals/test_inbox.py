"""What becomes of a post that asks for approval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.approvalflow import FIELDS, URL, World, in_world

from relay.approvals.evaluate import Evaluate
from relay.approvals.inbox import ApprovalInbox
from relay.core.approval_values import Check, Door, Rule, RuleSet
from relay.core.posts import LONGEST_BODY, Content, Owner, post_of
from relay.jobs.ledger import Move

FORM = "application/x-www-form-urlencoded"


@in_world()
@pytest.mark.parametrize("absent", ["request_id", "response_url"])
async def test_a_post_that_nobody_can_be_answered_about_is_kept(world: World, absent: str) -> None:
    """For an administrator, who can only discard it; the appliance is told that it came."""
    life = world.life()
    less: dict[str, Any] = {absent: None}
    post = world.post(**less)
    assert await life.inbox.put(post)
    assert not await life.inbox.put(post)
    await life.run(5)
    (stored,) = world.store.jobs.values()
    assert stored.job.state == "UNREADABLE"
    assert stored.job.data["detail"] == f"the request has no {absent}"
    assert b"CHG0001" in stored.bodies["post"]
    assert not world.box.wire
    await life.ledger.step(Move(stored.job, "discarded", data={"discarded": "why"}))
    await life.stop()


@in_world()
async def test_a_post_that_is_no_form_is_kept(world: World) -> None:
    """As it came."""
    life = world.life()
    post = post_of(Owner("default"), "/approvals", Content("application/json", b'{"a":1}'), world.clock.wall())
    assert await life.inbox.put(post)
    (stored,) = world.store.jobs.values()
    assert (stored.job.state, stored.job.data["code"], stored.bodies["post"]) == ("UNREADABLE", 6004, b'{"a":1}')


WAY_BACK = f"response_url={URL}&".encode()


@in_world()
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        # Each of its fields would cost time in which somebody else's decision waits.
        (WAY_BACK + b"request_id=r1&ticket_id=a&ticket_id=b" + b"&" * 500, "field 4 has the name"),
        # It is cut within an id, and what is left of that may be another request's.
        (WAY_BACK + b"a=" + b"x" * (LONGEST_BODY - len(WAY_BACK) - 16) + b"&request_id=4711", "more than 262144 bytes"),
    ],
    ids=["many fields", "cut"],
)
async def test_of_a_form_beyond_all_measure_nobody_is_answered(world: World, body: bytes, detail: str) -> None:
    """It is kept for an administrator."""
    life = world.life()
    assert await life.inbox.put(post_of(Owner("default"), "/approvals", Content(FORM, body), world.clock.wall()))
    (stored,) = world.store.jobs.values()
    assert (stored.job.state, detail in stored.job.data["detail"]) == ("UNREADABLE", True)


ABSENT = [
    ("ticket_id", "No ticket was given."),
    ("user.username", "The request does not say who asks."),
    ("jump_item.computer_name", "The ticket is for another computer: 'web01', not ''."),
]


@in_world()
@pytest.mark.parametrize(("absent", "text"), ABSENT)
async def test_an_absent_field_is_a_denial_with_its_reason(world: World, absent: str, text: str) -> None:
    """The appliance can be answered, so it is."""
    life = world.life()
    less: dict[str, Any] = {absent.replace(".", "__"): None}
    await life.ask(**less)
    assert (world.box.got(), world.box.said()) == ("deny", text)
    await life.stop()


@in_world()
@pytest.mark.parametrize("name", ["ticket_id", "user.username", "jump_item.computer_name", "x"])
async def test_a_field_that_is_there_twice_is_a_denial_with_its_reason(world: World, name: str) -> None:
    """Whichever of the two would have been allowed."""
    life = world.life()
    good = f"request_id=r1&ticket_id=CHG0001&response_url={URL}&user.username=jdoe&jump_item.computer_name=web01&x=1"
    body = f"{good}&{name}=other".encode()
    world.came["r1"] = world.clock.monotonic()
    await life.inbox.put(post_of(Owner("default"), "/approvals", Content(FORM, body), world.clock.wall()))
    await life.run(3)
    assert world.box.said() == f"The request is refused: it says {name} more than once."
    assert not world.snow.asked
    await life.stop()


@in_world(mode="forward")
async def test_a_form_without_one_meaning_is_nothing_to_hand_on(world: World) -> None:
    """ServiceNow would see a request that nobody made: without the field that was there twice."""
    world.snow.answer = b"response_id=r1&response=allow"
    life = world.life()
    body = "&".join(f"{name}={value}" for name, value in {"request_id": "r1", **FIELDS}.items()).encode()
    world.came["r1"] = world.clock.monotonic()
    twice = Content(FORM, body + b"&jump_item.computer_name=db01")
    await life.inbox.put(post_of(Owner("default"), "/approvals", twice, world.clock.wall()))
    await life.run(3)
    assert (world.box.got(), world.snow.handed_on) == ("deny", [])
    assert world.box.said() == "The request is refused: it says jump_item.computer_name more than once."
    await life.stop()


@in_world()
async def test_lists_tell_what_was_asked_in_plain_text(world: World) -> None:
    """Bounded, and without what a terminal would obey."""
    life = world.life()
    await life.ask(ticket_id="\x1b[31m" + "x" * 1000)
    assert world.job().data["ticket"].startswith("?[31mxx")
    assert len(world.job().data["ticket"]) == 255
    assert world.audit.lines[0]["ticket"] == world.job().data["ticket"]
    await life.stop()


@in_world()
async def test_one_decision_may_have_more_comparisons_than_are_told(world: World) -> None:
    """The line in the audit log has room for forty."""
    checks = tuple(Check("state", "less", "\U0001f600" * 100, value="9" * 18) for _ in range(60))
    world.site["rules"] = RuleSet((Rule("overrides", checks),))
    life = world.life()
    await life.ask()
    assert world.box.got() == "allow"
    line = world.audit.lines[0]
    assert "check_40" in line
    assert "check_41" not in line
    await life.stop()


@in_world()
@pytest.mark.parametrize(
    ("url", "owner", "state"),
    [
        (URL, "default", "DECIDED"),
        (URL.replace("access", "second"), "second", "DECIDED"),
        (URL.replace("access", "third"), "default", "REFUSED"),
    ],
)
async def test_of_appliances_that_nothing_tells_apart_the_one_that_waits_is_answered(
    world: World, url: str, owner: str, state: str
) -> None:
    """One token and network for all of them is an ordinary configuration; where the answer goes is each one's own."""
    world.names = ("default", "second")
    life = world.life()
    second = Door(frozenset({("second.example.com", 443)}), "/api/endpoint_approval")
    sites = {**life.parts.sites, "second": replace(life.parts.sites["second"], door=second)}
    parts = replace(life.parts, sites=sites)
    post = replace(world.post(response_url=url), others=("gone", "second"))
    assert await ApprovalInbox(parts).put(post)
    assert not await ApprovalInbox(parts).put(post)
    job = world.job(appliance=owner)
    assert (job.lane, job.state) == (owner, "RECEIVED")
    await Evaluate(replace(parts, lookups={**parts.lookups, "second": world.snow})).one(job)
    assert world.job(appliance=owner).state == state
