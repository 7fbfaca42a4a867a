"""The stages of an approval, in order, as the runner takes them."""

from __future__ import annotations

from relay.approvals.deliver import Abandoned, Deliver
from relay.approvals.evaluate import Evaluate, Overdue
from relay.approvals.parts import KIND, Parts
from relay.core.approval_job import DECIDED, RECEIVED, SENDING, SENT, WAITING
from relay.core.jobs import Job
from relay.jobs.stage import Stage

AT_ONCE = 100


def stages(parts: Parts) -> list[Stage]:
    """All stages. Each appliance has its own, so that none waits for another's, let alone for an import."""

    def ours(job: Job) -> bool:
        return job.lane in parts.sites  # an appliance may have left the configuration

    return [
        *(
            Stage(
                f"approvals {name}",
                KIND,
                (RECEIVED,),
                Evaluate(parts),
                lane=name,
                open=parts.open,
                workers=parts.workers,
            )
            for name in parts.sites
        ),
        *(
            Stage(
                f"decisions {name}",
                KIND,
                (DECIDED, SENT),
                Deliver(parts),
                lane=name,
                open=parts.open,
                workers=parts.workers,
                drains=True,
            )
            for name in parts.sites
        ),
        Stage(
            "approvals overdue", KIND, (WAITING,), Overdue(parts), accepts=ours, open=parts.open, workers=parts.workers
        ),
        Stage("decisions abandoned", KIND, (SENDING,), Abandoned(parts), size=lambda: AT_ONCE),
    ]
