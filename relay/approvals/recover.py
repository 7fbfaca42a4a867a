"""The start of the flow: decisions that were on their way when the relay stopped, and requests that nobody decided."""

from __future__ import annotations

import structlog

from relay.approvals.deliver import Abandoned
from relay.approvals.evaluate import overdue, refuse
from relay.approvals.parts import KIND, Parts, decided
from relay.core.approval_job import DECIDED, RECEIVED, SENDING, SENT, WAITING, turned_off
from relay.core.approval_values import Verdict
from relay.core.errors import ApplianceError
from relay.core.jobs import Job
from relay.jobs.ledger import Move

log = structlog.get_logger("relay.approvals")

ALL = 1_000_000
DISABLED = 3012


async def recover(parts: Parts) -> None:
    """Settle the store's jobs; to be called once, before the stages run and before posts are taken.

    Raises:
        StorageError: the store or the audit log cannot be read or written; may be called again.

    """
    sending = await parts.store.select(KIND, [SENDING], ALL)
    if sending:
        log.warning("approvals.crashed", decisions=len(sending))
        await Abandoned(parts)(sending)
    for job in await parts.store.select(KIND, [RECEIVED, WAITING, DECIDED, SENT], ALL):
        if job.lane not in parts.sites:
            await refuse(parts, job, ApplianceError(DISABLED, job.lane))
    # How much of a wait is over, only the clock knows that may have been set meanwhile: they are tried at once.
    decisions = await parts.store.select(KIND, [DECIDED, SENT], ALL)
    await parts.ledger.apply([Move(job, "found at start") for job in decisions if job.not_before])
    # After a reload a request may still be open; of an earlier life none is, whatever its decision would be.
    waiting = [(job, _ended(parts, job)) for job in await parts.store.select(KIND, [WAITING], ALL)]
    parts.requests.waiting.update(job.id for job, verdict in waiting if verdict is None)
    moves = [Move(job, "decided", data=decided(job, verdict)) for job, verdict in waiting if verdict is not None]
    await parts.ledger.apply(moves)


def _ended(parts: Parts, job: Job) -> Verdict | None:
    """The denial of a request that does not wait any longer for a decision of ServiceNow's own."""
    if parts.sites[job.lane].mode == "off":
        return turned_off()
    return overdue(parts, job) if parts.left(job) == 0.0 else None
