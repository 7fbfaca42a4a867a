"""The appliance down, slow or lying while work is under way: unsafe calls happen once at most, all are answered."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import World, world
from support.lives import Life, at_rest, eventually, impatient, rest

from relay.sandbox.faults import Fault
from relay.sandbox.oracle import Summary

APPLIANCE = "{timeout: 1s, retry_for: 5s, limits: {response_bytes: 1MiB}}"
DROP_IN = (
    "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n"
    f"appliances:\n  default: {APPLIANCE}\n  appliance2: {APPLIANCE}\n"
)
COUNT = 18
KINDS = ["attributes", "terminate", "typed session key", "session key", "typed report", "typed attributes"]
MOST_GROWN = 64 * 1024 * 1024

FAULTS: dict[str, Fault] = {
    "resets before": Fault("reset", times=6, path="/api/"),
    "resets after": Fault("reset after", times=6, path="/api/"),
    "hangs before": Fault("hang", times=4, path="/api/"),
    "hangs after": Fault("hang after", times=4, path="/api/"),
    "late effects": Fault("late", times=4, path="/api/", seconds=0.5),
    "cut answers": Fault("cut", times=6, path="/api/"),
    "half answers": Fault("truncate", times=6, path="/api/"),
    "429": Fault("status", times=5, status=429, headers={"Retry-After": "1"}, path="/api/"),
    "401": Fault("status", times=3, status=401, path="/api/", body='{"error":"access_denied"}'),
    "500 before": Fault("status", times=5, status=500, path="/api/"),
    "500 after": Fault("status after", times=5, status=500, path="/api/"),
    "bad gzip": Fault("bad gzip", times=5, path="/api/"),
    "gzip bombs": Fault("gzip bomb", times=5, size=300_000_000, path="/api/"),
    "a dripping answer": Fault("drip", times=3, seconds=0.2, path="/api/"),
    "tokens that hang": Fault("hang", times=2, lane="token"),
    "tokens refused": Fault("status", times=1, status=401, lane="token"),
    "tokens reset": Fault("reset after", times=2, lane="token"),
}


async def under(made: World, fault: Fault, kinds: list[str], count: int = COUNT) -> Summary:
    """The verdict on some work, of which a part meets a fault at each appliance."""
    life = impatient(made)
    await life.start()
    await made.manager.until("READY", "1")
    before = life.resident()
    faults = [device.faults.add(replace(fault, fired=0)) for device in made.box.appliances.values()]
    made.put(count, kinds)
    await eventually(lambda: at_rest(made) or all(one.fired == one.times for one in faults), 40.0)
    grown = await most_grown(made, life) - before
    assert sum(one.fired for one in faults) > 0
    summary = await rest(made)
    assert grown < MOST_GROWN
    return summary


async def most_grown(made: World, life: Life) -> int:
    """The largest size of a daemon while it brings its work to an end."""
    sizes = [life.resident()]
    for device in made.box.appliances.values():
        device.faults.clear()

    def at_end() -> bool:
        sizes.append(life.resident())
        return at_rest(made)

    await eventually(at_end, 40.0)
    return max(sizes)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_an_appliance_doubles_nothing(tmp_path: Path, name: str) -> None:
    """Under each fault of the appliances every record is answered once and every unsafe call was made once at most."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        # Of a call that is taken over as text the relay hands on what the appliance said, by half or not.
        kinds = [kind for kind in KINDS if kind.startswith("typed")] if name == "half answers" else KINDS
        await under(made, FAULTS[name], kinds)


@pytest.mark.parametrize("action", ["reset after", "hang after", "cut"])
async def test_an_unsafe_call_without_an_answer_is_not_repeated(tmp_path: Path, action: str) -> None:
    """A call that was executed and whose answer is lost is answered BSR-3010, and was made exactly once."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        fault = Fault(action, times=None, lane="terminate_session")  # type: ignore[arg-type]
        summary = await under(made, fault, ["terminate"], 4)
        assert summary.kinds["terminate"] == {"BSR-3010": 4}
        assert sum(sum(device.effects.values()) for device in made.box.appliances.values()) == 4


async def test_tokens_that_are_worth_nothing_any_more_cost_nothing(tmp_path: Path) -> None:
    """When every token is revoked under load, each call is made once with a new one."""
    async with world(tmp_path, start=False, drop_in=DROP_IN.replace("retry_for: 5s", "retry_for: 30s")) as made:
        await impatient(made).start()
        made.put(2 * COUNT, KINDS)
        for number in (4, 12, 24):
            await made.answered(number)
            for device in made.box.appliances.values():
                for account in device.accounts.by_id.values():
                    account.revoke()
        assert (await rest(made)).outcomes == {"http 200": 2 * COUNT}


async def test_an_answer_that_is_too_large_tells_its_size(tmp_path: Path) -> None:
    """A report that is larger than ServiceNow may be given becomes an error that names the real size."""
    drop_in = DROP_IN.replace("1MiB", "20MiB").replace("settle: 1s", "settle: 1s\n  answer_bytes: 1MiB")
    async with world(tmp_path, start=False, drop_in=drop_in) as made:
        await impatient(made).start()
        made.put(3, ["large report"])
        summary = await rest(made)
        assert set(summary.outcomes) <= {"BSR-3008", "BSR-4015"}
        assert all(re.search(r"\b15\d\d\d\d\d bytes", line) for line in summary.surprises), summary.surprises


async def test_an_appliance_that_goes_under_load(tmp_path: Path) -> None:
    """Both appliances gone in the middle of work: what was not executed is done when they are back, nothing twice."""
    async with world(tmp_path, start=False, drop_in=DROP_IN.replace("retry_for: 5s", "retry_for: 30s")) as made:
        await impatient(made).start()
        for device in made.box.appliances.values():
            device.latency = 0.1
        made.put(2 * COUNT, KINDS)
        await made.answered(6)
        for name in made.box.appliances:
            await made.box.doors[name].close()
        await asyncio.sleep(1.5)
        for name in made.box.appliances:
            await made.box.doors[name].open()
        summary = await rest(made)
        assert set(summary.outcomes) <= {"http 200", "BSR-3010"}
