"""The wire beneath HTTP, where real peers would need luck to hit the moment."""

from __future__ import annotations

import asyncio
import socket
import struct

import httpcore
import pytest
from support.server import HttpsServer, Request, Response, raw_server
from support.tls import Authority, Certificate

from relay.host import network
from relay.host.network import HIGH_WATER, Egress, Stream, Wire
from relay.host.tls import TlsOptions, client_context


async def connected(server: HttpsServer, authority: Authority) -> tuple[Egress, httpcore.AsyncNetworkStream]:
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    egress = Egress("test", ("localhost", server.port), context, 5.0, proxied=False)
    plain = await egress.connect_tcp("localhost", server.port)
    return egress, await plain.start_tls(context, "localhost")


async def test_a_write_to_a_closed_peer_counts_as_nothing(authority: Authority, certificate: Certificate) -> None:
    """When the peer has closed before the first byte, the byte is not handed over and the stage stays `ready`."""
    async with HttpsServer(lambda _: Response(), certificate) as server:
        egress, stream = await connected(server, authority)
        assert not stream.get_extra_info("is_readable")
        while not server.connections:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        server.connections[0].writer.close()
        assert await stream.read(10) == b""
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"GET")
        assert egress.progress.stage == "ready"
        assert stream.get_extra_info("is_readable")
        assert egress.ended_in_order()
        await stream.aclose()
        egress.abort()
        assert not egress.ended_in_order()
        assert server.received == 0


@pytest.mark.parametrize("reads", [True, False])
async def test_a_peer_that_reads_slowly_is_waited_for(
    authority: Authority, certificate: Certificate, *, reads: bool
) -> None:
    """A write returns when the peer has caught up; a break while waiting is an error of the write."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()
        if reads:
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            while await reader.read(1024 * 1024):
                pass

    async with raw_server(slow, certificate) as port:
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        egress = Egress("test", ("127.0.0.1", port), context, 5.0, proxied=False)
        stream = await (await egress.connect_tcp("127.0.0.1", port)).start_tls(context, "127.0.0.1")
        await stream.write(b"")
        assert egress.progress.stage == "ready"
        # asyncio's TLS takes the first write whatever its size; from then on it asks to wait.
        await stream.write(bytes(32 * 1024 * 1024))
        writing = asyncio.create_task(stream.write(bytes(1024 * 1024)))
        done, _ = await asyncio.wait({writing}, timeout=0.1)
        assert not done
        assert egress.progress.stage == "sent"
        release.set()
        if reads:
            await writing
        else:
            with pytest.raises(httpcore.WriteError):
                await writing
            assert isinstance(egress.progress.cause, OSError)
        await stream.aclose()


async def test_a_reader_that_is_slow_holds_the_peer(authority: Authority, certificate: Certificate) -> None:
    """No more than a bounded number of bytes waits unread, and none is lost."""
    total = 8 * HIGH_WATER

    async def pour(request: Request) -> Response:
        await request.connection.write(bytes(total))
        return Response()

    async with HttpsServer(pour, certificate) as server:
        egress, stream = await connected(server, authority)
        egress.progress.most = 2 * total
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        wire = egress.wire
        assert wire is not None
        while not wire._paused:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
        assert HIGH_WATER < len(wire.buffer) < 3 * HIGH_WATER
        got = 0
        while got < total:
            got += len(await stream.read(65536))
        assert got >= total
        await stream.aclose()


async def test_a_closed_wire_wakes_its_reader(authority: Authority, certificate: Certificate) -> None:
    """Closing from elsewhere ends a read that waits, and closing twice is once."""
    async with HttpsServer(lambda _: Response(), certificate) as server:
        egress, stream = await connected(server, authority)
        reading = asyncio.create_task(stream.read(1))
        await asyncio.sleep(0)
        egress.abort()
        egress.abort()
        await stream.aclose()
        with pytest.raises(httpcore.ReadError, match="closed by the relay"):
            await reading


async def test_a_cancelled_handshake_leaves_no_connection(authority: Authority) -> None:
    """A cancel during the TLS handshake closes the socket."""
    accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        accepted.put_nowait(reader)
        await ended.wait()

    async with raw_server(silent) as port:
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        egress = Egress("test", ("127.0.0.1", port), context, 5.0, proxied=False)
        plain = await egress.connect_tcp("127.0.0.1", port)
        reader = await accepted.get()
        shaking = asyncio.create_task(plain.start_tls(context, "127.0.0.1"))
        await reader.readexactly(1)
        shaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shaking
        await reader.read()
        assert reader.at_eof()
        ended.set()


def test_the_stream_is_httpcores() -> None:
    """What httpcore calls on streams and back ends is what ours have."""
    assert issubclass(Stream, httpcore.AsyncNetworkStream)
    assert issubclass(Egress, httpcore.AsyncNetworkBackend)
    assert issubclass(Wire, asyncio.Protocol)


async def test_a_peer_that_goes_as_the_handshake_ends_is_a_broken_connection(
    authority: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where asyncio has no transport to give after a handshake, it is a failed connection and nothing was sent."""

    async def nothing(*_: object, **__: object) -> None:
        return None

    async with HttpsServer(lambda _: Response(), certificate) as server:
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        egress = Egress("test", ("localhost", server.port), context, 5.0, proxied=False)
        plain = await egress.connect_tcp("localhost", server.port)
        monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", nothing)
        with pytest.raises(httpcore.ConnectError, match="ended in the TLS handshake"):
            await plain.start_tls(context, "localhost")
        assert egress.progress.stage == "tls"
        assert isinstance(egress.progress.cause, OSError)


async def test_a_peer_that_hangs_up_at_once_is_a_failed_connection(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is reset before it could be looked at has no address any more, and nothing was sent on it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        reset = socket.create_connection(("127.0.0.1", port))
        there, _ = listener.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        with pytest.raises(ConnectionResetError):
            reset.recv(1)
        reset.setblocking(False)

        async def dialled(_: object) -> socket.socket:
            return reset

        monkeypatch.setattr(network, "dial", dialled)
        egress = Egress("test", ("127.0.0.1", port), client_context(TlsOptions(authority.ca_file)), 5.0, proxied=False)
        with pytest.raises(httpcore.ConnectError):
            await egress.connect_tcp("127.0.0.1", port)
        assert egress.progress.stage == "connecting"
        assert isinstance(egress.progress.cause, OSError)
