"""Decisions on requests for approval: what is sent, where, and what never is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.server import HANG, RESET, HttpsServer, Reply, Request, Response, Truncate
from support.tls import Authority, Certificate

from relay.appliance import approval_responses
from relay.appliance.approval_responses import ApprovalResponses, body_of
from relay.config.approval_rules import door_of
from relay.config.model import ApplianceSettings, ApprovalSettings, Settings
from relay.core.approval_values import Answer, Encoding
from relay.core.errors import ApplianceError
from relay.host import network
from relay.host.exchange import Target
from relay.host.tls import TlsOptions, client_context

PATH = "/api/endpoint_approval"
ALLOW = Answer("17", "allow", "", {"snow_task_id": "a" * 32, "snow_cmdb_ci_id": "b" * 32})
DENY = Answer("18", "deny", "Der Änderung fehlt & = + die Freigabe \U0001f512")


def settings_for(url: str, *, path: str = PATH, timeout: float = 5.0, also: tuple[str, ...] = ()) -> Settings:
    """As much of a configuration as is asked for here."""
    appliance = ApplianceSettings.model_construct(
        url=url, also_known_as=also, timeout=timeout, approvals=ApprovalSettings(response_path=path)
    )
    return Settings.model_construct(appliances={"default": appliance})


@asynccontextmanager
async def responses(authority: Authority, url: str, **options: Any) -> AsyncIterator[ApprovalResponses]:
    """What sends decisions to the appliance at this URL."""
    target = Target(
        "appliance default", url, client_context(TlsOptions(ca_file=authority.ca_file)), connect_timeout=2.0
    )
    made = ApprovalResponses.open(settings_for(url, **options), {"default": target})
    yield made
    await made.aclose()


@pytest.mark.parametrize("encoding", ["form", "json"])
@pytest.mark.parametrize("answer", [ALLOW, DENY], ids=["allow", "deny"])
async def test_a_decision_on_the_wire(
    authority: Authority, certificate: Certificate, encoding: Encoding, answer: Answer
) -> None:
    """One post with the decision, its text and the attributes, and no header that could be worth anything."""
    async with HttpsServer(lambda _: Response(200), certificate) as server:
        async with responses(authority, server.url) as made:
            assert await made.send("default", server.url + PATH, answer, encoding) == 200
        [request] = server.requests
    found = request.form if encoding == "form" else json.loads(request.body)
    assert found == {
        "response_id": answer.response_id,
        "response": answer.response,
        "message": answer.message,
        **{f"session.custom.{name}": value for name, value in answer.attributes.items()},
    }
    assert (request.method, request.target) == ("POST", PATH)
    kind = "application/x-www-form-urlencoded" if encoding == "form" else "application/json"
    assert request.headers["content-type"] == kind
    assert set(request.headers) == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
    }
    assert request.headers["connection"] == "close"


def test_what_is_no_text_is_sent_as_text() -> None:
    """A lone surrogate, which JSON can bring from ServiceNow, ends no decision."""
    broken = Answer("1", "deny", "a\ud800b")
    assert b"a%3Fb" in body_of(broken, "form")
    assert json.loads(body_of(broken, "json"))["message"] == "a?b"


@pytest.mark.parametrize("status", [200, 204, 302, 307, 400, 401, 403, 404, 415, 429, 500, 503])
async def test_every_status_is_handed_back(authority: Authority, certificate: Certificate, status: int) -> None:
    """Also a redirect, which is not followed, and cookies, which are not kept."""

    def answer(_: Request) -> Reply:
        location = f"https://localhost:{server.port}/elsewhere"
        return Response(status, b"", {"location": location, "set-cookie": "a=b; Path=/", "content-length": "0"})

    async with HttpsServer(answer, certificate) as server:
        async with responses(authority, server.url) as made:
            assert await made.send("default", server.url + PATH, DENY, "form") == status
            assert await made.send("default", server.url + PATH, DENY, "form") == status
        assert [(request.target, "cookie" in request.headers) for request in server.requests] == [(PATH, False)] * 2


async def test_an_answer_that_is_too_long_has_a_status_nevertheless(
    authority: Authority, certificate: Certificate
) -> None:
    """The appliance took the decision; that its page is endless changes nothing."""
    server = HttpsServer(lambda _: Response(200, b"x" * 300_000), certificate)
    async with server, responses(authority, server.url) as made:
        assert await made.send("default", server.url + PATH, DENY, "form") == 200


@pytest.mark.parametrize(
    ("reply", "number"),
    [(RESET, 3004), (HANG, 3003), (Truncate(b"HTTP/1.1 20"), 3004), (b"220 smtp.example ESMTP\r\n\r\n", 3004)],
    ids=["reset", "hang", "cut off", "no HTTP"],
)
async def test_no_answer_may_have_been_a_decision(
    authority: Authority, certificate: Certificate, reply: Reply, number: int
) -> None:
    """Once a byte is on its way nobody knows whether it arrived."""
    server = HttpsServer(lambda _: reply, certificate)
    async with server, responses(authority, server.url, timeout=0.6) as made:
        with pytest.raises(ApplianceError) as caught:
            await made.send("default", server.url + PATH, DENY, "form")
    assert (caught.value.number, caught.value.maybe_sent) == (number, True)


async def test_nobody_there(authority: Authority, certificate: Certificate) -> None:
    """A refused connection, or a server that is somebody else, has seen nothing."""
    async with HttpsServer(lambda _: Response(200), certificate) as server:
        url = server.url
    async with responses(authority, url) as made:
        with pytest.raises(ApplianceError) as caught:
            await made.send("default", url + PATH, DENY, "form")
    assert (caught.value.number, caught.value.maybe_sent) == (3001, False)
    other = authority.issue("other.example")
    async with HttpsServer(lambda _: Response(200), other) as server, responses(authority, server.url) as made:
        with pytest.raises(ApplianceError) as caught:
            await made.send("default", server.url + PATH, DENY, "form")
        assert not server.requests
    assert (caught.value.number, caught.value.maybe_sent) == (3002, False)


async def test_an_appliance_that_is_not_there(authority: Authority) -> None:
    """Of an appliance that is disabled, or that a reload took away, nothing is known."""
    async with responses(authority, "https://localhost:1") as made:
        with pytest.raises(ApplianceError) as caught:
            await made.send("other", "https://localhost:1" + PATH, DENY, "form")
    assert (caught.value.number, caught.value.maybe_sent) == (3012, False)


async def test_decisions_do_not_wait_for_one_another(
    authority: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are on their way at once; who finds every lane taken for too long is told that nothing was sent."""
    monkeypatch.setattr(approval_responses, "LANES", 2)
    gate, both = asyncio.Event(), asyncio.Event()

    async def answer(_: Request) -> Reply:
        if len(server.requests) == 2:
            both.set()
        await gate.wait()
        return Response(200)

    async with HttpsServer(answer, certificate) as server, responses(authority, server.url, timeout=1.0) as made:
        sent = [asyncio.create_task(made.send("default", server.url + PATH, DENY, "form")) for _ in range(2)]
        await both.wait()
        made._ways["default"].timeout = 0.05
        with pytest.raises(ApplianceError) as caught:
            await made.send("default", server.url + PATH, DENY, "form")
        assert (caught.value.number, caught.value.maybe_sent) == (3003, False)
        gate.set()
        assert await asyncio.gather(*sent) == [200, 200]


