"""What callers of the listener are answered, and what is kept of what they sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs
from support.listening import ELSEWHERE, FORM, PATH, TOKEN, Running, known, request_of, running, status
from support.tls import Authority

from relay.core.posts import LONGEST_BODY, PATHS


@pytest.fixture
async def one(authority: Authority) -> AsyncIterator[Running]:
    """A listener for one appliance, known by address and token."""
    async with running(authority) as made:
        yield made


async def test_an_event_is_kept_and_answered_200(one: Running) -> None:
    """The right token from the right address: the post is in the inbox when the answer comes."""
    answer = await one.ask(request_of())
    assert status(answer) == 200
    assert b"connection: close" in answer.lower()
    assert b"server:" not in answer.lower()
    (post,) = one.inbox.posts
    assert (post.appliance, post.kind, post.path) == ("default", "event", "/events")
    assert post.fields == {"event": "access_session_end", "lsid": "0123456789abcdef0123456789abcdef"}
    assert post.code is None


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_is_served(one: Running, path: str) -> None:
    """Our paths and the vendor's take posts, each of its kind."""
    assert await one.post(f"{path}?outbound_event_token={TOKEN}") == 200
    assert [(post.path, post.kind) for post in one.inbox.posts] == [(path, PATHS[path])]


@pytest.mark.parametrize(
    "target",
    [
        "/events",
        "/events?",
        "/events?outbound_event_token=",
        f"/events?outbound_event_token={TOKEN}x",
        f"/events?outbound_event_token={TOKEN[:-1]}",
        f"/events?outbound_event_token={TOKEN}&outbound_event_token={TOKEN}",
        f"/events?token={TOKEN}",
        "/approvals",
        "/nowhere",
    ],
)
async def test_a_wrong_token_gets_403_and_nothing_is_stored(one: Running, target: str) -> None:
    """Whatever the path and whatever the form says, even with the right token in the form."""
    assert await one.post(target, FORM + f"&outbound_event_token={TOKEN}".encode()) == 403
    assert one.inbox.posts == []


async def test_a_wrong_source_gets_403_and_nothing_is_stored(authority: Authority) -> None:
    """The right token from an address that is not accepted is the same as a wrong one."""
    async with running(authority, known(*ELSEWHERE)) as one:
        answers = [await one.ask(request_of(target)) for target in (PATH, "/events", "/nowhere")]
        assert {status(answer) for answer in answers} == {403}
        assert len(set(answers)) == 1
        assert one.inbox.posts == []


async def test_a_post_goes_to_the_appliance_whose_token_matches(authority: Authority) -> None:
    """Of several appliances behind one address the token tells which it is."""
    async with running(authority, known(name="a", token="token-a"), known(name="b", token="token-b")) as one:
        for name in ("b", "a"):
            assert await one.post(f"/events?outbound_event_token=token-{name}") == 200
        assert [post.appliance for post in one.inbox.posts] == ["b", "a"]


async def test_a_post_goes_to_the_appliance_whose_source_matches(authority: Authority) -> None:
    """Without tokens the address tells."""
    near, far = known(name="near", token=None), known(*ELSEWHERE, name="far", token=None)
    async with running(authority, far, near) as one:
        assert await one.post("/events") == 200
        assert [post.appliance for post in one.inbox.posts] == ["near"]


async def test_ipv6_and_mapped_addresses_are_recognised(authority: Authority) -> None:
    """A socket for both families sees IPv4 callers as mapped addresses; the list of IPv4 networks holds for them."""
    senders = (known(ip_network("127.0.0.1/32"), name="four"), known(ip_network("::1/128"), name="six"))
    async with running(authority, *senders, host="::") as one:
        assert await one.post(host="127.0.0.1") == 200
        assert await one.post(host="::1") == 200
        assert [post.appliance for post in one.inbox.posts] == ["four", "six"]


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"a=%zz", "application/x-www-form-urlencoded", 6004),
        (b'{"event": "x"}', "application/json", 6004),
        (b"", "application/x-www-form-urlencoded", 6004),
        (b"\xff" * 100, "", 6004),
        (b"a=" + b"x" * LONGEST_BODY, "application/x-www-form-urlencoded", 6005),
        (b"a=" + b"x" * (4 * LONGEST_BODY), "application/x-www-form-urlencoded", 6005),
    ],
)
async def test_bad_content_of_a_right_sender_gets_200_and_is_quarantined(
    one: Running, body: bytes, kind: str, code: int
) -> None:
    """Anything but 200 would stop the appliance's later events, so it is kept with its code instead."""
    request = request_of(body=body).replace(b"application/x-www-form-urlencoded", kind.encode())
    with capture_logs() as logs:
        assert status(await one.ask(request)) == 200
    (post,) = one.inbox.posts
    assert (post.code, post.fields, post.raw) == (code, {}, body[:LONGEST_BODY])
    assert [line["code"] for line in logs if line["event"] == "listener.quarantined"] == [f"BSR-{code}"]


