"""Request bodies that are never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from support.server import HANG, RESET, HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.host.http import HttpClient, HttpFault, HttpRequest, Streamed, Target
from relay.host.tls import TlsOptions, client_context

PIECE = bytes(range(256)) * 256


def source(size: int, ended: list[str], *, fails: bool = False) -> Callable[[], AsyncGenerator[bytes, None]]:
    """A source of `size` bytes that notes in `ended` when it is let go."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            for start in range(0, size, len(PIECE)):
                yield PIECE[: size - start]
            if fails:
                raise OSError(5, "the disk is gone")
        finally:
            ended.append("ended")

    return pieces


def digest(request: Request) -> Response:
    return Response(200, hashlib.sha256(request.body).hexdigest().encode())


def target_of(server: HttpsServer, authority: Authority) -> Target:
    return Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))


async def send(target: Target, body: Streamed, seconds: float = 5.0) -> bytes:
    client = HttpClient(target, keep_alive=True, cookies=True)
    try:
        return (await client.send(HttpRequest("POST", target.origin + "/a", content=body, timeout=seconds))).body
    finally:
        await client.aclose()


async def test_a_streamed_body_arrives_whole(authority: Authority, certificate: Certificate) -> None:
    """It has its length in the header, is not chunked, and its source ends with the request."""
    ended: list[str] = []
    size = 3 * len(PIECE) + 7
    async with HttpsServer(digest, certificate) as server:
        found = await send(target_of(server, authority), Streamed(size, source(size, ended)))
    assert found.decode() == hashlib.sha256((PIECE * 4)[:size]).hexdigest()
    assert sorted(server.requests[0].raw_headers) == [
        ("accept-encoding", "gzip, identity"),
        ("connection", "keep-alive"),
        ("content-length", str(size)),
        ("host", f"localhost:{server.port}"),
    ]
    assert ended == ["ended"]


async def test_memory_does_not_grow_with_the_body(authority: Authority, certificate: Certificate) -> None:
    """Of a body of 32 MiB no more than a few pieces are held, however slow the other side reads."""
    size = 32 * 1024 * 1024

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await asyncio.start_server(count, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"https://localhost:{port}"
        target = Target("test", url, client_context(TlsOptions(ca_file=authority.ca_file)))
        tracemalloc.start()
        try:
            assert await send(target, Streamed(size, source(size, [])), seconds=40) == b"ok"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("given", [1000, 3000])
async def test_a_source_of_another_size_is_no_body(authority: Authority, certificate: Certificate, given: int) -> None:
    """With fewer or more bytes than were announced no request is complete."""
    ended: list[str] = []
    async with HttpsServer(digest, certificate) as server:
        with pytest.raises(HttpFault) as error:
            await send(target_of(server, authority), Streamed(2000, source(given, ended)))
    assert (error.value.kind, error.value.maybe_sent) == ("broken", True)
    assert (server.requests, ended) == ([], ["ended"])


async def test_what_a_source_raises_comes_out(authority: Authority, certificate: Certificate) -> None:
    """The request ends with the source's own error, and the other side never has it whole."""
    ended: list[str] = []
    async with HttpsServer(digest, certificate) as server:
        with pytest.raises(OSError, match="the disk is gone"):
            await send(target_of(server, authority), Streamed(2000, source(1000, ended, fails=True)))
    assert (server.requests, ended) == ([], ["ended"])


@pytest.mark.parametrize("reply", [RESET, HANG])
async def test_a_source_ends_with_a_failed_request(authority: Authority, certificate: Certificate, reply: Any) -> None:
    """A reset and a time-out let the source go before the fault is told."""
    ended: list[str] = []
    async with HttpsServer(lambda _: reply, certificate) as server:
        with pytest.raises(HttpFault) as error:
            await send(target_of(server, authority), Streamed(100, source(100, ended)), seconds=0.3)
    assert error.value.maybe_sent
    assert ended == ["ended"]
