"""The only way out of this machine: connections to the hosts and ports on a list, and to nothing else.

Why a network backend of our own beneath httpcore: it is the one place that sees every connection, through a proxy or
not, so it is where egress is refused; it knows exactly whether a byte of a request has left, which decides whether an
unsafe call may be repeated; and plain asyncio costs half of the default backend's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import httpcore
import structlog

from relay.host.dialing import dial, look_up

log = structlog.get_logger("relay.http")

Stage = Literal["idle", "refused", "connecting", "proxy", "tls", "ready", "sent"]
HIGH_WATER = 256 * 1024
"""Bytes that may wait unread before the peer is made to wait."""
HEAD_BYTES = 128 * 1024
"""Bytes that may come before an answer's headers are complete, "100 Continue" and its like included. httpcore ends one
head at 100 KiB but takes any number of informational ones, each of which costs time."""
_ADDRESSES: dict[tuple[str, str, int], str] = {}
"""Where each target, host and port was last connected to. Why for the whole process: a side has many connections, and
what its name means is no news to each of them."""

Outcome = Literal["connected", "failed", "refused"]

CONNECTS: Counter[tuple[str, Outcome]] = Counter()
"""Connections by target and outcome since the process began: TCP was connected, it was not, or the relay itself refused
to try. For the whole process, since figures outlive a configuration."""


@dataclass(slots=True)
class Progress:
    """How far one call has come. `cause` is what ended it, when the network did.

    `idle` before anything; `connecting` by TCP; `proxy`: connected to the proxy, which has not let us through;
    `tls`: shaking hands with the target; `ready`: connected, nothing of the request handed over; `sent`: the first byte
    was handed to the target's TLS stream. Of `received` bytes from the connection the call takes no more than `most`.
    """

    stage: Stage = "idle"
    cause: BaseException | None = None
    received: int = 0
    most: int = HEAD_BYTES


class Wire(asyncio.Protocol):
    """One connection's bytes, between asyncio's callbacks and a reader that awaits them."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.buffer = bytearray()
        self.ended = False
        self.error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._closed = False
        self.tls: ssl.SSLObject | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: TCP transports are
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came; let the peer wait when nobody reads."""
        self.buffer += data
        if len(self.buffer) > HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> None:
        """Remember the end."""
        self.ended = True
        self._readable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember the end and its reason, and wake whoever waits."""
        self.ended = True
        self.error = self.error or exc
        self._readable.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Hold back `drain`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._writable.set()

    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; nothing at the end.

        Raises:
            OSError: the connection broke.

        """
        if self.buffer:
            # Whoever reads without ever waiting would keep everybody else from running.
            await asyncio.sleep(0)
        while not self.buffer:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        if self._paused and len(self.buffer) < HIGH_WATER // 2:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def drain(self) -> None:
        """Return when the peer keeps up.

        Raises:
            OSError: the connection broke.

        """
        await self._writable.wait()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Say goodbye as far as that goes without waiting, and let the socket go."""
        if self._closed:
            return
        self._closed = True
        self.error = self.error or ConnectionAbortedError("closed by the relay")
        self.buffer.clear()
        if not self.transport.is_closing():  # Python 3.11.2: a second close() leaves a TLS transport that cannot abort
            self.transport.close()
        self.transport.abort()
        self._readable.set()
        self._writable.set()

    def readable(self) -> bool:
        """Whether an idle connection has bytes or an end to be read: either way it must not be used again."""
        if self.buffer or self.ended or self.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Stream(httpcore.AsyncNetworkStream):
    """A connection as httpcore wants it. `final`: what is written is part of a request to the target."""

    def __init__(self, egress: Egress, wire: Wire, *, final: bool = False) -> None:
        self._egress = egress
        self._wire = wire
        self._final = final

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 - httpcore's
        """Read; the caller's `asyncio.timeout` bounds its time, `Progress.most` its bytes."""
        progress = self._egress.progress
        try:
            if progress.received >= progress.most:
                raise ConnectionAbortedError("more bytes around the answer than any needs")
            data = await self._wire.read(max_bytes)
        except OSError as error:
            progress.cause = error
            raise httpcore.ReadError(str(error)) from error
        progress.received += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - httpcore's
        """Write; from the first byte to the target on the request counts as sent."""
        if not buffer:
            return
        if self._wire.ended:
            raise httpcore.WriteError("the other side has closed")
        if self._final:
            self._egress.progress.stage = "sent"
        try:
            self._wire.transport.write(buffer)
            await self._wire.drain()
        except OSError as error:
            self._egress.progress.cause = error
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close without waiting for the peer."""
        self._wire.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's; ours bounds it
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands."""
        egress, final = self._egress, ssl_context is self._egress.context
        if final:
            egress.progress.stage = "tls"
        try:
            if self._wire.buffer:
                # Bytes that came unencrypted would be taken for the server's.
                raise ConnectionAbortedError("bytes arrived before the TLS handshake")  # noqa: TRY301 - as any failure
            async with asyncio.timeout(egress.connect_timeout):
                transport = await asyncio.get_running_loop().start_tls(
                    # Behind a proxy an IPv6 address comes in the brackets that its CONNECT needs.
                    self._wire.transport,
                    self._wire,
                    ssl_context,
                    server_hostname=(server_hostname or "").strip("[]"),
                )
            if transport is None:  # asyncio's answer when the peer went at the very moment
                raise ConnectionResetError("the connection ended in the TLS handshake")  # noqa: TRY301 - as any failure
        except TimeoutError:
            self._wire.close()
            raise httpcore.ConnectTimeout("TLS handshake") from None
        except OSError as error:  # ssl.SSLError is one
            egress.progress.cause = error
            self._wire.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            self._wire.close()
            raise
        self._wire.transport = transport
        self._wire.tls = transport.get_extra_info("ssl_object")
        egress.progress.stage = "ready" if final else egress.progress.stage
        return Stream(egress, self._wire, final=final)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        """`is_readable` tells httpcore not to use a dead connection again; the rest is the transport's."""
        return self._wire.readable() if info == "is_readable" else self._wire.transport.get_extra_info(info)


