"""Through a proxy that others wrote: Debian's tinyproxy."""

from __future__ import annotations

from pathlib import Path

from support.server import HttpsServer, Request, Response
from support.tinyproxy import Tinyproxy, needs_tinyproxy, tinyproxy
from support.tls import Authority, Certificate

from relay.core.secret import Secret
from relay.host.http import HttpClient, HttpFault, HttpRequest, Proxy, Target
from relay.host.tls import TlsOptions, client_context

pytestmark = needs_tinyproxy
BEARER = "Bearer token-of-the-target"
PASSWORD = "password-of-the-proxy"


def fine(_: Request) -> Response:
    return Response(200, b"fine")


def target_via(proxy: Tinyproxy, url: str, authority: Authority, **account: object) -> Target:
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    return Target("test", url, context, Proxy(proxy.url, **account), connect_timeout=5)  # type: ignore[arg-type]


async def ask(target: Target) -> HttpFault | None:
    """One request with a token; what became of it."""
    client = HttpClient(target, keep_alive=False, cookies=False)
    request = HttpRequest("GET", target.origin + "/secret-path", (("Authorization", BEARER),), timeout=10)
    try:
        assert (await client.send(request)).body == b"fine"
    except HttpFault as fault:
        return fault
    finally:
        await client.aclose()
    return None


async def test_without_an_account(authority: Authority, certificate: Certificate, tmp_path: Path) -> None:
    """The proxy is told host and port, and nothing of what goes through it."""
    async with HttpsServer(fine, certificate) as server, tinyproxy(tmp_path, ports=(server.port,)) as proxy:
        assert await ask(target_via(proxy, server.url, authority)) is None
        assert proxy.connects == [f"localhost:{server.port}"]
        assert "proxy-authorization" not in server.requests[0].headers
        for word in ("secret-path", "token-of"):
            assert word not in proxy.log.read_text()


async def test_with_an_account(authority: Authority, certificate: Certificate, tmp_path: Path) -> None:
    """With its account the proxy lets us through, and the target hears nothing of the account."""
    async with (
        HttpsServer(fine, certificate) as server,
        tinyproxy(tmp_path, account=("relay", PASSWORD)) as proxy,
    ):
        right = target_via(proxy, server.url, authority, username="relay", password=Secret(PASSWORD))
        assert await ask(right) is None
        assert server.requests[0].headers["authorization"] == BEARER
        assert "proxy-authorization" not in server.requests[0].headers
        for account in ({}, {"username": "relay", "password": Secret("wrong")}):
            fault = await ask(target_via(proxy, server.url, authority, **account))
            assert fault is not None
            assert (fault.kind, fault.maybe_sent) == ("account", False)
        assert len(server.requests) == 1


async def test_a_port_that_the_proxy_does_not_allow(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    """A refusal by rule is told as such, and nothing was sent."""
    async with HttpsServer(fine, certificate) as server, tinyproxy(tmp_path, ports=(443,)) as proxy:
        fault = await ask(target_via(proxy, server.url, authority))
        assert fault is not None
        assert (fault.kind, fault.maybe_sent) == ("proxy", False)
        assert fault.detail == "the proxy answered 403: it does not allow this host and port"
        assert server.connections == []


async def test_a_target_that_the_proxy_cannot_reach(authority: Authority, tmp_path: Path) -> None:
    """A target that is not there is the proxy's answer, and nothing was sent."""
    async with tinyproxy(tmp_path) as proxy:
        fault = await ask(target_via(proxy, "https://localhost:1", authority))
    assert fault is not None
    assert (fault.kind, fault.maybe_sent) == ("proxy", False)
    assert ": it cannot reach the host" in fault.detail


async def test_a_stranger_behind_the_proxy(authority: Authority, tmp_path: Path) -> None:
    """The target's certificate is checked through the tunnel: a server of another name gets no byte of a request."""
    async with HttpsServer(fine, authority.issue("other.example")) as server, tinyproxy(tmp_path) as proxy:
        fault = await ask(target_via(proxy, server.url, authority))
        assert fault is not None
        assert (fault.kind, fault.maybe_sent, server.received) == ("tls", False, 0)
