"""Allowed calls: made once, repeated where that is safe, and what became of them stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from support.appliances import FakePolicy
from support.pipeline import Life, World, claimed, in_world

from relay.core.errors import StorageError
from relay.pipeline.forward import Forward
from relay.pipeline.rows import ATTACHED
from relay.pipeline.verify import Uncertain


async def forward(life: Life, handler: Forward, *ids: str) -> None:
    await handler([life.world.job(one) for one in ids])


def answer(world: World, one: str) -> str:
    """The stored answer."""
    return world.store.jobs[one].bodies["answer"].decode()


@in_world()
async def test_a_call_is_audited_stored_and_answered(world: World) -> None:
    """Intent, FORWARDING, call, answer: with the facts that a person may see, and the echo of the parameters."""
    one = world.queue.output(1, payload="unsafe default")
    world.appliances.latency = 0.25
    life = await claimed(world, one)
    await forward(life, Forward(life.parts), one)
    job = world.job(one)
    assert (job.state, job.attempts) == ("ANSWERED", 1)
    assert answer(world, one) == f"200|{one}|probe=get|{one} done"
    (intent,) = world.audit.lines
    assert intent.pop("seen") == job.created
    assert intent == {
        "event": "intent",
        "job": one,
        "attempt": 1,
        "appliance": "default",
        "by": "caller",
        "by_verified": False,
        "request_bytes": 14,
        "request_digest": "digest of 14",
        "decision": "allow",
        "operation": "unsafe",
        "rule": "session-integration",
        "safe": False,
    }
    assert job.data["status"] == 200
    assert job.data["answer_bytes"] == len(answer(world, one))


@in_world()
async def test_a_typed_call_is_answered_in_json(world: World) -> None:
    """Only who asked for JSON gets it, and what cannot be read is an error."""
    one, two = world.queue.output(1, payload="safe default json"), world.queue.output(2, payload="safe default json")
    life = await claimed(world, one, two)
    await forward(life, Forward(life.parts), one)
    assert answer(world, one).endswith("|json:" + one + " done")
    world.appliances.body = b"unreadable"
    await forward(life, Forward(life.parts), two)
    assert "BSR-3009" in answer(world, two)
    assert world.job(two).data["code"] == 3009


@pytest.mark.parametrize(
    ("fault", "code", "executed"), [("done", 3010, 1), ("lost", 3010, 0), ("bug", 3010, 1), ("too large", 3008, 1)]
)
def test_an_unsafe_call_of_unknown_outcome_is_answered_as_such(fault: str, code: int, executed: int) -> None:
    """A time-out, a reset or a fault of ours during an unsafe call ends it; an unusable answer says what it was."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload="unsafe default")
        world.appliances.faults["call"].append(fault)
        life = await claimed(world, one)
        await forward(life, Forward(life.parts), one)
        assert world.state(one) == "ANSWERED"
        assert answer(world, one).split("|")[3].startswith(f"BSR-{code}")
        assert world.job(one).data["code"] == code
        assert world.appliances.executed[one] == executed

    scenario()


@in_world()
async def test_a_safe_call_of_unknown_outcome_is_made_three_times(world: World) -> None:
    """A safe call is repeated twice, then answered with its last error; each try has its line in the log."""
    one = world.queue.output(1)
    world.appliances.faults["call"].extend(["done", "bug", "lost"])
    life = world.life()
    await life.run(20)
    assert "BSR-3003" in world.queue.answer_text(one)
    assert world.appliances.executed[one] == 2
    assert [line["attempt"] for line in world.audit.lines if line["event"] == "intent"] == [1, 2, 3]
    await life.stop()


@in_world()
async def test_a_call_that_was_not_executed_is_repeated_for_a_while(world: World) -> None:
    """Refused connections are tried again within `retry_for`, then answered; a call in time is answered well."""
    good = world.queue.output(1, payload="unsafe default")
    world.appliances.faults["call"].extend(["not sent"] * 3)
    life = world.life()
    await life.run(15)
    assert world.queue.answer_text(good).startswith("200")
    assert world.job(good).attempts == 4
    bad = world.queue.output(2, payload="unsafe default")
    world.appliances.down = {"default"}
    await life.run(40)
    assert "BSR-3001" in world.queue.answer_text(bad)
    assert world.appliances.executed[bad] == 0
    assert life.conditions.has("appliance default")
    await life.stop()


