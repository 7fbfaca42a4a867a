"""Makes seen records ours: `state=processing` at ServiceNow, in batches.

What is executed is the row in the claiming request's own answer, not the one that was polled: between the two anybody
could have written to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, Taken
from relay.core.jobs import Job
from relay.core.queue import may_be
from relay.core.record import Record
from relay.core.retry import Backoff
from relay.jobs.ledger import Move
from relay.pipeline.judge import judge
from relay.pipeline.parts import Parts
from relay.pipeline.rows import ROW, facts, row_bytes, rows, same_work
from relay.pipeline.verify import guard_against, look

log = structlog.get_logger("relay.claim")

TROUBLE = Backoff(first=1.0, longest=60.0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job, its row as it was seen, and what became of its claim."""

    job: Job
    stored: Record
    result: Claimed | Taken | ServiceNowError

    @property
    def doubtful(self) -> bool:
        """Whether somebody else may have answered the output: it was taken, or changed more than by our claim.

        ServiceNow lets a claim set `processing` on a row that was answered and `processed` meanwhile.
        """
        if not isinstance(self.result, Claimed):
            return isinstance(self.result, Taken)
        seen, now = self.stored["sys_mod_count"], self.result.record["sys_mod_count"]
        return seen.isdecimal() and now.isdecimal() and int(now) > int(seen) + 1


class Claim:
    """Handles SEEN."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Claim the records of these jobs; those whose last claim had an unknown outcome are read back first."""
        unknown = [job for job in jobs if job.data.get("claim_unknown")]
        fresh = [job for job in jobs if not job.data.get("claim_unknown")]
        if unknown:
            fresh += await self._read_back(unknown)
        bare = [job for job in fresh if job.data.get("bare")]
        whole = [job for job in fresh if not job.data.get("bare")]
        for part, payload in ((whole, True), (bare, False)):
            if part:
                await self._claim(part, payload=payload)

    async def _claim(self, jobs: Sequence[Job], *, payload: bool) -> None:
        parts = self._parts
        results = await parts.queue.claim([job.id for job in jobs], payload=payload)
        await guard_against(parts, [one.record for one in results if isinstance(one, Claimed)])
        stored = await rows(parts.store, jobs)
        claims = [Attempt(*each) for each in zip(jobs, stored, results, strict=True)]
        there = await self._look([claim.job for claim in claims if claim.doubtful])
        await parts.ledger.apply([self._move(claim, there) for claim in claims])

    async def _look(self, jobs: Sequence[Job]) -> Collection[str] | ServiceNowError:
        """Which of these outputs have an answer already; one by another poller raises the guard."""
        try:
            return (await look(self._parts, [job.id for job in jobs])) if jobs else ()
        except ServiceNowError as error:
            return ServiceNowError(error.number, error.detail, maybe_sent=True, after=error.after)

    async def _read_back(self, jobs: Sequence[Job]) -> list[Job]:
        """Settle claims of unknown outcome; returns the jobs that are to be claimed again."""
        try:
            found = await self._parts.queue.read([job.id for job in jobs])
            there = await look(self._parts, [job.id for job in jobs])
        except ServiceNowError as error:
            await self._parts.ledger.apply([self._failed(job, error) for job in jobs])
            return []
        await guard_against(self._parts, [row for row in found.values() if row["state"] == "processing"])
        stored = await rows(self._parts.store, jobs)
        again: list[Job] = []
        moves: list[Move] = []
        for job, row in zip(jobs, stored, strict=True):
            now = found.get(job.id)
            if job.id in there:
                moves.append(Move(job, "answered there"))
            elif now is not None and now["state"] == "ready":
                again.append(job)
            elif now is not None and now["state"] == "processing" and self._by_us(now):
                moves.append(self._claimed(job, row, now))
            else:
                moves.append(Move(job, "taken"))
        await self._parts.ledger.apply(moves)
        return again

    def _by_us(self, record: Record) -> bool:
        """Whether we may have claimed the row: setting `processing` what is so already leaves the first one's name."""
        return may_be(self._parts.learned.user, record["sys_updated_by"])

    def _move(self, claim: Attempt, there: Collection[str] | ServiceNowError) -> Move:
        job, result = claim.job, claim.result
        if isinstance(result, Claimed) and not self._by_us(result.record):
            result = Taken("another poller has it")
        if isinstance(result, Claimed) and claim.doubtful:
            if isinstance(there, ServiceNowError):
                return self._failed(job, there)
            if job.id in there:
                log.warning("claim.answered", job=job.id)
                return Move(job, "answered there")
        if isinstance(result, Claimed):
            self._parts.conditions.clear("claim")
            return self._claimed(job, claim.stored, result.record)
        if isinstance(result, Taken):
            log.warning("claim.taken", job=job.id, reason=result.reason)
            return Move(job, "taken")
        return self._failed(job, result)

    def _claimed(self, job: Job, stored: Record, record: Record) -> Move:
        if job.data.get("bare"):
            return Move(job, "claimed", data={"claim_unknown": None, "tries": None})
        changed = not same_work(stored, record)
        if changed:
            log.warning("claim.changed", job=job.id, by=record["sys_updated_by"][:64])
        judged = judge(self._parts.codec, self._parts.policy, record)
        return Move(
            job,
            "claimed",
            data={**facts(record), "claim_unknown": None, "tries": None, "changed": changed or None},
            bodies={ROW: row_bytes(record)},
            fields={"lane": judged.lane, "priority": record.priority},
        )

    def _failed(self, job: Job, error: ServiceNowError) -> Move:
        parts = self._parts
        tries = job.data.get("tries", 0) + 1
        wait = TROUBLE.delay(tries, parts.jitter(), error.after)
        log.warning("claim.failed", job=job.id, code=error.code, maybe_sent=error.maybe_sent, wait=round(wait, 3))
        parts.conditions.fail("claim", error)
        return Move(
            job,
            "claim unknown" if error.maybe_sent else "put off",
            data={"tries": tries, "claim_unknown": error.maybe_sent or job.data.get("claim_unknown")},
            wait=wait,
        )
