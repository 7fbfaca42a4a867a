"""Writes a session's row and those of its events, and says which journal entries are due then.

Every row has a key of its own, so that each step may be repeated.
"""

from __future__ import annotations

from itertools import islice

import structlog

from relay.core.errors import ServiceNowError
from relay.core.jobs import Job
from relay.core.session_entries import due
from relay.core.session_job import after_rows_error
from relay.core.session_report import SessionReport
from relay.core.session_rows import RowSettings, event_rows, lookups, session_row
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move
from relay.sessions.parts import BusyError, Parts, Stored, aside, delay, stored
from relay.sessions.rest import Rest

log = structlog.get_logger("relay.sessions")

OFTEN = 3
"""Tries of one session after which health says that sessions cannot be written: one that fails may be luck."""
CHUNK = 100
"""Event rows between two durable steps."""


class Write(OneByOne):
    """Handles FETCHED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rest = Rest(parts.clock, parts.jitter)

    def open(self) -> bool:
        """Whether ServiceNow is asked now."""
        return self._parts.open() and self._rest.over()

    async def one(self, job: Job) -> None:
        """Write a session as far as it goes now."""
        try:
            async with stored(self._parts, job) as found:
                await self._one(job, found)
        except BusyError:
            await self._parts.ledger.step(aside(job))

    async def _one(self, job: Job, found: Stored) -> None:
        rows = self._parts.sites[job.lane].rows
        # The last word on how far it came is the job's, which each step replaces.
        step = _Step(self._parts, job)
        try:
            await self._prepare(step, found.report, rows)
            await self._write(step, found, rows)
        except ServiceNowError as error:
            await self._failed(step.job, error)
        else:
            self._rest.worked()
            self._parts.conditions.clear(_subject(job))

    async def _prepare(self, step: _Step, report: SessionReport, rows: RowSettings) -> None:
        """Learn, before anything is written, what the links lead to and whether the session was there before."""
        if "links" in step.job.data:
            return
        records = self._parts.records[step.job.lane]
        found = await records.find(lookups(report, rows))
        links = {link: [place.table, place.sys_id] for link, place in found.items()}
        known = step.job.data.get("known")
        if known is None:
            known = await records.has(session_row(_named(report), rows)) if await records.tables() else "unsure"
        await step.on("part written", links=links, known=known, written=0)

    async def _write(self, step: _Step, found: Stored, rows: RowSettings) -> None:
        report, records = found.report, self._parts.records[step.job.lane]
        links = {link: sys_id for link, (_, sys_id) in step.job.data["links"].items()}
        entries = due(report, links, rows)
        if not await records.tables():
            await step.on("written", written=None, due=entries, left=None)
            return
        session = await records.upsert(await found.make(lambda: session_row(report, rows, links)))
        written = step.job.data["written"]
        left = islice(event_rows(report, rows, session), written, None)
        while chunk := await found.make(lambda: list(islice(left, CHUNK))):
            await records.insert(chunk)
            written += len(chunk)
            await step.on("part written", written=written)
        await step.on("written", written=None, row=session, due=entries, left=None)

    async def _failed(self, job: Job, error: ServiceNowError) -> None:
        self._rest.failed(job.id, error)
        tries = job.data.get("tries", 0) + 1
        verdict = after_rows_error(error, tries=tries)
        log.warning("sessions.not_written", appliance=job.lane, code=error.code, error=error.text, tries=tries)
        if tries >= OFTEN:
            self._parts.conditions.fail(_subject(job), error)
        if verdict.event == "put off":
            wait = delay(self._parts, tries, error)
            await self._parts.ledger.step(Move(job, verdict.event, data={"tries": tries}, wait=wait))
            return
        await self._parts.ledger.step(Move(job, verdict.event, data={"tries": None, "code": verdict.code}))


def _named(report: SessionReport) -> SessionReport:
    """A report of which only the session is known: all that a row's key is made of."""
    return SessionReport(lsid=report.lsid)


def _subject(job: Job) -> str:
    """The condition that an appliance's sessions cannot be written."""
    return f"sessions {job.lane}"


class _Step:
    """A job on its way through several durable steps."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self._ledger = parts.ledger
        self.job = job

    async def on(self, event: str, **data: object) -> None:
        """One step further; trouble before it is forgotten."""
        self.job = await self._ledger.step(Move(self.job, event, data={**data, "tries": None}))
