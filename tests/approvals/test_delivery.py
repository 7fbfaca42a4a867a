"""How decisions get to the appliance, and where they never go."""

from __future__ import annotations

import pytest
from support.approvalflow import DEADLINE, DOOR, URL, World, in_world

from relay.core.approval_values import Door
from relay.core.refusal import Refusal
from relay.jobs.ledger import Move


@in_world()
async def test_the_other_encoding_is_tried_when_the_first_is_rejected(world: World) -> None:
    """At once, and the same decision."""
    world.box.accepts = {"json"}
    life = world.life()
    await life.ask()
    assert [one.encoding for one in world.box.wire] == ["form", "json"]
    assert world.state() == "DELIVERED"
    await life.stop()


@in_world(encoding="json")
async def test_the_encoding_that_was_taken_up_is_kept(world: World) -> None:
    """After a trouble between the two the one that was not rejected goes on, one try at a time."""
    world.box.accepts = {"form"}
    world.box.faults["r1"].extend(["", "503", "503"])
    life = world.life()
    await life.ask()
    assert [one.encoding for one in world.box.wire] == ["json", "form", "form", "form"]
    await life.stop()


@in_world()
async def test_an_appliance_that_rejects_both_is_tried_until_the_deadline(world: World) -> None:
    """Then the allow is given up, since it arrived: no denial follows it."""
    world.box.accepts = set()
    life = world.life()
    await life.ask()
    await life.run(200)
    assert {one.response for one in world.box.wire} == {"allow"}
    assert world.state() == "UNDELIVERED"
    assert world.job().data["code"] == 3024
    assert life.conditions.has("decisions default")
    await life.stop()


@in_world()
@pytest.mark.parametrize("fault", ["closed", "unroutable", "lost", "hangs", "503", "bug", "302"])
async def test_a_decision_that_did_not_get_through_is_sent_again(world: World, fault: str) -> None:
    """While its time lasts."""
    world.box.faults["r1"].append(fault)
    life = world.life()
    await life.ask()
    await life.run(18)
    assert world.box.got() == "allow"
    assert world.state() == "DELIVERED"
    await life.stop()


@in_world()
async def test_an_allow_that_surely_did_not_leave_becomes_a_denial(world: World) -> None:
    """At its deadline; both decisions are in the audit log, and only the denial was ever on the wire."""
    world.box.faults["r1"].extend(["closed"] * 14)
    life = world.life()
    await life.ask()
    await life.run(60)
    assert {one.response for one in world.box.wire} == {"deny"}
    assert world.box.said().startswith("The decision came too late")
    assert world.decisions() == ["allow", "deny"]
    await life.stop()


@in_world()
async def test_a_denial_that_nobody_takes_is_given_up(world: World) -> None:
    """Some time after the deadline; an administrator may have it tried once more."""
    world.snow.state = "3"
    world.box.faults["r1"].extend(["closed"] * 1000)
    life = world.life()
    await life.ask()
    await life.run(200)
    assert world.state() == "UNDELIVERED"
    world.mend()
    await life.ledger.step(Move(world.job(), "retried", data={"tries": None}))
    await life.run(5)
    assert world.box.got() == "deny"
    assert world.state() == "DELIVERED"
    await life.stop()


@in_world()
async def test_an_allow_that_was_given_up_stays_given_up(world: World) -> None:
    """Trying again by hand does not send what is too late."""
    world.box.accepts = set()
    life = world.life()
    await life.ask()
    await life.run(200)
    sent = len(world.box.wire)
    world.mend()
    await life.ledger.step(Move(world.job(), "retried", data={"tries": None}))
    await life.run(5)
    assert (world.state(), len(world.box.wire)) == ("UNDELIVERED", sent)
    await life.stop()


@in_world()
@pytest.mark.parametrize("operation", ["append", "change", "due", "select"])
async def test_a_full_disk_delays_and_allows_nothing_unwritten(world: World, operation: str) -> None:
    """The wire is watched: what leaves is in the audit log and on disk."""
    life = world.life()
    await life.run(1)
    world.spoil_disk(operation, 3)
    await life.ask()
    await life.run(18)
    assert world.box.got() == "allow"
    await life.stop()


