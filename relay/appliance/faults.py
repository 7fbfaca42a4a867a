"""What a fault of the HTTP seam means on the appliance's side."""

from __future__ import annotations

from relay.core.errors import ApplianceError
from relay.host.exchange import FaultKind, HttpFault

_CODES: dict[FaultKind, int] = {
    "connect": 3001,
    "egress": 3001,
    "tls": 3002,
    "timeout": 3003,
    "broken": 3004,
    "too large": 3008,
    "undecodable": 3009,
    "proxy": 3014,
    "account": 3018,
}


def translate(fault: HttpFault, *, name: str, maybe_sent: bool | None = None) -> ApplianceError:
    """The appliance's error for a fault.

    BSR-3008, 3009 (and 3013) come after an answer: the call was executed, they are final and not retryable, and their
    `maybe_sent` is True.

    Args:
        fault: what happened.
        name: the appliance's name.
        maybe_sent: overrides the fault's, where its request was not the call itself.

    """
    sent = fault.maybe_sent if maybe_sent is None else maybe_sent
    return ApplianceError(_CODES[fault.kind], f"{name}: {fault.detail}", maybe_sent=sent)
