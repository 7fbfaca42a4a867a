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
from relay.pipeline.rows import APPROVALS, COMMANDS, KIND, LOCAL
from relay.pipeline.verify import Abandoned, Uncertain, Verify

LAZY = 2.0
"""Seconds that closing waits for more: nobody waits for it, and most outputs need no request at all."""
AT_ONCE = 100
OWN = frozenset({LOCAL, COMMANDS, APPROVALS})
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
    return [
        *_claims(parts, load, room),
        *_forwards(parts, concurrent),
        Stage("abandoned", KIND, (FORWARDING,), Abandoned(parts), size=lambda: AT_ONCE),
        Stage("uncertain", KIND, (UNCERTAIN,), Uncertain(parts), workers=2),
        *_pushes(parts, load),
        Stage("verify", KIND, (VERIFYING,), Verify(parts), size=lambda: AT_ONCE),
        Stage("close", KIND, (INSERTED,), Close(parts), size=lambda: AT_ONCE, linger=lambda: LAZY, drains=True),
    ]


def _claims(parts: Parts, load: Load, room: Callable[[], bool]) -> list[Stage]:
    """What the relay answers by itself is claimed also while work is held; urgent records never wait for a batch."""
    claim = Claim(parts)
    urgent_size, standard_size = _sizes(parts, load)

    def may_claim() -> bool:
        return parts.holds.work and room()

    def may_decide() -> bool:
        return parts.holds.news and room()

    def urgent(job: Job) -> bool:
        return is_urgent(job) and job.lane not in OWN

    def standard(job: Job) -> bool:
        return not is_urgent(job) and job.lane not in OWN

    return [
        Stage("claim own", KIND, (SEEN,), claim, lane=LOCAL, size=urgent_size),
        Stage("claim commands", KIND, (SEEN,), claim, lane=COMMANDS, size=urgent_size),
        Stage("claim decisions", KIND, (SEEN,), claim, lane=APPROVALS, open=may_decide, size=urgent_size),
        Stage("claim urgent", KIND, (SEEN,), claim, accepts=urgent, open=may_claim, size=urgent_size),
        Stage("claim", KIND, (SEEN,), claim, accepts=standard, open=may_claim, size=standard_size, workers=2),
    ]


def _forwards(parts: Parts, concurrent: Mapping[str, int]) -> list[Stage]:
    """A stage for each appliance, so that none waits for another."""
    forward = Forward(parts)
    lanes = [
        Stage(f"forward {name}", KIND, (CLAIMED,), forward, lane=name, workers=number, open=lambda: parts.holds.work)
        for name, number in concurrent.items()
    ]
    own = Stage("answer own", KIND, (CLAIMED,), forward, lane=LOCAL, workers=LOCAL_WORKERS)
    decisions = Stage(
        "decide", KIND, (CLAIMED,), forward, lane=APPROVALS, workers=LOCAL_WORKERS, open=lambda: parts.holds.news
    )
    return [own, Stage("obey commands", KIND, (CLAIMED,), forward, lane=COMMANDS), decisions, *lanes]


def _pushes(parts: Parts, load: Load) -> list[Stage]:
    """Answers go home also while the relay stops."""
    push = Push(parts)
    urgent_size, standard_size = _sizes(parts, load)

    def made(name: str, accepts: Callable[[Job], bool], size: Callable[[], int], fill: Callable[[], float]) -> Stage:
        return Stage(name, KIND, (ANSWERED,), push, accepts=accepts, size=size, workers=2, linger=fill, drains=True)

    return [
        made("push urgent", is_urgent, urgent_size, lambda: load.fill(urgent=True)),
        made("push", lambda job: not is_urgent(job), standard_size, lambda: load.fill(urgent=False)),
    ]


def _sizes(parts: Parts, load: Load) -> tuple[Callable[[], int], Callable[[], int]]:
    """How many urgent, and how many other records share a request right now."""

    def urgent() -> int:
        return parts.queue.batch_size(urgent=not load.busy(urgent=True))

    def standard() -> int:
        return parts.queue.batch_size(urgent=False)

    return urgent, standard
