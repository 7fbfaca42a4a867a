"""Judges a claimed record and answers it, here or by a call to the appliance."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relay.core.errors import RelayError, ServiceNowError, WorkError
from relay.core.jobs import Job, Json
from relay.core.policy_values import Allowed, Denied
from relay.core.record import Failure, Record
from relay.core.retry import LONGEST
from relay.jobs.ledger import Move, trace_of
from relay.pipeline.call import Caller
from relay.pipeline.judge import judge, refusal
from relay.pipeline.local import LocalAnswer, answer_here
from relay.pipeline.parts import Parts
from relay.pipeline.render import Asked, store_answer
from relay.pipeline.rows import ATTACHED, ROW, facts, row_bytes, rows

log = structlog.get_logger("relay.forward")

COMMAND_REFUSED = 4014
FETCH_AGAIN = 5.0
"""Seconds until a payload is fetched again that could not be."""
Parameters = Sequence[tuple[str, str]]


class Forward:
    """Handles CLAIMED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._caller = Caller(parts)

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """Carry each job as far as it goes now."""
        for job in jobs:
            with structlog.contextvars.bound_contextvars(job=job.id, trace=trace_of(job.id)):
                await self._one(job)

    async def _one(self, job: Job) -> None:
        (record,) = await rows(self._parts.store, [job])
        if job.data.get("bare"):
            await self._refuse(job, record, (), WorkError(4007))
        elif record.payload.strip() == ATTACHED:
            await self._fetch(job, record)
        else:
            await self._judged(job, record)

    async def _judged(self, job: Job, record: Record) -> None:
        judged = judge(self._parts.codec, self._parts.policy, record)
        ruling = judged.ruling
        if judged.lane != job.lane:
            # The configuration or the payload changed since the lane was chosen.
            await self._parts.ledger.step(Move(job, "put off", fields={"lane": judged.lane}))
        elif isinstance(ruling, Allowed):
            await self._caller.carry(job, record, judged, ruling)
        elif isinstance(ruling, Denied):
            data = {"rule": ruling.rule, "operation": ruling.operation}
            await self._refuse(job, record, judged.parameters, refusal(ruling), data)
        elif isinstance(ruling, RelayError):
            await self._refuse(job, record, judged.parameters, ruling)
        else:
            await self._here(job, record, judged.parameters, await answer_here(self._parts, record, ruling))

    async def _fetch(self, job: Job, record: Record) -> None:
        """Fetch a payload that was too large for its field; the record then goes to the lane that it asks for."""
        parts = self._parts
        try:
            payload = await parts.queue.fetch_payload(record)
        except ServiceNowError as error:
            waiting_for = parts.clock.wall() - job.created
            if not error.retryable or waiting_for > parts.limits.expire_safe:
                await self._refuse(job, record, (), WorkError(4006, error.text))
                return
            await parts.ledger.step(Move(job, "put off", wait=min(error.after or FETCH_AGAIN, LONGEST)))
            return
        whole = Record({**record.fields, "payload": payload})
        if payload.strip() == ATTACHED:
            await self._refuse(job, record, (), WorkError(4006, "the attachment holds no payload"))
            return
        lane = judge(parts.codec, parts.policy, whole).lane
        await parts.ledger.step(Move(job, "put off", bodies={ROW: row_bytes(whole)}, fields={"lane": lane}))

    async def _refuse(
        self, job: Job, record: Record, parameters: Parameters, error: RelayError, data: dict[str, Json] | None = None
    ) -> None:
        # The error's detail quotes what was asked for: ServiceNow gets it, the log does not.
        log.warning("forward.refused", code=error.code, cause=error.entry.cause, **(data or {}), **facts(record))
        known = {**(data or {}), "decision": "deny", "code": error.number}
        await store_answer(
            self._parts, Asked(job, record, parameters), "refused by policy", Failure(error.text), data=known
        )

    async def _here(self, job: Job, record: Record, parameters: Parameters, local: LocalAnswer) -> None:
        known: dict[str, Json] = {"decision": "allow", "rule": "built in", "operation": local.operation}
        if isinstance(local.outcome, Failure):
            known |= {"decision": "deny", "code": COMMAND_REFUSED}
            log.warning("forward.refused", code=f"BSR-{COMMAND_REFUSED}", operation=local.operation, **facts(record))
        echoed = (*parameters, *local.parameters)
        await store_answer(self._parts, Asked(job, record, echoed), "answered here", local.outcome, data=known)
