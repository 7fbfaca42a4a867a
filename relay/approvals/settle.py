"""Takes decisions that come from ServiceNow as work, each request's once."""

from __future__ import annotations

from relay.approvals.evaluate import settle
from relay.approvals.parts import KIND, Parts
from relay.core.approval_job import RECEIVED, WAITING, handed_down
from relay.core.approval_request import job_of
from relay.core.approval_settling import Settled
from relay.core.approval_values import Answer
from relay.core.jobs import Job
from relay.jobs.ledger import StaleJob

RULE = "approval-response"


class Settling:
    """Implements the pipeline's `Approvals`.

    Args:
        parts: what the stages share.

    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        parts.ledger.listen(self._hear)

    def waiting(self) -> bool:
        """Whether a request waits for such a decision."""
        return bool(self._parts.requests.waiting)

    def _hear(self, job: Job) -> None:
        waiting = self._parts.requests.waiting
        if job.kind == KIND and job.state == WAITING:
            waiting.add(job.id)
        else:
            waiting.discard(job.id)

    async def settle(self, appliance: str, answer: Answer, record: str) -> Settled:
        """Decide an open request; `record` is the sys_id of the work that brings the decision.

        The same record again is answered alike. A decision that is late decides nothing: the denial is under way.

        Raises:
            StorageError: nobody knows whether it is decided.

        """
        parts = self._parts
        (job,) = await parts.store.get([job_of(appliance, answer.response_id)])
        if job is None or job.kind != KIND or job.lane not in parts.sites:
            return "unknown"
        if job.data.get("record") == record:
            return "accepted"
        if job.state == RECEIVED:
            return "unknown"
        if job.state != WAITING or parts.left(job) == 0.0:
            return "closed"
        try:
            await settle(parts, job, handed_down(answer, RULE), record=record)
        except StaleJob:
            return "closed"
        return "accepted"
