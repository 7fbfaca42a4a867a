"""Brings stored answers to ServiceNow: small ones in batches, large ones as attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from relay.core.errors import ServiceNowError, WorkError
from relay.core.exchange import Inserted, NewInput
from relay.core.jobs import Job
from relay.core.queue import after_insert, verify_after
from relay.core.record import Failure, Record
from relay.core.retry import Backoff
from relay.jobs.ledger import Move
from relay.pipeline.parts import KEPT, Parts
from relay.pipeline.render import render
from relay.pipeline.rows import ANSWER, LARGE, answer_sys_id, rows

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
            sys_id=answer_sys_id(self.job.id),
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
        answers = await self._answers(jobs)
        await self._parts.audit.append([outcome_line(answer.job, answer.record) for answer in answers])
        small = [answer for answer in answers if len(answer.payload) <= LARGE]
        if small:
            await self._insert(await self._marked(small))
        for answer in answers:
            if len(answer.payload) > LARGE:
                await self._insert_large(answer)

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
        """Remember whether the instance keeps the sys_ids that we wish for; one that does not is believed for good."""
        told = [result.kept for result in results if isinstance(result, Inserted)]
        if not told:
            return
        kept = all(told)
        if kept != self._parts.learned.kept:
            await self._parts.store.set_fact(KEPT, kept)
            self._parts.learned.kept = kept
            log.info("push.learned", keeps_sys_id=kept)

    async def _insert_large(self, answer: Answer) -> None:
        """Insert, upload, make it an answer; a part that was done before a crash is not done twice."""
        parts = self._parts
        job = answer.job
        try:
            if "part" not in job.data:
                sys_id = await parts.queue.begin_large(answer.as_input())
                job = await parts.ledger.step(Move(job, "part stored", data={"part": sys_id}))
            await parts.queue.finish_large(job.data["part"], answer.as_input())
        except ServiceNowError as error:
            known = Answer(job, answer.record, answer.payload)
            # Until its last step the record is no answer to anybody, and that step may be repeated.
            await parts.ledger.apply([await self._failed(known, error, repeatable=True)])
            return
        await parts.ledger.apply([Move(job, "inserted", data={"input": job.data["part"], "tries": None})])

    async def _move(self, answer: Answer, result: Inserted | ServiceNowError) -> Move:
        if isinstance(result, Inserted):
            self._parts.conditions.clear("push")
            return Move(answer.job, "inserted", data={"input": result.sys_id, "tries": None, "inserting": None})
        return await self._failed(answer, result, repeatable=False)

    async def _failed(self, answer: Answer, error: ServiceNowError, *, repeatable: bool) -> Move:
        parts, job = self._parts, answer.job
        tries = job.data.get("tries", 0) + 1
        refused_before = bool(job.data.get("refused"))
        event = after_insert(error, tries=tries, refused_before=refused_before)
        if event == "insert unknown" and repeatable:
            event = "put off"
        if event == "answer refused" and parts.learned.kept and await self._is_there(job):
            event = "insert unknown"
        log.warning("push.failed", job=job.id, code=error.code, error=error.text, then=event)
        parts.conditions.fail("push", error)
        now = parts.clock.wall()
        if event == "put off":
            wait = TROUBLE.delay(tries, parts.jitter(), error.after)
            gone = {"part": None} if error.number == GONE else {}
            return Move(job, event, data={"tries": tries, "inserting": None, **gone}, fields={"not_before": now + wait})
        if event == "insert unknown":
            wait = verify_after(error, kept=bool(parts.learned.kept), settle=parts.limits.settle)
            return Move(job, event, data={"tries": tries, "looks": None}, fields={"not_before": now + wait})
        return await self._refused(answer, event, error)

    async def _is_there(self, job: Job) -> bool:
        """Whether the insert was refused because the answer is there already."""
        try:
            return job.id in await self._parts.queue.find([job.id])
        except ServiceNowError:
            return False

    async def _refused(self, answer: Answer, event: str, error: ServiceNowError) -> Move:
        """Try once more with a small answer that says what happened; after that an administrator has to look."""
        if event == "answer refused again":
            return Move(answer.job, event, data={"code": error.number, "error": error.text[:200]})
        small = Failure(WorkError(4016, error.text).text)
        rendered = await render(self._parts, answer.record, (), small, 0)
        data = {"refused": True, "part": None, "tries": None, "inserting": None, "code": 4016, **rendered.facts}
        return Move(answer.job, event, data=data, bodies={ANSWER: rendered.payload})


GONE = 2016


def outcome_line(job: Job, record: Record) -> dict[str, object]:
    """The audit line of an answer, written before ServiceNow gets it; `attempt` 0 stands for "no call was made"."""
    names = ("decision", "operation", "rule", "code", "status", "error", "answer_bytes", "answer_digest")
    known = {name: job.data[name] for name in names if name in job.data}
    event = "outcome again" if job.data.get("refused") else "outcome"
    return {"event": event, "job": job.id, "attempt": job.attempts, "by": record["sys_created_by"], **known}
