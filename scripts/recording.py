"""Brings one recording of any size home through the real daemon, and prints what that took of it, as JSON.

    python scripts/recording.py attach|untold|store BYTES

The stand-ins of both sides run here, the daemon in a process of its own. The bytes that arrived are compared with those
that were sent.
"""  # noqa: INP001  # a script, no package

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from relay.cli.daemon_process import DaemonProcess
from relay.sandbox.box import Sandbox
from relay.sandbox.films import Film

MIB = 1024 * 1024
REPORT = "AccessSessionRecording"
PATIENCE = 3600.0


async def measure(way: str, size: int) -> dict[str, Any]:
    """Run both sides and the daemon, and compare what arrived. `untold` is `attach` of a size that nobody tells."""
    film = Film(size, told=way != "untold")
    with tempfile.TemporaryDirectory(prefix="bseries-relay-recording-") as made:
        folder = Path(made) / "recordings"
        folder.mkdir()
        async with Sandbox.start(Path(made) / "sandbox") as box:
            box.servicenow.knobs.largest_attachment = 1 << 40
            _configure(box, "store" if way == "store" else "attach", folder)
            task = box.servicenow.insert("incident", {})["sys_id"]
            session = box.appliance.sessions.begin(recording=film, attributes={"snow_task_id": task})
            box.appliance.sessions.end(session)
            async with DaemonProcess(box.config_file) as relay:
                await box.appliance.until(lambda: box.appliance.calls[REPORT] > 0, 60)
                before, started, used = _peak(relay.pid), time.monotonic(), relay.processor()
                async with asyncio.timeout(PATIENCE):
                    while not _arrived(box, folder):  # noqa: ASYNC110 - files appear by themselves
                        await asyncio.sleep(0.05)
                figures = {
                    "seconds": time.monotonic() - started,
                    "processor_seconds": relay.processor() - used,
                    "peak_mib_before": before / MIB,
                    "peak_mib": _peak(relay.pid) / MIB,
                }
            digests = [one if isinstance(one, str) else _digest(one) for one in _arrived(box, folder)]
    if digests != [film.sha256()]:
        sys.exit("what arrived is not what was sent")
    return {"way": way, "bytes": size, **{name: round(value, 1) for name, value in figures.items()}}


def _configure(box: Sandbox, way: str, folder: Path) -> None:
    keys = {"recordings": way, "recording_bytes": "64GiB", "recording_folder": str(folder), "sweep": "1s"}
    drop_in = box.directory / "conf.d" / "recording.yaml"
    drop_in.parent.mkdir(mode=0o700)
    drop_in.write_text(json.dumps({"sessions": keys}), encoding="utf-8")
    drop_in.chmod(0o600)


def _arrived(box: Sandbox, folder: Path) -> list[str | Path]:
    """All copies: digests of those that are attached, the files of those that are stored."""
    return [*(row["hash"] for row in box.servicenow.tables.rows("sys_attachment")), *folder.rglob("*.mp4")]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _peak(pid: int) -> int:
    """The most memory that a process has had resident, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))  # noqa: T201  # its output
