"""Decides requests: here by the rules, or by handing them on to ServiceNow. Whatever goes wrong is a denial."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from relay.approvals.parts import LARGE, Parts, Site, audit_line, decided, request_of_job
from relay.core.approval_decision import decide
from relay.core.approval_job import (
    LOOK,
    faulty,
    handed_down,
    late,
    read_answer,
    restarted,
    turned_off,
    unasked,
    unreachable,
)
from relay.core.approval_values import Findings, Request, Verdict
from relay.core.errors import ApplianceError, InternalError, ServiceNowError
from relay.core.jobs import Job
from relay.core.refusal import Refusal
from relay.jobs.handler import OneByOne
from relay.jobs.ledger import Move

log = structlog.get_logger("relay.approvals")

ELSEWHERE = 3023
BUILT_IN = "vendor application"
"""The rule of a decision that came as the answer to a request that was handed on."""


class Evaluate(OneByOne):
    """Handles RECEIVED."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Decide a request."""
        parts = self._parts
        site, request = parts.sites[job.lane], await request_of_job(parts, job)
        try:
            site.door.check(request.response_url)
        except Refusal as no:
            await refuse(parts, job, ApplianceError(ELSEWHERE, no.detail))
            return
        if site.mode == "forward" and not request.flaw and parts.left(job) > 0.0:
            await self._hand_on(job, request)
            return
        await settle(parts, job, await self._verdict(job, site, request))

    async def _verdict(self, job: Job, site: Site, request: Request) -> Verdict:
        if site.mode == "off":
            return turned_off()
        if request.flaw:  # nobody shall decide about what is left of it, and nothing needs to be looked up
            return decide(request, Findings(), site.rules, None)
        if site.mode == "forward" or self._parts.left(job) == 0.0:
            return unasked() if job.data["life"] == self._parts.life else restarted()
        try:
            return await self._judged(job, site, request)
        except Exception as error:  # somebody waits: a fault of ours is a denial, not another try
            log.exception(
                "approvals.fault", code=InternalError(9001).code, appliance=job.lane, reason=type(error).__name__
            )
            return faulty()

    async def _judged(self, job: Job, site: Site, request: Request) -> Verdict:
        """The decision by the rules."""
        parts = self._parts
        known = parts.cache.get(request, parts.moment(), site.remember)
        if known is not None:
            verdict = decide(request, known, site.rules, known.now)
            if verdict.allow:
                return replace(verdict, reason=f"{verdict.reason}, by what was answered to an equal request")
        tries, last = 0, None
        while (left := parts.left(job)) > 0.0:
            try:
                async with asyncio.timeout(left):
                    findings = await parts.lookups[job.lane].find(request)
            except TimeoutError:
                break
            except ServiceNowError as error:
                tries, last = tries + 1, error
                log.warning("approvals.not_asked", appliance=job.lane, code=error.code, error=error.text, tries=tries)
                parts.conditions.fail(_subject(job), error)
                if not error.retryable or _too_late(error, parts.left(job)):
                    return unreachable(error)
                await asyncio.sleep(min(left, LOOK.delay(tries, parts.jitter(), error.after)))
            else:
                parts.conditions.clear(_subject(job))
                verdict = decide(request, findings, site.rules, findings.now)
                if verdict.allow and site.remember and request.size <= LARGE:
                    parts.cache.put(request, findings, parts.moment())
                return verdict
        return late() if last is None else unreachable(last)

    # -- by ServiceNow -----------------------------------------------------------------------------------------------

    async def _hand_on(self, job: Job, request: Request) -> None:
        """Hand a request on; it is open from before the first byte, since its decision may come at any time then."""
        parts = self._parts
        job = await parts.ledger.step(Move(job, "handed on", wait=parts.left(job)))
        tries = 0
        while (left := parts.left(job)) > 0.0:
            try:
                async with asyncio.timeout(left):
                    body = await parts.forwarders[job.lane].forward(request)
            except TimeoutError:
                return
            except ServiceNowError as error:
                tries += 1
                log.warning(
                    "approvals.not_handed_on", appliance=job.lane, code=error.code, error=error.text, tries=tries
                )
                parts.conditions.fail(_subject(job), error)
                if error.maybe_sent:
                    return  # it may be there, and its decision may come
                if not error.retryable or _too_late(error, parts.left(job)):
                    await settle(parts, job, unreachable(error))
                    return
                await asyncio.sleep(min(left, LOOK.delay(tries, parts.jitter(), error.after)))
            else:
                parts.conditions.clear(_subject(job))
                answer = read_answer(body, request.request_id)
                if answer is not None:
                    await settle(parts, job, handed_down(answer, BUILT_IN))
                return


class Overdue(OneByOne):
    """Handles WAITING, once the deadline has come: nobody has decided."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def one(self, job: Job) -> None:
        """Deny a request."""
        await settle(self._parts, job, overdue(self._parts, job))


def overdue(parts: Parts, job: Job) -> Verdict:
    """The denial of a request whose time is over."""
    return late() if job.data["life"] == parts.life else restarted()


async def settle(parts: Parts, job: Job, verdict: Verdict, *, record: str | None = None) -> None:
    """Store the decision on a request; `record`: of ServiceNow's queue that brought it.

    Raises:
        StaleJob: somebody else decided first.

    """
    if verdict.allow and parts.left(job) == 0.0:
        verdict = overdue(parts, job)
    await parts.ledger.step(Move(job, "decided", data=decided(job, verdict, record=record)))
    log.info(
        "approvals.decided",
        appliance=job.lane,
        decision="allow" if verdict.allow else "deny",
        rule=verdict.rule,
        reason=verdict.reason,
    )


async def refuse(parts: Parts, job: Job, error: ApplianceError) -> None:
    """Answer nobody, since the answer would go where none may go. Audited first."""
    log.warning("approvals.refused", appliance=job.lane, code=error.code, error=error.text)
    told = {"event": "approval refused", "reason": error.detail, "rule": "response_url", "code": error.number}
    await parts.audit.append([{**audit_line(job, "refused"), **told}])
    await parts.ledger.step(Move(job, "refused", data={"code": error.number, "reason": error.detail}))
    parts.requests.drop(job.id)


def _too_late(error: ServiceNowError, left: float) -> bool:
    """Whether ServiceNow wants not to be asked again before a request's time is over.

    To wait for that would help nobody, and would keep a worker from those who came later.
    """
    return error.after is not None and error.after >= left


def _subject(job: Job) -> str:
    return f"approvals {job.lane}"