async def test_a_cancelled_decision_leaves_its_lane_usable(
    authority: Authority, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline may cancel at any moment; the next decision finds a clean connection."""
    monkeypatch.setattr(approval_responses, "LANES", 1)
    arrived = asyncio.Event()

    async def answer(_: Request) -> Reply:
        arrived.set()
        return HANG if len(server.requests) == 1 else Response(200)

    async with HttpsServer(answer, certificate) as server, responses(authority, server.url) as made:
        one = asyncio.create_task(made.send("default", server.url + PATH, DENY, "form"))
        await arrived.wait()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert await made.send("default", server.url + PATH, ALLOW, "form") == 200


async def test_another_name_of_the_appliance_is_the_appliance(authority: Authority, certificate: Certificate) -> None:
    """A request may name any of the configured names; what is connected to is the one that the firewall knows."""
    async with HttpsServer(lambda _: Response(200), certificate) as server:
        also = ("pra.internal.example", "support.example:8443")
        async with responses(authority, server.url, also=also) as made:
            for url in (f"https://PRA.internal.example:{server.port}", "https://support.example:8443"):
                assert await made.send("default", url + PATH, DENY, "form") == 200
            with pytest.raises(ApplianceError) as caught:
                await made.send("default", "https://support.example" + PATH, DENY, "form")
            assert caught.value.number == 3023
        assert [request.headers["host"] for request in server.requests] == [f"localhost:{server.port}"] * 2


async def test_the_path_of_the_configuration(authority: Authority, certificate: Certificate) -> None:
    """Where another path is configured, only that one is answered."""
    async with HttpsServer(lambda _: Response(200), certificate) as server:
        async with responses(authority, server.url, path="/login/decide") as made:
            assert await made.send("default", server.url + "/login/decide", DENY, "form") == 200
            with pytest.raises(ApplianceError) as caught:
                await made.send("default", server.url + PATH, DENY, "form")
            assert (caught.value.number, caught.value.maybe_sent) == (3023, False)
        assert [request.target for request in server.requests] == ["/login/decide"]


# -- the property: no URL leads anywhere else --------------------------------------------------------------------------

HOST, PORT = "access.example.com", 8443
SETTINGS = settings_for(f"https://{HOST}:{PORT}", also=("pra.local", "[fd00::1]:443"))
ORIGINS = {(HOST, PORT), ("pra.local", PORT), ("fd00::1", 443)}

hosts = st.sampled_from(
    [
        *(HOST, HOST.upper(), "Access.Example.Com", "pra.local", "[fd00::1]", "[FD00:0:0:0:0:0:0:1]", "127.0.0.1"),
        *(f"{HOST}.", f"{HOST}.evil.example", f"evil.example.{HOST}", f"{HOST}\\@evil.example", "evil.example", ""),
        *(HOST.replace(".", "\u3002"), HOST.replace(".", "\uff0e"), HOST.replace("a", "\u0430", 1), "0x7f.1"),
        *("localhost", "169.254.169.254", "2130706433", f"{HOST}%2eevil.example", f"{HOST}%00.evil.example"),
        *(f"{HOST}#.evil.example", f"{HOST}?.evil.example"),
    ]
)
ports = st.sampled_from(
    ["", ":8443", ":8443", ":443", ":08443", ":8443@evil.example", ":65536", ":-1", ":8443:1", ":\uff18443", ":"]
)
logins = st.sampled_from(["", "", "", "user@", "user:password@", f"{HOST}:8443@", "@", "%40"])
schemes = st.sampled_from(
    ["https://", "https://", "https://", "HTTPS://", "http://", "https:", "https:/", "https:///", "//", "file://"]
)
schemes |= st.sampled_from(["ftp://", " https://", "https:\\\\", "javascript:https://", "https://https://"])
paths = st.sampled_from(
    [
        *(PATH, PATH, PATH, f"{PATH}/", f"/{PATH}", "/api/x/../endpoint_approval", "/api%2fendpoint_approval", ""),
        *("/api/endpoint%5fapproval", "/API/endpoint_approval", f"{PATH};x", f"{PATH}%00", f"{PATH}\n", "/"),
        *("/api/./endpoint_approval", "/api/command", f"{PATH}%20", f"\\..{PATH}", f"{PATH}\r\nHost: evil.example"),
    ]
)
tails = st.sampled_from(["", "", "", "?", "?a=b", "#", "#x", "?token=1", " ", "\t", "\u00a0", "%23"])
built = st.builds(lambda *parts: "".join(parts), schemes, logins, hosts, ports, paths, tails)
changed = st.builds(
    lambda url, at, text: url[: at % (len(url) + 1)] + text + url[at % (len(url) + 1) :],
    st.just(f"https://{HOST}:{PORT}{PATH}"),
    st.integers(0, 100),
    st.text(max_size=3),
)
urls = built | changed | st.text(max_size=60)


@dataclass
class Outside:
    """A running appliance, what sends to it, and every name that was looked up to connect to."""

    loop: asyncio.AbstractEventLoop
    server: HttpsServer
    made: ApprovalResponses
    asked: list[tuple[str, int]] = field(default_factory=list)

    def send(self, url: str) -> int | ApplianceError:
        """Send a decision; its status or why there is none."""
        return asyncio.run_coroutine_threadsafe(self._send(url), self.loop).result(20)

    async def _send(self, url: str) -> int | ApplianceError:
        try:
            return await self.made.send("default", url, DENY, "form")
        except ApplianceError as error:
            return error


@pytest.fixture(scope="module")
def outside(authority: Authority) -> Iterator[Outside]:
    """An appliance in a thread of its own. The only way from names to sockets leads to it, and is kept."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = HttpsServer(lambda _: Response(200), authority.issue(HOST))
    context = client_context(TlsOptions(ca_file=authority.ca_file))
    target = Target("appliance default", f"https://{HOST}:{PORT}", context)
    found = Outside(loop, server, ApprovalResponses.open(SETTINGS, {"default": target}))

    async def look_up(host: str, port: int) -> list[Any]:
        if asyncio.get_running_loop() is not loop:
            return await real(host, port)  # another test's
        found.asked.append((host, port))
        return await real("127.0.0.1", server.port)

    real = network.look_up
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "look_up", look_up)
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(20)
        yield found
        asyncio.run_coroutine_threadsafe(found.made.aclose(), loop).result(20)
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@settings(max_examples=300)
@given(url=urls)
@example(url=f"https://{HOST}:{PORT}{PATH}")
@example(url=f"https://PRA.local:{PORT}{PATH}")
def test_no_url_leads_elsewhere(outside: Outside, url: str) -> None:
    """Whatever stands in a request: nothing is connected to, or the one configured place; another reader agrees."""
    outside.asked.clear()
    before = len(outside.server.requests)
    result = outside.send(url)
    arrived = outside.server.requests[before:]
    if isinstance(result, ApplianceError):
        assert (result.number, result.maybe_sent) == (3023, False)
        assert (outside.asked, arrived) == ([], [])
    else:
        assert outside.asked == [(HOST, PORT)]
        assert [(request.target, request.headers["host"]) for request in arrived] == [(PATH, f"{HOST}:{PORT}")]
        assert believable(url)


def believable(url: str) -> bool:
    """Whether another reader of URLs finds the same place in it, and nothing besides."""
    parts = urlsplit(url)
    return (
        parts.scheme == "https"
        and (parts.hostname, parts.port or 443) in ORIGINS
        and parts.path == PATH
        and "@" not in parts.netloc
        and not set("?#\\ \t\r\n%") & set(url)
        and url.isascii()
    )


def test_the_places_themselves_are_taken() -> None:
    """The property above is no empty one: each configured name passes."""
    door = door_of(SETTINGS, "default")
    for host, port in ORIGINS:
        shown = f"[{host}]" if ":" in host else host
        assert urlsplit(door.check(f"https://{shown}:{port}{PATH}")).port == port
    assert dict(parse_qsl(body_of(ALLOW, "form").decode(), keep_blank_values=True))["response"] == "allow"
