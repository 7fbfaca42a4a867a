"""How the relay is: the document behind `status`, and its one line for the service manager."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from relay.core.errors import StorageError
from relay.core.jobs import Json
from relay.daemon.kinds import KINDS
from relay.daemon.metrics import Now, State
from relay.daemon.process import Process
from relay.daemon.storage_key import SELF_MADE
from relay.jobs.holds import Kind

if TYPE_CHECKING:
    from relay.daemon.app import App

ADVICE = frozenset({SELF_MADE})
"""Codes of conditions that are no trouble of the work: shown as long as they are true, and the relay is working."""
VERSION = metadata.version("bseries-relay")


def state_of(app: App, process: Process) -> State:
    """In one word: `starting`, `paused`, `degraded` or `working`."""
    if app.running is None:
        return "starting"
    if not app.running.parts.holds.work:
        return "paused"
    wrong = [one for one in process.conditions.all() if one.error.number not in ADVICE]
    return "degraded" if wrong else "working"


def status_line(app: App, process: Process) -> str:
    """One line for people: the state, and what is wrong."""
    settings = app.plan.settings
    line = f"{state_of(app, process)}: mid.server.{settings.relay.name}, {len(app.plan.concurrent)} appliance(s)"
    wrong = "; ".join(f"{one.subject}: {one.error.text}" for one in process.conditions.all()[:3])
    return f"{line}; {wrong}" if wrong else line


async def status(app: App, process: Process) -> dict[str, Json]:
    """The whole document, ready for JSON."""
    settings = app.plan.settings
    document: dict[str, Json] = {
        "version": VERSION,
        "name": settings.relay.name,
        "state": state_of(app, process),
        "servicenow": settings.servicenow.url,
        "appliances": {name: one.url for name, one in settings.appliances.items()},
        "state_folder": str(process.folders.state),
        "conditions": [
            {
                "subject": one.subject,
                "code": one.error.code,
                "severity": one.error.entry.severity,
                "error": one.error.text,
                "fix": one.error.hint,
                "since": moment(one.since),
            }
            for one in process.conditions.all()
        ],
        "holds": {},
        "jobs": {},
        "kinds": {},
        "open": 0,
        "dead": 0,
    }
    if app.running is not None:
        document |= await _work(app)
    return document


async def _work(app: App) -> dict[str, Json]:
    assert app.running is not None  # noqa: S101  # asked by the caller
    parts = app.running.parts
    states: Counter[str] = Counter()
    kinds = {kind: Counter(open=0, dead=0) for kind in KINDS}
    for (kind, state, _), number in (await parts.store.counts()).items():
        if state in KINDS[kind].finished:
            continue
        states[state] += number
        kinds[kind]["dead" if state in KINDS[kind].stuck else "open"] += number
    holds = {
        kind: {"author": hold.author, "reason": hold.reason, "since": moment(hold.since), "all": hold.everything}
        for kind, hold in parts.holds.all().items()
    }
    return {
        "holds": holds,
        "jobs": dict(sorted(states.items())),
        "kinds": {kind: dict(numbers) for kind, numbers in kinds.items()},
        "open": sum(numbers["open"] for numbers in kinds.values()),
        "dead": sum(numbers["dead"] for numbers in kinds.values()),
    }


async def now(app: App, process: Process) -> Now:
    """What the metrics tell beside what they count. Without the store they lack the jobs."""
    jobs: dict[tuple[str, str, str], int] = {}
    holds: list[Kind] = []
    if app.running is not None:
        holds = list(app.running.parts.holds.all())
        with contextlib.suppress(StorageError):
            jobs = await app.running.parts.store.counts()
    return Now(state_of(app, process), process.conditions.all(), holds, jobs, app.plan.instance.requests)


def moment(seconds: float) -> str:
    """A wall-clock time as people and programs read it: RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