async def test_a_body_without_end_is_answered_and_cut(authority: Authority) -> None:
    """Of a body that goes on for ever only so much is read; the answer is 200, and nothing more is kept of it."""
    async with running(authority) as one:
        caller = await one.call()
        caller.writer.write(request_of(body=b"").replace(b"Content-Length: 0", b"Content-Length: 99999999999"))
        answered = asyncio.create_task(caller.reader.readline())
        sent = 0
        try:
            while not answered.done():
                caller.writer.write(b"x" * 65536)
                await caller.writer.drain()
                await asyncio.sleep(0)
                sent += 65536
        except ConnectionError:
            pass
        assert 8 * 1024 * 1024 <= sent < 40 * 1024 * 1024
        await asyncio.wait([answered])
        assert answered.exception() is not None or status(answered.result()) in {0, 200}
        await caller.leave()
        assert [(post.code, len(post.raw)) for post in one.inbox.posts] == [(6005, LONGEST_BODY)]


async def test_a_store_that_is_down_is_answered_503(one: Running) -> None:
    """The appliance is told to try again; afterwards it may."""
    one.inbox.down()
    answer = await one.ask(request_of())
    assert status(answer) == 503
    assert b"retry-after: 30" in answer.lower()
    one.inbox.error = None
    assert await one.post() == 200


async def test_a_store_that_hangs_is_answered_503(one: Running) -> None:
    """It has its own time; the caller never waits for ever."""
    one.inbox.open.clear()
    with capture_logs() as logs:
        assert await one.post() == 503
    assert [line["code"] for line in logs] == ["BSR-6011"]


async def test_a_fault_of_the_relay_is_answered_500(one: Running) -> None:
    """Whatever goes wrong inside is logged without the request, and the appliance tries again."""
    one.inbox.error = ValueError("a fault of the test")
    with capture_logs() as logs:
        assert await one.post() == 500
    assert [(line["event"], line["code"]) for line in logs] == [("listener.fault", "BSR-9001")]


async def test_a_repetition_is_answered_200_and_told(one: Running) -> None:
    """Both have the same id; the log says which was new."""
    with capture_logs() as logs:
        assert [await one.post(), await one.post()] == [200, 200]
    assert len({post.id for post in one.inbox.posts}) == 1
    assert [line["new"] for line in logs if line["event"] == "listener.post"] == [True, False]


async def test_unknown_paths_and_methods_are_told_to_known_callers(one: Running) -> None:
    """404 and 405 are for whoever has the token; nothing is stored."""
    query = f"?outbound_event_token={TOKEN}"
    for target in ("/", "/nowhere", "/events/", "//events", "/EVENTS", "/events/..", "https://relay01/events", "*"):
        assert await one.post(target + query) == 404, target
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "X"):
        answer = await one.ask(request_of(PATH, b"", method=method))
        assert status(answer) == 405
        assert b"allow: POST" in answer
    assert one.inbox.posts == []


async def test_no_line_holds_the_query(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens, right, wrong or at the wrong place of the URL, are in no line of ours or of a library."""
    secret = "never-to-be-seen"
    async with running(authority, known(token=secret)) as one:
        with capture_logs() as logs:
            for target in (
                f"/events?outbound_event_token={secret}",
                f"/events?outbound_event_token={secret}x",
                f"/events&outbound_event_token={secret}?outbound_event_token={secret}",
                f"/events%3Foutbound_event_token={secret}?outbound_event_token={secret}",
            ):
                await one.post(target)
            await one.ask(f"POST /?outbound_event_token={secret} HTTP/9.9 x\r\n\r\n".encode())
            one.inbox.error = ValueError("a fault of the test")
            await one.post(f"/events?outbound_event_token={secret}")
    assert [line["event"] for line in logs].count("listener.refused") == 3
    assert secret not in str(logs)
    assert secret not in caplog.text


async def test_a_caller_that_is_gone_before_its_end_leaves_nothing(one: Running) -> None:
    """Half a body is no post."""
    caller = await one.call()
    caller.writer.write(request_of()[:-5])
    await caller.writer.drain()
    await one.until(1)
    await caller.leave()
    await one.until(0)
    assert one.inbox.posts == []


async def test_a_post_is_kept_though_its_sender_is_gone(one: Running) -> None:
    """Who hung up while the store was slow will post it again, and then it is known."""
    one.inbox.open.clear()
    caller = await one.call()
    caller.writer.write(request_of())
    await one.inbox.entered.wait()
    await caller.leave()
    await asyncio.sleep(0.1)
    one.inbox.open.set()
    await one.until(0)
    assert len(one.inbox.posts) == 1


async def test_the_rest_of_the_machine_is_not_reached_by_it(one: Running) -> None:
    """It listens at the configured address alone."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", one.port))
