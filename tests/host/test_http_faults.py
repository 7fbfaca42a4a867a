"""Every way in which an exchange fails, and what the fault says about what was sent."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import zlib
from dataclasses import replace

import pytest
import structlog
from support.peak import peak
from support.server import HANG, RESET, Drip, HttpsServer, Reply, Request, Response, Truncate, raw_server
from support.tls import Authority, Certificate

from relay.host import network
from relay.host.http import BodyLimit, HttpClient, HttpFault, HttpRequest, Target
from relay.host.tls import TlsOptions, client_context

HEAD = b"HTTP/1.1 200 OK\r\n"


async def fault_of(
    reply: Reply, authority: Authority, certificate: Certificate, limit: BodyLimit | None = None, seconds: float = 10
) -> HttpFault:
    """The fault that a POST meets when the server replies like this."""
    async with HttpsServer(lambda _: reply, certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=True, cookies=False)
        request = HttpRequest(
            "POST", target.origin + "/", content=b"x", timeout=seconds, limit=limit or BodyLimit(1000, 5000)
        )
        with pytest.raises(HttpFault) as caught:
            await client.send(request)
        assert len(server.requests) == 1
        server.handler = lambda _: Response(200, b"fine")
        # Whatever went wrong, the client works on, over a connection that is not the broken one.
        assert (await client.send(request)).body == b"fine"
        assert server.requests[1].connection is not server.requests[0].connection
        await client.aclose()
    gc.collect()
    return caught.value


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        (RESET, "broken", "Connection reset by peer"),
        (Truncate(b""), "broken", "Server disconnected without sending a response."),
        (Truncate(b"HTTP/1.1 200 OK\r\nx: "), "broken", "Server disconnected without sending a response."),
        (
            Truncate(HEAD + b"content-length: 10\r\n\r\n12345"),
            "broken",
            "peer closed connection without sending complete message body (received 5 bytes, expected 10)",
        ),
        (
            Truncate(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"),
            "broken",
            "peer closed connection without sending complete message body (incomplete chunked read)",
        ),
        (Truncate(b"secret nonsense\r\n\r\n"), "broken", "the answer is not well-formed HTTP"),
        (HEAD + b"bad header secret\r\n\r\n", "broken", "the answer is not well-formed HTTP"),
        (HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n", "broken", "the answer is not well-formed HTTP"),
        (HEAD + b"x: y\r\n" * 201 + b"content-length: 0\r\n\r\n", "broken", "more than 200 header lines"),
        (HEAD + b"content-length: 3\r\ncontent-encoding: br\r\n\r\nabc", "undecodable", "content encoding 'br'"),
        (HEAD + b"content-length: 3\r\ncontent-encoding: gzip\r\n\r\nabc", "undecodable", "damaged gzip"),
    ],
)
async def test_broken_answers(
    authority: Authority, certificate: Certificate, reply: Reply, kind: str, detail: str
) -> None:
    """An answer that is cut off, reset or no HTTP is a fault that may have been sent; it quotes nothing of it."""
    fault = await fault_of(reply, authority, certificate)
    assert (fault.kind, fault.detail, fault.maybe_sent) == (kind, detail, True)
    assert str(fault) == f"{kind}: {detail}"
    assert fault.__cause__ is None


async def test_a_reset_within_a_body(authority: Authority, certificate: Certificate) -> None:
    """A connection that breaks while the body comes is a broken answer with a status."""

    async def half(request: Request) -> Reply:
        await request.connection.write(HEAD + b"content-length: 10\r\n\r\n12345")
        await asyncio.sleep(0.05)
        return RESET

    async with HttpsServer(half, certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    fault = caught.value
    assert (fault.kind, fault.detail, fault.maybe_sent, fault.status) == (
        "broken",
        "Connection reset by peer",
        True,
        200,
    )


async def test_a_cut_gzip_stream_is_incomplete(authority: Authority, certificate: Certificate) -> None:
    """Half a gzip stream is a broken answer even when HTTP thinks it whole."""
    packed = gzip.compress(bytes(range(256)))[:-20]
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    fault = await fault_of(head + packed, authority, certificate)
    assert (fault.kind, fault.detail, fault.status) == ("broken", "the answer is not complete", 200)
    assert ("content-encoding", "gzip") in fault.headers


async def test_a_body_without_length_ends_with_a_proper_goodbye(authority: Authority, certificate: Certificate) -> None:
    """A body that only the connection's end delimits is whole with close_notify and broken without."""

    async def cut(request: Request) -> Reply:
        await request.connection.write(HEAD + b"\r\nbody")
        # The TCP connection ends under the TLS one.
        raw = request.connection.writer.get_extra_info("socket")
        socket.socket(fileno=raw.fileno()).detach()
        with socket.socket(fileno=socket.dup(raw.fileno())) as copy:
            copy.shutdown(socket.SHUT_WR)
        return HANG

    async with HttpsServer(lambda _: Truncate(HEAD + b"\r\nbody"), certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=False, cookies=False)
        request = HttpRequest("GET", target.origin + "/", timeout=10)
        assert (await client.send(request)).body == b"body"
        server.handler = cut
        with pytest.raises(HttpFault) as caught:
            await client.send(request)
    assert (caught.value.kind, caught.value.maybe_sent, caught.value.status) == ("broken", True, 200)