class Egress(httpcore.AsyncNetworkBackend):
    """Connects for one client, one connection at a time.

    Args:
        name: what the log calls the other side.
        allowed: the only (host, port) that may be connected to: the target's, or the proxy's to it.
        context: the target's TLS context; TLS with another one is TLS to the proxy.
        connect_timeout: seconds for TCP, and again for each TLS handshake.
        proxied: the connection goes to a proxy first.

    """

    def __init__(
        self, name: str, allowed: tuple[str, int], context: ssl.SSLContext, connect_timeout: float, *, proxied: bool
    ) -> None:
        self.name = name
        self.allowed = allowed
        self.context = context
        self.connect_timeout = connect_timeout
        self.proxied = proxied
        self.progress = Progress()
        self.wire: Wire | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's; ours bounds it
        local_address: str | None = None,  # noqa: ARG002 - httpcore's
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """Resolve the name once and connect, if host and port are on the list."""
        if (host, port) != self.allowed:
            self.progress.stage = "refused"
            CONNECTS[self.name, "refused"] += 1
            reason = "host and port are not on the egress list"
            log.warning("egress.refused", target=self.name, reason=reason, host=host, port=port)
            raise httpcore.ConnectError("not on the egress list")
        self.progress.stage = "connecting"
        try:
            async with asyncio.timeout(self.connect_timeout):
                connected = await dial(await look_up(host, port))
                transport, wire = await asyncio.get_running_loop().create_connection(Wire, sock=connected)
            peer = transport.get_extra_info("peername")
            if peer is None:  # who hangs up at once has no address any more
                wire.close()
                raise ConnectionResetError("the other side hung up at once")
        except TimeoutError:
            CONNECTS[self.name, "failed"] += 1
            raise httpcore.ConnectTimeout("TCP") from None
        except OSError as error:
            CONNECTS[self.name, "failed"] += 1
            self.progress.cause = error
            raise httpcore.ConnectError(str(error)) from error
        CONNECTS[self.name, "connected"] += 1
        self.wire = wire
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = peer[0]
        side = (self.name, host, port)
        # An address other than the last one is news, the same one again is not.
        (log.debug if _ADDRESSES.get(side) == address else log.info)(
            "http.connect", target=self.name, host=host, port=port, address=address
        )
        _ADDRESSES[side] = address
        self.progress.stage = "proxy" if self.proxied else "tls"
        return Stream(self, wire)

    def refuse(self, reason: str) -> None:
        """Tell and count that a request was not let out."""
        CONNECTS[self.name, "refused"] += 1
        log.warning("egress.refused", target=self.name, reason=reason)

    def abort(self) -> None:
        """Let the connection go, whatever is under way on it."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def ended_in_order(self) -> bool:
        """Whether the peer's TLS said that it sends nothing more."""
        return self.wire is not None and bool(getattr(self.wire.tls, "ended", False))
