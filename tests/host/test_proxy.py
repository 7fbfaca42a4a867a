"""Through a proxy: CONNECT, its refusals, and what was sent then."""

from __future__ import annotations

import dataclasses

import pytest
from support.proxy import ConnectProxy
from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.core.secret import Secret
from relay.host.http import HttpClient, HttpFault, HttpRequest, Proxy, Target
from relay.host.tls import TlsOptions, client_context


def fine(_: Request) -> Response:
    return Response(200, b"fine")


def target_via(proxy: ConnectProxy, url: str, authority: Authority, **account: object) -> Target:
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    return Target("test", url, context, Proxy(proxy.url, **account), connect_timeout=5)  # type: ignore[arg-type]


async def test_the_proxy_carries_the_call_and_sees_nothing_of_it(
    authority: Authority, certificate: Certificate
) -> None:
    """The proxy gets one CONNECT with host and port, whatever the request's own target is."""
    async with HttpsServer(fine, certificate) as server, ConnectProxy() as proxy:
        target = target_via(proxy, server.url, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        for _ in range(2):
            response = await client.send(HttpRequest("GET", target.origin + "/secret?path"))
            assert response.body == b"fine"
        await client.aclose()
    assert proxy.asked == [f"localhost:{server.port}"]
    assert "secret" not in proxy.heads[0]
    assert [request.target for request in server.requests] == ["/secret?path"] * 2


async def test_the_environments_proxy_is_ignored(
    authority: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and its like change nothing about where a call goes, nor does NO_PROXY take a proxy away."""
    async with HttpsServer(fine, certificate) as server, ConnectProxy() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "*")
        straight = Target("test", server.url, client_context(TlsOptions(ca_file=authority.ca_file)))
        for target in (straight, target_via(proxy, server.url, authority)):
            client = HttpClient(target, keep_alive=False, cookies=False)
            assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
    assert len(proxy.asked) == 1


async def test_a_proxy_that_wants_an_account(authority: Authority, certificate: Certificate) -> None:
    """With the right account it lets the call through; without it answers 407, and nothing was sent."""
    async with HttpsServer(fine, certificate) as server, ConnectProxy(account=("relay", "s:ecret")) as proxy:
        target = target_via(proxy, server.url, authority, username="relay", password=Secret("s:ecret"))
        request = HttpRequest("GET", target.origin + "/")
        assert (await HttpClient(target, keep_alive=False, cookies=False).send(request)).body == b"fine"
        for account in ({}, {"username": "relay"}, {"username": "relay", "password": Secret("wrong")}):
            other = target_via(proxy, server.url, authority, **account)
            with pytest.raises(HttpFault) as caught:
                await HttpClient(other, keep_alive=False, cookies=False).send(request)
            assert (caught.value.kind, caught.value.detail, caught.value.maybe_sent) == (
                "account",
                "the proxy answered 407: it asks for an account, or for another one",
                False,
            )
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (
            b"HTTP/1.1 403 evil reason\r\ncontent-length: 0\r\n\r\n",
            "proxy",
            "the proxy answered 403: it does not allow this host and port",
        ),
        (b"HTTP/1.1 502 x\r\ncontent-length: 0\r\n\r\n", "proxy", "the proxy answered 502: it cannot reach the host"),
        (b"HTTP/1.1 418 x\r\ncontent-length: 0\r\n\r\n", "proxy", "the proxy answered 418"),
        (b"nonsense\r\n\r\n", "proxy", "the answer is not well-formed HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nplain text in the tunnel", "timeout", "shaking hands, 0.3 s were over"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "tls", "bytes arrived before the TLS handshake"),
        (b"", "timeout", "waiting for the proxy, 0.3 s were over"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through(
    authority: Authority, answer: bytes, kind: str, detail: str
) -> None:
    """Whatever a proxy says instead of a tunnel, nothing was sent, and the client works on afterwards."""
    async with ConnectProxy(answer=answer) as proxy:
        target = target_via(proxy, "https://localhost:1", authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        for _ in range(2):
            with pytest.raises(HttpFault) as caught:
                await client.send(HttpRequest("GET", target.origin + "/", timeout=0.3 if kind == "timeout" else 10))
            assert (caught.value.kind, caught.value.detail, caught.value.maybe_sent) == (kind, detail, False)
        await client.aclose()
    assert len(proxy.asked) == 2


OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        ([None], "proxy", "Server disconnected without sending a response."),
        ([b"HTTP/1.1 200", None], "proxy", ""),
        ([bytes([byte]) for byte in OK] + [None], "tls", ""),
        ([OK, b"plain text in the tunnel\r\n"], "tls", "wrong version number"),
        ([OK, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], "tls", "wrong version number"),
        ([b"x"] * 1000, "timeout", "waiting for the proxy, 0.5 s were over"),
        ([b"HTTP/1.1 200 OK\r\n"] + [b"x: y\r\n"] * 1000, "timeout", "waiting for the proxy, 0.5 s were over"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, "proxy", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, "proxy", ""),
        (b"HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "proxy", ""),
        (b"HTTP/1.1 401 x\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n", "account", ""),
        (b"\0\xff" * 5000, "proxy", ""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "timeout", ""),
    ],
)
async def test_a_proxy_that_misbehaves(
    authority: Authority, answer: bytes | list[bytes | None], kind: str, detail: str
) -> None:
    """A proxy that drips, hangs up, talks nonsense or speaks in clear after its 200: it ends in time, unsent."""
    async with ConnectProxy(answer=answer) as proxy:
        target = target_via(proxy, "https://localhost:1", authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        request = HttpRequest("GET", target.origin + "/", (("Authorization", "Bearer the-token"),), timeout=0.5)
        if kind != "timeout":
            request = dataclasses.replace(request, timeout=10)
        for _ in range(2):
            with pytest.raises(HttpFault) as caught:
                await client.send(request)
            assert (caught.value.kind, caught.value.maybe_sent) == (kind, False), caught.value
            assert caught.value.detail.startswith(detail)
        await client.aclose()
    assert len(proxy.asked) == 2
    assert b"the-token" not in proxy.received


async def test_neither_side_sees_the_others_credentials(authority: Authority, certificate: Certificate) -> None:
    """The proxy's account goes to the proxy alone, the target's token and cookies to the target alone."""

    def greets(_: Request) -> Response:
        return Response(200, b"fine", {"set-cookie": "session=cookie-of-the-target"})

    async with HttpsServer(greets, certificate) as server, ConnectProxy(account=("relay", "s3cret")) as proxy:
        target = target_via(proxy, server.url, authority, username="relay", password=Secret("s3cret"))
        client = HttpClient(target, keep_alive=True, cookies=True)
        for _ in range(2):
            headers = (("Authorization", "Bearer token-of-the-target"),)
            await client.send(HttpRequest("POST", target.origin + "/path-of-the-target", headers, b"body"))
        await client.aclose()
        seen = bytes(proxy.received)
        assert len(seen) > 500
        for word in (b"token-of-the-target", b"cookie-of-the-target", b"path-of-the-target", b"Cookie", b"body"):
            assert word not in seen
        assert seen.count(b"Proxy-Authorization") == 1
        assert server.requests[1].headers["cookie"] == "session=cookie-of-the-target"
        for request in server.requests:
            assert not [name for name in request.headers if name.startswith("proxy-")]
            assert "cmVsYXk6czNjcmV0" not in repr(request)


async def test_after_a_407_the_account_is_read_again(authority: Authority, certificate: Certificate) -> None:
    """A proxy that asks for another account makes the next request read it again."""
    async with HttpsServer(fine, certificate) as server, ConnectProxy(account=("relay", "new")) as proxy:
        target = target_via(proxy, server.url, authority, username="relay", password=Secret("old"))

        def renew() -> bool:
            target.proxy = Proxy(proxy.url, "relay", Secret("new"))
            target.context = client_context(TlsOptions(ca_file=authority.ca_file))
            return True

        target.renew = renew
        client = HttpClient(target, keep_alive=True, cookies=False)
        with pytest.raises(HttpFault) as caught:
            await client.send(HttpRequest("GET", target.origin + "/"))
        assert caught.value.kind == "account"
        assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
        await client.aclose()


async def test_a_proxy_that_is_not_there(authority: Authority) -> None:
    """No proxy, no connection: `connect`, and nothing was sent."""
    target = target_via(ConnectProxy(), "https://localhost:1", authority)
    assert target.proxy is not None
    target = dataclasses.replace(target, proxy=Proxy("http://127.0.0.1:1"))
    with pytest.raises(HttpFault) as caught:
        await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    assert (caught.value.kind, caught.value.maybe_sent) == ("connect", False)


async def test_a_server_behind_the_proxy_with_a_wrong_certificate(authority: Authority) -> None:
    """The target's TLS is checked through the tunnel, and nothing was sent when it fails."""
    async with HttpsServer(fine, authority.issue("other.example")) as server, ConnectProxy() as proxy:
        target = target_via(proxy, server.url, authority)
        client = HttpClient(target, keep_alive=True, cookies=False)
        for _ in range(2):
            with pytest.raises(HttpFault) as caught:
                await client.send(HttpRequest("GET", target.origin + "/"))
            assert (caught.value.kind, caught.value.maybe_sent) == ("tls", False)
        assert server.received == 0


async def test_a_proxy_that_speaks_tls(authority: Authority, certificate: Certificate) -> None:
    """A proxy reached by TLS carries a second TLS inside; what it is told does not count as sent."""
    async with HttpsServer(fine, certificate) as server, ConnectProxy(context=authority.issue().context) as proxy:
        target = target_via(proxy, server.url, authority, context=client_context(TlsOptions(ca_file=authority.ca_file)))
        client = HttpClient(target, keep_alive=False, cookies=False)
        assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
        proxy.answer = b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n"
        with pytest.raises(HttpFault) as caught:
            await client.send(HttpRequest("GET", target.origin + "/"))
        assert (caught.value.kind, caught.value.maybe_sent) == ("proxy", False)


async def test_a_tls_proxy_with_a_wrong_certificate(authority: Authority) -> None:
    """A proxy whose own TLS does not verify gets no CONNECT."""
    async with ConnectProxy(context=authority.issue("other.example").context) as proxy:
        target = target_via(
            proxy, "https://localhost:1", authority, context=client_context(TlsOptions(ca_file=authority.ca_file))
        )
        with pytest.raises(HttpFault) as caught:
            await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
        assert (caught.value.kind, caught.value.maybe_sent, proxy.asked) == ("tls", False, [])