@in_world()
async def test_the_appliances_429_is_passed_on_after_a_while(world: World) -> None:
    """A 429 means "not executed" and is repeated; when it stays, the caller gets that very answer."""
    one = world.queue.output(1, payload="unsafe default")
    world.appliances.faults["call"].extend(["429"] * 100)
    life = world.life()
    await life.run(40)
    assert world.queue.answer_text(one) == f"429|{one}|probe=get|slow down"
    assert (world.job(one).data["code"], world.job(one).data["status"]) == (3007, 429)
    assert world.job(one).attempts > 3
    await life.stop()


@in_world()
async def test_a_call_that_is_not_admitted_was_not_made(world: World) -> None:
    """Before admission nothing is logged or counted; what will never be admitted is answered."""
    one = world.queue.output(1, payload="unsafe default")
    world.appliances.faults["admit"].extend(["paced", "budget", "final"])
    life = await claimed(world, one)
    handler = Forward(life.parts)
    await forward(life, handler, one)
    assert world.job(one).not_before == world.clock.wall() + 0.5
    assert not life.conditions.has("appliance default")
    await forward(life, handler, one)
    assert world.job(one).not_before == world.clock.wall() + 100.0
    assert life.conditions.has("appliance default")
    assert (world.state(one), world.job(one).attempts, world.audit.lines) == ("CLAIMED", 0, [])
    await forward(life, handler, one)
    assert "BSR-3012" in answer(world, one)
    assert world.job(one).data["decision"] == "allow"


@in_world()
async def test_the_hourly_budget_is_waited_for_until_the_record_is_too_old(world: World) -> None:
    """The relay's own budget is no failure: the call waits beyond `retry_for`, and only its age ends it."""
    world.limit(expire_safe=250.0)
    one = world.queue.output(1)
    world.appliances.faults["admit"].extend(["budget"] * 9)
    life = world.life()
    await life.run(240)
    assert world.state(one) == "CLAIMED"
    await life.run(100)
    assert "BSR-4012" in world.queue.answer_text(one)
    await life.stop()


@in_world()
async def test_one_dead_appliance_is_found_out_by_one_call(world: World) -> None:
    """While an appliance is known to be away, other calls wait with the same error instead of trying."""
    ids = [world.queue.output(number) for number in range(1, 6)]
    world.appliances.down = {"default"}
    life = await claimed(world, *ids)
    handler = Forward(life.parts)
    await forward(life, handler, *ids)
    assert sum(world.job(one).attempts for one in ids) == 1
    await asyncio.sleep(1.1)
    await forward(life, handler, *ids)
    assert sum(world.job(one).attempts for one in ids) == 2
    world.appliances.down = set()
    await asyncio.sleep(1.1)
    await forward(life, handler, *ids)
    assert {world.state(one) for one in ids} == {"ANSWERED"}
    assert not life.conditions.has("appliance default")


@in_world()
async def test_an_operations_own_rate_refuses_what_is_too_much(world: World) -> None:
    """Of three calls with `per_minute: 2` the third is refused; the same call repeated is counted once."""
    world.policy = FakePolicy(per_minute=2)
    ids = [world.queue.output(number) for number in range(1, 4)]
    world.appliances.faults["call"].append("not sent")
    life = await claimed(world, *ids)
    handler = Forward(life.parts)
    await forward(life, handler, ids[0])
    await asyncio.sleep(1.1)
    await forward(life, handler, *ids)
    assert [world.job(one).data.get("code") for one in ids] == [None, None, 4009]
    assert world.job(ids[2]).data["rule"] == "rate"
    assert world.appliances.executed[ids[2]] == 0


@in_world()
async def test_a_full_disk_after_the_call_loses_no_outcome(world: World) -> None:
    """The answer of an unsafe call is stored as soon as the disk takes it, and the call is not repeated."""
    one = world.queue.output(1, payload="unsafe default")
    world.spoil_disk("change", 5, skip=2)
    life = world.life()
    await life.run(60)
    assert world.queue.answer_text(one).startswith("200")
    assert world.appliances.executed[one] == 1
    assert world.job(one).state == "CLOSED"
    assert not life.conditions.has("store")
    await life.stop()


