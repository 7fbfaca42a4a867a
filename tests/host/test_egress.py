"""The only way out: where connections go, what a name's address may change, what is told and counted of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import structlog
from support.proxy import ConnectProxy
from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.host import network
from relay.host.http import HttpClient, HttpFault, HttpRequest, Proxy, Target
from relay.host.network import CONNECTS
from relay.host.tls import TlsOptions, client_context

NAME = "access.example"
Lookups = list[str]


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test counts from zero, and every address is news."""
    monkeypatch.setattr(network, "_ADDRESSES", {})
    CONNECTS.clear()
    yield
    CONNECTS.clear()


def fine(_: Request) -> Response:
    return Response(200, b"fine")


def counts(target: str = "test") -> dict[str, int]:
    """What was counted for a target."""
    return {outcome: number for (name, outcome), number in CONNECTS.items() if name == target}


def resolver(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Sequence[Sequence[str]]]) -> Lookups:
    """A resolver that gives each name its next answer at each lookup, the last one for ever; returns what was asked."""
    asked: Lookups = []
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *rest: Any, **more: Any) -> object:
        if host not in answers:
            return real(host, port, *rest, **more)
        asked.append(host)
        addresses = answers[host][min(asked.count(host), len(answers[host])) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def client_of(port: int, authority: Authority, proxy: Proxy | None = None) -> tuple[HttpClient, HttpRequest]:
    """A client of the name at a port, each request over a connection of its own."""
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    target = Target("test", f"https://{NAME}:{port}", context, proxy, connect_timeout=5)
    return HttpClient(target, keep_alive=False, cookies=False), HttpRequest("POST", target.origin + "/", content=b"x")


class At(HttpsServer):
    """A server at another loopback address."""

    def __init__(self, address: str, certificate: Certificate, port: int) -> None:
        super().__init__(fine, certificate, port=port)
        self.address = address

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.address, self.port, ssl=self.context, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


async def test_a_name_is_resolved_once_for_each_connection(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection asks once for its name and for no other, whatever a redirect says."""
    asked = resolver(monkeypatch, {NAME: [["127.0.0.1"]]})
    async with HttpsServer(
        lambda _: Response(302, headers={"location": "https://elsewhere.example/"}), authority.issue(NAME)
    ) as server:
        client, request = client_of(server.port, authority)
        for _ in range(3):
            assert (await client.send(request)).status == 302
    assert asked == [NAME] * 3
    assert counts() == {"connected": 3}


async def test_a_name_that_moves_to_a_stranger_gives_it_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When DNS sends the second connection elsewhere, TLS stops it there before a byte of the request has left."""
    resolver(monkeypatch, {NAME: [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]})
    stranger = Authority(tmp_path).issue(NAME)
    async with (
        At("127.0.0.1", authority.issue(NAME), 0) as server,
        At("127.0.0.2", stranger, server.port) as other,
    ):
        client, request = client_of(server.port, authority)
        assert (await client.send(request)).body == b"fine"
        with structlog.testing.capture_logs() as logs, pytest.raises(HttpFault) as caught:
            await client.send(request)
        assert (caught.value.kind, caught.value.maybe_sent, other.received) == ("tls", False, 0)
        assert (await client.send(request)).body == b"fine"
    assert [(line["event"], line["log_level"], line["address"]) for line in logs] == [
        ("http.connect", "info", "127.0.0.2")
    ]


async def test_a_name_may_move_to_another_address_of_the_same_side(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are allowed by name: a new address is followed when its certificate holds, and told as news."""
    resolver(monkeypatch, {NAME: [["127.0.0.1"], ["127.0.0.2"]]})
    async with (
        At("127.0.0.1", authority.issue(NAME), 0) as server,
        At("127.0.0.2", authority.issue(NAME), server.port) as moved,
    ):
        client, request = client_of(server.port, authority)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert (await client.send(request)).body == b"fine"
        assert (len(server.requests), len(moved.requests)) == (1, 2)
    assert [(line["address"], line["log_level"]) for line in logs] == [
        ("127.0.0.1", "info"),
        ("127.0.0.2", "info"),
        ("127.0.0.2", "debug"),
    ]


async def test_a_second_address_is_tried_without_a_second_lookup(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several addresses one that refuses is passed over, with the one answer that the resolver gave."""
    asked = resolver(monkeypatch, {NAME: [["127.0.0.3", "127.0.0.1"]]})
    async with At("127.0.0.1", authority.issue(NAME), 0) as server:
        client, request = client_of(server.port, authority)
        assert (await client.send(request)).body == b"fine"
    assert (asked, counts()) == ([NAME], {"connected": 1})


async def test_behind_a_proxy_only_the_proxy_is_looked_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's own name stands in the CONNECT line alone: this machine never asks for it."""
    asked = resolver(monkeypatch, {NAME: [], "proxy.example": [["127.0.0.1"]]})
    async with HttpsServer(fine, authority.issue(NAME)) as server, ConnectProxy() as proxy:
        client, request = client_of(server.port, authority, Proxy(f"http://proxy.example:{proxy.port}"))
        assert (await client.send(request)).body == b"fine"
        assert proxy.asked == [f"{NAME}:{server.port}"]
    assert asked == ["proxy.example"]


async def test_an_ipv6_address_stands_in_brackets_in_the_connect_line(authority: Authority) -> None:
    """A target that is an IPv6 address is asked for as RFC 9110 writes it, and its certificate is checked for it."""
    async with HttpsServer(fine, authority.issue()) as server, ConnectProxy() as proxy:
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        target = Target("test", f"https://[::1]:{server.port}", context, Proxy(proxy.url))
        client = HttpClient(target, keep_alive=False, cookies=False)
        assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
    assert proxy.asked == [f"[::1]:{server.port}"]
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


async def test_what_fails_and_what_is_refused_is_counted(authority: Authority) -> None:
    """A connection that was not to be had counts as failed; a request that must not leave is told and counted."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        target = Target("test", f"https://127.0.0.1:{free.getsockname()[1]}", context)
        client = HttpClient(target, keep_alive=False, cookies=False)
        for url in (target.origin + "/", "https://evil.example/secret"):
            with structlog.testing.capture_logs() as logs, pytest.raises(HttpFault):
                await client.send(HttpRequest("GET", url))
    assert counts() == {"failed": 1, "refused": 1}
    assert logs == [
        {
            "event": "egress.refused",
            "log_level": "warning",
            "target": "test",
            "reason": "the URL is not the target's",
        }
    ]


async def test_a_connection_that_nobody_answers_counts_as_failed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name whose lookup takes longer than a connection may is a timeout, and counted."""
    release = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    target = Target("test", f"https://{NAME}", context, connect_timeout=0.05)
    with pytest.raises(HttpFault) as caught:
        await HttpClient(target, keep_alive=False, cookies=False).send(HttpRequest("GET", target.origin + "/"))
    release.set()
    assert (caught.value.kind, caught.value.maybe_sent, counts()) == ("timeout", False, {"failed": 1})
