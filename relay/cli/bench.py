"""`bseries-relay bench`: throughput, latency, memory and idle cost on this machine, against a plain script."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.output import data, print_json, print_table, say

if TYPE_CHECKING:
    from relay.cli.bench_approvals import Approvals
    from relay.cli.bench_sessions import Imports
    from relay.cli.bench_sides import Sides
    from relay.cli.daemon_process import DaemonProcess

_FAST = """\
servicenow:
  poll: {{interval: {interval}}}
sessions: {{mode: off}}
appliances:
"""
_RAISED = "  {name}: {{limits: {{requests_per_second: 10000, requests_per_hour: 10000000}}}}\n"
PARTS = ("work", "sessions", "approvals")
APPLIANCES = 20
MIB = 1024 * 1024
SETTLED = 5.0
"""Seconds until what belongs to the start is over."""
PATIENCE = 300.0
"""Seconds that one measurement may take."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """A backlog worked off. `latency` to ServiceNow and `plain_*` from the same run."""

    arrangement: str
    latency: float
    jobs: int
    jobs_per_second: float
    requests_per_job: float
    plain_jobs_per_second: float
    ratio: float
    resident_mib: float


@dataclass(frozen=True, slots=True)
class Added:
    """From a record's creation to its answer, seconds, with single records and the poll interval of the run."""

    latency: float
    poll: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Rest:
    """The cost of having nothing to do, with the shipped poll interval."""

    resident_mib: float
    requests_per_minute: float
    processor_percent: float


