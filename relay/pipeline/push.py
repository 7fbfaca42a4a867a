"""Brings stored answers to ServiceNow: small ones in batches, large ones as attachments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from relay.core.errors import ServiceNowError, WorkError
from relay.core.exchange import Inserted, NewInput
from relay.core.jobs import Job, Json
from relay.core.queue import PART_TRIES, after_insert, verify_after
from relay.core.record import Failure, Record
from relay.core.retry import Backoff
from relay.jobs.ledger import Move
from relay.pipeline.parts import KEPT, USER, Parts
from relay.pipeline.render import render, verified_by
from relay.pipeline.rows import ANSWER, LARGE, NOT_UNDER_WAY, answer_sys_id, rows

log = structlog.get_logger("relay.push")

TROUBLE = Backoff(first=1.0, longest=60.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A job with the answer that it brings."""

    job: Job
    record: Record
    payload: str

    def as_input(self) -> NewInput:
        """The record to be inserted."""
        row = self.record
        return NewInput(
            output_sys_id=self.job.id,
            sys_id=answer_sys_id(self.job.id, in_place_of_large=self.job.data.get("refused") == "large"),
            topic=row["topic"],
            name=row["name"],
            source=row["source"],
            agent_correlator=row["agent_correlator"],
            payload=self.payload,
        )


