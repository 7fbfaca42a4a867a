"""httpx over our own network backend: one connection, HTTP/1.1, nothing added, nothing normalised."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from relay.core.secret import Secret
from relay.host.network import Egress
from relay.host.tls import WatchedContext

KEEP_ALIVE = 30.0
"""Seconds that an idle connection is kept: less than any load balancer's own limit that we know of."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that lets us through with CONNECT. `url` is `http://host:port`, or `https://...` with a context."""

    url: str
    username: str | None = None
    password: Secret | None = None
    context: WatchedContext | None = None


class Transport(httpx.AsyncBaseTransport):
    """Carries requests over one connection, straight or through a proxy.

    Why not httpx's own: it takes no network backend, and it sends a normalised target. The request's extension
    `relay_target` holds the exact bytes. Host and port, which a proxy is told in the CONNECT line, are those of
    `origin`, never a request's.
    """

    def __init__(self, origin: str, context: ssl.SSLContext, proxy: Proxy | None, egress: Egress) -> None:
        url = httpx.URL(origin)
        host = url.raw_host
        # httpcore writes `host:port` into the CONNECT line as it is, and an IPv6 address stands there in brackets.
        self._host = b"[%b]" % host if proxy is not None and b":" in host else host
        self._port = url.port
        common: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": 1,
            "keepalive_expiry": KEEP_ALIVE,
            "network_backend": egress,
        }
        self._pool: httpcore.AsyncConnectionPool
        if proxy is None:
            self._pool = httpcore.AsyncConnectionPool(**common)
        else:
            password = proxy.password.reveal() if proxy.password else ""
            auth = (proxy.username.encode(), password.encode()) if proxy.username else None
            self._pool = httpcore.AsyncHTTPProxy(proxy.url, proxy_auth=auth, proxy_ssl_context=proxy.context, **common)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's body is read from `aiter_raw`. Raises httpcore's exceptions."""
        response = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=b"https", host=self._host, port=self._port, target=request.extensions["relay_target"]
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Stream(response), request=request)

    def leftover(self) -> bool:
        """Whether the idle connection holds bytes after its last answer: they would be taken for the next one."""
        for connection in self._pool.connections:
            inner: Any = connection
            while not hasattr(inner, "_h11_state"):
                inner = inner._connection  # noqa: SLF001 - httpcore shows it nowhere; a test notices when it moves
            if inner._h11_state.trailing_data[0]:  # noqa: SLF001 - as above
                return True
        return False


class _Stream(httpx.AsyncByteStream):
    """An answer's body as it comes."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_stream()

    async def aclose(self) -> None:
        await self._response.aclose()
