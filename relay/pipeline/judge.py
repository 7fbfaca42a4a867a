"""What a record asks for, and whether the policy lets it: asked when the row is seen, and again when it is ours."""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.errors import WorkError
from relay.core.exchange import Request
from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Decision, Denied
from relay.core.record import Heartbeat, HttpCall, Record, SystemCommand, TypedCall
from relay.pipeline.ports import Codec
from relay.pipeline.rows import LOCAL


@dataclass(frozen=True, slots=True)
class Judged:
    """A record read and judged.

    `parameters` are those to echo. `ruling` is the policy's decision for a call, the work itself for what the relay
    answers without asking the policy, or the error for what cannot be read.
    """

    parameters: tuple[tuple[str, str], ...]
    ruling: Decision | Heartbeat | SystemCommand | WorkError
    format: str = ""

    @property
    def lane(self) -> str:
        """The appliance whose turn it needs; none when it is answered here."""
        return self.ruling.request.appliance if isinstance(self.ruling, Allowed) else LOCAL


def judge(codec: Codec, policy: Policy, record: Record) -> Judged:
    """Read and judge a record. Total: what cannot be read is a ruling too."""
    try:
        request: Request = codec.read(record)
    except WorkError as error:
        return Judged((), error)
    work = request.work
    if isinstance(work, HttpCall | TypedCall):
        form = work.format if isinstance(work, TypedCall) else ""
        return Judged(request.parameters, policy.decide(work), form)
    return Judged(request.parameters, work)


def refusal(denied: Denied) -> WorkError:
    """The error that a denial is answered with."""
    return WorkError(denied.number, denied.detail)
