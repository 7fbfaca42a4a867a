"""The import of sessions, measured against a script that fetches and writes them one by one."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from relay.cli.bench_sides import Sides
    from relay.cli.daemon_process import DaemonProcess

EVENTS = 200
"""Of each session."""
MIB = 1024 * 1024
PATIENCE = 1800.0
"""Seconds that one measurement may take."""
PORTION = 100
"""Sessions that the stand-in makes at once."""
_CONFIGURATION = """\
servicenow:
  poll: {{interval: 5s}}
sessions: {{sweep: 1s, events: all}}
appliances:
  {name}: {{limits: {{requests_per_second: 10000, requests_per_hour: 10000000}}}}
"""


@dataclass(frozen=True, slots=True)
class Imports:
    """Sessions of `EVENTS` events that nobody told of, found by the sweep. `plain_*` are the script's, same run."""

    latency: float
    sessions: int
    rows_per_session: float
    sessions_per_second: float
    requests_per_session: float
    plain_sessions_per_second: float
    ratio: float
    resident_mib: float


async def measure_imports(sessions: int, latency: float, seconds: float) -> Imports:
    """Import so many sessions with so many seconds to ServiceNow; the script gets `seconds`."""
    from relay.cli.bench_sides import Sides  # noqa: PLC0415  # `--help` stays light
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # as above

    with tempfile.TemporaryDirectory(prefix="bseries-relay-bench-") as folder:
        async with Sides(Path(folder), 1) as sides:
            await sides.unlimited()
            (name,) = sides.facts["appliances"]
            sides.configure(_CONFIGURATION.format(name=name))
            await sides.latency(latency)
            lsids = await _made(sides, name, min(sessions, PORTION))
            plain = await _plain(sides, lsids, seconds)
            await _forget(sides)
            await _made(sides, name, sessions - len(lsids))
            before = await sides.requests()
            async with DaemonProcess(sides.config) as daemon:
                took, resident = await _imported(daemon, sessions)
                requests = await sides.requests() - before
            judged = await sides.do("judge", final=True)
    if judged["violations"]:
        raise click.ClickException(f"not every session came home: {judged['violations'][0]}")
    speed = sessions / took
    return Imports(
        latency,
        sessions,
        round(judged["events"] / sessions + 1, 1),
        round(speed, 2),
        round(requests / sessions, 2),
        round(plain, 3),
        round(speed / plain, 1),
        round(resident / MIB, 1),
    )


async def _made(sides: Sides, name: str, number: int) -> list[str]:
    """Sessions that ended untold."""
    lsids: list[str] = []
    while len(lsids) < number:
        count = min(PORTION, number - len(lsids))
        lsids += await sides.do("begin", target=name, count=count, script={"events": EVENTS}, ended=True)
    return lsids


async def _plain(sides: Sides, lsids: list[str], seconds: float) -> float:
    """Sessions a second of the plain script."""
    program = ("-m", "relay.cli.bench_plain")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    given = {"facts": sides.facts, "seconds": seconds, "lsids": lsids}
    out, _ = await process.communicate(json.dumps(given).encode())
    found = json.loads(out)
    return float(found["done"] / found["seconds"])


async def _forget(sides: Sides) -> None:
    """Take away what the script wrote."""
    for table in ("x_bsr_relay_session_event", "x_bsr_relay_session"):
        await sides.do("drop", name=table)
        await sides.do("define", name=table)


async def _imported(daemon: DaemonProcess, sessions: int) -> tuple[float, int]:
    """Wait for the jobs' end; returns seconds since the first was noticed and the most memory that the daemon held."""
    started, resident = None, 0
    until = time.monotonic() + PATIENCE
    while True:
        counts = await asyncio.to_thread(_counts, daemon)
        now = time.monotonic()
        if started is None and counts:
            started = now
        if counts.get("DONE", 0) >= sessions and started is not None:
            return now - started, resident
        if now > until:
            raise click.ClickException(f"the sessions did not come home in time: {counts}")
        resident = max(resident, daemon.resident())
        await asyncio.sleep(0.05)


def _counts(daemon: DaemonProcess) -> dict[str, Any]:
    from relay.daemon.client import DaemonAway, DaemonError, ask  # noqa: PLC0415  # `--help` stays light

    state = daemon.log.parent.parent / "state"
    found = {}
    try:
        for name in ("NOTICED", "DONE"):
            answer = ask([state / "control.sock"], state, "jobs list", {"kind": "session", "state": name, "limit": 1})
            if answer["total"]:
                found[name] = answer["total"]
    except (DaemonAway, DaemonError):  # it is just starting
        return {}
    return found