@in_world()
async def test_a_disk_that_stays_full_past_the_deadline_denies(world: World) -> None:
    """An allow that could not be written down in time is none."""
    life = world.life()
    await life.run(1)
    await life.inbox.put(world.post())
    world.spoil_disk("append", 10_000)
    await life.run(40)
    assert not world.box.wire
    world.mend()
    await life.run(100)
    assert world.box.got() == "deny"
    await life.stop()


ELSEWHERE = [
    "http://access.example.com/api/endpoint_approval",
    "https://evil.example.com/api/endpoint_approval",
    "https://access.example.com:8443/api/endpoint_approval",
    "https://access.example.com/api/endpoint_approval?token=1",
    "https://access.example.com/api/endpoint_approval?",
    "https://access.example.com/api/endpoint_approval#x",
    "https://access.example.com/api/endpoint_approval/",
    "https://access.example.com/api/../api/endpoint_approval",
    "https://access.example.com/api/%65ndpoint_approval",
    "https://access.example.com/api//endpoint_approval",
    "https://access.example.com/login",
    "https://user@access.example.com/api/endpoint_approval",
    "https://access.example.com@evil.example.com/api/endpoint_approval",
    "https://access.example.com.evil.example.com/api/endpoint_approval",
    "https://access.example.com\\@evil.example.com/api/endpoint_approval",
    "https://access.exam\u200bple.com/api/endpoint_approval",
    "//access.example.com/api/endpoint_approval",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "x",
]


@in_world()
@pytest.mark.parametrize("url", ELSEWHERE)
async def test_nothing_goes_anywhere_else(world: World, url: str) -> None:
    """A request that names another place for its answer has none; ServiceNow is not even asked."""
    life = world.life()
    await life.ask(response_url=url)
    assert not world.box.wire
    assert world.snow.asked == 0
    assert world.state() == "REFUSED"
    (line,) = world.audit.lines
    assert (line["event"], line["decision"], line["code"]) == ("approval refused", "refused", 3023)
    await life.stop()


@in_world()
async def test_the_place_may_change_while_a_decision_waits(world: World) -> None:
    """After a restart with another configuration the decision goes nowhere."""
    world.box.faults["r1"].extend(["closed"] * 1000)
    life = world.life()
    await life.ask()
    await life.crash()
    world.site["door"] = Door(frozenset({("other.example.com", 443)}), DOOR.path)
    life = world.life()
    await life.run(5)
    assert world.state() == "REFUSED"
    assert not world.box.wire
    await life.stop()


def test_the_door_takes_all_names_of_the_appliance() -> None:
    """Host names in any case, with and without the port that https has; the URL is made anew."""
    for url in (URL, URL.replace("access", "ACCESS"), URL.replace("https", "HTTPS").replace(".com", ".com:443")):
        assert DOOR.check(url) == "https://access.example.com:443/api/endpoint_approval"
    with pytest.raises(Refusal):
        DOOR.check("")


@in_world()
async def test_a_log_that_is_slow_makes_an_allow_late(world: World) -> None:
    """What was written down in time but not sent in time is denied."""
    world.audit.takes = DEADLINE + 5
    life = world.life()
    await life.ask()
    world.audit.takes = 0.0
    await life.run(60)
    assert [one.response for one in world.box.wire] == ["deny"]
    await life.stop()


@in_world()
async def test_what_arrived_once_stays_arrived(world: World) -> None:
    """A later try that surely did not leave takes nothing back."""
    world.box.faults["r1"].extend(["503", "closed", "hangs"])
    life = world.life()
    await life.ask()
    assert (world.state(), world.job().data["tries"]) == ("SENT", 2)
    assert world.job().data["response"] == "allow"
    await life.run(60)
    assert {one.response for one in world.box.wire} == {"allow"}
    await life.stop()
