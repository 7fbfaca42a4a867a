"""Requests, answers and connections of the HTTP seam, over real TLS."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from support.server import HANG, HttpsServer, Request, Response, raw_server
from support.tls import Authority, Certificate

from relay.host.http import BodyLimit, HttpClient, HttpFault, HttpRequest, Target
from relay.host.tls import TlsOptions, client_context


def target_of(server: HttpsServer, authority: Authority) -> Target:
    return Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))


def echo(request: Request) -> Response:
    return Response(200, request.body, {"x-method": request.method})


async def test_the_request_arrives_exactly_as_it_was_given(authority: Authority, certificate: Certificate) -> None:
    """Target and body are not normalised, and only transport headers are added."""
    async with HttpsServer(echo, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        path = "/a/../b%2F%2e/?q=%2E&r=a+b//"
        request = HttpRequest("POST", target.origin + path, (("X-One", "1"), ("Accept-Encoding", "identity")), b"body")
        response = await client.send(request)
        await client.aclose()
    assert (response.status, response.body, response.header("X-METHOD")) == (200, b"body", "POST")
    assert response.header("absent") is None
    assert 0 < response.elapsed < 30
    got = server.requests[0]
    assert got.target == path
    assert sorted(got.raw_headers) == [
        ("accept-encoding", "identity"),
        ("connection", "keep-alive"),
        ("content-length", "4"),
        ("host", f"localhost:{server.port}"),
        ("x-one", "1"),
    ]


async def test_a_kept_connection_is_used_again(authority: Authority, certificate: Certificate) -> None:
    """With keep-alive all requests go over one connection, without it each has its own and says so."""
    async with HttpsServer(echo, certificate) as server:
        target = target_of(server, authority)
        kept, single = (HttpClient(target, keep_alive=keep, cookies=False) for keep in (True, False))
        for _ in range(3):
            await kept.send(HttpRequest("GET", target.origin + "/"))
        assert len(server.connections) == 1
        for _ in range(3):
            await single.send(HttpRequest("GET", target.origin + "/"))
        assert len(server.connections) == 4
        assert server.requests[-1].headers["connection"] == "close"
        await kept.aclose()
        await kept.send(HttpRequest("GET", target.origin + "/"))
        assert len(server.connections) == 5
        await kept.aclose()


async def test_requests_of_one_client_wait_for_each_other(authority: Authority, certificate: Certificate) -> None:
    """Two requests at once on one client go over one connection, one after the other."""
    async with HttpsServer(echo, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        bodies = [bytes([65 + number]) for number in range(5)]
        answers = await asyncio.gather(
            *(client.send(HttpRequest("POST", target.origin + "/", content=body)) for body in bodies)
        )
        assert [answer.body for answer in answers] == bodies
        assert len(server.connections) == 1
        await client.aclose()


async def test_a_request_that_waits_too_long_for_its_turn_was_not_sent(
    authority: Authority, certificate: Certificate
) -> None:
    """A timeout while another request has the connection is surely not sent, the other's surely maybe."""
    async with HttpsServer(lambda _: HANG, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        first = asyncio.create_task(client.send(HttpRequest("GET", target.origin + "/", timeout=0.6)))
        await server.wait_for_requests(1)
        with pytest.raises(HttpFault) as second:
            await client.send(HttpRequest("GET", target.origin + "/", timeout=0.1))
        with pytest.raises(HttpFault) as fault:
            await first
    assert (second.value.kind, second.value.maybe_sent) == ("timeout", False)
    assert (fault.value.kind, fault.value.maybe_sent) == ("timeout", True)


async def test_redirects_are_answers(authority: Authority, certificate: Certificate) -> None:
    """A redirect is handed back and not followed."""
    async with HttpsServer(lambda _: Response(302, headers={"location": "/elsewhere"}), certificate) as server:
        target = target_of(server, authority)
        response = await HttpClient(target, keep_alive=False, cookies=False).send(
            HttpRequest("GET", target.origin + "/")
        )
    assert (response.status, response.header("location")) == (302, "/elsewhere")
    assert len(server.requests) == 1


async def test_cookies_live_in_the_clients_own_jar(authority: Authority, certificate: Certificate) -> None:
    """A jar gives back what the server set, until it is dropped; another client never sees it."""

    def handler(_: Request) -> Response:
        return Response(headers=(("set-cookie", "a=1; Path=/; Secure"), ("set-cookie", "b=2; Path=/")))

    async with HttpsServer(handler, certificate) as server:
        target = target_of(server, authority)
        one, other = (HttpClient(target, keep_alive=True, cookies=keep) for keep in (True, False))
        for client in (one, one, other, other):
            await client.send(HttpRequest("GET", target.origin + "/"))
        one.drop_cookies()
        other.drop_cookies()
        await one.send(HttpRequest("GET", target.origin + "/"))
        await one.aclose()
        await other.aclose()
    assert [request.headers.get("cookie") for request in server.requests] == [None, "a=1; b=2", None, None, None]


async def test_a_flood_of_cookies_empties_the_jar(authority: Authority, certificate: Certificate) -> None:
    """A server cannot grow our requests by setting ever more cookies."""
    flood = tuple(("set-cookie", f"c{number}=1; Path=/") for number in range(60))
    async with HttpsServer(lambda _: Response(headers=flood), certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=True)
        for _ in range(2):
            await client.send(HttpRequest("GET", target.origin + "/"))
        await client.aclose()
    assert "cookie" not in server.requests[1].headers


async def test_a_kept_connection_that_died_is_not_used(authority: Authority, certificate: Certificate) -> None:
    """When the server closed an idle connection the next request goes over a new one."""
    async with HttpsServer(echo, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        await client.send(HttpRequest("GET", target.origin + "/"))
        server.connections[0].writer.close()
        await server.connections[0].writer.wait_closed()
        await client.send(HttpRequest("POST", target.origin + "/", content=b"x"))
        await client.aclose()
    assert [request.connection.number for request in server.requests] == [0, 1]


async def test_bytes_after_an_answer_are_not_the_next_answer(authority: Authority, certificate: Certificate) -> None:
    """A second answer that nobody asked for ends the connection instead of answering the next request."""

    def handler(request: Request) -> Response | bytes:
        good = Response(200, b"good").encode()
        return good + Response(200, b"evil").encode() if request.target == "/1" else good

    async with HttpsServer(handler, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        bodies = [(await client.send(HttpRequest("GET", target.origin + path))).body for path in ("/1", "/2")]
        await client.aclose()
    assert bodies == [b"good", b"good"]
    assert len(server.connections) == 2


async def test_a_cancelled_call_closes_its_connection(authority: Authority, certificate: Certificate) -> None:
    """After a cancel the connection is gone and the client works on with a new one."""

    def handler(request: Request) -> object:
        return HANG if request.target == "/hang" else Response(200, b"fine")

    async with HttpsServer(handler, certificate) as server:  # type: ignore[arg-type]
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        await client.send(HttpRequest("GET", target.origin + "/"))
        call = asyncio.create_task(client.send(HttpRequest("GET", target.origin + "/hang")))
        await server.wait_for_requests(2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
        assert [request.connection.number for request in server.requests] == [0, 0, 1]
        await client.aclose()


async def test_informational_answers_are_passed_over(authority: Authority, certificate: Certificate) -> None:
    """A 100 or 103 before the answer is not the answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + Response(200, b"real").encode()
    async with HttpsServer(lambda _: early, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=False, cookies=False)
        response = await client.send(HttpRequest("GET", target.origin + "/"))
    assert (response.status, response.body) == (200, b"real")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_need_no_length(
    authority: Authority, certificate: Certificate, status: int
) -> None:
    """A 204 and a 304 are complete at their headers."""
    async with HttpsServer(lambda _: b"HTTP/1.1 %d X\r\n\r\n" % status, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        response = await client.send(HttpRequest("GET", target.origin + "/"))
        await client.aclose()
    assert (response.status, response.body) == (status, b"")


async def test_a_head_request_has_no_body_whatever_the_length_says(
    authority: Authority, certificate: Certificate
) -> None:
    """HEAD is complete at its headers even when the length is over the limit."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"
    async with HttpsServer(lambda _: answer, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        response = await client.send(HttpRequest("HEAD", target.origin + "/", limit=BodyLimit(10)))
        await client.aclose()
    assert response.body == b""


async def test_gzip_is_decoded(authority: Authority, certificate: Certificate) -> None:
    """A gzip body arrives decoded, also in chunks."""
    packed = gzip.compress(b"text " * 1000)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(packed[i : i + 7]), packed[i : i + 7]) for i in range(0, len(packed), 7))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: GZIP\r\ntransfer-encoding: chunked\r\n\r\n"
    async with HttpsServer(lambda _: head + chunks + b"0\r\n\r\n", certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        for _ in range(2):
            response = await client.send(HttpRequest("GET", target.origin + "/"))
            assert response.body == b"text " * 1000
        await client.aclose()
    assert len(server.connections) == 1


async def test_large_bodies_flow_both_ways(authority: Authority, certificate: Certificate) -> None:
    """A body of megabytes goes up and down while either side is slow to read."""
    data = bytes(range(256)) * 32 * 1024

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.05)
        return Response(200, request.body)

    async with HttpsServer(slow, certificate) as server:
        target = target_of(server, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        response = await client.send(HttpRequest("POST", target.origin + "/", content=data, limit=BodyLimit(len(data))))
        await client.aclose()
    assert response.body == data


async def test_a_peer_that_does_not_read(authority: Authority, certificate: Certificate) -> None:
    """An upload that the peer never takes ends at the timeout, and was partly sent."""

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with raw_server(deaf, certificate) as port:
        target = Target("test", f"https://localhost:{port}", client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=True, cookies=False)
        with pytest.raises(HttpFault) as caught:
            await client.send(HttpRequest("POST", target.origin + "/", content=bytes(32 * 1024 * 1024), timeout=0.5))
    assert (caught.value.kind, caught.value.maybe_sent) == ("timeout", True)


async def test_an_answer_that_comes_before_the_body_was_taken(authority: Authority, certificate: Certificate) -> None:
    """A server that answers in the middle of an upload is heard, and the connection is not used again."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(Response(413, b"too much", {"connection": "close"}).encode())
        await writer.drain()
        while await reader.read(65536):
            pass

    async with raw_server(early, certificate) as port:
        target = Target("test", f"https://localhost:{port}", client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=True, cookies=False)
        for _ in range(2):
            response = await client.send(HttpRequest("POST", target.origin + "/", content=bytes(4 * 1024 * 1024)))
            assert (response.status, response.body) == (413, b"too much")
        await client.aclose()
