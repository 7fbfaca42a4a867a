"""Settles what has an unknown outcome: inserts that may have happened, and calls that were under way at a crash."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relay.core.errors import ApplianceError, InternalError, ServiceNowError
from relay.core.exchange import FoundInput
from relay.core.jobs import Job
from relay.core.policy_values import Allowed
from relay.core.queue import LOOK_AGAIN, after_crash, after_look, may_be
from relay.core.record import Failure, Record
from relay.core.retry import Backoff
from relay.jobs.ledger import Move
from relay.pipeline.judge import judge
from relay.pipeline.parts import USER, Parts
from relay.pipeline.render import Asked, store_answer
from relay.pipeline.rows import ATTACHED, NOT_UNDER_WAY, rows

log = structlog.get_logger("relay.push")

TROUBLE = Backoff(first=2.0, longest=60.0)
GUARD = "another poller"


async def look(parts: Parts, ids: Sequence[str]) -> dict[str, FoundInput]:
    """The answers that ServiceNow holds for these outputs; one that somebody else wrote raises the guard.

    Raises:
        ServiceNowError: it could not be asked.

    """
    found = await parts.queue.find(ids)
    for answer in found.values():
        if may_be(parts.learned.user, answer.created_by):
            parts.learned.sight = True
        else:
            await stand_guard(parts, f"{answer.created_by} answered the output {answer.output_sys_id}")
    return found


async def stand_guard(parts: Parts, detail: str) -> None:
    """Another program does the work of our agent: stop what must not happen twice."""
    error = ServiceNowError(2013, detail)
    parts.conditions.fail(GUARD, error)
    if parts.holds.get("guard") is None:
        await parts.holds.set("guard", author="relay", reason=error.text)


async def guard_against(parts: Parts, claimed: Sequence[Record]) -> None:
    """Raise the guard when another user claimed one of these rows of our agent."""
    foreign = {row["sys_updated_by"] for row in claimed if not may_be(parts.learned.user, row["sys_updated_by"])}
    if foreign:
        await stand_guard(parts, f"rows of our agent were claimed by {', '.join(sorted(foreign))}")


async def forget_user(parts: Parts) -> None:
    """Learn anew by whose name our own changes are known: what was taken for another poller was the relay itself.

    So it is after the integration got another ServiceNow user: without this every record would be another poller's.
    """
    await parts.store.set_fact(USER, None)
    parts.learned.user = ""


class Verify:
    """Handles VERIFYING."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Ask for the answers of these jobs."""
        parts = self._parts
        # Without sight, look as well for an answer that must be there: finding it is what gives sight.
        sure = [parts.learned.delivered] if parts.learned.delivered and not parts.learned.sight else []
        try:
            found = await look(parts, [*(job.id for job in jobs), *sure])
            sees_output = not parts.learned.sight and not sure and await self._sees(jobs)
        except ServiceNowError as error:
            moves = []
            for job in jobs:
                tries = job.data.get("tries", 0) + 1
                wait = TROUBLE.delay(tries, parts.jitter(), error.after)
                moves.append(Move(job, "put off", data={"tries": tries}, wait=wait))
            log.warning("verify.failed", code=error.code, error=error.text)
            await parts.ledger.apply(moves)
            return
        await parts.ledger.apply([self._move(job, found.get(job.id), sees_output=sees_output) for job in jobs])

    async def _sees(self, jobs: Sequence[Job]) -> bool:
        """Whether the table shows this account the outputs themselves.

        It stands in for sight as long as no answer was ever delivered that could be looked for.
        """
        return bool(await self._parts.queue.read([jobs[0].id]))

    def _move(self, job: Job, answer: FoundInput | None, *, sees_output: bool) -> Move:
        learned = self._parts.learned
        looks = job.data.get("looks", 0) + 1
        event = after_look(
            found=answer is not None,
            kept=bool(learned.kept),
            looks=looks,
            sight=learned.sight,
            sees_output=sees_output,
        )
        if answer is not None:
            return Move(job, event, data={"input": answer.sys_id, "looks": None, "tries": None, **NOT_UNDER_WAY})
        if event == "absent":
            return Move(job, event, data={"looks": None, **NOT_UNDER_WAY})
        return Move(job, event, data={"looks": looks}, wait=LOOK_AGAIN)


class Abandoned:
    """Handles FORWARDING: calls whose handling ended without a decision, by a fault of ours or a full disk.

    The runner leaves out what is being handled, so that no call that is under way comes here.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Nobody knows what became of these calls."""
        log.error("forward.abandoned", jobs=[job.id for job in jobs])
        await self._parts.ledger.apply([Move(job, "found at start") for job in jobs])


class Uncertain:
    """Handles UNCERTAIN: calls that were under way when the relay stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Repeat what is safe, answer the rest with what is known."""
        for job in jobs:
            await self._one(job)

    async def _one(self, job: Job) -> None:
        parts = self._parts
        (record,) = await rows(parts.store, [job])
        judged = judge(parts.codec, parts.policy, record)
        times = job.data.get("unknown", 0) + 1
        # What never leaves the relay, or was refused, had no effect that could happen twice.
        harmless = not isinstance(judged.ruling, Allowed) and record.payload.strip() != ATTACHED
        safe = harmless or (isinstance(judged.ruling, Allowed) and judged.ruling.request.safe)
        verdict = after_crash(safe=safe and job.data.get("safe", True), times=times)
        log.warning("forward.uncertain", job=job.id, then=verdict.event, times=times)
        if not verdict.code:
            await parts.ledger.step(Move(job, verdict.event, data={"unknown": times}, fields={"lane": judged.lane}))
            return
        why = "the relay stopped during the call"
        error = InternalError(verdict.code) if verdict.code == STOPPED_THE_RELAY else ApplianceError(verdict.code, why)
        data = {"code": error.number, "decision": job.data.get("decision", "allow")}
        await store_answer(parts, Asked(job, record, judged.parameters), verdict.event, Failure(error.text), data=data)


STOPPED_THE_RELAY = 9002