@click.command()
@click.option("--jobs", type=click.IntRange(20, 100_000), default=2000, show_default=True, help="Records of a backlog.")
@click.option(
    "--seconds", type=click.IntRange(1, 600), default=30, show_default=True, help="Of rest, and of the script."
)
@click.option("--sessions", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Sessions to import.")
@click.option(
    "--approvals", type=click.IntRange(1, 100_000), default=500, show_default=True, help="Requests for approval."
)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Only this part; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a schema field.")
def command(jobs: int, seconds: int, sessions: int, approvals: int, only: tuple[str, ...], *, as_json: bool) -> None:
    """Measure the relay against the stand-ins and against a plain script that does the same record by record.

    The ratio compares the two in the same run; the other figures are this machine's. A request for approval is measured
    from before its connection to the decision's arrival.
    """
    wanted = only or PARTS
    work = asyncio.run(_measure(jobs, float(seconds))) if "work" in wanted else None
    imports = asyncio.run(_imports(sessions, float(seconds))) if "sessions" in wanted else []
    decided = asyncio.run(_approvals(approvals)) if "approvals" in wanted else []
    if as_json:
        throughput, added, rest = work or ([], [], None)
        found = {
            "throughput": [asdict(row) for row in throughput],
            "added": [asdict(row) for row in added],
            "imports": [asdict(row) for row in imports],
            "approvals": [asdict(row) for row in decided],
            "rest": rest and asdict(rest),
        }
        print_json("bench", found)
        return
    if work is not None:
        _print(*work)
    if imports:
        data("")
        _print_imports(imports)
    if decided:
        data("")
        _print_approvals(decided)


async def _approvals(number: int) -> list[Approvals]:
    from relay.cli.bench_approvals import LATENCY, RATE, measure_approvals  # noqa: PLC0415  # `--help` stays light

    say(f"{number} requests for approval, {RATE:.0f} a second, at {LATENCY * 1000:.0f} ms to ServiceNow, twice")
    return await measure_approvals(number)


async def _imports(sessions: int, seconds: float) -> list[Imports]:
    from relay.cli.bench_sessions import measure_imports  # noqa: PLC0415  # `--help` stays light

    found = []
    for latency in (0.0, 0.1):
        say(f"{sessions} sessions at {latency * 1000:.0f} ms to ServiceNow")
        found.append(await measure_imports(sessions, latency, seconds))
    return found


async def _measure(jobs: int, seconds: float) -> tuple[list[Throughput], list[Added], Rest]:
    throughput = []
    for latency in (0.0, 0.1):
        say(f"a backlog of {jobs} at {latency * 1000:.0f} ms to ServiceNow")
        throughput.append(await _throughput(jobs, latency, seconds, raised=True))
    say("the shipped limits, one appliance")
    throughput.append(await _throughput(max(20, jobs // 10), 0.0, seconds, raised=False))
    added = []
    for latency in (0.0, 0.1):
        say(f"single records at {latency * 1000:.0f} ms to ServiceNow")
        added.append(await _added(latency, seconds))
    say("at rest")
    return throughput, added, await _rest(seconds)


# -- throughput ------------------------------------------------------------------------------------------------------


async def _throughput(jobs: int, latency: float, seconds: float, *, raised: bool) -> Throughput:
    from relay.cli.bench_sides import KINDS, Sides  # noqa: PLC0415  # `--help` stays light
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # as above

    with tempfile.TemporaryDirectory(prefix="bseries-relay-bench-") as folder:
        async with Sides(Path(folder), APPLIANCES if raised else 1) as sides:
            if raised:
                await sides.unlimited()
                sides.configure(_drop_in(sides, "500ms"))
            await sides.latency(latency)
            plain = await _plain(sides, jobs, seconds)
            async with DaemonProcess(sides.config) as daemon:
                await _awake(sides)
                before = await sides.requests()
                await sides.do("work", count=jobs, kinds=list(KINDS), seed=2)
                took, resident = await _finished(sides, daemon, plain.asked + jobs)
                requests = await sides.requests() - before
    speed = jobs / took
    return Throughput(
        f"{APPLIANCES} appliances, limits raised" if raised else "1 appliance, shipped limits",
        latency,
        jobs,
        round(speed, 1),
        round(requests / jobs, 3),
        round(plain.speed, 1),
        round(speed / plain.speed, 3),
        round(resident / MIB, 1),
    )


@dataclass(frozen=True, slots=True)
class _Plain:
    asked: int
    speed: float


async def _plain(sides: Sides, jobs: int, seconds: float) -> _Plain:
    """The plain script's speed over a part of the same work; it ends with its time or with the work."""
    number = min(jobs, 500)
    await sides.do("work", count=number, kinds=["report"], seed=1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay.cli.bench_plain", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(json.dumps({"facts": sides.facts, "seconds": seconds / 2}).encode())
    found = json.loads(out)
    left = await sides.do("find", table="ecc_queue", query="queue=output^state=ready", limit=jobs)
    for row in left:
        await sides.do("update", table="ecc_queue", sys_id=row["sys_id"], values={"state": "error"})
    return _Plain(found["done"], found["done"] / found["seconds"])


async def _awake(sides: Sides) -> None:
    """Wait until the daemon has said that it is Up."""
    until = time.monotonic() + PATIENCE
    while not await sides.do("find", table="ecc_agent", query="status=Up"):
        _in_time(until)
        await asyncio.sleep(0.1)


async def _finished(sides: Sides, daemon: DaemonProcess, answers: int) -> tuple[float, int]:
    """Wait for the answers; returns the seconds it took and the most memory that the daemon held."""
    started = time.monotonic()
    resident = 0
    while (await sides.do("progress"))["answered"] < answers:
        _in_time(started + PATIENCE)
        resident = max(resident, daemon.resident())
        await asyncio.sleep(0.05)
    return time.monotonic() - started, resident


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise click.ClickException("the work did not end in time")


# -- latency and rest ------------------------------------------------------------------------------------------------


async def _added(latency: float, seconds: float) -> Added:
    from relay.cli.bench_sides import Sides  # noqa: PLC0415  # `--help` stays light
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # as above

    poll = 0.1
    with tempfile.TemporaryDirectory(prefix="bseries-relay-bench-") as folder:
        async with Sides(Path(folder), 1) as sides:
            await sides.unlimited()
            sides.configure(_drop_in(sides, "100ms"))
            await sides.latency(latency)
            async with DaemonProcess(sides.config):
                await _awake(sides)
                until = time.monotonic() + seconds
                number = 0
                while time.monotonic() < until:
                    number += 1
                    await sides.do("work", count=1, kinds=["typed health"], seed=number)
                    await asyncio.sleep(0.25)
                while (await sides.do("progress"))["answered"] < number:
                    _in_time(until + PATIENCE)
                    await asyncio.sleep(0.05)
                found = sorted(await sides.do("latencies"))
    return Added(latency, poll, _percentile(found, 50), _percentile(found, 99))


async def _rest(seconds: float) -> Rest:
    from relay.cli.bench_sides import Sides  # noqa: PLC0415  # `--help` stays light
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # as above

    with tempfile.TemporaryDirectory(prefix="bseries-relay-bench-") as folder:
        async with Sides(Path(folder), 1) as sides:
            sides.configure("servicenow:\n  poll: {interval: 5s}\n")
            async with DaemonProcess(sides.config) as daemon:
                await _awake(sides)
                await asyncio.sleep(min(SETTLED, seconds))
                requests, processor = await sides.requests(), daemon.processor()
                await asyncio.sleep(seconds)
                asked = await sides.requests() - requests
                used = daemon.processor() - processor
                resident = daemon.resident()
    return Rest(round(resident / MIB, 1), round(asked * 60 / seconds, 1), round(100 * used / seconds, 2))


def _drop_in(sides: Sides, interval: str) -> str:
    return _FAST.format(interval=interval) + "".join(_RAISED.format(name=name) for name in sides.facts["appliances"])


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


def _print(throughput: Sequence[Throughput], added: Sequence[Added], rest: Rest) -> None:
    headers = ("arrangement", "to ServiceNow", "jobs/s", "requests/job", "script jobs/s", "ratio", "RSS MiB")
    print_table(
        headers,
        [
            (
                row.arrangement,
                f"{row.latency * 1000:.0f} ms",
                f"{row.jobs_per_second}",
                f"{row.requests_per_job}",
                f"{row.plain_jobs_per_second}",
                f"{row.ratio:.3g}",
                f"{row.resident_mib}",
            )
            for row in throughput
        ],
    )
    data("")
    singles = ("single records, poll every", "to ServiceNow", "p50 s", "p99 s")
    print_table(
        singles, [(f"{row.poll} s", f"{row.latency * 1000:.0f} ms", f"{row.p50}", f"{row.p99}") for row in added]
    )
    data("")
    facts: Mapping[str, str] = {
        "RSS MiB": f"{rest.resident_mib}",
        "requests a minute": f"{rest.requests_per_minute}",
        "processor": f"{rest.processor_percent} %",
    }
    print_table(("at rest", f"on {os.cpu_count()} processors"), list(facts.items()))


def _print_imports(imports: Sequence[Imports]) -> None:
    headers = ("sessions", "rows each", "to ServiceNow", "sessions/s", "requests each", "script's", "ratio", "RSS MiB")
    print_table(
        headers,
        [
            (
                f"{row.sessions}",
                f"{row.rows_per_session}",
                f"{row.latency * 1000:.0f} ms",
                f"{row.sessions_per_second}",
                f"{row.requests_per_session}",
                f"{row.plain_sessions_per_second}",
                f"{row.ratio:.3g}",
                f"{row.resident_mib}",
            )
            for row in imports
        ],
    )


def _print_approvals(approvals: Sequence[Approvals]) -> None:
    headers = (
        "requests for approval",
        "beside",
        "sessions home",
        "to ServiceNow",
        "right",
        "p50 s",
        "p99 s",
        "longest s",
    )
    print_table(
        headers,
        [
            (
                f"{row.requests}",
                row.beside,
                f"{row.imported}",
                f"{row.latency * 1000:.0f} ms",
                f"{row.right}",
                f"{row.p50}",
                f"{row.p99}",
                f"{row.longest}",
            )
            for row in approvals
        ],
    )
