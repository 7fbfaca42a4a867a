"""ServiceNow down, slow, lying or shared with a rival while work is under way: everything ends conserved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.daemon import World, world
from support.lives import at_rest, eventually, impatient, rest

from relay.sandbox.faults import Fault
from relay.sandbox.instance import RIVAL

DROP_IN = "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n  timeout: 1s\n"
COUNT = 16
KINDS = [
    "attributes",
    "terminate",
    "typed session key",
    "large report",
    "refused",
    "heartbeat",
    "typed report",
    "session key",
]
FAULTS: dict[str, Fault] = {
    "500 after inserts": Fault("status after", times=3, lane="push"),
    "500 after parts of batches": Fault("status after", times=6, sub=True, lane="push"),
    "500 after claims": Fault("status after", times=3, lane="claim"),
    "500 before inserts": Fault("status", times=3, lane="push"),
    "late inserts": Fault("late", times=3, lane="push", seconds=0.5),
    "late claims": Fault("late", times=2, lane="claim", seconds=0.5),
    "late uploads": Fault("late", times=2, lane="attachment", method="POST", seconds=0.3),
    "late closes": Fault("late", times=2, lane="close", seconds=0.5),
    "resets before inserts": Fault("reset", times=3, lane="push"),
    "resets after inserts": Fault("reset after", times=3, lane="push"),
    "resets after claims": Fault("reset after", times=3, lane="claim"),
    "resets after uploads": Fault("reset after", times=2, lane="attachment", method="POST"),
    "resets of everything": Fault("reset after", times=12),
    "half documents": Fault("truncate", times=10),
    "cut documents": Fault("cut", times=8),
    "failures with status 200": Fault("failure", times=8),
    "hibernation": Fault("page", times=6),
    "hibernation of inserts": Fault("page", times=2, lane="push"),
    "429 with Retry-After": Fault("status", times=4, status=429, headers={"Retry-After": "1"}),
    "parts without an answer": Fault("missing", times=4, lane="batch", count=2),
    "parts left over": Fault("unserviced", times=4, lane="batch", count=1),
    "foreign rows": Fault("foreign", times=4, lane="poll", count=3),
    "only foreign rows": Fault("foreign", times=4, lane="read", count=3),
    "hanging inserts": Fault("hang after", times=2, lane="push"),
    "hanging polls": Fault("hang", times=2, lane="poll"),
    "bad gzip": Fault("bad gzip", times=6),
    "gzip bombs": Fault("gzip bomb", times=3, size=200_000_000),
    "pages of HTML": Fault("content type", times=4, headers={"Content-Type": "text/html"}),
    "401 now and then": Fault("status", times=4, status=401),
    "403 for inserts": Fault("status", times=2, status=403, lane="push"),
}


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_servicenow_loses_nothing(tmp_path: Path, name: str, keeps: bool) -> None:
    """Under each fault of ServiceNow every record is answered once in the end, and nothing unsafe happens twice."""
    fault = FAULTS[name]
    fault.fired = 0
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        instance = made.box.servicenow
        instance.knobs.keep_sys_id = keeps
        life = impatient(made)
        await life.start()
        await made.manager.until("READY", "1")
        before = life.resident()
        instance.faults.add(fault)
        made.put(COUNT, KINDS)
        await spent(made, fault)
        instance.faults.clear()
        await instance.behaviour.settle()
        grown = life.resident() - before
        await rest(made)
        assert made.box.servicenow.tables.find("sys_attachment", "") == [] or grown < 64 * 1024 * 1024


async def spent(made: World, fault: Fault, seconds: float = 25.0) -> None:
    """Wait until a fault fired as often as it shall, or as there was an occasion for."""
    await eventually(lambda: fault.fired == fault.times or at_rest(made), seconds)
    assert fault.fired > 0


async def test_a_closed_door_under_load(tmp_path: Path) -> None:
    """ServiceNow gone twice in the middle of work costs nothing but time."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        await impatient(made).start()
        made.put(3 * COUNT, KINDS)
        for number in (5, 25):
            await made.answered(number)
            await made.box.doors["servicenow"].close()
            await asyncio.sleep(1.0)
            await made.box.doors["servicenow"].open()
        await rest(made)


@pytest.mark.parametrize("state", ["ready", "processing"])
async def test_rows_set_back_are_not_executed_again(tmp_path: Path, state: str) -> None:
    """Outputs that somebody sets back, before or after a restart, are closed again and never executed again."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        instance = made.box.servicenow
        life = impatient(made)
        await life.start()
        ids = made.put(COUNT, KINDS)
        await made.answered(COUNT // 2)
        instance.set_back(list(instance.answered), state)
        await made.answered(COUNT)
        if state == "ready":
            await made.processed()
            instance.set_back(ids, state)
            await rest(made)
            assert "poll.set_back" in made.events()
            instance.set_back(ids, state)
            await impatient(made).start()
        await rest(made)


async def test_a_rival_that_claims_stops_unsafe_work(tmp_path: Path) -> None:
    """Another poller that claims our rows raises the guard; unsafe work waits for `resume`; nothing happens twice."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        instance = made.box.servicenow
        instance.knobs.rival, instance.knobs.rival_count = "claims", 3
        await impatient(made).start()
        made.put(COUNT, KINDS)
        await guarded(made)
        instance.knobs.rival = "off"
        made.put(2, ["terminate"], seed=7)
        safe = made.put(2, ["typed health"], seed=8)
        await made.until(lambda: all(sys_id in instance.answered for sys_id in safe))
        assert not [job for job in made.box.jobs[COUNT : COUNT + 2] if job.sys_id in instance.answered]
        code, _, err = await made.run("resume")
        assert code == 0, err
        taken = [row["sys_id"] for row in instance.tables.rows("ecc_queue") if row["sys_updated_by"] == RIVAL]
        assert taken
        stolen = [job for job in made.box.jobs if job.sys_id in taken]
        assert not any(device.effects[job.expect.effect] for device in made.box.appliances.values() for job in stolen)
        made.box.jobs = [job for job in made.box.jobs if job.sys_id not in taken]
        await rest(made)


async def test_a_rival_that_answers_is_noticed(tmp_path: Path) -> None:
    """Another poller that answers our rows raises the guard, and no row of ours gets a second answer from us."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        instance = made.box.servicenow
        instance.knobs.rival, instance.knobs.rival_count = "answers", 2
        await impatient(made).start()
        made.put(COUNT, KINDS)
        await guarded(made)
        instance.knobs.rival = "off"
        code, _, err = await made.run("resume")
        assert code == 0, err
        summary = await rest(made)
        assert summary.outcomes["answered by the rival"] > 0


async def guarded(made: World) -> None:
    """Wait until the daemon says that another poller is there."""
    await made.manager.until("STATUS", "BSR-2013")
    assert any(line["event"] == "hold.set" and line["kind"] == "guard" for line in made.log())


async def test_hidden_rows_do_not_block_the_rest(tmp_path: Path) -> None:
    """Rows that access rules hide now and then are worked on when they are shown, and stand in nobody's way."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        instance = made.box.servicenow
        await impatient(made).start()
        hidden = made.put(4, ["terminate"], seed=1)
        instance.hidden = set(hidden)
        ids = made.put(COUNT, KINDS, seed=2)
        await made.until(lambda: all(sys_id in instance.answered for sys_id in ids))
        instance.hidden = set()
        await rest(made)
