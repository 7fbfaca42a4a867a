"""Keeps a session's recordings: as links there is nothing to do, else one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from relay.core.errors import RelayError
from relay.core.jobs import Job
from relay.core.session_job import after_recording_error
from relay.core.session_report import SessionReport
from relay.jobs.ledger import Move, trace_of
from relay.sessions.parts import GONE, Parts, delay, stored_report, task_of
from relay.sessions.ports import Keeper, Recording

log = structlog.get_logger("relay.sessions")


class Keep:
    """Handles NOTED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Keep each session's recordings, then let go of its report."""
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self._one(job)

    async def _one(self, job: Job) -> None:
        parts = self._parts
        if parts.keeper is not None and parts.sites[job.lane].recordings in {"attach", "store"}:
            report = await stored_report(parts, job)
            left = [name for name in _names(report) if name not in job.data.get("kept", ())]
            if left:
                await parts.ledger.step(await self._next(parts.keeper, job, left[0]))
                return
        await parts.ledger.step(Move(job, "kept", data={"tries": None, "code": None}, bodies=GONE))

    async def _next(self, keeper: Keeper, job: Job, name: str) -> Move:
        try:
            await keeper.keep(Recording(job.lane, job.data["lsid"], name, job.data.get("row", ""), task_of(job)))
        except RelayError as error:
            tries = job.data.get("tries", 0) + 1
            verdict = after_recording_error(error, tries=tries)
            log.warning("sessions.not_kept", appliance=job.lane, name=name, code=error.code, error=error.text)
            if verdict.event == "put off":
                return Move(job, verdict.event, data={"tries": tries}, wait=delay(self._parts, tries, error))
            return Move(job, verdict.event, data={"tries": None, "code": verdict.code})
        return Move(job, "part kept", data={"kept": [*job.data.get("kept", ()), name], "tries": None})


def _names(report: SessionReport) -> Iterator[str]:
    """The recordings of a session, each once."""
    if report.recording_view_url or report.recording_download_url:
        yield "screen"
    yield from dict.fromkeys(f"shell {one.instance}" for one in report.shell_recordings)
