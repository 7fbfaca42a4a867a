"""Answers whose bodies are read as they come."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.server import HANG, RESET, Drip, HttpsServer, Reply, Request, Response, Truncate
from support.tls import Authority, Certificate

from relay.host import network
from relay.host.download import PIECE
from relay.host.http import BodyLimit, Download, HttpClient, HttpFault, HttpRequest, Target
from relay.host.tls import TlsOptions, client_context

HEAD = b"HTTP/1.1 200 OK\r\n"
BLOCK = bytes(range(256)) * 256


class Ground:
    """A server, and a client of it."""

    def __init__(self, server: HttpsServer, client: HttpClient, target: Target) -> None:
        self.server, self.client, self.target = server, client, target

    def request(self, limit: int = 1 << 40, seconds: float = 5.0) -> HttpRequest:
        return HttpRequest("GET", self.target.origin + "/a", timeout=seconds, limit=BodyLimit(limit))


@pytest.fixture
async def ground(authority: Authority, certificate: Certificate) -> AsyncIterator[Ground]:
    async with HttpsServer(lambda _: Response(200, b"fine"), certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=False, cookies=False)
        yield Ground(server, client, target)
        await client.aclose()
    gc.collect()


async def whole(download: Download) -> bytes:
    pieces = []
    while piece := await download.read():
        pieces.append(piece)
    assert all(len(piece) == PIECE for piece in pieces[:-1])
    return b"".join(pieces)


def telling(size: int, *, told: bool) -> Any:
    """A handler that sends so many bytes, with or without telling how many."""

    async def handle(request: Request) -> Reply:
        told_by = f"content-length: {size}" if told else "transfer-encoding: chunked"
        await request.connection.write(HEAD + f"{told_by}\r\n\r\n".encode())
        for start in range(0, size, len(BLOCK)):
            block = BLOCK[: size - start]
            await request.connection.write(block if told else b"%x\r\n%b\r\n" % (len(block), block))
        if not told:
            await request.connection.write(b"0\r\n\r\n")
        return None

    return handle


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * PIECE + 7])
async def test_a_body_arrives_whole(ground: Ground, size: int, told: bool) -> None:
    """Status, headers and size come first, then every byte, in pieces of one size; the connection is closed then."""
    ground.server.handler = telling(size, told=told)
    async with ground.client.receive(ground.request()) as download:
        assert (download.status, download.size) == (200, size if told else None)
        assert download.header("Content-Length") == (str(size) if told else None)
        assert await whole(download) == (BLOCK * 4)[:size]
        assert await download.read() == b""
    ground.server.handler = lambda _: Response(200, b"fine")
    assert (await ground.client.send(ground.request())).body == b"fine"
    assert len(ground.server.connections) == 2


async def test_memory_does_not_grow_with_the_body(ground: Ground) -> None:
    """Of 32 MiB no more than a few pieces are held, while the reader is slower than the other side."""
    size = 32 * 1024 * 1024
    ground.server.handler = telling(size, told=True)
    digest = hashlib.sha256()
    tracemalloc.start()
    try:
        async with ground.client.receive(ground.request()) as download:
            await asyncio.sleep(0.2)
            while piece := await download.read():
                digest.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.digest() == hashlib.sha256(BLOCK * (size // len(BLOCK))).digest()
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        (Truncate(HEAD + b"content-length: 10\r\n\r\n12345"), "broken", "without sending complete message body"),
        (Truncate(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"), "broken", "incomplete chunked read"),
        (HEAD + b"content-length: 10\r\n\r\n12345", "timeout", "no more of the answer came, 0.5 s were over"),
        (Drip(HEAD + b"content-length: 1999\r\n\r\n" + b"x" * 999, 99, 0.1), "timeout", "no more of the answer"),
        (Response(200, b"x" * 2001), "too large", "2001 bytes; 2000 are allowed"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n800\r\n" + b"x" * 2048, "too large", "more than 2000 bytes"),
        (Response(200, b"x", {"content-encoding": "gzip"}), "undecodable", "content encoding 'gzip'"),
    ],
    ids=["cut", "cut chunks", "silence", "drip", "large", "large chunk", "encoded"],
)
async def test_faults_of_a_body(ground: Ground, reply: Reply, kind: str, detail: str) -> None:
    """Whatever ends a body early is a fault with the answer's status, and the client works on."""
    ground.server.handler = lambda _: reply
    with pytest.raises(HttpFault) as caught:
        async with ground.client.receive(ground.request(2000, 0.5)) as download:
            await whole(download)
    fault = caught.value
    assert (fault.kind, fault.maybe_sent, fault.status) == (kind, True, 200)
    assert detail in fault.detail
    with pytest.raises(HttpFault, match="ended early"):  # and not an end
        await download.read()
    ground.server.handler = lambda _: Response(200, b"fine")
    assert (await ground.client.send(ground.request())).body == b"fine"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(RESET, "broken"), (HANG, "timeout"), (HEAD + b"a: b\r\n" * 201 + b"\r\n", "broken")],
    ids=["reset", "hang", "headers"],
)
async def test_no_answer(ground: Ground, reply: Reply, kind: str) -> None:
    """Without headers there is no download, and the client works on."""
    ground.server.handler = lambda _: reply
    with pytest.raises(HttpFault) as caught:
        async with ground.client.receive(ground.request(seconds=0.5)):
            pytest.fail("there is an answer")
    assert (caught.value.kind, caught.value.maybe_sent) == (kind, True)
    ground.server.handler = lambda _: Response(200, b"fine")
    assert (await ground.client.send(ground.request())).body == b"fine"


