"""What the stages of the path share: the two sides, the store, the log, and the numbers of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.core.policy import Policy
from relay.core.signature import Required
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.ports import Audit, Clock, Store
from relay.pipeline.ports import Appliances, Approvals, Codec, Queue, Shaper, SigningKeys


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of the configuration; seconds and bytes.

    `retry_for` by appliance: how long a call that surely was not executed is repeated. `require_signature`: which calls
    must be signed.
    """

    agent: str
    poll_interval: float
    poll_batch: int
    expire_unsafe: float
    expire_safe: float
    settle: float
    answer_bytes: int
    keep_bodies: float
    retention: float
    retry_for: Mapping[str, float]
    require_signature: Required = False


KEPT = "servicenow.keeps_sys_id"
USER = "servicenow.user"
DELIVERED = "servicenow.delivered"
"""The durable facts behind `Learned`."""
SIGNATURES = "signatures"
"""The condition that signatures cannot be judged."""


@dataclass(slots=True)
class Learned:
    """What was learned of the instance since the start.

    Attributes:
        kept: the instance keeps the sys_id that an insert wishes for; None until the first answer. Durable.
        sight: this account has read back an input of its own, so that "absent" means something.
        user: the ServiceNow user whose name our own changes carry; "" until the first insert. Durable.
        delivered: an output whose answer was confirmed lately; looking for it gives sight. Durable.

    """

    kept: bool | None = None
    sight: bool = False
    user: str = ""
    delivered: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a stage may use. `keys`, `approvals`: None where none are configured."""

    ledger: Ledger
    store: Store
    audit: Audit
    queue: Queue
    codec: Codec
    shaper: Shaper
    appliances: Appliances
    policy: Policy
    holds: Holds
    conditions: Conditions
    clock: Clock
    jitter: Callable[[], float]
    digest: Callable[[bytes], str]
    limits: Limits
    learned: Learned = field(default_factory=Learned)
    keys: SigningKeys | None = None
    approvals: Approvals | None = None
