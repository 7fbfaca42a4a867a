"""A scriptable HTTPS server on loopback: real sockets, real TLS, any fault at any byte.

    async def handler(request: Request) -> Reply:
        return Response(200, b"{}", {"content-type": "application/json"})

    async with HttpsServer(handler, authority.issue()) as server:
        ...  # server.url, server.requests, server.connections

A handler gives one of these replies, or does what it likes with `request.connection` and returns None:

| reply | what the client sees |
|---|---|
| `Response` | a well-formed answer with its length |
| `bytes` | exactly these bytes, the connection stays open |
| `Drip(bytes, size, every)` | the bytes in slices, `every` seconds between them |
| `Truncate(bytes)` | the bytes, then an orderly close |
| `RESET` | a TCP reset without an answer |
| `HANG` | nothing, until the client or the server closes |
| `None` | nothing more: the handler wrote by itself |
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from support.tls import Certificate


@dataclass
class Connection:
    """One TCP connection as the server sees it. `received` counts application bytes (after TLS)."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    received: int = 0
    requests: int = 0

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a TCP RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(frozen=True)
class Request:
    """A request as it arrived. Header names are lower case; of equal names `headers` has the last."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: Connection = field(repr=False, compare=False)
    raw_headers: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's pairs, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The body's form pairs, decoded."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Response:
    """A well-formed answer; `headers` as a mapping or as pairs when a name comes twice."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The bytes on the wire."""
        pairs = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in pairs)]
        if not any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in pairs):
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Drip:
    """Bytes sent `size` at a time with `every` seconds between, then left open."""

    data: bytes
    size: int = 1
    every: float = 0.01


@dataclass(frozen=True)
class Truncate:
    """Bytes, then an orderly close of the connection."""

    data: bytes


class _Sign:
    """A reply that is no bytes."""


RESET = _Sign()
HANG = _Sign()

Reply = Response | bytes | Drip | Truncate | _Sign | None
Handler = Callable[[Request], Reply | Awaitable[Reply]]


class HttpsServer:
    """HTTP/1.1 over TLS on 127.0.0.1 (plain TCP when `certificate` is None), port chosen by the system.

    Attributes:
        requests: every request that arrived whole, in order.
        connections: every TCP connection whose TLS handshake succeeded, in order.
        accepted: TCP connections including those whose handshake failed; of a plain server the same as `connections`.
        port: where it listens.
        failures: exceptions that handlers raised; leaving the `async with` raises the first of them.

    """

    def __init__(self, handler: Handler, certificate: Certificate | ssl.SSLContext | None, *, port: int = 0) -> None:
        self.handler = handler
        self.context = certificate.context if isinstance(certificate, Certificate) else certificate
        self.port = port
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.failures: list[BaseException] = []
        self.arrived = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """`https://localhost:PORT`."""
        return f"{'https' if self.context else 'http'}://localhost:{self.port}"

    @property
    def received(self) -> int:
        """Application bytes that arrived on all connections."""
        return sum(connection.received for connection in self.connections)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None and self.failures:
            raise self.failures[0]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            connection.writer.transport.abort()
        await asyncio.sleep(0)

    async def wait_for_requests(self, count: int) -> None:
        """Return when `count` requests have arrived."""
        while len(self.requests) < count:
            self.arrived.clear()
            await self.arrived.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, len(self.connections))
        self.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(connection):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - a fault of the test's handler fails the test, not the loop
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _exchange(self, connection: Connection) -> bool:
        request = await self._read(connection)
        if request is None:
            return False
        self.requests.append(request)
        self.arrived.set()
        reply = self.handler(request)
        if inspect.isawaitable(reply):
            reply = await reply
        return await self._answer(request, reply)

    async def _read(self, connection: Connection) -> Request | None:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            more = await connection.reader.read(65536)
            if not more:
                return None
            connection.received += len(more)
            head += more
        text, _, body = bytes(head).partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        pairs = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        length = int(dict(pairs).get("content-length", "0"))
        while len(body) < length:
            more = await connection.reader.read(65536)
            if not more:
                return None
            connection.received += len(more)
            body += more
        connection.requests += 1
        return Request(method, target, dict(pairs), body, connection, pairs)

    async def _answer(self, request: Request, reply: Reply) -> bool:  # noqa: PLR0911 - one return for each kind of reply
        connection = request.connection
        if isinstance(reply, Response):
            await connection.write(reply.encode())
            return request.headers.get("connection", "").lower() != "close"
        if isinstance(reply, bytes):
            await connection.write(reply)
            return True
        if isinstance(reply, Drip):
            for start in range(0, len(reply.data), reply.size):
                await connection.write(reply.data[start : start + reply.size])
                await asyncio.sleep(reply.every)
            return True
        if isinstance(reply, Truncate):
            await connection.write(reply.data)
            return False
        if reply is RESET:
            connection.reset()
            return False
        if reply is HANG:
            await connection.reader.read()
            return False
        return True


RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(handler: RawHandler, certificate: Certificate | None = None) -> AsyncIterator[int]:
    """A server that speaks no protocol of its own; gives its port. Every connection is gone when it is left."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()
        writer.transport.abort()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    context = certificate.context if certificate else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