async def test_a_body_until_the_end_of_the_connection(ground: Ground) -> None:
    """Without a length only TLS's own end tells that it is whole."""
    ground.server.handler = lambda _: Truncate(HEAD + b"\r\n12345")
    async with ground.client.receive(ground.request()) as download:
        assert download.size is None
        assert await whole(download) == b"12345"

    async def cut(request: Request) -> Reply:
        await request.connection.write(HEAD + b"\r\n12345")
        request.connection.writer.get_extra_info("socket").shutdown(2)
        return HANG

    ground.server.handler = cut
    with pytest.raises(HttpFault, match="broken"):
        async with ground.client.receive(ground.request()) as download:
            await whole(download)


async def test_tiny_chunks(ground: Ground) -> None:
    """More than ten thousand chunks that hold next to nothing are no body."""
    ground.server.handler = lambda _: HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 12_000
    with pytest.raises(HttpFault, match="too many chunks"):
        async with ground.client.receive(ground.request()) as download:
            await whole(download)


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_body_may_be_left(ground: Ground, pieces: int) -> None:
    """Who leaves the block closes the connection, whatever still comes; the next call has one of its own."""
    ground.server.handler = telling(1 << 30, told=True)
    async with asyncio.timeout(5):
        async with ground.client.receive(ground.request()) as download:
            for _ in range(pieces):
                assert len(await download.read()) == PIECE
        ground.server.handler = lambda _: Response(200, b"fine")
        assert (await ground.client.send(ground.request())).body == b"fine"


async def test_a_cancelled_reader_closes_the_connection(ground: Ground) -> None:
    """A reader that is cancelled while it waits lets go of the connection, and of the client's one turn."""
    ground.server.handler = lambda _: HEAD + b"content-length: 10\r\n\r\n1"
    begun = asyncio.Event()

    async def read() -> None:
        async with ground.client.receive(ground.request()) as download:
            begun.set()
            await download.read()

    reading = asyncio.create_task(read())
    await begun.wait()
    waiting = asyncio.create_task(ground.client.send(ground.request()))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    ground.server.handler = lambda _: Response(200, b"fine")
    assert (await waiting).body == b"fine"


async def test_nothing_leaves_for_another_target(ground: Ground) -> None:
    """The origin is compared before anything is sent, and the refusal is counted."""
    before = network.CONNECTS["test", "refused"]
    with pytest.raises(HttpFault, match="not the target's"):
        async with ground.client.receive(HttpRequest("GET", "https://other.example.com/")):
            pytest.fail("there is an answer")
    assert network.CONNECTS["test", "refused"] == before + 1
    assert ground.server.connections == []


@asynccontextmanager
async def busy(ground: Ground) -> AsyncIterator[None]:
    async with ground.client.receive(ground.request()):
        yield


async def test_one_at_a_time(ground: Ground) -> None:
    """While a body is read the client takes no other request; whose time is over meanwhile was not sent."""
    async with busy(ground):
        with pytest.raises(HttpFault, match="waiting for the connection") as caught:
            async with ground.client.receive(ground.request(seconds=0.05)):
                pytest.fail("there is an answer")
    assert not caught.value.maybe_sent
    assert len(ground.server.requests) == 1
