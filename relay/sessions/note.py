"""The work note on a session's task, exactly once: "on its way" is on disk before its first byte is sent."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relay.core.errors import ServiceNowError
from relay.core.jobs import Job
from relay.core.note import mark, note_of
from relay.core.queue import LOOK_AGAIN
from relay.core.session_job import after_look, after_note_error, before_note
from relay.core.session_rows import Place
from relay.jobs.ledger import Move, trace_of
from relay.sessions.parts import TROUBLE, Parts, stored_report, task_of

log = structlog.get_logger("relay.sessions")

NOTED = "sessions.noted"
"""The durable fact behind `Learned.noted`."""
BLIND = "work notes"
"""The condition that the notes of tasks cannot be read."""


async def look(parts: Parts, job: Job) -> bool | None:
    """Whether the task of a job has its note; None when nobody can tell, which health says then.

    Raises:
        ServiceNowError: it could not be asked.

    """
    learned, task = parts.learned, task_of(job)
    records = parts.records[job.lane]
    found = await records.noted(task, mark(job.data["lsid"])) if task is not None else None
    # Without sight, look as well for a note that must be there: finding it is what gives sight.
    if found is False and not learned.sight and learned.noted is not None:
        learned.sight = bool(await records.noted(*learned.noted))
    if found is None:
        _say_blind(parts)
        return None
    parts.conditions.clear(BLIND)
    learned.sight = learned.sight or found
    return found


class Note:
    """Handles WRITTEN."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Send each note that is to be sent."""
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self._one(job)

    async def _one(self, job: Job) -> None:
        parts = self._parts
        task, known = task_of(job), job.data["known"]
        found: bool | None = False
        if task is not None and known:
            try:
                found = await look(parts, job)
            except ServiceNowError as error:
                await parts.ledger.step(put_off(parts, job, error))
                return
            if known == "unsure":  # without a row of its own only its mark tells that it was here before
                known = found is True
            elif not parts.learned.sight:
                found = None
        event = before_note(task=task is not None, known=known, found=found)
        if task is None or event != "noting":
            await parts.ledger.step(Move(job, event, data={"tries": None}))
            return
        report = await stored_report(parts, job)
        text = note_of(parts.sites[job.lane].template, report, job.lane)
        await self._send(await parts.ledger.step(Move(job, event, fields={"attempts": job.attempts + 1})), task, text)

    async def _send(self, job: Job, task: Place, text: str) -> None:
        parts = self._parts
        try:
            await parts.records[job.lane].note(task, text)
        except ServiceNowError as error:
            await parts.ledger.step(self._failed(job, error))
            return
        await parts.ledger.step(Move(job, "noted", data={"tries": None}))
        if not parts.learned.stored:
            known = mark(job.data["lsid"])
            parts.learned.noted = (task, known)
            await parts.store.set_fact(NOTED, [task.table, task.sys_id, known])
            parts.learned.stored = True

    def _failed(self, job: Job, error: ServiceNowError) -> Move:
        tries = job.data.get("tries", 0) + 1
        verdict = after_note_error(error, tries=tries)
        log.warning("sessions.not_noted", appliance=job.lane, code=error.code, error=error.text, then=verdict.event)
        if verdict.event == "note unknown":
            return Move(job, verdict.event, data={"tries": None}, wait=self._parts.settle)
        if verdict.event == "not noted":
            wait = TROUBLE.delay(tries, self._parts.jitter(), error.after)
            return Move(job, verdict.event, data={"tries": tries}, wait=wait)
        return Move(job, verdict.event, data={"tries": None, "code": verdict.code})


class Abandoned:
    """Handles NOTING: notes whose sending ended without a decision, by a fault of ours or a full disk.

    The runner leaves out what is being handled, so that no note that is under way comes here.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Nobody knows what became of these notes; at the start of the relay they are settled likewise."""
        moves = [Move(job, "found at start", data={"tries": None}, wait=self._parts.settle) for job in jobs]
        await self._parts.ledger.apply(moves)


class Ask:
    """Handles ASKING."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Look for each note."""
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self._parts.ledger.step(await self._look(job))

    async def _look(self, job: Job) -> Move:
        parts = self._parts
        learned = parts.learned
        try:
            found = await look(parts, job)
        except ServiceNowError as error:
            return put_off(parts, job, error)
        looks = job.data.get("looks", 0) + (not found)
        event = after_look(found=found, looks=looks, sight=learned.sight)
        if event == "put off":
            return Move(job, event, data={"looks": looks, "tries": None}, wait=LOOK_AGAIN)
        if event == "cannot be asked":
            log.warning("sessions.note_unknown", appliance=job.lane, lsid=job.data["lsid"])
            _say_blind(parts)
        return Move(job, event, data={"looks": None, "tries": None})


def _say_blind(parts: Parts) -> None:
    error = ServiceNowError(2006, "work notes cannot be read, so none of unknown outcome is written again")
    parts.conditions.fail(BLIND, error)


def put_off(parts: Parts, job: Job, error: ServiceNowError) -> Move:
    """ServiceNow could not be asked: later again."""
    tries = job.data.get("tries", 0) + 1
    log.warning("sessions.not_asked", appliance=job.lane, code=error.code, error=error.text, tries=tries)
    return Move(job, "put off", data={"tries": tries}, wait=TROUBLE.delay(tries, parts.jitter(), error.after))
