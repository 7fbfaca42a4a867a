"""Posts to the vendor's application over real TLS: what arrives, what a failure means, who waits for whom."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.configuration import SMALLEST, loaded
from support.server import HANG, RESET, Reply, Request, Response, Truncate

from relay.core.errors import ServiceNowError
from relay.core.posts import Content, read_form
from relay.core.secret import Secret
from relay.host.secrets import SecretReader
from relay.servicenow.vendor import VENDOR_PATHS, Forwarding, VendorEvents, forwardings

PATH = VENDOR_PATHS["pra"]
FORM = {"event": "access_session_end", "lsid": "ab12"}
TOKEN = "t0ken +&=/%41é"
HOSTILE = {
    "event": "access_session_end",
    "session.custom.a b": "1 + 1 = 100 %",
    "plus+name": "+",
    "&": "a=b&c=d",
    "=": "%41 %zz %",
    "empty": "",
    "é\U0001f600": "Zoë\u202e\u0000\r\n\t\ud7ff",
    "\u00a0": " ",
    "CASE": "case",
    "case": "CASE",
}
NO_RESOURCE = {"error": {"message": "Requested URI does not represent any resource", "detail": "x"}}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def form_of(request: Request) -> dict[str, str]:
    """What the other side reads, by the rules that the relay's own listener has."""
    return read_form(Content(request.headers["content-type"], request.body))


async def test_every_field_arrives_as_it_came(connect: Any) -> None:
    """Whatever stands in names and values, and in their order; the token stands in the query and nowhere else."""
    async with connect(lambda _request: Response()) as (instance, server):
        events = VendorEvents(instance.vendor, {"default": Forwarding(PATH, lambda: Secret(TOKEN))})
        await events.forward("default", "/events", HOSTILE)
    (request,) = server.requests
    assert list(form_of(request).items()) == list(HOSTILE.items())
    path, _, query = request.target.partition("?")
    assert path == PATH
    name, _, value = query.partition("=")
    assert name == "outbound_event_token"
    assert unquote_to_bytes(value.replace("+", " ")).decode() == TOKEN
    assert not {"authorization", "cookie"} & set(request.headers)
    assert b"t0ken" not in request.body


async def test_any_fields_arrive_as_they_came(connect: Any) -> None:
    """The form is read back to what it was made of."""
    async with connect(lambda _request: Response()) as (instance, server):

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.dictionaries(TEXT.filter(lambda name: name not in {"", "outbound_event_token"}), TEXT, min_size=1))
        def check(fields: dict[str, str]) -> None:
            sent.append(fields)

        sent: list[dict[str, str]] = []
        check()
        for fields in sent:
            await instance.vendor.post(PATH, fields.items())
        assert [form_of(request) for request in server.requests] == sent


def page(text: str) -> Response:
    """A page of HTML with status 200."""
    return Response(200, text.encode(), {"content-type": "text/html"})


@pytest.mark.parametrize(
    ("reply", "number", "maybe_sent"),
    [
        (Response(401), 2027, False),
        (Response(403), 2027, False),
        (Response(404), 2027, False),
        (Response(400, json.dumps(NO_RESOURCE).encode()), 2027, False),
        (page('<form><input id="user_password" name="user_password" type="password"></form>'), 2027, False),
        (page("<INPUT TYPE = 'password'>"), 2027, False),
        (Response(400), 2015, False),
        (Response(422), 2015, False),
        (Response(407), 2024, False),
        (Response(429, b"", {"retry-after": "7"}), 2007, False),
        (Response(302, b"", {"location": "/login.do"}), 2009, False),
        (page("Instance Hibernating page"), 2009, False),
        (Response(408), 2003, True),
        (Response(500), 2008, True),
        (RESET, 2004, True),
        (Truncate(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), 2004, True),
        (page("x" * 2_000_000), 2014, True),
    ],
)
async def test_what_an_answer_means(connect: Any, reply: Reply, number: int, maybe_sent: bool) -> None:
    """Whether the application has the event, and whose fault it is when it has not."""
    async with connect(lambda _request: reply) as (instance, _):
        with pytest.raises(ServiceNowError) as caught:
            await instance.vendor.post(PATH, FORM.items())
    assert (caught.value.number, caught.value.maybe_sent) == (number, maybe_sent)
    assert (caught.value.after == 7) == (number == 2007)


