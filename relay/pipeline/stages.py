"""The stages of a queue record's path, in order, as the runner takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.core.jobs import Job
from relay.core.queue import ANSWERED, CLAIMED, FORWARDING, INSERTED, SEEN, UNCERTAIN, VERIFYING
from relay.jobs.stage import Stage
from relay.pipeline.claim import Claim
from relay.pipeline.close import Close
from relay.pipeline.forward import Forward
from relay.pipeline.load import Load, is_urgent
from relay.pipeline.parts import Parts
from relay.pipeline.push import Push
from relay.pipeline.rows import KIND, LOCAL
from relay.pipeline.verify import Abandoned, Uncertain, Verify

LAZY = 2.0
"""Seconds that closing waits for more: nobody waits for it, and most outputs need no request at all."""
AT_ONCE = 100
LOCAL_WORKERS = 4


def stages(parts: Parts, concurrent: Mapping[str, int], room: Callable[[], bool]) -> list[Stage]:
    """All stages.

    Args:
        parts: what they share.
        concurrent: for each appliance, how many calls may be under way at once.
        room: whether the disk has room for more work.

    """
    load = Load()
    parts.ledger.listen(load.hear)
    claim, forward, push = Claim(parts), Forward(parts), Push(parts)

    def may_claim() -> bool:
        return parts.holds.work and room()

    def urgent_size() -> int:
        return parts.queue.batch_size(urgent=not load.busy(urgent=True))

    def standard_size() -> int:
        return parts.queue.batch_size(urgent=False)

    def urgent_fill() -> float:
        return load.fill(urgent=True)

    def standard_fill() -> float:
        return load.fill(urgent=False)

    def own(job: Job) -> bool:
        return job.lane == LOCAL

    def urgent(job: Job) -> bool:
        return is_urgent(job) and not own(job)

    def standard(job: Job) -> bool:
        return not is_urgent(job) and not own(job)

    lanes = [
        Stage(f"forward {name}", KIND, (CLAIMED,), forward, lane=name, workers=number, open=lambda: parts.holds.work)
        for name, number in concurrent.items()
    ]
    return [
        Stage("claim own", KIND, (SEEN,), claim, lane=LOCAL, size=urgent_size),
        Stage("claim urgent", KIND, (SEEN,), claim, accepts=urgent, open=may_claim, size=urgent_size),
        Stage("claim", KIND, (SEEN,), claim, accepts=standard, open=may_claim, size=standard_size, workers=2),
        Stage("answer own", KIND, (CLAIMED,), forward, lane=LOCAL, workers=LOCAL_WORKERS),
        *lanes,
        Stage("abandoned", KIND, (FORWARDING,), Abandoned(parts), size=lambda: AT_ONCE),
        Stage("uncertain", KIND, (UNCERTAIN,), Uncertain(parts), workers=2),
        Stage(
            "push urgent",
            KIND,
            (ANSWERED,),
            push,
            accepts=is_urgent,
            size=urgent_size,
            workers=2,
            linger=urgent_fill,
            drains=True,
        ),
        Stage(
            "push",
            KIND,
            (ANSWERED,),
            push,
            accepts=lambda job: not is_urgent(job),
            size=standard_size,
            workers=2,
            linger=standard_fill,
            drains=True,
        ),
        Stage("verify", KIND, (VERIFYING,), Verify(parts), size=lambda: AT_ONCE),
        Stage("close", KIND, (INSERTED,), Close(parts), size=lambda: AT_ONCE, linger=lambda: LAZY, drains=True),
    ]
