"""Journal entries of sessions, such as the work note, each exactly once.

"On its way" is on disk before an entry's first byte is sent. One entry of a session is handled at a time: the one that
`core.session_entries.outstanding` names, in every stage.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relay.core.errors import InternalError, ServiceNowError
from relay.core.jobs import Job
from relay.core.note import mark
from relay.core.queue import LOOK_AGAIN
from relay.core.session_entries import NOTE, Journal, outstanding, progress, text_of
from relay.core.session_job import after_look, after_note_error, before_note
from relay.core.session_rows import Place
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move
from relay.sessions.parts import TROUBLE, BusyError, Parts, aside, place_of, stored

log = structlog.get_logger("relay.sessions")

BLIND = 2006


def fact_of(journal: Journal) -> str:
    """The durable fact behind `Learned.noted`."""
    return f"sessions.noted.{journal.name}"


async def look(parts: Parts, job: Job, journal: Journal, place: Place) -> bool | None:
    """Whether a journal has the entry of a job; None when nobody can tell, which health says then.

    Raises:
        ServiceNowError: it could not be asked.
        StorageError: what was learned is not on disk.

    """
    learned, records = parts.learned[journal.name], parts.records[job.lane]
    found = await records.entered(place, mark(job.data["lsid"]), journal.element)
    # Without sight, look as well for an entry that must be there: finding it is what gives sight.
    if found is False and not learned.sight and learned.noted is not None:
        learned.sight = bool(await records.entered(*learned.noted, journal.element))
    if found is None:
        _say_blind(parts, journal)
        return None
    parts.conditions.clear(journal.subject)
    if found:
        learned.sight = True
        await _remember(parts, journal, place, job)
    return found


async def _remember(parts: Parts, journal: Journal, place: Place, job: Job) -> None:
    """Keep one entry that is surely there, once in each life: a later one gains its sight by it."""
    learned = parts.learned[journal.name]
    if not learned.stored:
        known = mark(job.data["lsid"])
        learned.noted = (place, known)
        await parts.store.set_fact(fact_of(journal), [place.table, place.sys_id, known])
        learned.stored = True


class Note(OneByOne):
    """Handles WRITTEN."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Send the next entry of a session, if it is to be sent."""
        parts = self._parts
        if outstanding(job.data) is None:
            await parts.ledger.step(Move(job, "all noted", data={"tries": None}))
            return
        journal, place = _next(job)
        known, found = job.data["known"], None
        if known:
            try:
                found = await look(parts, job, journal, place)
            except ServiceNowError as error:
                await parts.ledger.step(put_off(parts, job, error))
                return
            if known == "unsure":  # without a row of its own only its mark tells that it was here before
                known = found is True
            elif not parts.learned[journal.name].sight:
                found = None
        event = before_note(known=bool(known), found=found)
        if event != "noting":
            await parts.ledger.step(_settled(job, event))
            return
        try:
            text = await self._text(job, journal)
        except BusyError:
            await parts.ledger.step(aside(job))
            return
        await self._send(await parts.ledger.step(Move(job, event, fields={"attempts": job.attempts + 1})), text)

    async def _text(self, job: Job, journal: Journal) -> str:
        async with stored(self._parts, job) as found:
            return text_of(journal, found.report, job.lane, self._parts.sites[job.lane].template)

    async def _send(self, job: Job, text: str) -> None:
        parts, (journal, place) = self._parts, _next(job)
        records = parts.records[job.lane]
        try:
            if journal is NOTE:
                await records.note(place, text)
            else:
                await records.entry(place, text, journal.element)
        except ServiceNowError as error:
            await parts.ledger.step(self._failed(job, journal, error))
            return
        await parts.ledger.step(_settled(job, "noted"))
        parts.conditions.clear(_writing(journal))
        await _remember(parts, journal, place, job)

    def _failed(self, job: Job, journal: Journal, error: ServiceNowError) -> Move:
        tries = job.data.get("tries", 0) + 1
        verdict = after_note_error(error, tries=tries, needed=journal.needed)
        log.warning(
            "sessions.not_noted",
            appliance=job.lane,
            journal=journal.subject,
            code=error.code,
            error=error.text,
            then=verdict.event,
        )
        if verdict.event == "note unknown":
            return Move(job, verdict.event, data={"tries": None}, wait=self._parts.settle)
        if verdict.event == "not noted":
            wait = TROUBLE.delay(tries, self._parts.jitter(), error.after)
            return Move(job, verdict.event, data={"tries": tries}, wait=wait)
        if verdict.event == "left out":
            self._parts.conditions.fail(_writing(journal), error)
            return _settled(job, verdict.event)
        return Move(job, verdict.event, data={"tries": None, "code": verdict.code})


class Abandoned:
    """Handles NOTING: entries whose sending ended without a decision, by a fault of ours or a full disk.

    The runner leaves out what is being handled, so that no entry that is under way comes here.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Nobody knows what became of these entries; at the start of the relay they are settled likewise."""
        moves = [Move(job, "found at start", data={"tries": None}, wait=self._parts.settle) for job in jobs]
        await self._parts.ledger.apply(moves)


class Ask(OneByOne):
    """Handles ASKING."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Look for an entry."""
        await self._parts.ledger.step(await self._look(job))

    async def _look(self, job: Job) -> Move:
        parts, (journal, place) = self._parts, _next(job)
        try:
            found = await look(parts, job, journal, place)
        except ServiceNowError as error:
            return put_off(parts, job, error)
        looks = job.data.get("looks", 0) + (not found)
        event = after_look(found=found, looks=looks, sight=parts.learned[journal.name].sight)
        if event == "put off":
            return Move(job, event, data={"looks": looks, "tries": None}, wait=LOOK_AGAIN)
        if event == "cannot be asked":
            log.warning("sessions.note_unknown", appliance=job.lane, lsid=job.data["lsid"], journal=journal.subject)
            _say_blind(parts, journal)
        return _settled(job, event)


def _next(job: Job) -> tuple[Journal, Place]:
    """The journal whose entry a job is at, and the record that has it."""
    journal = outstanding(job.data)
    place = place_of(job, journal.link) if journal is not None else None
    if journal is None or place is None:
        raise InternalError(9001, "a journal entry is on its way that no journal is for")
    return journal, place


def _settled(job: Job, event: str) -> Move:
    """The move after which the next entry is at hand, or the same one again when it is surely absent."""
    return Move(job, event, data={**progress(job.data, event), "looks": None, "tries": None})


def _writing(journal: Journal) -> str:
    """What health calls it that entries are refused."""
    return f"writing {journal.subject}"


def _say_blind(parts: Parts, journal: Journal) -> None:
    detail = f"{journal.subject} cannot be read, so none of unknown outcome is written again"
    parts.conditions.fail(journal.subject, ServiceNowError(BLIND, detail))


def put_off(parts: Parts, job: Job, error: ServiceNowError) -> Move:
    """ServiceNow could not be asked: later again."""
    tries = job.data.get("tries", 0) + 1
    log.warning("sessions.not_asked", appliance=job.lane, code=error.code, error=error.text, tries=tries)
    return Move(job, "put off", data={"tries": tries}, wait=TROUBLE.delay(tries, parts.jitter(), error.after))
