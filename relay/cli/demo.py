"""`bseries-relay demo`: real work through the real daemon, killed half way, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from relay.cli.demo_approvals import Approvals, ApprovalSummary
from relay.cli.demo_sessions import DROP_IN, Sessions
from relay.cli.output import FAILED, data, print_json, print_table, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from relay.cli.daemon_process import DaemonProcess
    from relay.sandbox.box import Sandbox
    from relay.sandbox.oracle import Summary
    from relay.sandbox.sessionoracle import SessionSummary
    from relay.sandbox.work import Job

_DROP_IN = f"""{DROP_IN}\
servicenow:
  poll: {{interval: 500ms}}
appliances:
  appliance3: {{retry_for: 3s}}
"""
DEAD = "appliance3"
UNKNOWN = ": BSR-3010: "
LOOK = 0.1
"""Seconds between two looks at what is answered."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demonstration found."""

    summary: Summary
    sessions: SessionSummary
    approvals: ApprovalSummary
    latencies: Sequence[float]
    requests: int
    of_sessions: int
    seconds: float
    kills: int
    exit_code: int
    audit: bool

    @property
    def unknown(self) -> list[str]:
        """Calls that must not be made twice and were under way at the SIGKILL: told so, as promised."""
        return [one for one in self.summary.surprises if UNKNOWN in one and self.kills]

    @property
    def surprises(self) -> list[str]:
        """Answers that do not say what they should."""
        return [one for one in self.summary.surprises if one not in self.unknown]

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        whole = not self.summary.violations and not self.summary.waiting and not self.surprises
        whole = (
            whole
            and self.approvals.good
            and self.sessions.good
            and self.sessions.imported == self.sessions.sessions > 0
        )
        return whole and self.exit_code == 0 and self.audit and self.kills > 0


@click.command()
@click.option("--jobs", type=click.IntRange(20, 10_000), default=200, show_default=True, help="Records in the queue.")
@click.option("--seconds", type=click.IntRange(10, 3600), default=120, show_default=True, help="Give up after this.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with a schema field.")
def command(jobs: int, seconds: int, *, as_json: bool) -> None:
    """Show the main job: both stand-ins, the real daemon killed in the middle, and every promise checked.

    Records are carried from ServiceNow to the appliances, sessions that end there come home to ServiceNow, and people
    who ask to be let in are allowed or denied by their tickets. Exit code 0 only when every record was answered exactly
    once, no call was made twice that must not be, every session, event and work note is there once, and every decision
    is right.
    """
    found = asyncio.run(_demonstrate(jobs, float(seconds)))
    if as_json:
        print_json("demo", _facts(found))
    else:
        _print(found)
    if not found.good:
        raise SystemExit(FAILED)