@in_world()
async def test_a_lost_write_after_the_call_is_the_end(world: World) -> None:
    """BSR-5005 while the outcome is stored is raised at once."""
    one = world.queue.output(1, payload="unsafe default")
    life = await claimed(world, one)
    changes = [0]

    def fail(name: str) -> StorageError | None:
        changes[0] += name == "change"
        return StorageError(5005) if changes[0] > 1 else None

    world.store.fail = fail
    with pytest.raises(StorageError, match="5005"):
        await forward(life, Forward(life.parts), one)
    assert changes[0] == 2


@in_world()
async def test_without_its_line_in_the_log_no_call_is_made(world: World) -> None:
    """While the audit log cannot be written nothing is called, and the call follows when it can."""
    one = world.queue.output(1, payload="unsafe default")
    world.spoil_disk("append", 3)
    life = world.life()
    await life.run(1)
    assert world.appliances.executed[one] == 0
    assert world.state(one) == "CLAIMED"
    await life.run(20)
    assert world.queue.answer_text(one).startswith("200")
    await life.stop()


@pytest.mark.parametrize(("kind", "code", "calls"), [("unsafe", 3010, 1), ("safe", 9002, 3)])
def test_a_fault_of_ours_after_the_call_leaves_no_job_behind(kind: str, code: int, calls: int) -> None:
    """A job whose handling broke while FORWARDING is settled without a restart: as unknown, or after three tries."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=f"{kind} default json")
        world.appliances.choking.add(one)
        life = world.life()
        await life.run(60)
        assert f"BSR-{code}" in world.queue.answer_text(one)
        assert world.appliances.executed[one] == calls
        await life.stop()

    scenario()


@in_world()
async def test_a_call_that_never_returns_is_settled(world: World) -> None:
    """A handling that hangs is ended after its longest time, and the call counts as unknown."""
    one = world.queue.output(1, payload="unsafe default")
    world.appliances.gates["default"] = asyncio.Event()
    life = world.life()
    await life.run(590)
    assert world.state(one) == "FORWARDING"
    await life.run(30)
    assert "BSR-3010" in world.queue.answer_text(one)
    await life.stop()


@pytest.mark.parametrize(
    ("payload", "stored", "events"),
    [
        ("safe default", {}, ["CLAIMED", "CLAIMED", "ANSWERED 9002"]),
        ("unsafe default", {}, ["ANSWERED 3010"]),
        ("safe default", {"safe": False}, ["ANSWERED 3010"]),
        ("denied", {}, ["CLAIMED"]),
        (ATTACHED, {}, ["ANSWERED 3010"]),
    ],
)
def test_a_call_under_way_at_a_crash_is_repeated_only_when_that_is_safe(
    payload: str, stored: dict[str, bool], events: Sequence[str]
) -> None:
    """Safe calls are repeated twice, harmless records are judged again, everything else is answered as unknown."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1, payload=payload)
        life = world.life()
        row = await life.parts.queue.read([one])
        assert row[one].payload == payload
        await life.ledger.add([life.recover._orphan(row[one])])
        for event in events:
            state, _, code = event.partition(" ")
            known = world.store.jobs[one]
            known.job = type(known.job)(
                **{
                    **{name: getattr(known.job, name) for name in known.job.__slots__},
                    "state": "UNCERTAIN",
                    "data": {**known.job.data, **stored},
                }
            )
            await Uncertain(life.parts)([known.job])
            assert world.state(one) == state
            assert world.job(one).data.get("code", 0) == int(code or 0)

    scenario()


@in_world()
async def test_a_large_answer_in_json_is_made_beside_the_loop(world: World) -> None:
    """A large body is turned into JSON in a worker thread, and answered like any other."""
    one = world.queue.output(1, payload="safe default json")
    world.appliances.large.add(one)
    life = await claimed(world, one)
    await forward(life, Forward(life.parts), one)
    assert "|json:" in answer(world, one)
