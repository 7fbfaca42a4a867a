"""Fetches a session's report, again and again until it has its end, and with it the exit surveys that it names."""

from __future__ import annotations

from dataclasses import replace

import structlog

from relay.core.errors import ApplianceError
from relay.core.jobs import Job
from relay.core.session_events import job_of
from relay.core.session_job import (
    DEAD,
    LOOK,
    NOTICED,
    SURVEY_LAG,
    after_fetch_error,
    after_report,
    after_survey,
    after_survey_error,
)
from relay.core.session_report import SessionReport
from relay.core.session_surveys import surveyed
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move
from relay.sessions.parts import (
    BY_HAND,
    REPORT,
    SURVEYS,
    TROUBLE,
    BusyError,
    Parts,
    aside,
    report_on,
    survey_on,
    unfolding,
)
from relay.sessions.rest import Rest

log = structlog.get_logger("relay.sessions")

NO_SURVEY = 3019
_FORGOTTEN = {"since": None, "looks": None, "surveys_failed": None, "detail": None}


class Fetch(OneByOne):
    """Handles NOTICED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rest = Rest(parts.clock, parts.jitter)

    def open(self) -> bool:
        """Whether the appliance is asked now."""
        return self._parts.fetches() and self._rest.over()

    async def one(self, job: Job) -> None:
        """Look for a session."""
        await self._parts.ledger.step(await self._look(job))

    async def _look(self, job: Job) -> Move:
        parts = self._parts
        lsid = job.data.get("lsid")
        if "survey" in job.data:
            return await self._filled_in(job)
        if not lsid:  # a post of which nothing can be made, however often an administrator has it tried again
            return Move(job, "report refused")
        document = None
        try:
            document = await report_on(parts, job.lane, lsid)
            self._rest.worked()
            async with unfolding(parts, len(document)):
                return await self._told(job, await parts.reader.session(document, lsid), document)
        except BusyError:
            return aside(job)
        except ApplianceError as error:
            return self._failed(job, error, document)

    async def _told(self, job: Job, report: SessionReport | None, document: bytes) -> Move:
        """What becomes of a session by what the appliance told."""
        parts = self._parts
        elsewhere = report is None and await self._elsewhere(job)
        move = self._read(job, report, document, elsewhere=elsewhere)
        if report is None or move.event != "fetched" or parts.sites[job.lane].product != "rs":
            return move
        return await self._surveyed(move, report)

    async def _elsewhere(self, job: Job) -> bool:
        """Whether an appliance that the event may be of as well turned out to have the session."""
        others = [job_of(name, job.data["lsid"]) for name in job.data.get("others", ())]
        known = await self._parts.store.known(others) if others else {}
        return any(state not in {NOTICED, DEAD} for state in known.values())

    def _read(self, job: Job, report: SessionReport | None, document: bytes, *, elsewhere: bool) -> Move:
        now = self._parts.clock.wall()
        since, looks = job.data.get("since", now), job.data.get("looks", 0) + 1
        site = self._parts.sites[job.lane]
        external = site.import_external or job.data.get("by") == BY_HAND
        verdict = after_report(report, waited=now - since, import_external=external, elsewhere=elsewhere)
        if verdict.event in {"still running", "not there yet"}:
            wait = LOOK.delay(looks, self._parts.jitter())
            return Move(job, verdict.event, data={"since": since, "looks": looks, "failed": None}, wait=wait)
        # What its links lead to may have been mended since they were looked up; "known" is what was so at first.
        data = {**_FORGOTTEN, "failed": None, "links": None, "code": verdict.code or None, "fetched": now}
        return Move(job, verdict.event, data=data, bodies={REPORT: document if verdict.event == "fetched" else None})

    async def _filled_in(self, job: Job) -> Move:
        """What becomes of the news that a survey was filled in: people do so when the session is home already."""
        parts, looks = self._parts, job.data.get("looks", 0) + 1
        event, wait = "put off", SURVEY_LAG
        if looks > 1:
            (session,) = await parts.store.get([job_of(job.lane, job.data["lsid"])])
            event = after_survey(session, by=job.data["survey"], told=job.created)
            wait = LOOK.delay(looks, parts.jitter())
            if event == "asked again" and session is not None:
                (moved,) = await parts.ledger.apply([Move(session, event, data={"surveys": None})])
                event = "passed on" if moved is not None else "put off"
        return Move(job, event, data={"looks": looks}, wait=wait if event == "put off" else 0.0)

    async def _surveyed(self, move: Move, report: SessionReport) -> Move:
        """The move with the session's surveys, or one that puts it off. What they say is stored with the report."""
        parts, job = self._parts, move.job
        found: dict[str, bytes | None] = dict.fromkeys(SURVEYS.values())
        for by in surveyed(report):
            error, document = None, b""
            try:
                document = await survey_on(parts, job.lane, report.lsid, by)
                if await parts.reader.surveys(document, by):
                    found[SURVEYS[by]] = document
                    continue
            except ApplianceError as caught:
                error = caught
            tries = job.data.get("surveys_failed", 0) + 1
            if after_survey_error(error, tries=tries).event == "put off":
                wait = TROUBLE.delay(tries, parts.jitter(), error.after if error else None)
                return Move(job, "put off", data={"surveys_failed": tries}, wait=wait)
            error = error or ApplianceError(NO_SURVEY, "no survey, though the session's report names one")
            log.warning("sessions.not_surveyed", appliance=job.lane, survey=by, code=error.code, error=error.text)
            parts.conditions.fail(f"exit surveys {job.lane}", error)
        told = [by for by, name in SURVEYS.items() if found[name] is not None]
        if told and told == surveyed(report):
            parts.conditions.clear(f"exit surveys {job.lane}")
        return replace(move, data={**move.data, "surveys": told or None}, bodies={**move.bodies, **found})

    def _failed(self, job: Job, error: ApplianceError, document: bytes | None) -> Move:
        self._rest.failed(job.id, error)
        number, tries = job.data.get("failed", (0, 0))
        tries = tries + 1 if number == error.number else 1
        verdict = after_fetch_error(error, tries=tries)
        log.warning("sessions.not_fetched", appliance=job.lane, code=error.code, error=error.text, tries=tries)
        if verdict.event == "put off":
            wait = TROUBLE.delay(tries, self._parts.jitter(), error.after)
            return Move(job, verdict.event, data={"failed": [error.number, tries]}, wait=wait)
        data = {**_FORGOTTEN, "failed": None, "code": verdict.code, "detail": error.detail}
        return Move(job, verdict.event, data=data, bodies={REPORT: document})
