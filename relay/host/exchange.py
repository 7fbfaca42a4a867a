"""What passes through the HTTP seam, as values: the target, requests, answers, faults."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal

import httpx

from relay.core.secret import Secret
from relay.host.bodies import BodyLimit
from relay.host.transport import Proxy

Pairs = tuple[tuple[str, str], ...]

FaultKind = Literal["connect", "tls", "proxy", "account", "timeout", "broken", "too large", "undecodable", "egress"]

_TARGET = re.compile(r"/[!\"$-\[\]-~]*")
_METHOD = re.compile(r"[A-Z]{3,10}")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~]*")
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "cookie", "te", "trailer", "upgrade", "expect"}
)


def _nothing_changes() -> bool:
    return False


def _forget(_: Secret) -> None:
    return None


@dataclass(slots=True)
class Target:
    """The one other side that a client may talk to.

    What says where it is never changes. `context` and `proxy` are replaced as one when certificates, a key or the
    proxy's account were; clients see that before their next request and connect anew.

    Args:
        name: what logs call it.
        url: `https://host[:port]`; a path is refused.
        context: made once by `relay.host.tls.client_context`, shared by all clients of the target.
        proxy: through which alone it is reached, when there is one.
        connect_timeout: seconds for TCP, and again for the TLS handshake.
        renew: replaces `context` and `proxy` when what they were made of has changed; whether it has. Raises
            `ConfigError` when it cannot be used: the former stay.
        learn: is told what logs must never show: credentials of requests, cookies of answers.

    Attributes:
        origin: `url` in its one spelling: lower case, no default port. A request's URL begins with it and `/`.

    Raises:
        ValueError: the URL is more or less than an origin, or not https.

    """

    name: str
    url: str
    context: ssl.SSLContext = field(repr=False)
    proxy: Proxy | None = None
    connect_timeout: float = 10.0
    renew: Callable[[], bool] = field(default=_nothing_changes, repr=False)
    learn: Callable[[Secret], None] = field(default=_forget, repr=False)
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        parsed = httpx.URL(self.url)
        if parsed.scheme != "https" or not parsed.host or parsed.userinfo or parsed.raw_path != b"/" or parsed.fragment:
            msg = f"{self.url!r} is not https://host[:port]"
            raise ValueError(msg)
        self.origin = f"https://{parsed.netloc.decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that is never whole in memory.

    Attributes:
        size: its bytes. A source that gives more or fewer breaks the request: the other side never takes it for whole.
        pieces: begins it anew, for each time that it is sent; pieces of some 64 KiB are best. What a source raises
            ends the request and comes out of it as it is.

    """

    size: int
    pieces: Callable[[], AsyncGenerator[bytes, None]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` begins with the target's origin; `timeout` bounds all of it, in seconds."""

    method: str
    url: str = field(repr=False)
    headers: Pairs = field(default=(), repr=False)
    content: bytes | Streamed = field(default=b"", repr=False)
    timeout: float = 30.0
    limit: BodyLimit = field(default_factory=lambda: BodyLimit(1024 * 1024))


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer, decoded and within its limit. `elapsed` in seconds, from the call to the last byte."""

    status: int
    headers: Pairs = field(repr=False)
    body: bytes = field(repr=False)
    elapsed: float

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return find_header(self.headers, name)


def find_header(headers: Pairs, name: str) -> str | None:
    """The first header of a name, in any case."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)


class HttpFault(Exception):  # noqa: N818 - what went wrong between the two sides; the errors are the adapters'
    """There is no usable answer.

    Attributes:
        kind: what happened: `connect` (DNS, TCP), `tls`, `proxy` (it did not let us through), `account` (it
            asks for an account, or for another one), `timeout`, `broken` (reset, truncated, no HTTP), `too large`,
            `undecodable`, `egress` (not fit to be sent, or not to there).
        maybe_sent: a byte of the request was handed to the target's TLS stream.
        detail: for people; no secret, no part of a body.
        size: of `too large`: the body's size when it could be learned.
        status: the answer's status, when one had arrived: the request was executed, whatever became of the body.
        headers: the answer's headers then.

    """

    def __init__(
        self,
        kind: FaultKind,
        detail: str,
        *,
        maybe_sent: bool,
        size: int | None = None,
        status: int | None = None,
        headers: Pairs = (),
    ) -> None:
        self.kind: FaultKind = kind
        self.detail = detail
        self.maybe_sent = maybe_sent
        self.size = size
        self.status = status
        self.headers = headers
        super().__init__(f"{kind}: {detail}")


def check(request: HttpRequest, target: Target) -> None:
    """Refuse what must not leave.

    Raises:
        HttpFault: `egress`: the URL is not the target's, or a part holds characters that could end it early.

    """
    if not request.url.startswith(target.origin + "/"):
        raise HttpFault("egress", "the URL is not the target's", maybe_sent=False)
    if not _TARGET.fullmatch(request.url, len(target.origin)):
        raise HttpFault("egress", "the URL holds a character that a request line must not", maybe_sent=False)
    if not _METHOD.fullmatch(request.method):
        raise HttpFault("egress", "the method is none", maybe_sent=False)
    for name, value in request.headers:
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise HttpFault("egress", "a header of that name is not sent", maybe_sent=False)
        if not _VALUE.fullmatch(value):
            raise HttpFault("egress", f"the header {name} holds a character that it must not", maybe_sent=False)
