"""The relay is killed while a recording is on its way; the next life ends with one copy."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.sandbox.films import Film

SCRIPT = Path(__file__).parents[2] / "scripts" / "recording.py"
SIZE = 3_000_000
REPORT = "AccessSessionRecording"
SLOW = Fault("drip", seconds=0.2, lane=REPORT)


class Relay:
    """A process that keeps one recording."""

    def __init__(self, box: Sandbox, way: str, folder: Path) -> None:
        lsid = box.appliance.sessions.begin(recording=Film(SIZE, told=way != "untold"), end=0).lsid
        task = box.servicenow.insert("incident", {})["sys_id"]
        self._arguments = ["--relay", way, str(box.config_file), lsid, task, str(folder)]

    async def start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, SCRIPT, *self._arguments, stdout=asyncio.subprocess.DEVNULL
        )


async def kept(box: Sandbox, folder: Path) -> list[int]:
    """The sizes of all copies."""
    attached = [int(row["size_bytes"]) for row in box.servicenow.tables.rows("sys_attachment")]
    return attached + await asyncio.to_thread(
        lambda: [path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".sha256"]
    )


@pytest.mark.parametrize(
    ("way", "side", "fault"),
    [
        ("attach", "appliance", SLOW),
        ("untold", "appliance", SLOW),
        ("untold", "appliance", replace(SLOW, skip=1)),
        ("store", "appliance", SLOW),
        ("attach", "instance", Fault("stall", seconds=60, lane="attachment", method="GET")),
        ("attach", "instance", Fault("stall", seconds=60, lane="attachment", method="POST")),
        ("untold", "instance", Fault("stall", seconds=60, lane="attachment", method="POST")),
    ],
    ids=["sent", "counted", "sent after it was counted", "stored", "asked for", "attached", "attached, not told"],
)
async def test_a_kill_leaves_no_second_copy(tmp_path: Path, way: str, side: str, fault: Fault) -> None:
    """Wherever it was killed, one whole copy is there after the next life, and nothing else."""
    folder = tmp_path / "recordings"
    await asyncio.to_thread(folder.mkdir)
    async with Sandbox.start(tmp_path / "sandbox") as box:
        faulty = box.appliance if side == "appliance" else box.servicenow
        met, requests = asyncio.Event(), itertools.count(1)
        faulty.faults.add(replace(fault, skip=0, when=lambda _: next(requests) > fault.skip and not met.set()))
        relay = Relay(box, way, folder)
        first = await relay.start()
        await asyncio.wait_for(met.wait(), 20)
        await asyncio.sleep(0.3)  # into the midst of it: a piece comes each 0.2 s for 4 s
        first.send_signal(signal.SIGKILL)
        assert await first.wait() == -signal.SIGKILL
        faulty.faults.clear()
        second = await relay.start()
        assert await second.wait() == 0
        assert await kept(box, folder) == [SIZE]
