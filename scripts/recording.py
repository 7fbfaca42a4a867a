"""Keeps one recording of any size between two stand-ins, and prints what that took of the relay, as JSON.

    python scripts/recording.py attach|untold|store BYTES

The stand-ins run here, the relay's part in a process of its own, with everything imported that the daemon imports; the
bytes that arrived are compared with those that were sent.
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

import structlog

import relay.daemon.app  # noqa: F401  # for its memory
from relay.appliance.fleet import Fleet
from relay.appliance.recordings import Origin, RecordingSource
from relay.config.load import load
from relay.core.recordings import DEFAULT_PATTERN
from relay.core.session_rows import Place
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.host.shelf import Shelf
from relay.sandbox.box import Sandbox
from relay.sandbox.films import Film
from relay.servicenow.instance import Instance
from relay.sessions.keeper import Attach, RecordingKeeper, Store
from relay.sessions.ports import Recording

MIB = 1024 * 1024
LIMIT = 1 << 40


async def keep(way: str, config: str, lsid: str, task: str, folder: str) -> None:
    """The relay's part, in its own process."""
    settings = load(Path(config), {}).settings
    clock, secrets = Clock(), SecretReader({})
    fleet = Fleet.open(settings, secrets, clock, "1")
    instance = Instance.connect(settings.servicenow, "relay01", secrets, clock)
    place = Store(Shelf(Path(folder), "default"), DEFAULT_PATTERN) if way == "store" else None
    ways = {"default": place or Attach(instance.sessions([]), "none")}
    keeper = RecordingKeeper(RecordingSource(fleet, {"default": Origin("pra", LIMIT)}), ways)
    before, started, used = _peak(), time.monotonic(), time.process_time()
    await keeper.keep(Recording("default", lsid, "screen", "", Place("incident", task), 0))
    took = {"seconds": time.monotonic() - started, "processor_seconds": time.process_time() - used}
    figures = {**took, "peak_mib_before": before / MIB, "peak_mib": _peak() / MIB}
    json.dump({name: round(value, 1) for name, value in figures.items()}, sys.stdout)
    await fleet.aclose()
    await instance.aclose()


def _peak() -> int:
    """The most memory that this process has had resident, in bytes; `ru_maxrss` would count its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def measure(way: str, size: int) -> dict[str, Any]:
    """Run both sides and the relay's part, and compare what arrived."""
    film = Film(size, told=way != "untold")
    with tempfile.TemporaryDirectory(prefix="bseries-relay-recording-") as made:
        folder = Path(made) / "recordings"
        folder.mkdir()
        async with Sandbox.start(Path(made) / "sandbox") as box:
            box.servicenow.knobs.largest_attachment = LIMIT
            session = box.appliance.sessions.begin(recording=film, end=0)
            task = box.servicenow.insert("incident", {})["sys_id"]
            arguments = ["--relay", way, str(box.config_file), session.lsid, task, str(folder)]
            child = await asyncio.create_subprocess_exec(
                sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await child.communicate()
            files = [row["hash"] for row in box.servicenow.tables.rows("sys_attachment")]
        for path in folder.rglob("*.mp4"):
            with path.open("rb") as file:
                files.append(hashlib.file_digest(file, "sha256").hexdigest())
    if files != [film.sha256()]:
        sys.exit("what arrived is not what was sent")
    return {"way": way, "bytes": size, **json.loads(told)}


def main() -> None:
    """Be the one process or the other."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if sys.argv[1] == "--relay":
        asyncio.run(keep(*sys.argv[2:]))
    else:
        print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))  # noqa: T201  # its output


if __name__ == "__main__":
    main()
