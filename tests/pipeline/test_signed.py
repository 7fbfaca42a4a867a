"""Signed work on its path: what must be signed, what a signature lets pass, and that it does so once."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.appliances import FakeKeys, FakePolicy
from support.memory import Gate
from support.pipeline import Life, World, claimed, in_world
from support.signing import KEY, KEY_ID, signature
from support.virtual import run

from relay.core.errors import ConfigError
from relay.core.policy_values import Allowed, Decision
from relay.core.record import HttpCall, TypedCall
from relay.core.signature import SKEW
from relay.pipeline.close import Sweep
from relay.pipeline.forward import Forward
from relay.pipeline.parts import SIGNATURES
from relay.pipeline.verify import Uncertain

NONCE = "5f08b46b6cea4fbe8b1d53713123e29e"


def ready(world: World, *, required: Literal[False, True, "unsafe"] = False) -> None:
    """Give the relay its keys."""
    world.keys = FakeKeys(**{KEY_ID: KEY.encode()})
    world.limit(require_signature=required)


def signed(world: World, number: int, operation: str = "unsafe", /, **other: Any) -> str:
    """Write a signed output; `other` replaces what the signature is over, or its form by `text`."""
    given = {"operation": operation, "arguments": {"a": "1"}, "time": world.clock.wall(), "nonce": NONCE}
    text = other.pop("text", None)
    made = signature(**{**given, "by": "caller", "correlator": "c", **other}) if text is None else text
    return world.queue.output(number, payload=f"{operation} default sig={made}", agent_correlator="c")


async def forward(life: Life, *ids: str) -> None:
    """Carry the calls of these records as far as they go."""
    await Forward(life.parts)([life.world.job(one) for one in ids])


def answer(world: World, one: str) -> str:
    """The stored answer."""
    return world.store.jobs[one].bodies["answer"].decode()


@in_world()
async def test_signed_work_is_done_and_the_log_says_who(world: World) -> None:
    """A good signature lets the call pass; intent and outcome say that its user is verified, and by which key."""
    ready(world, required=True)
    one = signed(world, 1)
    life = world.life()
    await life.run(5)
    assert world.queue.answer_text(one).startswith("200")
    assert world.appliances.executed[one] == 1
    lines = [line for line in world.audit.lines if line["event"] in {"intent", "outcome"}]
    assert [(line["by"], line["by_verified"], line["key_id"]) for line in lines] == [("caller", True, KEY_ID)] * 2
    assert NONCE not in str(world.audit.lines)
    await life.stop()


@pytest.mark.parametrize(
    ("required", "by_operation", "operation", "passes"),
    [
        (False, (), "unsafe", True),
        (False, ("unsafe",), "unsafe", False),
        (False, ("unsafe",), "safe", True),
        ("unsafe", (), "unsafe", False),
        ("unsafe", (), "safe", True),
        ("unsafe", ("safe",), "safe", False),
        (True, (), "safe", False),
        (True, (), "unsafe", False),
    ],
)
def test_work_that_is_not_signed_passes_only_where_it_may(
    required: Any, by_operation: tuple[str, ...], operation: str, passes: bool
) -> None:
    """What must be signed and is not is answered BSR-4017 and never called; the rest passes as not verified."""

    @in_world()
    async def scenario(world: World) -> None:
        ready(world, required=required)
        world.policy = FakePolicy(signed=by_operation)
        one = world.queue.output(1, payload=f"{operation} default")
        life = world.life()
        await life.run(5)
        text = world.queue.answer_text(one)
        assert text.startswith("200") if passes else "BSR-4017" in text
        assert world.appliances.executed[one] == int(passes)
        outcome = next(line for line in world.audit.lines if line["event"] == "outcome")
        assert (outcome["by_verified"], outcome["decision"]) == (False, "allow" if passes else "deny")
        assert passes or (outcome["rule"], outcome["code"], outcome["operation"]) == ("signature", 4017, operation)
        assert "key_id" not in outcome
        await life.stop()

    scenario()


@pytest.mark.parametrize(("required", "passes"), [(False, True), ("unsafe", False), (True, False)])
def test_a_decision_that_is_not_signed_lets_nobody_in_where_calls_must_be(required: Any, passes: bool) -> None:
    """It may be repeated, and yet is what nobody may forge."""

    @in_world()
    async def scenario(world: World) -> None:
        ready(world, required=required)
        one = world.queue.output(1, payload="allow default")
        life = world.life()
        await life.run(5)
        # There is no request that it decides: what passes is told that.
        assert ("BSR-4023" if passes else "BSR-4017") in world.queue.answer_text(one)
        await life.stop()

    scenario()


@pytest.mark.parametrize("required", [False, "unsafe", True])
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"text": ""}, 4018),
        ({"text": "v1.a.b"}, 4018),
        ({"key_id": "other"}, 4019),
        ({"key": KEY[::-1]}, 4020),
        ({"operation": "safe"}, 4020),
        ({"arguments": {"a": "2"}}, 4020),
        ({"by": "admin"}, 4020),
        ({"correlator": ""}, 4020),
        ({"appliance": "second"}, 4020),
        ({"agent": "mid.server.other"}, 4020),
        ({"time": 1_800_000_000.0 - 421}, 4021),
        ({"time": 1_800_000_000.0 + 303}, 4021),
    ],
)
def test_a_wrong_signature_is_refused_wherever_it_is(required: Any, wrong: dict[str, Any], code: int) -> None:
    """A signature that does not fit is refused also where none is needed, and nothing is called."""

    @in_world()
    async def scenario(world: World) -> None:
        ready(world, required=required)
        one = signed(world, 1, "unsafe", **wrong)
        life = await claimed(world, one)
        await forward(life, one)
        assert f"BSR-{code}" in answer(world, one)
        assert world.appliances.executed.total() == 0
        assert world.store.nonces == {}
        assert (world.job(one).data["code"], world.job(one).data["rule"]) == (code, "signature")

    scenario()


@in_world()
async def test_without_keys_a_signature_means_nothing(world: World) -> None:
    """A relay without keys ignores signatures, and still refuses what must be signed."""
    one = signed(world, 1, text="whatever")
    life = await claimed(world, one)
    await forward(life, one)
    assert answer(world, one).startswith("200")
    world.limit(require_signature=True)
    two = signed(world, 2)
    life = await claimed(world, two)
    await forward(life, two)
    assert "BSR-4017" in answer(world, two)


@in_world()
async def test_a_copy_of_a_signed_record_is_refused(world: World) -> None:
    """The second record with a nonce is BSR-4022, in the same life and after a restart, and is never called."""
    ready(world)
    one, two = signed(world, 1), signed(world, 2)
    life = world.life()
    await life.run(5)
    assert sorted(world.appliances.executed.values()) == [1]
    done = one if world.appliances.executed[one] else two
    other = two if done == one else one
    assert "BSR-4022" in world.queue.answer_text(other)
    await life.crash()
    three = signed(world, 3, time=world.clock.wall() - 6)
    life = world.life()
    await life.run(10)
    assert "BSR-4022" in world.queue.answer_text(three)
    assert world.appliances.executed.total() == 1
    await life.stop()


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=12),
    latency=st.sampled_from([0.0, 0.3]),
    kill=st.one_of(st.none(), st.tuples(st.integers(1, 4), st.sampled_from(["before", "after"]))),
)
def test_of_records_that_race_with_one_nonce_exactly_one_passes(
    kinds: list[tuple[int, bool]], latency: float, kill: tuple[int, Any] | None
) -> None:
    """However many records share a nonce and whenever the relay dies, exactly one of them is not refused."""

    async def scenario(clock: Any) -> None:
        world = World(clock)
        ready(world, required=True)
        world.appliances.latency = latency
        now = clock.wall()
        groups: dict[int, list[str]] = {}
        for number, (nonce, safe) in enumerate(kinds, start=1):
            one = signed(world, number, "safe" if safe else "unsafe", nonce=f"nonce-no-{nonce}", time=now)
            groups.setdefault(nonce, []).append(one)
        if kill is not None:
            gate = Gate()
            gate.kill_at("change_once", *kill)
            await world.life(gate).run(10)
        life = world.life()
        await life.run(60)
        for group in groups.values():
            (passed,) = [one for one in group if "BSR-4022" not in world.queue.answer_text(one)]
            times = {one: world.appliances.executed[one] for one in group if world.appliances.executed[one]}
            assert set(times) <= {passed}
            if kill is None:
                assert times == {passed: 1}
            elif "unsafe" in world.queue.rows[passed]["payload"]:
                assert times.get(passed, 0) <= 1
        await life.stop()

    run(scenario)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["change_once", "append", "call"])
def test_a_crash_does_not_make_a_record_its_own_replay(point: str, when: Any) -> None:
    """Killed around the commit of the nonce, the intent or the call, the record itself goes on where it may."""

    @in_world()
    async def scenario(world: World) -> None:
        ready(world, required=True)
        one = signed(world, 1, "safe")
        gate = Gate()
        gate.kill_at(point, 1, when)
        await world.life(gate).run(10)
        assert gate.dead.is_set()
        life = world.life()
        await life.run(30)
        assert world.queue.answer_text(one).startswith("200")
        assert world.audit.lines[-1]["event"] == "delivered"
        await life.stop()

    scenario()


@in_world()
async def test_a_signature_is_bound_before_anything_else_is_decided(world: World) -> None:
    """A record that is answered without a call has spent its nonce: a copy of it does not pass later."""
    ready(world)
    world.policy = FakePolicy(per_minute=1)
    first, limited = signed(world, 1), signed(world, 2, nonce="another-nonce")
    life = await claimed(world, first, limited)
    handler = Forward(life.parts)
    await handler([world.job(first), world.job(limited)])
    assert "BSR-4009" in answer(world, limited)
    assert world.job(limited).data["by_verified"]
    await asyncio.sleep(61)
    copy = signed(world, 3, nonce="another-nonce", time=world.clock.wall() - 61)
    life = await claimed(world, copy)
    await forward(life, copy)
    assert "BSR-4022" in answer(world, copy)
    assert world.appliances.executed.total() == 1


@in_world()
async def test_without_servicenows_clock_signatures_wait(world: World) -> None:
    """No signature is judged without a fresh clock: signed work waits, health says so, unsigned work goes on."""
    ready(world)
    one = signed(world, 1)
    two = world.queue.output(2, sys_created_on="")
    clock, world.queue.server_now = world.queue.server_now, lambda: None
    life = await claimed(world, one, two)
    await forward(life, one, two)
    assert (world.state(one), world.state(two)) == ("CLAIMED", "ANSWERED")
    assert world.job(one).not_before == world.clock.wall() + 5.0
    (condition,) = life.conditions.all()
    assert (condition.subject, condition.error.number) == (SIGNATURES, 2025)
    assert world.store.nonces == {}
    world.queue.server_now = clock
    await forward(life, one)
    assert answer(world, one).startswith("200")
    assert life.conditions.all() == []


@in_world()
async def test_a_key_that_cannot_be_read_makes_its_work_wait(world: World) -> None:
    """An unreadable key stops what it signed and nothing else; a key that was taken away refuses it."""
    ready(world)
    keys = FakeKeys(**{KEY_ID: ConfigError(1009, "{file: /key}"), "test-2": KEY.encode()})
    world.keys = keys
    one, two = signed(world, 1), signed(world, 2, key_id="test-2", nonce="another-nonce")
    life = await claimed(world, one, two)
    await forward(life, one)
    assert world.state(one) == "CLAIMED"
    assert [each.error.number for each in life.conditions.all()] == [1009]
    await forward(life, two)
    assert answer(world, two).startswith("200")
    del keys.keys[KEY_ID]
    await forward(life, one)
    assert "BSR-4019" in answer(world, one)


@in_world()
async def test_work_does_not_wait_for_a_key_longer_than_its_signature_could_pass(world: World) -> None:
    """What could not pass with any key is answered while its key cannot be read: no record is kept for ever."""
    ready(world)
    keys = FakeKeys(**{KEY_ID: ConfigError(1009, "{file: /key}")})
    world.keys = keys
    one, late = signed(world, 1), signed(world, 2, time=world.clock.wall() + 10_000, nonce="another-nonce")
    life = await claimed(world, one, late)
    await forward(life, one, late)
    assert world.state(one) == "CLAIMED"
    assert "BSR-4021" in answer(world, late)
    world.queue.server_now = lambda: None
    await asyncio.sleep(world.limits.expire_unsafe + SKEW + 1)
    await forward(life, one)
    assert world.state(one) == "CLAIMED"
    world.queue.server_now = world.clock.wall
    await forward(life, one)
    assert "BSR-4021" in answer(world, one)
    assert world.appliances.executed.total() == 0


@in_world()
async def test_a_configuration_that_changed_is_judged_anew(world: World) -> None:
    """Work that was accepted and waits is judged again: with other arguments its signature does not fit any more."""
    ready(world)
    one = signed(world, 1, "safe")
    world.appliances.faults["call"].append("not sent")
    life = await claimed(world, one)
    await forward(life, one)
    assert (world.state(one), world.job(one).data["by_verified"]) == ("CLAIMED", True)

    class Other(FakePolicy):
        def decide(self, work: HttpCall | TypedCall) -> Decision:
            ruling = super().decide(work)
            assert isinstance(ruling, Allowed)
            return Allowed(ruling.request, {"a": "1", "default": "7"}, ruling.rule)

    world.policy = Other()
    life = world.life()
    await forward(life, one)
    assert "BSR-4020" in answer(world, one)
    assert "by_verified" not in world.job(one).data
    assert world.appliances.executed.total() == 0


@in_world()
async def test_a_safe_call_is_repeated_with_its_own_signature(world: World) -> None:
    """A call of unknown outcome, also one found after a crash, passes again with the nonce that is its own."""
    ready(world, required=True)
    one = signed(world, 1, "safe")
    world.appliances.faults["call"].extend(["lost", "lost"])
    life = await claimed(world, one)
    await forward(life, one)
    await asyncio.sleep(2)
    await forward(life, one)
    assert world.state(one) == "CLAIMED"
    await asyncio.sleep(2)
    await forward(life, one)
    assert answer(world, one).startswith("200")
    assert world.store.asked["change_once"] == 1


@in_world()
async def test_an_orphan_is_judged_as_well(world: World) -> None:
    """A `processing` row that the store does not know is repeated only with a good signature."""
    ready(world, required=True)
    good, bad = signed(world, 1, "safe"), world.queue.output(2)
    for one in (good, bad):
        world.queue.write(one, state="processing")
    await asyncio.sleep(601)
    row = world.queue.rows[good]
    made = signature(
        operation="safe", arguments={"a": "1"}, time=world.clock.wall(), nonce=NONCE, by="caller", correlator="c"
    )
    row["payload"] = f"safe default sig={made}"
    life = world.life()
    await life.recover.orphans()
    await Uncertain(life.parts)([world.job(good), world.job(bad)])
    await forward(life, good, bad)
    assert answer(world, good).startswith("200")
    assert "BSR-4017" in answer(world, bad)


@in_world()
async def test_nonces_are_swept_when_they_can_pass_no_more(world: World) -> None:
    """The sweep forgets a nonce only after every window has closed, and nothing passes that it forgot."""
    ready(world)
    one = signed(world, 1)
    life = await claimed(world, one)
    await forward(life, one)
    start = world.clock.wall()
    world.store.nonces |= {f"older-{number}": ("gone", start - 9000) for number in range(1001)}
    sweep = Sweep(life.parts, life.beats)
    await asyncio.sleep(3600 + 300)
    await sweep.once()
    assert set(world.store.nonces) == {NONCE}
    assert world.store.asked["forget_nonces"] == 3
    await asyncio.sleep(1)
    await sweep.once()
    assert world.store.nonces == {}
    world.limit(expire_unsafe=99_999.0)
    two = signed(world, 2, time=start)
    life = await claimed(world, two)
    await forward(life, two)
    assert "BSR-4021" in answer(world, two)
    assert "remembers" in answer(world, two)
    assert world.appliances.executed.total() == 1


@in_world()
async def test_nonces_are_not_swept_by_a_clock_that_jumped(world: World) -> None:
    """While this machine's clock cannot be believed nothing is forgotten; the one that is behind decides."""
    ready(world)
    one = signed(world, 1)
    life = await claimed(world, one)
    await forward(life, one)
    sweep = Sweep(life.parts, life.beats)
    world.jump(5000.0)
    for _ in range(3):
        await sweep.once()
    assert set(world.store.nonces) == {NONCE}
    assert world.store.asked["forget_nonces"] == 0
    world.jump(-4800.0)
    await sweep.once()
    await sweep.once()
    assert world.store.asked["forget_nonces"] == 1
    assert world.store.forgotten == world.queue.server_now() - 3600 - 300  # type: ignore[operator]


@in_world()
async def test_commands_and_heartbeats_need_no_signature(world: World) -> None:
    """Where all work must be signed, what the relay answers itself passes without; a signature there means nothing."""
    ready(world, required=True)
    heartbeat = world.queue.output(1, topic="HeartbeatProbe", priority="0", payload="sig=nonsense")
    pause = world.queue.output(2, topic="SystemCommand", source="pauseMid", priority="0")
    token = world.queue.output(3, payload="token sig=nonsense")
    life = world.life()
    await life.run(5)
    assert world.queue.answer_text(heartbeat).startswith("200")
    assert world.queue.answer_text(pause).startswith("200")
    assert life.holds.get("remote") is not None
    assert world.appliances.executed.total() == 0
    await life.holds.lift("remote", author="test")
    await life.run(10)
    assert world.queue.answer_text(token).startswith("200")
    await life.stop()