async def test_a_reset_before_the_request_was_not_sent(authority: Authority) -> None:
    """A connection that breaks during the TLS handshake has carried nothing of the request."""

    async def slam(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw_server(slam) as port:
        target = Target("test", f"https://localhost:{port}", client_context(TlsOptions(ca_file=authority.ca_file)))
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    assert (caught.value.kind, caught.value.maybe_sent) == ("tls", False)


async def test_a_port_that_nobody_listens_on(authority: Authority) -> None:
    """A refused connection is `connect` and was not sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = Target(
            "test",
            f"https://127.0.0.1:{free.getsockname()[1]}",
            client_context(TlsOptions(ca_file=authority.ca_file)),
        )
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    assert (caught.value.kind, caught.value.maybe_sent) == ("connect", False)
    assert "onnect" in caught.value.detail


async def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    """A name that DNS does not know is `connect` and was not sent."""
    target = Target("test", "https://nowhere.invalid", client_context(TlsOptions(ca_file=authority.ca_file)))
    with pytest.raises(HttpFault) as caught:
        await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    assert (caught.value.kind, caught.value.maybe_sent) == ("connect", False)


async def test_a_server_that_never_shakes_hands(authority: Authority) -> None:
    """The handshake has a time of its own, after which nothing was sent; so has the whole call."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        target = Target("test", f"https://127.0.0.1:{silent.getsockname()[1]}", context, connect_timeout=0.1)
        request = HttpRequest("GET", target.origin + "/", timeout=10)
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(request)
        assert (caught.value.kind, caught.value.detail, caught.value.maybe_sent) == (
            "timeout",
            "shaking hands took too long",
            False,
        )
        target = replace(target, connect_timeout=10)
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(replace(request, timeout=0.1))
        assert (caught.value.kind, caught.value.detail, caught.value.maybe_sent) == (
            "timeout",
            "shaking hands, 0.1 s were over",
            False,
        )


async def test_connecting_has_a_time_of_its_own(authority: Authority) -> None:
    """A host that does not answer TCP costs the connect timeout, and nothing was sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # A listener whose queue is full drops what comes.
        queued = [socket.socket() for _ in range(4)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        target = Target("test", f"https://127.0.0.1:{port}", context, connect_timeout=0.1)
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
        for one in queued:
            one.close()
    assert (caught.value.kind, caught.value.detail, caught.value.maybe_sent) == (
        "timeout",
        "connecting took too long",
        False,
    )


@pytest.mark.parametrize(
    "reply",
    [HANG, Drip(HEAD + b"content-length: 1000\r\n\r\n" + b"z" * 1000, 1, 0.01), b"HTTP/1.1 100 Continue\r\n\r\n"],
)
async def test_the_time_of_a_call_is_a_total(authority: Authority, certificate: Certificate, reply: Reply) -> None:
    """A server that hangs, drips or only ever promises is left at the call's timeout."""
    fault = await fault_of(reply, authority, certificate, seconds=0.3)
    assert (fault.kind, fault.maybe_sent, fault.detail) == ("timeout", True, "waiting for the answer, 0.3 s were over")


@pytest.mark.parametrize(
    ("reply", "size"),
    [
        (Response(200, b"x" * 1001), 1001),
        (HEAD + b"content-length: 99999\r\n\r\n", 99999),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n", 2000),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1771\r\n" + b"x" * 6001 + b"\r\n0\r\n\r\n", None),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n" + (b"bb8\r\n" + b"x" * 3000 + b"\r\n") * 9, None),
        (Response(200, gzip.compress(b"x" * 4000), {"content-encoding": "gzip"}), 4000),
        (Response(200, gzip.compress(b"x" * 9000), {"content-encoding": "gzip"}), None),
    ],
)
async def test_large_answers_are_counted_and_not_kept(
    authority: Authority, certificate: Certificate, reply: Reply, size: int | None
) -> None:
    """A body over `keep` is a fault that names its size, unless it is over `count` and nobody knows."""
    fault = await fault_of(reply, authority, certificate)
    assert (fault.kind, fault.size, fault.status, fault.maybe_sent) == ("too large", size, 200, True)
    assert fault.detail == (f"{size} bytes" if size else "more than 5000 bytes") + "; 1000 are allowed"


