"""The daemon is killed while a recording is on its way; the next life ends with one copy."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import FAST, World, world

from relay.sandbox.faults import Fault
from relay.sandbox.films import Film

SIZE = 3_000_000
SLOW = Fault("drip", seconds=0.2, lane="AccessSessionRecording")


async def kept(made: World, folder: Path) -> list[int]:
    """The sizes of all copies, and of what is no copy."""
    attached = [int(row["size_bytes"]) for row in made.box.servicenow.tables.rows("sys_attachment")]
    return attached + await asyncio.to_thread(
        lambda: [path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".sha256"]
    )


@pytest.mark.parametrize(
    ("way", "told", "side", "fault"),
    [
        ("attach", True, "appliance", SLOW),
        ("attach", False, "appliance", replace(SLOW, skip=1)),
        ("store", True, "appliance", SLOW),
        ("attach", True, "instance", Fault("stall", seconds=60, lane="attachment", method="POST")),
        ("attach", False, "instance", Fault("stall", seconds=60, lane="attachment", method="POST")),
    ],
    ids=["sent", "sent after it was counted", "stored", "attached", "attached, not told"],
)
async def test_a_kill_leaves_no_second_copy(tmp_path: Path, way: str, told: bool, side: str, fault: Fault) -> None:
    """Wherever it was killed, one whole copy is there when the next life is done with the session, and nothing else."""
    folder = tmp_path / "recordings"
    await asyncio.to_thread(folder.mkdir)
    keys = {"recordings": way, "recording_folder": str(folder), "sweep": "1s"}
    drop_in = f"{FAST}sessions: {json.dumps(keys)}\n"
    async with world(tmp_path, products=("pra",), drop_in=drop_in, start=False) as made:
        box = made.box
        faulty = box.appliance if side == "appliance" else box.servicenow
        met, requests = asyncio.Event(), itertools.count(1)
        faulty.faults.add(replace(fault, skip=0, when=lambda _: next(requests) > fault.skip and not met.set()))
        task = box.servicenow.insert("incident", {})["sys_id"]
        session = box.appliance.sessions.begin(recording=Film(SIZE, told=told), attributes={"snow_task_id": task})
        box.appliance.sessions.end(session)
        await made.daemon.start()
        await asyncio.wait_for(met.wait(), 30)
        await asyncio.sleep(0.3)  # into the midst of it: a piece comes each 0.2 s for 4 s
        await made.daemon.kill()
        faulty.faults.clear()
        await made.daemon.start()
        async with asyncio.timeout(30):
            while "session.kept" not in made.events():  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.1)
        assert await kept(made, folder) == [SIZE]