class Push:
    """Handles ANSWERED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Insert the answers of these jobs."""
        answers = await self._answers(await self._settled(jobs))
        await self._parts.audit.append([outcome_line(answer.job, answer.record) for answer in answers])
        self._parts.conditions.clear("audit")
        small = [answer for answer in answers if len(answer.payload) <= LARGE]
        if small:
            await self._insert(await self._marked(small))
        for answer in answers:
            if len(answer.payload) > LARGE:
                await self._insert_large(answer)

    async def _settled(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that may be inserted: one with the mark of an insert was left by a handling that did not end."""
        doubtful = [job for job in jobs if job.data.get("inserting")]
        if doubtful:
            log.warning("push.unfinished", jobs=[job.id for job in doubtful])
            settle = self._parts.limits.settle
            await self._parts.ledger.apply([Move(job, "insert unknown", wait=settle) for job in doubtful])
        return [job for job in jobs if job not in doubtful]

    async def _answers(self, jobs: Sequence[Job]) -> list[Answer]:
        bodies = await self._parts.store.bodies([job.id for job in jobs], ANSWER)
        stored = await rows(self._parts.store, jobs)
        return [
            Answer(job, record, (body or b"").decode()) for job, record, body in zip(jobs, stored, bodies, strict=True)
        ]

    async def _marked(self, answers: Sequence[Answer]) -> list[Answer]:
        """Make it durable that these inserts are about to begin, unless a repeat would do no harm anyway.

        After a crash, a marked answer is asked for before it is inserted again.
        """
        if self._parts.learned.kept:
            return list(answers)
        moves = [Move(answer.job, "part stored", data={"inserting": True}) for answer in answers]
        done = await self._parts.ledger.apply(moves)
        return [
            Answer(job, answer.record, answer.payload)
            for job, answer in zip(done, answers, strict=True)
            if job is not None
        ]

    async def _insert(self, answers: Sequence[Answer]) -> None:
        results = await self._parts.queue.insert([answer.as_input() for answer in answers])
        await self._learn(results)
        moves = [await self._move(answer, result) for answer, result in zip(answers, results, strict=True)]
        await self._parts.ledger.apply(moves)

    async def _learn(self, results: Sequence[Inserted | ServiceNowError]) -> None:
        """Remember what the answers to our inserts tell of the instance and of us.

        An instance that does not keep the sys_ids that we wish for is believed for good. Who made a row that we
        inserted is who we are, where the configuration does not say it; a claimed row's last writer could be anybody.
        """
        told = [result for result in results if isinstance(result, Inserted)]
        learned, store = self._parts.learned, self._parts.store
        kept = all(result.kept for result in told)
        if told and learned.kept is not False and kept != learned.kept:
            await store.set_fact(KEPT, kept)
            learned.kept = kept
            log.info("push.learned", keeps_sys_id=kept)
        user = next((result.created_by for result in told if result.created_by), "")
        if user and not learned.user:
            await store.set_fact(USER, user)
            learned.user = user

    async def _insert_large(self, answer: Answer) -> None:
        """Insert, upload, make it an answer; a part that was done before a crash is not done twice.

        Until its last step the record is no answer to anybody, and that step may be repeated. What must not happen is
        that it still runs while another record becomes the answer: hence its mark, set before it begins.
        """
        parts, job = self._parts, answer.job
        doubt = bool(job.data.get("finishing"))
        try:
            if not doubt:
                sys_id = job.data.get("part") or await parts.queue.begin_large(answer.as_input())
                job = await parts.ledger.step(Move(job, "part stored", data={"part": sys_id, "finishing": True}))
            await parts.queue.finish_large(job.data["part"], answer.as_input())
        except ServiceNowError as error:
            move = await self._large_failed(Answer(job, answer.record, answer.payload), error, doubt=doubt)
            await parts.ledger.apply([move])
            return
        parts.learned.delivered = job.id
        await parts.ledger.apply([Move(job, "inserted", data={"input": job.data["part"], "tries": None})])

    async def _large_failed(self, answer: Answer, error: ServiceNowError, *, doubt: bool) -> Move:
        """`doubt`: an earlier try of the last step may have done it, or may still be running."""
        parts, job = self._parts, answer.job
        tries = job.data.get("tries", 0) + 1
        event = after_insert(error, tries=tries, refused_before=bool(job.data.get("refused")))
        gone = error.number == GONE and tries < PART_TRIES
        if doubt and event in REFUSED:
            event = "insert unknown"
            wait = parts.limits.settle
        elif gone or event not in REFUSED:
            event = "put off"
            wait = TROUBLE.delay(tries, parts.jitter(), error.after)
        self._note(job, error, event)
        if event == "insert unknown":
            return self._later(job, event, {"tries": tries, "looks": None}, wait)
        if event == "put off":
            running = doubt or error.maybe_sent
            forgotten = {"part": None, "finishing": None} if gone else {} if running else {"finishing": None}
            return self._later(job, event, {"tries": tries, **forgotten}, wait)
        return await self._refused(answer, event, error)

    async def _move(self, answer: Answer, result: Inserted | ServiceNowError) -> Move:
        if isinstance(result, Inserted):
            self._parts.conditions.clear("push")
            self._parts.learned.delivered = answer.job.id
            return Move(answer.job, "inserted", data={"input": result.sys_id, "tries": None, "inserting": None})
        return await self._failed(answer, result)

    async def _failed(self, answer: Answer, error: ServiceNowError) -> Move:
        parts, job = self._parts, answer.job
        tries = job.data.get("tries", 0) + 1
        event = after_insert(error, tries=tries, refused_before=bool(job.data.get("refused")))
        if event in REFUSED and parts.learned.kept:
            event = await self._unless_there(job, event)
        self._note(job, error, event)
        if event == "put off":
            wait = TROUBLE.delay(tries, parts.jitter(), error.after)
            return self._later(job, event, {"tries": tries, "inserting": None}, wait)
        if event == "insert unknown":
            wait = verify_after(error, settle=parts.limits.settle)
            return self._later(job, event, {"tries": tries, "looks": None}, wait)
        return await self._refused(answer, event, error)

    def _note(self, job: Job, error: ServiceNowError, event: str) -> None:
        log.warning("push.failed", job=job.id, code=error.code, error=error.text, then=event)
        self._parts.conditions.fail("push", error)

    def _later(self, job: Job, event: str, data: Mapping[str, Json], wait: float) -> Move:
        return Move(job, event, data=data, wait=wait)

    async def _unless_there(self, job: Job, event: str) -> str:
        """The event of a refused insert: it may be refused because the answer is there already."""
        try:
            there = job.id in await self._parts.queue.find([job.id])
        except ServiceNowError:
            return "put off"
        return "insert unknown" if there else event

    async def _refused(self, answer: Answer, event: str, error: ServiceNowError) -> Move:
        """Try once more with a small answer that says what happened; after that an administrator has to look."""
        if event == "answer refused again":
            data = {"code": error.number, **NOT_UNDER_WAY}
            return Move(answer.job, event, data=data)
        small = Failure(WorkError(4016, error.text).text)
        rendered = await render(self._parts, answer.record, (), small, 0)
        refused = "large" if len(answer.payload) > LARGE else "small"
        data = {"refused": refused, "part": None, "tries": None, "code": 4016, **NOT_UNDER_WAY, **rendered.facts}
        return Move(answer.job, event, data=data, bodies={ANSWER: rendered.payload})


GONE = 2016
REFUSED = frozenset({"answer refused", "answer refused again"})


def outcome_line(job: Job, record: Record) -> dict[str, object]:
    """The audit line of an answer, written before ServiceNow gets it; `attempt` 0 stands for "no call was made"."""
    names = ("decision", "operation", "rule", "code", "status", "oversize", "answer_bytes", "answer_digest")
    known = {name: job.data[name] for name in names if name in job.data}
    event = "outcome again" if job.data.get("refused") else "outcome"
    by = {"by": record["sys_created_by"], **verified_by(job)}
    return {"event": event, "job": job.id, "attempt": job.attempts, **by, **known}
