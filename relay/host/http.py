"""HTTP to one other side. With its neighbours here the only code that knows httpx and httpcore.

    target = Target("appliance default", "https://access.example.com", client_context(TlsOptions(ca_file=...)))
    client = HttpClient(target, keep_alive=False, cookies=False)
    response = await client.send(HttpRequest("GET", target.origin + "/api/command", limit=BodyLimit(1_000_000)))

What it promises:

- Nothing is sent anywhere but to the target: the URL's origin is compared here, host and port again at connect. Nothing
  of the environment (`HTTPS_PROXY`, `SSL_CERT_FILE`, ...) matters.
- A request is sent at most once. Redirects are answers like others.
- Exactly the bytes of `url` after the origin are the request's target; no header is added but `Host`, `Content-Length`,
  `Accept-Encoding`, `Connection` and `Cookie`.
- `send` ends within `timeout`, whatever the other side does, and reads no more than `limit` allows.
- Every failure is a `HttpFault`, but what a streamed body's source raises; its `maybe_sent` is False only if no byte of
  the request was handed to the target's TLS stream.
- `receive` gives an answer before its body has come: `timeout` bounds the time to it and of each piece then.
- A connection on which anything went wrong, a cancelled call included, is closed and never used again.

Why one connection a client, and a client for each worker: httpcore's pool is quadratic in connections, and a ServiceNow
session (a cookie jar) runs one transaction at a time anyhow.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpcore
import httpx

from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.host.bodies import (
    WIRE_ALLOWANCE,
    Body,
    BodyLimit,
    TooLargeError,
    TruncatedError,
    UndecodableError,
)
from relay.host.download import Download, declared_length, is_until_close
from relay.host.exchange import HttpFault, HttpRequest, HttpResponse, Pairs, Streamed, Target, check
from relay.host.faults import FOREIGN, timed_out, translate
from relay.host.network import Egress, Progress
from relay.host.transport import Proxy, Transport

__all__ = [
    "BodyLimit",
    "Download",
    "HttpClient",
    "HttpFault",
    "HttpRequest",
    "HttpResponse",
    "Proxy",
    "Streamed",
    "Target",
]

MAX_HEADERS = 200
"""Header lines of an answer; their bytes are bounded to about 100 KiB by httpcore. ServiceNow sends about 20."""

MAX_COOKIES = 50
"""Cookies of one jar; ServiceNow sets about six. With more the jar is emptied."""

MAX_COOKIE_BYTES = 16 * 1024
"""Names and values of one jar: they go along with every request."""

_COOKIE = re.compile(r"[ -~]{1,4096}")
"""What may stand in a Set-Cookie: anything else could not be sent back."""

_NO_BODY = frozenset({204, 304})


class HttpClient:
    """Sends requests to one target over one connection, one at a time.

    Args:
        target: the other side.
        keep_alive: use the connection for further requests; else `Connection: close` is sent and obeyed.
        cookies: keep a cookie jar.

    """

    def __init__(self, target: Target, *, keep_alive: bool, cookies: bool) -> None:
        self._target = target
        self._keep_alive = keep_alive
        self._jar = httpx.Cookies() if cookies else None
        proxied = httpx.URL(target.proxy.url) if target.proxy else None
        self._egress = Egress(
            target.name,
            _endpoint(proxied or httpx.URL(target.origin)),
            target.context,
            target.connect_timeout,
            proxied=proxied is not None,
        )
        self._transport: Transport | None = None
        self._lock = asyncio.Lock()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and read its answer.

        Raises:
            HttpFault: there is no usable answer.

        """
        if isinstance(request.content, Streamed):
            # Whatever ends the request ends the source too, which may hold a file or a connection.
            async with contextlib.aclosing(_measured(request.content)) as pieces:
                return await self._send(request, _Body(pieces))
        return await self._send(request, request.content)

    @asynccontextmanager
    async def receive(self, request: HttpRequest) -> AsyncIterator[Download]:
        """Send a request and give its answer, whose body is read within the block; then the connection is closed.

        Args:
            request: `timeout` bounds the time to the answer's headers, and again of each piece of its body;
                `limit.keep` bounds the body. Its own body is not streamed.

        Raises:
            HttpFault: there is no answer.

        """
        self._check(request)
        assert isinstance(request.content, bytes)  # noqa: S101 - a fault of the caller
        progress = Progress()
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(request.timeout):
                    await stack.enter_async_context(self._lock)
                    stack.callback(self._drop)
                    self._egress.progress = progress
                    download = await self._open(request, request.content, progress)
                    stack.push_async_callback(download.end)
            except TimeoutError:
                raise timed_out(request.timeout, progress) from None
            except HttpFault as fault:
                self._renew_after(fault)
                raise
            yield download

    def _check(self, request: HttpRequest) -> None:
        try:
            check(request, self._target)
        except HttpFault as fault:
            self._egress.refuse(fault.detail)
            raise

    def _renew_after(self, fault: HttpFault) -> None:
        """After a proxy refused its account the next request shall have its password as it is now."""
        if fault.kind == "account":
            with contextlib.suppress(ConfigError):
                self._target.renew()

    async def _send(self, request: HttpRequest, content: bytes | _Body) -> HttpResponse:
        self._check(request)
        loop = asyncio.get_running_loop()
        started = loop.time()
        progress = Progress()
        try:
            async with asyncio.timeout(request.timeout), self._lock:
                self._egress.progress = progress
                status, headers, body = await self._exchange(request, content, progress)
        except TimeoutError:
            raise timed_out(request.timeout, progress) from None
        except HttpFault as fault:
            self._renew_after(fault)
            raise
        return HttpResponse(status, headers, body, loop.time() - started)

    def refuse_cookies(self) -> None:
        """Keep no cookies from now on."""
        self._jar = None

    def drop_cookies(self) -> None:
        """Forget all cookies: the next request begins a new session."""
        if self._jar is not None:
            self._jar = httpx.Cookies()

    async def aclose(self) -> None:
        """Close the connection. The client can be used again."""
        self._drop()
        # One turn of the loop lets the socket go.
        await asyncio.sleep(0)

    async def _exchange(
        self, request: HttpRequest, content: bytes | _Body, progress: Progress
    ) -> tuple[int, Pairs, bytes]:
        response: httpx.Response | None = None
        headers: Pairs = ()
        clean = False
        try:
            response = await self._begin(request, content)
            headers = self._judge_head(request, response, progress)
            body = await self._read(request, response)
            clean = self._keep_alive
        except FOREIGN as error:
            status = response.status_code if response is not None else None
            headers = _pairs(response) if response is not None else ()
            # Without its cause, which may quote what the other side sent.
            raise translate(error, progress, request.limit, status, headers) from None
        finally:
            if not clean:
                self._drop()
        return response.status_code, headers, body

    async def _open(self, request: HttpRequest, content: bytes, progress: Progress) -> Download:
        """Send a request; its answer's body is left where it is."""
        try:
            response = await self._begin(request, content)
            headers = self._judge_head(request, response, progress)
        except FOREIGN as error:
            raise translate(error, progress, request.limit) from None
        return Download(request, response, headers, self._egress, progress)

    async def _begin(self, request: HttpRequest, content: bytes | _Body) -> httpx.Response:
        """Send a request, over a new connection when there is none that is fit."""
        renewed = self._egress.context is not self._target.context
        if self._transport is None or self._transport.leftover() or renewed:
            self._drop()
            self._egress.context = self._target.context
            self._transport = Transport(self._target.origin, self._target.context, self._target.proxy, self._egress)
        for name, value in request.headers:
            if name.lower() == "authorization":
                self._target.learn(Secret(value.partition(" ")[2] or value))
        return await self._transport.handle_async_request(self._prepare(request, content))

    def _judge_head(self, request: HttpRequest, response: httpx.Response, progress: Progress) -> Pairs:
        """The headers of an answer, which may now bring its body."""
        progress.most = progress.received + 2 * request.limit.most + WIRE_ALLOWANCE
        headers = _pairs(response)
        if len(headers) > MAX_HEADERS:
            detail = f"more than {MAX_HEADERS} header lines"
            raise HttpFault("broken", detail, maybe_sent=True, status=response.status_code)
        self._keep_cookies(response)
        return headers

    def _keep_cookies(self, response: httpx.Response) -> None:
        """Take the cookies that we can give back. A jar that grows beyond what any session needs is emptied."""
        wanted = [value for value in response.headers.get_list("set-cookie") if _COOKIE.fullmatch(value)]
        if self._jar is None or not wanted:
            return
        headers = [("set-cookie", value) for value in wanted]
        self._jar.extract_cookies(httpx.Response(response.status_code, headers=headers, request=response.request))
        for cookie in self._jar.jar:
            self._target.learn(Secret(cookie.value or ""))
        held = [len(cookie.name) + len(cookie.value or "") for cookie in self._jar.jar]
        if len(held) > MAX_COOKIES or sum(held) > MAX_COOKIE_BYTES:
            self.drop_cookies()

    def _prepare(self, request: HttpRequest, content: bytes | _Body) -> httpx.Request:
        headers = list(request.headers)
        if not any(name.lower() == "accept-encoding" for name, _ in headers):
            headers.append(("Accept-Encoding", "gzip, identity"))
        headers.append(("Connection", "keep-alive" if self._keep_alive else "close"))
        if isinstance(request.content, Streamed):
            # httpx adds neither by itself to a stream.
            headers += [("Host", request.url.split("/")[2]), ("Content-Length", str(request.content.size))]
        target = request.url[len(self._target.origin) :].encode("ascii")
        return httpx.Request(
            request.method,
            request.url,
            headers=headers,
            content=content if isinstance(content, bytes) else None,
            stream=content if isinstance(content, _Body) else None,
            cookies=self._jar,
            extensions={"relay_target": target},
        )

    async def _read(self, request: HttpRequest, response: httpx.Response) -> bytes:
        body = Body(response.headers.get("content-encoding", ""), request.limit)
        length = declared_length(response) if request.method != "HEAD" else 0
        if length is not None and not body.encoded and length > request.limit.keep:
            raise TooLargeError(length)
        trouble: Exception | None = None
        try:
            async for chunk in response.aiter_raw():
                if trouble is None:
                    trouble = await _take(body, chunk)
                    if trouble is not None:
                        # The stream's generators shall end by the error of the next read, not by being left behind.
                        self._egress.abort()
        except httpcore.NetworkError:
            if trouble is None:
                raise
        if trouble is not None:
            raise trouble
        if (
            is_until_close(response, length)
            and response.status_code not in _NO_BODY
            and not self._egress.ended_in_order()
        ):
            raise TruncatedError
        return body.finish()

    def _drop(self) -> None:
        """Let the connection go, whatever is under way on it. Never waits, so that a cancelled call can do it."""
        self._egress.abort()
        self._transport = None


class _Body(httpx.AsyncByteStream):
    """A streamed body, as it is sent."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


async def _measured(body: Streamed) -> AsyncGenerator[bytes, None]:
    """The body's pieces, and a fault where they are more or fewer bytes than it said."""
    left = body.size
    async with contextlib.aclosing(body.pieces()) as pieces:
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                break
            yield piece
    if left:
        raise HttpFault("broken", "the body's source gave another number of bytes than it said", maybe_sent=True)


async def _take(body: Body, chunk: bytes) -> Exception | None:
    """Feed a body, letting others run now and then; what is wrong with it, if anything."""
    try:
        if body.feed(chunk):
            await asyncio.sleep(0)
        more = body.step()
        while more:
            await asyncio.sleep(0)
            more = body.step()
    except (TooLargeError, UndecodableError) as error:
        return error
    return None


def _endpoint(url: httpx.URL) -> tuple[str, int]:
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


def _pairs(response: httpx.Response) -> Pairs:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw)