async def test_a_gzip_bomb_stops_early(authority: Authority, certificate: Certificate) -> None:
    """A body that grows a thousandfold is left at its bound, in memory and in bytes read."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(300)) + packer.flush()
    limit = BodyLimit(64 * 1024, 20 * 1024 * 1024)
    before = peak(anew=True)
    fault = await fault_of(Response(200, bomb, {"content-encoding": "gzip"}), authority, certificate, limit, seconds=30)
    assert (fault.kind, fault.size) == ("too large", None)
    assert peak() - before < 16 * 1024 * 1024


async def test_a_bomb_beyond_its_bound_keeps_the_loop_alive(authority: Authority, certificate: Certificate) -> None:
    """While a large body is decoded other tasks run."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    packed = gzip.compress(bytes(16 * 1024 * 1024))
    async with HttpsServer(lambda _: Response(200, packed, {"content-encoding": "gzip"}), certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        ticking = asyncio.create_task(tick())
        response = await HttpClient(target, keep_alive=False, cookies=False).send(
            HttpRequest("GET", target.origin + "/", limit=BodyLimit(32 * 1024 * 1024))
        )
        ticking.cancel()
    assert len(response.body) == 16 * 1024 * 1024
    assert turns >= 64


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("GET", "https://127.0.0.1:1/"),
        HttpRequest("GET", "https://localhost:1.evil/"),
        HttpRequest("GET", "https://localhost:1@evil/"),
        HttpRequest("GET", "https://localhost:1"),
        HttpRequest("GET", "http://localhost:1/"),
        HttpRequest("GET", "https://localhost:1/a b"),
        HttpRequest("GET", "https://localhost:1/a\r\nb"),
        HttpRequest("GET", "https://localhost:1/a\0"),
        HttpRequest("GET", "https://localhost:1/a#b"),
        HttpRequest("GET", "https://localhost:1/a\\b"),
        HttpRequest("GET", "https://localhost:1/ä"),
        HttpRequest("get", "https://localhost:1/"),
        HttpRequest("GET /\r\n", "https://localhost:1/"),
        HttpRequest("GET", "https://localhost:1/", (("a b", "c"),)),
        HttpRequest("GET", "https://localhost:1/", (("a\n", "c"),)),
        HttpRequest("GET", "https://localhost:1/", (("a", "b\r\nc: d"),)),
        HttpRequest("GET", "https://localhost:1/", (("a", "b\0"),)),
        HttpRequest("GET", "https://localhost:1/", (("a", "ä"),)),
        HttpRequest("GET", "https://localhost:1/", (("Host", "evil"),)),
        HttpRequest("GET", "https://localhost:1/", (("Transfer-Encoding", "chunked"),)),
    ],
)
async def test_what_is_not_fit_to_be_sent(authority: Authority, request_: HttpRequest) -> None:
    """Another origin, or a character that could end a part early, is refused before anything is connected."""
    target = Target("test", "https://localhost:1", client_context(TlsOptions(ca_file=authority.ca_file)))
    with pytest.raises(HttpFault) as caught:
        await HttpClient(target, keep_alive=False, cookies=False).send(request_)
    assert (caught.value.kind, caught.value.maybe_sent) == ("egress", False)
    assert "evil" not in caught.value.detail


async def test_the_network_refuses_what_is_not_on_its_list(authority: Authority, certificate: Certificate) -> None:
    """Host and port are compared once more at connect, whatever the checks before it let through."""
    async with HttpsServer(lambda _: Response(), certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=False, cookies=False)
        client._egress.allowed = ("localhost", 1)
        with structlog.testing.capture_logs() as logs, pytest.raises(HttpFault) as caught:
            await client.send(HttpRequest("GET", target.origin + "/"))
        assert server.connections == []
    assert (caught.value.kind, caught.value.maybe_sent) == ("egress", False)
    assert caught.value.detail == "host and port are not on the egress list"
    assert logs == [
        {
            "event": "egress.refused",
            "log_level": "warning",
            "target": "test",
            "reason": "host and port are not on the egress list",
            "host": "localhost",
            "port": server.port,
        }
    ]


async def test_each_new_address_is_logged_once(
    authority: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is logged with its address, which is news when it is not the one of the target's last connection."""
    known: dict[tuple[str, str, int], str] = {}
    monkeypatch.setattr(network, "_ADDRESSES", known)
    async with HttpsServer(lambda _: Response(), certificate) as server:
        target = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                client = HttpClient(target, keep_alive=False, cookies=False)
                await client.send(HttpRequest("GET", target.origin + "/"))
            known["test", "localhost", server.port] = "192.0.2.1"
            await client.send(HttpRequest("GET", target.origin + "/"))
    fields = {"event": "http.connect", "target": "test", "host": "localhost", "port": server.port}
    fields["address"] = "127.0.0.1"
    assert logs == [{**fields, "log_level": level} for level in ("info", "debug", "info")]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.COM", "https://example.com"),
        ("https://example.com:443/", "https://example.com"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_a_target_has_one_spelling(url: str, origin: str) -> None:
    """An origin is lower case and without its default port."""
    assert Target("test", url, client_context(TlsOptions())).origin == origin


@pytest.mark.parametrize(
    "url", ["http://h", "https://", "https://u@h", "https://h/p", "https://h?q", "https://h/#f", "h"]
)
def test_a_target_is_an_origin_and_nothing_else(url: str) -> None:
    """Plain http, a user, a path or a query is no target."""
    with pytest.raises(ValueError, match="is not https"):
        Target("test", url, client_context(TlsOptions()))
