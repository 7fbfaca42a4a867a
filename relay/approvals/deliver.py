"""Brings decisions to the appliance: each is in the audit log and SENDING on disk before its first byte leaves.

An allow leaves only while its time lasts, which is looked at again before each try and bounds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from relay.approvals.evaluate import ELSEWHERE, overdue, refuse
from relay.approvals.parts import REQUEST, Parts, audit_line, decided, request_of_job, verdict_of
from relay.core.approval_job import (
    DECIDED,
    LONGEST_SEND,
    SEND,
    SENT,
    Tried,
    after_send,
    answer_to,
    goes_on,
    other,
    overtaken,
    turned_off,
)
from relay.core.approval_values import Answer, Encoding
from relay.core.errors import ApplianceError, InternalError
from relay.core.jobs import Job
from relay.core.refusal import Refusal
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move

log = structlog.get_logger("relay.approvals")

NOT_TAKEN = 3024


class Deliver(OneByOne):
    """Handles DECIDED and SENT."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Try to deliver a decision, or give it up."""
        parts = self._parts
        request = await request_of_job(parts, job)
        try:
            url = parts.sites[job.lane].door.check(request.response_url)
        except Refusal as no:
            await refuse(parts, job, ApplianceError(ELSEWHERE, no.detail))
            return
        end = self._ends(job)
        if end is not None:
            await parts.ledger.step(end)
            return
        verdict = verdict_of(job)
        if job.state == DECIDED:
            await parts.audit.append([audit_line(job, job.data["response"])])
            job = await parts.ledger.step(Move(job, "sending", fields={"attempts": job.attempts + 1}))
        await self._send(job, url, answer_to(request.request_id, verdict))

    def _ends(self, job: Job) -> Move | None:
        """The move instead of a try, None when a try may be made."""
        parts, allow = self._parts, job.data["response"] == "allow"
        left, off = parts.left(job), parts.sites[job.lane].mode == "off"
        if allow and "contradicted" in job.data:
            return Move(job, "given up")
        if allow and job.state == DECIDED and (off or left == 0.0):
            verdict = overtaken() if job.data["life"] == parts.life else overdue(parts, job)
            return Move(job, "withdrawn", data=decided(job, turned_off() if off else verdict))
        if allow and off:
            return Move(job, "given up", data={"code": NOT_TAKEN})
        tries, deadline = job.data.get("tries", 0), parts.sites[job.lane].deadline
        if (allow or tries) and not goes_on(
            allow=allow, left=left, deadline=deadline, wall=parts.waited(job), tries=tries
        ):
            return Move(job, "given up", data={"code": NOT_TAKEN})
        return None

    async def _send(self, job: Job, url: str, answer: Answer) -> None:
        parts = self._parts
        encoding: Encoding = job.data.get("encoding", parts.sites[job.lane].encoding)
        tried = await self._try(job, url, answer, encoding)
        if tried.other:
            encoding = other(encoding)
            if "encoding" not in job.data:  # once: whoever refuses both is not asked twice as often
                again = await self._try(job, url, answer, encoding)
                # What was rejected has arrived, whatever becomes of the second try.
                tried = again if again.event == "delivered" else Tried("not taken")
            job = replace(job, data={**job.data, "encoding": encoding})
        if tried.event == "delivered":
            parts.conditions.clear(_subject(job))
            await parts.ledger.step(Move(job, "delivered", data={"tries": None}, bodies={REQUEST: None}))
            parts.requests.drop(job.id)
            return
        tries = job.data.get("tries", 0) + 1
        wait = SEND.delay(tries, parts.jitter())
        if answer.response == "allow":  # at its deadline something else is to be done
            wait = min(wait, parts.left(job))
        event = "not taken" if job.state == SENT else tried.event
        await parts.ledger.step(Move(job, event, data={"tries": tries}, wait=wait))

    async def _try(self, job: Job, url: str, answer: Answer, encoding: Encoding) -> Tried:
        """Send once, an allow only while its time lasts and nobody has contradicted its request."""
        parts, limit = self._parts, LONGEST_SEND
        if answer.response == "allow":
            limit = min(limit, parts.left(job))
            if limit == 0.0 or parts.requests.contradicted(job.id):
                return Tried("not sent")
        outcome: int | ApplianceError | None
        try:
            async with asyncio.timeout(limit):
                outcome = await parts.responder.send(job.lane, url, answer, encoding)
        except TimeoutError:
            outcome, error = None, ApplianceError(3003, "a decision", maybe_sent=True)
        except ApplianceError as failed:
            outcome = error = failed
        except Exception:  # it may have left: whatever went wrong, it counts as sent
            log.exception("approvals.fault", code=InternalError(9001).code, appliance=job.lane)
            return after_send(None)
        else:
            error = ApplianceError(NOT_TAKEN, f"status {outcome}")
        tried = after_send(outcome)
        if tried.event != "delivered":
            log.warning("approvals.not_taken", appliance=job.lane, code=error.code, error=error.text, then=tried.event)
            parts.conditions.fail(_subject(job), error)
        return tried


class Abandoned:
    """Handles SENDING: decisions whose sending ended without a word, by a fault of ours, a full disk, or a kill.

    The runner leaves out what is being handled, so that no decision that is under way comes here.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, jobs: Sequence[Job]) -> None:
        """They may have arrived."""
        await self._parts.ledger.apply([Move(job, "found at start") for job in jobs])


def _subject(job: Job) -> str:
    return f"decisions {job.lane}"
