"""What a failure beneath HTTP means: the one place where foreign exceptions are judged."""

from __future__ import annotations

import ssl

import httpcore

from relay.host.bodies import BodyLimit, TooLargeError, TruncatedError, UndecodableError
from relay.host.exchange import FaultKind, HttpFault, Pairs
from relay.host.network import Progress, Stage

FOREIGN = (
    TooLargeError,
    UndecodableError,
    TruncatedError,
    httpcore.ProtocolError,
    httpcore.NetworkError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
)
"""All that the network, httpcore and the body's bounds raise."""

_KINDS: dict[Stage, FaultKind] = {
    "refused": "egress",
    "connecting": "connect",
    "proxy": "proxy",
    "tls": "tls",
}
"""What a failure is called by the stage that the call had reached."""

_WAITING: dict[Stage, str] = {
    "idle": "waiting for the connection",
    "connecting": "connecting",
    "proxy": "waiting for the proxy",
    "tls": "shaking hands",
}

_PROXY_STATUS: dict[str, str] = {
    "400": ": it takes the request for none, or does not know CONNECT",
    "403": ": it does not allow this host and port",
    "405": ": it does not allow CONNECT",
    "500": ": it cannot reach the host, or has a fault of its own",
    "502": ": it cannot reach the host",
    "503": ": it cannot reach the host",
    "504": ": it cannot reach the host",
}


def timed_out(seconds: float, progress: Progress) -> HttpFault:
    """The call's time was up."""
    where = _WAITING.get(progress.stage, "waiting for the answer")
    return HttpFault("timeout", f"{where}, {seconds:g} s were over", maybe_sent=progress.stage == "sent")


def translate(
    error: Exception, progress: Progress, limit: BodyLimit, status: int | None = None, headers: Pairs = ()
) -> HttpFault:
    """The fault that one of `FOREIGN` means. `status` and `headers` are the answer's, when they had arrived."""
    sent = progress.stage == "sent"
    kind: FaultKind = "broken"
    size = None
    match error:
        case TooLargeError():
            kind, size = "too large", error.size
            found = f"{size} bytes" if size is not None else f"more than {limit.most} bytes"
            detail = f"{found}; {limit.keep} are allowed"
        case UndecodableError():
            kind, detail = "undecodable", str(error)
        case TruncatedError():
            detail = "the answer is not complete"
        case httpcore.ProxyError():
            kind, detail = _refusal_of_proxy(str(error)[:3])
        case httpcore.TimeoutException():
            kind, detail = "timeout", f"{_WAITING.get(progress.stage, 'connecting')} took too long"
        case _:
            # Post-handshake TLS alerts (a client certificate that is missing, say) come when the request was sent.
            kind = "tls" if isinstance(progress.cause, ssl.SSLError) else _KINDS.get(progress.stage, "broken")
            detail = _words(progress.cause or error, progress.stage)
    return HttpFault(kind, detail, maybe_sent=sent, size=size, status=status, headers=headers)


def _refusal_of_proxy(status: str) -> tuple[FaultKind, str]:
    """What a proxy's status means. What follows the status is the proxy's own text, and nobody vouches for it."""
    if status in {"401", "407"}:  # tinyproxy answers 401 to a wrong password
        return "account", f"the proxy answered {status}: it asks for an account, or for another one"
    return "proxy", f"the proxy answered {status}" + _PROXY_STATUS.get(status, "")


def _words(error: BaseException, stage: Stage) -> str:
    """A reason without objects, addresses or parts of an answer in it."""
    if stage == "refused":
        return "host and port are not on the egress list"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (getattr(error, "reason", None) or str(error.args[-1])).replace("_", " ").lower()
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    text = str(error)
    # httpcore's own sentences; h11's others quote what the peer sent.
    return text if text.startswith(("Server disconnected", "peer closed")) else "the answer is not well-formed HTTP"
