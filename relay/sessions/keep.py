"""Keeps a session's recordings: as links there is nothing to do, else one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog

from relay.core.errors import RelayError, StorageError
from relay.core.jobs import Job, Json
from relay.core.recordings import SCREEN, shell_name
from relay.core.session_job import after_recording_error
from relay.core.session_report import SessionReport
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move
from relay.sessions.parts import GONE, BusyError, Parts, aside, delay, stored, task_of
from relay.sessions.ports import Keeper, Recording

log = structlog.get_logger("relay.sessions")

FRESH: Mapping[str, Json] = {"tries": None, "transfers": None}
"""What a job forgets of a recording that it is done with."""


class Keep(OneByOne):
    """Handles NOTED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Keep a session's recordings, then let go of its report."""
        parts = self._parts
        if parts.keeper is not None and parts.sites[job.lane].recordings in {"attach", "store"}:
            try:
                names, ended = await self._recordings(job)
            except BusyError:
                await parts.ledger.step(aside(job))
                return
            refused = job.data.get("refused") or []
            done = {*job.data.get("kept", ()), *(name for name, _ in refused)}
            left = [name for name in names if name not in done]
            if left:
                await parts.ledger.step(await self._next(parts.keeper, job, left[0], ended))
                return
            if refused:  # an administrator who has the job tried again has all of these tried again
                await parts.ledger.step(Move(job, "not kept", data={"refused": None, "code": refused[0][1]}))
                return
        await parts.ledger.step(Move(job, "kept", data={"tries": None, "code": None}, bodies=GONE))

    async def _recordings(self, job: Job) -> tuple[list[str], int | None]:
        """The names of a session's recordings, and when it ended."""
        async with stored(self._parts, job) as found:
            report = found.report
            return list(_names(report)), None if report.ended is None else report.ended.seconds

    async def _next(self, keeper: Keeper, job: Job, name: str, ended: int | None) -> Move:
        row = job.data.get("row", "")
        subject = f"recordings {job.lane}"
        try:
            await keeper.keep(Recording(job.lane, job.data["lsid"], name, row, task_of(job), ended))
        except RelayError as error:
            if isinstance(error, StorageError):
                self._parts.conditions.fail(subject, error)
            return self._failed(job, name, error)
        self._parts.conditions.clear(subject)
        return Move(job, "part kept", data={"kept": [*job.data.get("kept", ()), name], **FRESH})

    def _failed(self, job: Job, name: str, error: RelayError) -> Move:
        tries, transfers = job.data.get("tries", 0) + 1, job.data.get("transfers", 0) + error.maybe_sent
        verdict = after_recording_error(error, tries=tries, transfers=transfers)
        log.warning("sessions.not_kept", appliance=job.lane, name=name, code=error.code, error=error.text)
        if verdict.event == "put off":
            data = {"tries": tries, "transfers": transfers or None}
            return Move(job, verdict.event, data=data, wait=delay(self._parts, tries, error))
        # The session's other recordings may well be there.
        refused = [*(job.data.get("refused") or []), [name, verdict.code]]
        return Move(job, verdict.event, data={"refused": refused, **FRESH})


def _names(report: SessionReport) -> Iterator[str]:
    """The recordings of a session, each once."""
    if report.recording_view_url or report.recording_download_url:
        yield SCREEN
    yield from dict.fromkeys(shell_name(one.instance) for one in report.shell_recordings)