@pytest.mark.parametrize("reply", [Response(), Response(204), page("<html><body>OK</body></html>"), page("x" * 90_000)])
async def test_what_counts_as_taken(connect: Any, reply: Response) -> None:
    """Any answer of success that asks for no password; the approval's caller gets its body."""
    async with connect(lambda _request: reply) as (instance, _):
        assert await instance.vendor.post(PATH, FORM.items()) == reply.body


async def test_nothing_listens(connect: Any) -> None:
    """Nothing was sent."""
    async with connect(lambda _request: Response()) as (instance, server):
        await server.stop()
        with pytest.raises(ServiceNowError) as caught:
            await instance.vendor.post(PATH, FORM.items())
    assert (caught.value.number, caught.value.maybe_sent) == (2001, False)


async def test_who_is_slow_holds_up_only_himself(connect: Any) -> None:
    """Posts of one appliance wait for its own alone; so do those of other senders, such as requests for approval."""
    let_go = asyncio.Event()

    async def answer(request: Request) -> Response:
        if form_of(request)["event"] == "slow":
            await let_go.wait()
        return Response()

    async with connect(answer) as (instance, server):
        events = VendorEvents(instance.vendor, {name: Forwarding(PATH) for name in ("one", "two")})
        slow = asyncio.create_task(events.forward("one", PATH, {"event": "slow"}))
        await server.wait_for_requests(1)
        behind = asyncio.create_task(events.forward("one", PATH, {"event": "behind"}))
        await events.forward("two", PATH, {"event": "quick"})
        await instance.vendor.post(PATH, [("event", "asked")], sender="approvals one")
        assert [form_of(request)["event"] for request in server.requests] == ["slow", "quick", "asked"]
        let_go.set()
        await asyncio.gather(slow, behind)
        assert form_of(server.requests[-1])["event"] == "behind"


async def test_the_token_is_nowhere_but_in_the_query(connect: Any) -> None:
    """Neither a log line of any level nor an error holds it, not even when the instance sends it back."""
    plain, coded = "t0ken-0123 456", "t0ken-0123+456"
    message = json.dumps({"error": {"message": f"bad token {plain}"}}).encode()
    other = json.dumps({"error": {"message": f"no resource at {PATH}?outbound_event_token={coded}"}}).encode()
    replies = [Response(), Response(403, message), Response(400, other), Response(500, message), RESET, HANG]
    async with connect(lambda request: replies[request.connection.number % len(replies)], timeout="1s") as (
        instance,
        _,
    ):
        texts = []
        with capture_logs() as logs:
            for _ in replies:
                try:
                    await instance.vendor.post(PATH, FORM.items(), Secret(plain))
                except ServiceNowError as error:
                    texts.append(f"{error!r} {error.text} {error.detail} {error.__cause__!r}")
    assert len(texts) == len(replies) - 1
    assert len(logs) >= len(replies)
    assert "t0ken" not in repr(logs) + repr(texts)


def test_how_each_appliance_is_posted_on(tmp_path: Path) -> None:
    """To the application of its product, with its own token or the listener's, as the file has it at that moment."""
    (tmp_path / "own").write_text("first")
    (tmp_path / "all").write_text("common")
    for name in ("own", "all"):
        (tmp_path / name).chmod(0o600)
    text = f"""{SMALLEST}
    event_token: {{file: {tmp_path}/own}}
  support:
    product: rs
    enabled: false
    url: https://support.example.com
    auth: {{client_id: abc, client_secret: {{credential: appliance_secret}}}}
listener:
  listen: "127.0.0.1:8443"
  tls: {{certificate: /x.pem, key: {{credential: key}}}}
  event_token: {{file: {tmp_path}/all}}
"""
    ways = forwardings(loaded(tmp_path, text).settings, SecretReader({}).latest)
    assert {name: way.path for name, way in ways.items()} == {"default": PATH, "support": VENDOR_PATHS["rs"]}
    tokens = {name: way.token for name, way in ways.items()}
    assert tokens["default"] is not None
    assert tokens["support"] is not None
    assert (tokens["default"]().reveal(), tokens["support"]().reveal()) == ("first", "common")
    (tmp_path / "own").write_text("second")
    assert tokens["default"]().reveal() == "second"


def test_an_appliance_without_a_token_is_posted_on_without(tmp_path: Path) -> None:
    """It is known by its address, and so may it be to the application."""
    text = f"""{SMALLEST}
listener:
  listen: "127.0.0.1:8443"
  tls: {{certificate: /x.pem, key: {{credential: key}}}}
  accept_from: [127.0.0.1]
"""
    ways = forwardings(loaded(tmp_path, text).settings, SecretReader({}).latest)
    assert ways == {"default": Forwarding(PATH)}