async def _demonstrate(number: int, seconds: float) -> Shown:
    from relay.cli.daemon_process import DaemonProcess  # noqa: PLC0415  # `--help` stays light
    from relay.sandbox.box import Sandbox  # noqa: PLC0415  # as above

    async with Sandbox.start(products=("pra", "rs", "pra"), relay_port=0) as box:
        drop_ins = box.directory / "conf.d"
        drop_ins.mkdir(mode=0o700)
        (drop_ins / "demo.yaml").write_text(_DROP_IN)
        (drop_ins / "demo.yaml").chmod(0o600)
        await box.doors[DEAD].close()
        jobs = _work(box, number)
        box.put(jobs)
        answering = [name for name in box.appliances if name != DEAD]
        sessions = Sessions(box, answering, (max(2, number // 40), max(2, number // 100)))
        approvals = Approvals(box, answering[0])
        say(f"{number} records wait in the queue of {box.agent}, {sessions.number} sessions are held; the relay starts")
        started = time.monotonic()
        async with DaemonProcess(box.config_file) as daemon:
            kills = await _carry(box, daemon, jobs, (sessions, approvals), started + seconds)
            if daemon.alive:
                await _settle(box, jobs, sessions, started + seconds)
            took = time.monotonic() - started
            code = await daemon.stop()
        return Shown(
            box.check(final=True),
            sessions.judge(final=True),
            approvals.judge(),
            sorted(_latencies(box, jobs)),
            box.servicenow.requests["all"] - box.servicenow.requests["other"],
            box.servicenow.requests["other"] - approvals.asked,  # each of these takes one
            took,
            kills,
            code,
            _audit_is_whole(box),
        )


def _work(box: Sandbox, number: int) -> list[Job]:
    """Mixed work for the appliances that answer, and a tenth of it for the one that does not."""
    from relay.sandbox.work import Expect, Job, Maker  # noqa: PLC0415  # `--help` stays light

    answering = [appliance for name, appliance in box.appliances.items() if name != DEAD]
    maker = Maker(box.agent, answering)
    jobs = maker.mix(number - number // 20)
    unreachable = Expect(status=0, error="BSR-3001")
    for place in range(number // 20):
        made = maker.make("typed health", box.appliances[DEAD])
        jobs.insert(place * 20, Job("dead endpoint", made.row, unreachable))
    return jobs


async def _carry(
    box: Sandbox, daemon: DaemonProcess, jobs: Sequence[Job], news: tuple[Sessions, Approvals], until: float
) -> int:
    """Watch the answers come, people ask before and after; end the sessions, then kill the daemon.

    Returns how often it was killed.
    """
    sessions, approvals = news
    kills = 0
    asking = asyncio.create_task(approvals.ask(until))
    with _progress() as progress:
        bar = progress.add_task("answers", total=len(jobs))
        while time.monotonic() < until:
            answered = _show(progress, bar, box, jobs)
            if not sessions.ended and answered >= len(jobs) // 3:
                sessions.end()
            if kills == 0 and answered >= len(jobs) // 2 and asking.done():
                await daemon.kill()
                kills = 1
                progress.console.print(f"SIGKILL with {answered} answers there; the relay starts again")
                await daemon.start()
                asking = asyncio.create_task(approvals.ask(until))
            if (answered == len(jobs) and asking.done()) or not daemon.alive:
                break
            await asyncio.sleep(LOOK)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return kills


def _progress() -> Progress:
    from rich import progress  # noqa: PLC0415  # `--help` stays light
    from rich.console import Console  # noqa: PLC0415  # as above

    text, elapsed = progress.TextColumn("{task.description}"), progress.TimeElapsedColumn()
    columns = (text, progress.BarColumn(), progress.MofNCompleteColumn(), elapsed)
    plain = bool(os.environ.get("NO_COLOR"))
    return progress.Progress(*columns, console=Console(stderr=True, no_color=plain))


def _show(progress: Progress, bar: TaskID, box: Sandbox, jobs: Sequence[Job]) -> int:
    answered = sum(job.sys_id in box.servicenow.answered for job in jobs)
    progress.update(bar, completed=answered)
    return answered


async def _settle(box: Sandbox, jobs: Sequence[Job], sessions: Sessions, until: float) -> None:
    """Give the lazy closing and the sessions their time."""
    ours = {job.sys_id for job in jobs}

    def closed() -> bool:
        rows = box.servicenow.tables.rows("ecc_queue")
        return all(row["state"] == "processed" for row in rows if row["sys_id"] in ours) and sessions.home()

    with contextlib.suppress(TimeoutError):
        await box.servicenow.tables.until(closed, max(0.0, until - time.monotonic()))


def _latencies(box: Sandbox, jobs: Sequence[Job]) -> list[float]:
    """Seconds from each record's creation to its answer's."""
    asked, answered = box.servicenow.asked, box.servicenow.answered
    return [answered[job.sys_id] - asked[job.sys_id] for job in jobs if job.sys_id in answered]


def _audit_is_whole(box: Sandbox) -> bool:
    from relay.audit.verify import verify_folder  # noqa: PLC0415  # `--help` stays light

    folder = box.directory / "state" / "audit"
    return folder.is_dir() and verify_folder(folder).sound


def _facts(found: Shown) -> Mapping[str, object]:
    summary = found.summary
    return {
        "good": found.good,
        "jobs": summary.jobs,
        "outcomes": dict(summary.outcomes),
        "answered_once": summary.answered,
        "violations": list(summary.violations),
        "surprises": found.surprises,
        "outcome_unknown": len(found.unknown),
        "kills": found.kills,
        "latency_p50": _percentile(found.latencies, 50),
        "latency_p99": _percentile(found.latencies, 99),
        "requests_per_job": round(found.requests / summary.jobs, 3),
        "requests_per_session": round(found.of_sessions / max(1, found.sessions.imported), 3),
        "seconds": round(found.seconds, 2),
        "sessions": found.sessions.facts(),
        "approvals": found.approvals.facts(),
        "audit_verified": found.audit,
        "exit_code": found.exit_code,
    }


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3) if ordered else 0.0


def _print(found: Shown) -> None:
    summary = found.summary
    print_table(("outcome", "jobs"), [(name, str(count)) for name, count in sorted(summary.outcomes.items())])
    data("")
    twice = sum("executed" in violation and "times" in violation for violation in summary.violations)
    rows = [
        ("answered exactly once", f"{summary.answered} of {summary.jobs}"),
        ("executed more than once, though it must not be", str(twice)),
        ("SIGKILL during the work", str(found.kills)),
        ("under way at the SIGKILL, answered 'outcome unknown'", str(len(found.unknown))),
        ("sessions that came home, of those that ended", f"{found.sessions.imported} of {found.sessions.sessions}"),
        ("their events and work notes, each there once", f"{found.sessions.events} and {found.sessions.notes}"),
        (
            "requests for approval decided once and rightly, of those asked",
            f"{found.approvals.right} of {found.approvals.asked}, {found.approvals.allowed} allowed",
        ),
        ("audit log verifies", "yes" if found.audit else "NO"),
        ("record to answer, p50 / p99", f"{_percentile(found.latencies, 50)} s / {_percentile(found.latencies, 99)} s"),
        ("requests to ServiceNow a job", f"{found.requests / summary.jobs:.2f}"),
        ("requests to ServiceNow a session", f"{found.of_sessions / max(1, found.sessions.imported):.2f}"),
        ("time", f"{found.seconds:.1f} s"),
    ]
    print_table(("what", "found"), rows)
    for wrong in (
        *summary.violations,
        *found.sessions.violations,
        *found.approvals.violations,
        *found.surprises,
    ):
        say(f"WRONG: {wrong}")
    data("")
    data("every promise was kept" if found.good else "NOT every promise was kept")
