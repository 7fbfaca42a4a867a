"""Answers that are made to cost: each is left at a bound, and others run meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.host.bodies import PIECES
from relay.host.http import MAX_COOKIE_BYTES, BodyLimit, HttpClient, HttpFault, HttpRequest, Target
from relay.host.network import HEAD_BYTES
from relay.host.tls import TlsOptions, client_context

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def target_of(server: HttpsServer, authority: Authority) -> Target:
    return Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))


async def poured(
    first: bytes, piece: bytes, authority: Authority, certificate: Certificate, limit: BodyLimit
) -> tuple[HttpFault, int, float]:
    """What ends an answer that begins so and goes on for ever; the bytes that had been sent; the longest pause."""
    sent = 0

    async def pour(request: Request) -> None:
        nonlocal sent
        await request.connection.write(first)
        block = piece * (65536 // len(piece) + 1)
        while True:
            await request.connection.write(block)
            sent += len(block)

    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)

    async with HttpsServer(pour, certificate) as server:
        target = target_of(server, authority)
        watching = asyncio.create_task(watch())
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(
                HttpRequest("GET", target.origin + "/", timeout=30, limit=limit)
            )
        watching.cancel()
    return caught.value, sent, longest


@pytest.mark.parametrize(
    ("first", "piece", "detail"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "more bytes around the answer than any needs"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: " + b"x" * 2000 + b"\r\n\r\n", "more bytes around the answer"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", "the answer is not well-formed HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y", "the answer is not well-formed HTTP"),
        (CHUNKED, b"1;" + b"x" * 1000 + b"\r\ny\r\n", "more bytes around the answer than any needs"),
        (CHUNKED + b"1;", b"x", "the answer is not well-formed HTTP"),
        (CHUNKED + b"0\r\n", b"x: y\r\n", "the answer is not well-formed HTTP"),
    ],
)
async def test_what_comes_around_a_body_is_bounded(
    authority: Authority, certificate: Certificate, first: bytes, piece: bytes, detail: str
) -> None:
    """Informational answers, header lines, chunk extensions and trailers without end are left after some bytes."""
    fault, sent, _ = await poured(first, piece, authority, certificate, BodyLimit(10_000))
    assert (fault.kind, fault.maybe_sent) == ("broken", True)
    assert detail in fault.detail
    assert HEAD_BYTES // 2 < sent < 16 * 1024 * 1024


async def test_chunks_of_one_byte_end_early_and_leave_others_time(
    authority: Authority, certificate: Certificate
) -> None:
    """A body in the smallest chunks is refused after so many of them, and never keeps the loop for long."""
    limit = BodyLimit(50 * 1024 * 1024)
    fault, _, longest = await poured(CHUNKED, b"1\r\nx\r\n", authority, certificate, limit)
    assert (fault.kind, fault.detail) == ("undecodable", "too many chunks that hold next to nothing")
    assert longest < 1.0


async def test_honest_chunks_pass(authority: Authority, certificate: Certificate) -> None:
    """A body that is flushed line by line is read, however many chunks it has."""
    line = b"<session lsid='0123456789'/>\n"
    count = 2 * PIECES
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for _ in range(count)) + b"0\r\n\r\n"
    async with HttpsServer(lambda _: CHUNKED + body, certificate) as server:
        target = target_of(server, authority)
        response = await HttpClient(target, keep_alive=False, cookies=False).send(
            HttpRequest("GET", target.origin + "/", limit=BodyLimit(count * len(line)))
        )
    assert response.body == line * count


@pytest.mark.parametrize(
    "value",
    ["a=\xe9; Path=/", "a=\x01; Path=/", "a=" + "x" * 5000, "\xff", "a=1; expires=99999999999999999999; Path=/"],
)
async def test_a_cookie_that_could_not_be_sent_back_spoils_nothing(
    authority: Authority, certificate: Certificate, value: str
) -> None:
    """Whatever a server sets as a cookie, its next request is sent, with the cookies that are fit for it."""
    cookies = (("set-cookie", value), ("set-cookie", "good=1; Path=/"))
    async with HttpsServer(lambda _: Response(headers=cookies), certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=True)
        for _ in range(2):
            await client.send(HttpRequest("GET", target.origin + "/"))
        await client.aclose()
    assert "good=1" in server.requests[1].headers["cookie"]
    assert server.requests[1].headers["cookie"].isascii()


async def test_cookies_that_grow_empty_the_jar(authority: Authority, certificate: Certificate) -> None:
    """The bytes of a jar are bounded: they would go along with every request."""
    flood = tuple(("set-cookie", f"c{number}={'x' * 4000}; Path=/") for number in range(MAX_COOKIE_BYTES // 4000 + 1))
    async with HttpsServer(lambda _: Response(headers=flood), certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=True)
        for _ in range(2):
            await client.send(HttpRequest("GET", target.origin + "/"))
        await client.aclose()
    assert "cookie" not in server.requests[1].headers
