"""From an outcome to the stored answer: the payload as ServiceNow will get it, and what the log may know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.core.errors import WorkError
from relay.core.jobs import Job, Json
from relay.core.record import Failure, Outcome, Record, Reply
from relay.jobs.ledger import Move
from relay.pipeline.parts import Parts
from relay.pipeline.rows import ANSWER

OFF_LOOP = 256 * 1024
"""Bytes. Larger answers are written in a worker thread, so that nothing else waits for them."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer's payload, and the facts about it that stay in the job."""

    payload: bytes
    facts: Mapping[str, Json]


async def render(
    parts: Parts, record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int
) -> Rendered:
    """Write an answer; one that is larger than ServiceNow may be given becomes an error that names the size."""
    size = len(outcome.body) if isinstance(outcome, Reply) else 0
    if size > OFF_LOOP:
        return await asyncio.to_thread(_render, parts, record, parameters, outcome, milliseconds)
    return _render(parts, record, parameters, outcome, milliseconds)


def _render(
    parts: Parts, record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int
) -> Rendered:
    payload = parts.codec.write(record, parameters, outcome, milliseconds).encode()
    facts: dict[str, Json] = {}
    if isinstance(outcome, Reply) and len(payload) > parts.limits.answer_bytes:
        error = WorkError(4015, f"{len(outcome.body)} bytes, {len(payload)} as a record")
        payload = parts.codec.write(record, (), Failure(error.text), milliseconds).encode()
        facts = {"oversize": len(outcome.body), "code": error.number}
    return Rendered(payload, {**facts, "answer_bytes": len(payload), "answer_digest": parts.digest(payload)})


def verified_by(job: Job) -> dict[str, Json]:
    """What an audit line says of the user whom the row names: whether a signature confirms it, and by which key."""
    key_id = job.data.get("key_id")
    return {"by_verified": bool(job.data.get("by_verified")), **({"key_id": key_id} if key_id else {})}


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, the row that asks, and the parameters that its answer echoes."""

    job: Job
    record: Record
    parameters: Sequence[tuple[str, str]] = ()


async def store_answer(
    parts: Parts, asked: Asked, event: str, outcome: Outcome, *, data: Mapping[str, Json], milliseconds: int = 0
) -> None:
    """Store the answer of a job with the event that brought it."""
    rendered = await render(parts, asked.record, asked.parameters, outcome, milliseconds)
    status = outcome.status if isinstance(outcome, Reply) else None
    known = {"status": status, **data, **rendered.facts}
    await parts.ledger.step(Move(asked.job, event, data=known, bodies={ANSWER: rendered.payload}))
