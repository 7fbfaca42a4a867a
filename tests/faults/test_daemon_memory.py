"""How much memory either side can make the real daemon hold: hardly any, whatever it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import World, world
from support.lives import at_rest, eventually, impatient, rest
from support.peak import peak

from relay.sandbox.faults import Fault

MOST_GROWN = 64 * 1024 * 1024
DROP_IN = (
    "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n  timeout: 5s\n"
    "appliances:\n  default: {timeout: 20s, retry_for: 1s, limits: {response_bytes: 64MiB}}\n"
)
KINDS = ["typed report", "report"]
FAULTS = {
    "a gzip bomb": (Fault("gzip bomb", size=1_000_000_000),),
    "a body of 1 GB": (Fault("large body", size=1_000_000_000),),
    "a report of 50 MB": (Fault("large body", size=50_000_000),),
    "a slow drip of 50 MB": (Fault("large body", size=50_000_000), Fault("drip", seconds=0.2)),
}


async def warm(made: World) -> int:
    """Start the daemon and let it do some of everything; returns what it holds then."""
    await impatient(made).start()
    await made.manager.until("READY", "1")
    made.put(6, [*KINDS, "typed health"], seed=5)
    await eventually(lambda: at_rest(made))
    return peak(made.daemon.pid, anew=True)


@pytest.mark.parametrize("name", FAULTS)
async def test_an_appliance_cannot_make_the_relay_grow(tmp_path: Path, name: str) -> None:
    """Several answers of any size at a time cost less than 64 MiB, and every record is answered."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=DROP_IN) as made:
        before = await warm(made)
        faults = [made.box.appliance.faults.add(replace(one, times=4, path="/api/")) for one in FAULTS[name]]
        made.put(4, KINDS)
        await eventually(lambda: all(one.fired == 4 for one in faults), 40.0)
        await eventually(lambda: at_rest(made), 40.0)
        grown = peak(made.daemon.pid) - before
        summary = await rest(made)
    assert grown < MOST_GROWN, grown
    assert set(summary.outcomes) <= {"http 200", "BSR-3008", "BSR-3013", "BSR-3009"}, summary


@pytest.mark.parametrize("lane", ["poll", "claim", "push"])
@pytest.mark.parametrize("name", FAULTS)
async def test_servicenow_cannot_make_the_relay_grow(tmp_path: Path, name: str, lane: str) -> None:
    """Answers of any size to polls, claims and inserts cost less than 64 MiB, and every record is answered at last."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=DROP_IN) as made:
        before = await warm(made)
        faults = [made.box.servicenow.faults.add(replace(one, times=2, lane=lane)) for one in FAULTS[name]]
        made.put(4, KINDS)
        await eventually(lambda: all(one.fired for one in faults), 40.0)
        made.box.servicenow.faults.clear()
        await eventually(lambda: at_rest(made), 40.0)
        grown = peak(made.daemon.pid) - before
        await rest(made)
    assert grown < MOST_GROWN, grown
