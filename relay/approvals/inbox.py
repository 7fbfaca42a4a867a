"""Takes requests for approval: on disk before the appliance hears that they have come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from relay.approvals.parts import KIND, LONGEST, POST, PRIORITY, REQUEST, Parts, decided
from relay.core.approval_job import DECIDED, RECEIVED, SENDING, SENT, UNREADABLE, WAITING, contradicted
from relay.core.approval_request import UnanswerableError, job_of, request_of, stored
from relay.core.approval_values import Request, shown
from relay.core.jobs import Job, NewJob
from relay.core.posts import Post
from relay.core.refusal import Refusal
from relay.jobs.ledger import Move

log = structlog.get_logger("relay.approvals")

UNANSWERABLE = 6012


class ApprovalInbox:
    """Implements the listener's `Inbox` for requests for approval.

    A post that nobody can be answered about is kept for an administrator. A request that comes again is stored and
    decided once. One that comes again and says something else is denied, if that can still be: whoever guessed the next
    id and asked for something harmless under it must not have the answer given to what the appliance asks.

    Args:
        parts: what the stages share.

    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def put(self, post: Post) -> bool:
        """Return when the post is on disk; False: its request was there already.

        Raises:
            StorageError: it is not known to be on disk.

        """
        try:
            request = self._whose(request_of(post), post.others)
        except UnanswerableError as error:
            return await self._keep(post, str(error))
        if request.appliance not in self._parts.sites:
            return await self._keep(post, "the appliance is disabled")
        new = self._job(request)
        (job,) = await self._parts.ledger.add([new])
        if job is not None:
            self._parts.requests.put(job.id, request)
            return True
        await self._compare(new.id, request)
        return False

    def _whose(self, request: Request, others: Sequence[str]) -> Request:
        """The request as the appliance's that waits for the answer, where its sender may be one of several.

        Why by that: no two appliances have one address, so that at most one of them can be meant.
        """
        for name in (request.appliance, *others):
            site = self._parts.sites.get(name)
            with suppress(Refusal):
                if site is not None and site.door.check(request.response_url):
                    return replace(request, appliance=name)
        return request

    async def _compare(self, known: str, request: Request) -> None:
        """See that a request that came again says what it said before, whatever happens to its job meanwhile."""
        parts = self._parts
        while True:
            (job,) = await parts.store.get([known])
            if job is None:  # only its tombstone is left: its time was over long ago
                log.warning("approvals.known", job=known, appliance=request.appliance)
                break
            if job.data["digest"] == request.digest:
                break
            parts.requests.contradict(known)
            if await parts.ledger.apply(_against(job)) != [None]:
                log.warning("approvals.contradicted", job=known, appliance=request.appliance, state=job.state)
                break

    def _job(self, request: Request) -> NewJob:
        clock = self._parts.clock
        # What passed since the whole post was here counts as well; a clock that was set back takes nothing away.
        passed = max(0.0, clock.wall() - request.received)
        said = {"ticket": request.ticket_id, "user": request.user, "computer": request.computer}
        data = {
            "request": request.request_id,
            **{name: shown(value, LONGEST) for name, value in said.items()},
            "received": request.received,
            "steady": clock.monotonic() - passed,
            "life": self._parts.life,
            "digest": request.digest,
        }
        known = job_of(request.appliance, request.request_id)
        bodies = {REQUEST: stored(request)}
        return NewJob(known, KIND, RECEIVED, PRIORITY, request.appliance, data=data, bodies=bodies)

    async def _keep(self, post: Post, why: str) -> bool:
        body = post.raw or json.dumps(dict(post.fields)).encode()
        detail = shown(post.detail or why, LONGEST)
        data = {"code": post.code or UNANSWERABLE, "detail": detail, "path": post.path, "received": post.received}
        log.warning("approvals.unanswerable", appliance=post.appliance, post=post.id, reason=detail)
        new = NewJob(post.id, KIND, UNREADABLE, PRIORITY, post.appliance, data=data, bodies={POST: body})
        (job,) = await self._parts.ledger.add([new])
        return job is not None


def _against(job: Job) -> list[Move]:
    """What becomes of a request when another one of its id says something else.

    An allow that may have arrived is not sent again; what was denied, or is over, stays as it is.
    """
    verdict = contradicted()
    if job.state in {RECEIVED, WAITING}:
        return [Move(job, "decided", data=decided(job, verdict))]
    if job.data.get("response") != "allow":
        return []
    if job.state == DECIDED:
        return [Move(job, "withdrawn", data=decided(job, verdict))]
    if job.state == SENDING and "contradicted" not in job.data:
        return [Move(job, "contradicted", data={"contradicted": True})]  # whoever sends it has lost it
    if job.state == SENT:
        return [Move(job, "given up", data={"contradicted": True})]
    return []
