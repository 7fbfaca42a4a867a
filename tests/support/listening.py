"""A running listener, and callers that say what they like on real TLS sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from relay.config.values import Endpoint
from relay.core.errors import RelayError, StorageError
from relay.core.posts import Post, Sender
from relay.core.secret import Secret
from relay.host.clock import Clock
from relay.listener.connection import Limits
from relay.listener.listener import Listener
from relay.listener.station import Station
from support.tls import Authority

TOKEN = "a-token-of-the-appliance"
HERE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
ELSEWHERE = (ip_network("192.0.2.0/24"),)
PATH = f"/events?outbound_event_token={TOKEN}"
FORM = b"event=access_session_end&lsid=0123456789abcdef0123456789abcdef"
QUICK = Limits(request=10.0, answer=2.0, goodbye=0.5, connections=12, of_one=6, strangers=2)


class Desk:
    """An inbox in memory, which can be down, slow or broken."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.error: BaseException | None = None
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, post: Post) -> bool:
        """Keep a post."""
        self.entered.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        new = post.id not in {one.id for one in self.posts}
        self.posts.append(post)
        return new

    def down(self) -> None:
        """Refuse everything from now on."""
        self.error = StorageError(5004)


@dataclass
class Health:
    """What is wrong."""

    wrong: dict[str, RelayError] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, subject: str, error: RelayError) -> None:
        """Take note."""
        self.wrong[subject] = error
        self.changed.set()

    def clear(self, subject: str) -> None:
        """Take note."""
        self.wrong.pop(subject, None)
        self.changed.set()


@dataclass
class Running:
    """A listener that runs."""

    listener: Listener
    inbox: Desk
    health: Health
    station: Station
    trust: ssl.SSLContext
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listener.ports[0]

    @property
    def connections(self) -> int:
        """How many it has."""
        return self.listener._entrance.connections

    async def until(self, number: int) -> None:
        """Return when it has so many connections."""
        async with asyncio.timeout(20):
            while self.connections != number:  # noqa: ASYNC110 - the listener tells nobody
                await asyncio.sleep(0.01)

    async def call(self, host: str = "127.0.0.1", first: bytes = b"") -> Caller:
        """A caller after the handshake; `first` goes before TLS."""
        plain = socket.create_connection((host, self.port))
        plain.sendall(first)
        reader, writer = await asyncio.open_connection(sock=plain, ssl=self.trust, server_hostname="localhost")
        return Caller(reader, writer)

    async def raw(self, host: str = "127.0.0.1") -> Caller:
        """A caller without TLS."""
        reader, writer = await asyncio.open_connection(host, self.port)
        return Caller(reader, writer)

    async def ask(self, request: bytes, **how: Any) -> bytes:
        """The whole answer to the bytes of a request."""
        caller = await self.call(**how)
        return await caller.ask(request)

    async def post(self, target: str = PATH, body: bytes = FORM, **how: Any) -> int:
        """The status of a well-formed post."""
        return status(await self.ask(request_of(target, body), **how))


@dataclass
class Caller:
    """One connection, seen from the other side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> bytes:
        """The whole answer."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(request)
            await self.writer.drain()
        return await self.rest()

    async def rest(self) -> bytes:
        """What comes until the connection ends, whichever way."""
        got = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while piece := await self.reader.read(65536):
                got += piece
        await self.leave()
        return got

    async def leave(self) -> None:
        """End it."""
        if not self.writer.transport.is_closing():
            self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def request_of(target: str = PATH, body: bytes = FORM, *more: str, method: str = "POST") -> bytes:
    """A request as the appliance makes it; `more` are further header lines."""
    lines = (
        f"{method} {target} HTTP/1.1",
        "Host: relay01",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    """The status of an answer; 0: there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def known(*networks: Any, token: str | None = TOKEN, name: str = "default") -> Sender:
    """An appliance; by default one that calls from here and has the token."""
    return Sender(name, networks or HERE, None if token is None else Secret(token))


@contextlib.asynccontextmanager
async def running(
    authority: Authority,
    *senders: Sender,
    host: str = "127.0.0.1",
    port: int = 0,
    balancers: Sequence[Any] = (),
    passed: Sequence[socket.socket] = (),
    limits: Limits = QUICK,
    inbox: Any = None,
) -> AsyncIterator[Running]:
    """A listener that serves; its posts go to a desk unless there is another inbox."""
    inbox, health = inbox or Desk(), Health()
    listener = Listener(inbox, health, Clock(), passed, limits)
    context = authority.issue().context
    station = Station(Endpoint(host, port), context, senders or (known(),), tuple(balancers))
    task = asyncio.create_task(listener.run())
    one = Running(listener, inbox, health, station, authority.client_context(), task)
    try:
        listener.listen(station)
        await listening(one)
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def listening(one: Running) -> None:
    """Return when it listens."""
    while not one.listener.ports:
        one.health.changed.clear()
        assert not one.task.done()
        await asyncio.wait_for(one.health.changed.wait(), 10)
        await asyncio.sleep(0)
