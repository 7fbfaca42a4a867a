"""What a record asks for, and whether the policy lets it: asked when the row is seen, and again when it is ours."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from relay.core.errors import ApplianceError, InternalError, RelayError, WorkError
from relay.core.exchange import Request
from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Decision, Denied
from relay.core.record import Heartbeat, HttpCall, Record, SystemCommand, TypedCall
from relay.pipeline.ports import Codec
from relay.pipeline.rows import APPROVALS, COMMANDS, LOCAL

log = structlog.get_logger("relay.forward")


@dataclass(frozen=True, slots=True)
class Judged:
    """A record read and judged.

    `parameters` are those to echo. `ruling` is the policy's decision for a call, the work itself for what the relay
    answers without asking the policy, or the error for what cannot be read. `signature`: of a call, as it stands in the
    record.
    """

    parameters: tuple[tuple[str, str], ...]
    ruling: Decision | Heartbeat | SystemCommand | RelayError
    format: str = ""
    signature: str | None = field(default=None, repr=False)

    @property
    def lane(self) -> str:
        """The appliance whose turn it needs, or which lane of what is answered here."""
        if isinstance(self.ruling, Allowed):
            return APPROVALS if self.ruling.handed_over else self.ruling.request.appliance
        return COMMANDS if isinstance(self.ruling, SystemCommand) else LOCAL


def judge(codec: Codec, policy: Policy, record: Record) -> Judged:
    """Read and judge a record. Total: what cannot be read is a ruling too, even when a fault of ours is the reason.

    A record that stopped the loop which reads it would stop it again after every restart.
    """
    try:
        return _judge(codec, policy, record)
    except WorkError as error:
        return Judged((), error)
    except Exception as error:
        fault = InternalError(9001, type(error).__name__)
        log.exception("forward.unreadable", code=fault.code, job=record.sys_id)
        return Judged((), fault)


def _judge(codec: Codec, policy: Policy, record: Record) -> Judged:
    request: Request = codec.read(record)
    work = request.work
    if isinstance(work, HttpCall | TypedCall):
        form = work.format if isinstance(work, TypedCall) else ""
        return Judged(request.parameters, policy.decide(work), form, request.signature)
    return Judged(request.parameters, work)


def refusal(denied: Denied) -> RelayError:
    """The error that a denial is answered with: bad work, or an appliance that is switched off."""
    family = ApplianceError if denied.number in ApplianceError.family else WorkError
    return family(denied.number, denied.detail)
