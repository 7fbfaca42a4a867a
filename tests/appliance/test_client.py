"""Calls to one appliance: what is sent, what comes of every answer and fault."""

from __future__ import annotations

import asyncio
import gzip
from email.utils import formatdate
from pathlib import Path

import pytest
from support.account import Bench, FakeAppliance, work
from support.server import HANG, RESET, HttpsServer, Reply, Request, Response, Truncate
from support.tls import Authority, Certificate

from relay.core.errors import ApplianceError


@pytest.fixture
def bench(authority: Authority, tmp_path: Path) -> Bench:
    return Bench(authority, tmp_path)


async def test_a_call_is_sent_as_the_policy_built_it(bench: Bench, certificate: Certificate) -> None:
    """Method, path, query, body and headers are exactly those of the request, and the connection is closed after."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        request = work(
            "/api/x%2Fy",
            method="POST",
            query=(("action", "a b&c=d"), ("name", "é+/")),
            body=b"k=v",
            content_type="application/x-www-form-urlencoded",
            accept="text/xml",
        )
        await appliance.admit(request)
        reply = await appliance.call(request)
        await appliance.aclose()
        assert [connection.requests for connection in server.connections] == [1, 1]
    assert (reply.status, reply.body) == (200, b"<ok/>")
    assert ("content-type", "text/xml; charset=UTF-8") in reply.headers
    call = fake.calls[0]
    assert (call.method, call.body) == ("POST", b"k=v")
    assert call.target == "/api/x%2Fy?action=a%20b%26c%3Dd&name=%C3%A9%2B%2F"
    assert dict(call.raw_headers) == {
        "host": f"localhost:{server.port}",
        "user-agent": "bseries-relay/1.2.3",
        "accept-language": "en-us",
        "accept-encoding": "identity",
        "accept": "text/xml",
        "authorization": "Bearer token-1",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": "3",
        "connection": "close",
    }


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 403, 404, 422, 500, 503])
async def test_every_status_is_a_reply(bench: Bench, certificate: Certificate, status: int) -> None:
    """Whatever the appliance answers to a valid token is handed back as it is."""
    body = b"" if status == 204 else b"text"
    fake = FakeAppliance(answer=lambda _: Response(status, body, {"x-a": "b"}))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        reply = await appliance.call(work(types=("text/xml",) if status >= 300 else ()))
        await appliance.aclose()
    assert (reply.status, reply.body) == (status, body)
    assert ("x-a", "b") in reply.headers


async def test_health_needs_no_account(bench: Bench, certificate: Certificate) -> None:
    """`/check_health` is asked without a token, so that it works when the account does not."""
    fake = FakeAppliance(secret="other", answer=lambda _: Response(200, b"ok"))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.admit(work("/check_health"))
        assert (await appliance.call(work("/check_health"))).body == b"ok"
        await appliance.aclose()
    assert fake.token_requests == []
    assert "authorization" not in fake.calls[0].headers


@pytest.mark.parametrize(
    ("reply", "number", "maybe_sent", "detail"),
    [
        (RESET, 3004, True, "default: Connection reset by peer"),
        (Truncate(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123"), 3004, True, None),
        (HANG, 3003, True, "default: waiting for the answer, 0.5 s were over"),
        (Response(200, b"x" * 101), 3008, True, "default: 101 bytes; 100 are allowed"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n" + b"x" * 500 + b"\r\n0\r\n\r\n",
            3008,
            True,
            "default: 500 bytes; 100 are allowed",
        ),
        (
            Response(200, gzip.compress(b"x" * 99_999), {"content-encoding": "gzip"}),
            3008,
            True,
            "default: more than 5000 bytes; 100 are allowed",
        ),
        (Response(200, b"abc", {"content-encoding": "br"}), 3009, True, "default: content encoding 'br'"),
    ],
)
async def test_faults_of_a_call(
    bench: Bench, certificate: Certificate, reply: Reply, number: int, *, maybe_sent: bool, detail: str | None
) -> None:
    """Each fault has its code, and says that the call may have been executed once it was sent."""
    fake = FakeAppliance(answer=lambda _: reply)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, answer_bytes=100, response_bytes=5000, timeout=0.5)
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(work(max_bytes=4000))
        await appliance.aclose()
    error = caught.value
    assert (error.number, error.maybe_sent) == (number, maybe_sent)
    assert detail is None or error.detail == detail
    assert error.retryable == (number in {3003, 3004})


@pytest.mark.parametrize(
    ("answer_bytes", "max_bytes", "allowed"), [(100, 0, 100), (9000, 0, 5000), (9000, 70, 70), (9000, 8000, 5000)]
)
async def test_the_smallest_bound_counts(
    bench: Bench, certificate: Certificate, answer_bytes: int, max_bytes: int, allowed: int
) -> None:
    """An answer may have as many bytes as ServiceNow, the operation and the appliance's section allow, all three."""
    size = 0
    fake = FakeAppliance(answer=lambda _: Response(200, b"x" * size))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, answer_bytes=answer_bytes, response_bytes=5000)
        size = allowed
        assert len((await appliance.call(work(max_bytes=max_bytes))).body) == allowed
        size = allowed + 1
        with pytest.raises(ApplianceError, match=f"BSR-3008.*{allowed + 1} bytes; {allowed} are"):
            await appliance.call(work(max_bytes=max_bytes))
        await appliance.aclose()


async def test_what_never_reached_the_appliance(bench: Bench, authority: Authority) -> None:
    """A refused connection and a failed handshake are not sent, neither is a token that cannot be had for it."""
    appliance = bench.make("https://127.0.0.1:1")
    for request in (work("/check_health"), work()):
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(request)
        assert (caught.value.number, caught.value.maybe_sent, caught.value.retryable) == (3001, False, True)
    async with HttpsServer(FakeAppliance(), authority.issue("other.example")) as server:
        appliance = bench.make(server.url)
        for request in (work("/check_health"), work()):
            with pytest.raises(ApplianceError) as caught:
                await appliance.call(request)
            assert (caught.value.number, caught.value.maybe_sent) == (3002, False)
        await appliance.aclose()


@pytest.mark.parametrize(
    ("headers", "pause"),
    [({}, 10.0), ({"retry-after": "7"}, 7.0), ({"retry-after": formatdate(1_700_001_033, usegmt=True)}, 33.0)],
)
async def test_a_429_was_not_executed(
    bench: Bench, certificate: Certificate, headers: dict[str, str], pause: float
) -> None:
    """A 429 is BSR-3007, surely not executed, and holds every further call as long as it says."""
    fake = FakeAppliance(answer=lambda _: Response(429, b"slow down", headers))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(work())
        assert (caught.value.number, caught.value.maybe_sent, caught.value.retryable) == (3007, False, True)
        assert caught.value.after == pytest.approx(pause)
        with pytest.raises(ApplianceError) as held:
            await appliance.admit(work(urgency="urgent"))
        assert (held.value.number, held.value.after) == (3007, pytest.approx(pause))
        assert "asked to wait" in held.value.detail
        bench.clock.now += pause
        await appliance.admit(work())
        await appliance.aclose()


async def test_a_429_whose_body_cannot_be_used_is_still_one(bench: Bench, certificate: Certificate) -> None:
    """A 429 with too large a page was not executed either."""
    fake = FakeAppliance(answer=lambda _: Response(429, b"x" * 500, {"retry-after": "3"}))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, answer_bytes=100)
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(work())
        await appliance.aclose()
    assert (caught.value.number, caught.value.maybe_sent, caught.value.after) == (3007, False, pytest.approx(3))


async def test_the_rate_of_a_second(bench: Bench, certificate: Certificate) -> None:
    """Calls wait within their second as long as patience allows, and the reserve is for urgent ones."""
    async with HttpsServer(FakeAppliance(), certificate) as server:
        appliance = bench.make(server.url, requests_per_second=8)
        for _ in range(5):
            await appliance.admit(work())
        assert bench.clock.sleeps == []
        for _ in range(2):
            await appliance.admit(work(urgency="urgent"))
        assert bench.clock.sleeps == []
        await appliance.admit(work(urgency="urgent"))
        assert len(bench.clock.sleeps) == 1
        assert 1.0 <= bench.clock.sleeps[0] <= 1.1
        await appliance.aclose()


async def test_a_wait_over_our_patience_is_an_error(bench: Bench, certificate: Certificate) -> None:
    """A rate of one call in ten seconds is told with the seconds left instead of waited for."""
    async with HttpsServer(FakeAppliance(), certificate) as server:
        appliance = bench.make(server.url, requests_per_second=0.1)
        await appliance.admit(work("/check_health"))
        with pytest.raises(ApplianceError) as caught:
            await appliance.admit(work("/check_health"))
        await appliance.aclose()
    assert caught.value.number == 3007
    assert caught.value.after is not None
    assert 9 < caught.value.after < 11
    assert "this second" in caught.value.detail


async def test_the_hours_budget(bench: Bench, certificate: Certificate) -> None:
    """When the configured hour is used up, admission says BSR-3011 and when."""
    async with HttpsServer(FakeAppliance(), certificate) as server:
        appliance = bench.make(server.url, requests_per_hour=10)
        for _ in range(8):
            await appliance.admit(work("/check_health"))
        with pytest.raises(ApplianceError) as caught:
            await appliance.admit(work("/check_health"))
        await appliance.admit(work("/check_health", urgency="urgent"))
        await appliance.aclose()
    assert caught.value.number == 3011
    assert caught.value.after is not None
    assert caught.value.after > 3000
    assert "configured" in caught.value.detail


async def test_the_appliances_own_count_is_obeyed(bench: Bench, certificate: Certificate) -> None:
    """`X-RateLimit-Remaining` of any answer, one that could not be used included, ends ordinary calls."""
    headers = {"x-ratelimit-limit": "15000", "x-ratelimit-remaining": "2990", "content-encoding": "br"}
    fake = FakeAppliance(answer=lambda _: Response(200, b"x", headers))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with pytest.raises(ApplianceError, match="BSR-3009"):
            await appliance.call(work())
        with pytest.raises(ApplianceError) as caught:
            await appliance.admit(work())
        await appliance.admit(work(urgency="urgent"))
        await appliance.aclose()
    assert caught.value.number == 3011
    assert "appliance counts" in caught.value.detail


@pytest.mark.parametrize(
    ("types", "kind", "fine"),
    [
        ((), "anything/else", True),
        (("text/xml",), "Text/XML; charset=UTF-8", True),
        (("text/xml", "application/zip"), "application/zip", True),
        (("Text/Xml",), "text/xml", True),
        (("text/xml",), "text/html", False),
        (("text/xml",), "text/xmlx", False),
        (("text/xml",), None, False),
        (("text/xml",), "\u00e9vil", False),
    ],
)
async def test_the_content_type_of_a_success(
    bench: Bench, certificate: Certificate, types: tuple[str, ...], kind: str | None, *, fine: bool
) -> None:
    """A success of a kind that the operation does not allow is BSR-3013: executed, and final."""
    fake = FakeAppliance(answer=lambda _: Response(200, b"x", {"content-type": kind} if kind else {}))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        if fine:
            assert (await appliance.call(work(types=types))).status == 200
        else:
            with pytest.raises(ApplianceError) as caught:
                await appliance.call(work(types=types))
            assert (caught.value.number, caught.value.maybe_sent, caught.value.retryable) == (3013, True, False)
            assert "\u00e9" not in caught.value.detail
        await appliance.aclose()


async def test_an_empty_success_has_no_type(bench: Bench, certificate: Certificate) -> None:
    """A 204 needs no content type."""
    fake = FakeAppliance(answer=lambda _: Response(204))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        assert (await appliance.call(work(types=("text/xml",)))).status == 204
        await appliance.aclose()


async def test_calls_at_the_same_time_are_bounded(bench: Bench, certificate: Certificate) -> None:
    """No more calls than `concurrent` are under way at once; the others wait and then go."""
    under_way = most = 0
    gate = asyncio.Event()

    async def slow(_: Request) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return Response(200, b"x")

    fake = FakeAppliance(answer=slow)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, concurrent=3)
        calls = [asyncio.create_task(appliance.call(work())) for _ in range(7)]
        await server.wait_for_requests(4)
        gate.set()
        replies = await asyncio.gather(*calls)
        await appliance.aclose()
    assert [reply.status for reply in replies] == [200] * 7
    assert most == 3


async def test_a_call_that_finds_no_lane_was_not_sent(bench: Bench, certificate: Certificate) -> None:
    """Waiting for other calls ends with the timeout, and then nothing was sent."""
    fake = FakeAppliance(answer=lambda _: HANG)

    async def slowly(request: Request) -> Response:
        await asyncio.sleep(0.3)
        return fake.issue(request)

    fake.token_reply = slowly
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, concurrent=1, timeout=0.4)
        # The first call has the only lane while it waits for its token and then for its answer.
        first = asyncio.create_task(appliance.call(work()))
        await server.wait_for_requests(1)
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(work("/check_health"))
        assert (caught.value.number, caught.value.maybe_sent) == (3003, False)
        assert "other calls" in caught.value.detail
        with pytest.raises(ApplianceError) as caught:
            await first
        assert (caught.value.number, caught.value.maybe_sent) == (3003, True)
        await appliance.aclose()


async def test_a_cancelled_call_gives_its_lane_back(bench: Bench, certificate: Certificate) -> None:
    """After a cancel the next call finds a lane."""
    replies: list[Reply] = [HANG, Response(200, b"fine")]
    fake = FakeAppliance(answer=lambda _: replies.pop(0))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, concurrent=1)
        first = asyncio.create_task(appliance.call(work()))
        await server.wait_for_requests(2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await appliance.call(work())).body == b"fine"
        await appliance.aclose()


async def test_a_long_answer_is_read_as_it_comes(bench: Bench, certificate: Certificate) -> None:
    """It has a bound of its own, not the appliance's, and counts like any other call."""
    body = b"film" * 100_000
    headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "0"}
    fake = FakeAppliance(answer=lambda _: Response(200, body, headers))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, response_bytes=100)
        request = work(max_bytes=len(body))
        await appliance.admit(request)
        async with appliance.receive(request) as download:
            assert (download.status, download.size) == (200, len(body))
            pieces = []
            while piece := await download.read():
                pieces.append(piece)
        assert b"".join(pieces) == body
        with pytest.raises(ApplianceError, match="as the appliance counts them"):
            await appliance.admit(request)
        await appliance.aclose()
    assert fake.calls[0].headers["authorization"] == "Bearer token-1"


async def test_calls_go_on_while_a_long_answer_comes(bench: Bench, certificate: Certificate) -> None:
    """A long answer takes no call's lane."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, concurrent=1)
        async with appliance.receive(work(max_bytes=100)):
            assert (await appliance.call(work())).status == 200
        await appliance.aclose()


@pytest.mark.parametrize(
    ("reply", "meaning", "tokens"),
    [
        (Response(429, b"", {"retry-after": "7"}), (3007, 7.0), "111"),
        (Response(401, b'{"error":"access_denied"}'), (3005, None), "123"),
        (Response(401, b"who?"), (3005, None), "112"),
        (Response(401, b"x" * 200), (3005, None), "112"),
    ],
    ids=["429", "401 of the token", "401", "401 with a page"],
)
async def test_a_long_answer_that_is_a_refusal(
    bench: Bench, certificate: Certificate, reply: Response, meaning: tuple[int, float | None], tokens: str
) -> None:
    """429 and 401 mean "not executed"; another token is asked for when that is sensible."""
    fake = FakeAppliance(answer=lambda _: reply)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        for _ in tokens:
            with pytest.raises(ApplianceError) as caught:
                async with appliance.receive(work(max_bytes=100)):
                    pytest.fail("there is an answer")
            assert ((caught.value.number, caught.value.after), caught.value.maybe_sent) == (meaning, False)
            bench.clock.now += 61
        await appliance.aclose()
    assert "".join(call.headers["authorization"][-1] for call in fake.calls) == tokens


async def test_a_long_answer_that_does_not_come(bench: Bench, certificate: Certificate) -> None:
    """The fault is the appliance's, by its code."""
    fake = FakeAppliance(answer=lambda _: RESET)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with pytest.raises(ApplianceError) as caught:
            async with appliance.receive(work(max_bytes=100)):
                pytest.fail("there is an answer")
        await appliance.aclose()
    assert (caught.value.number, caught.value.maybe_sent) == (3004, True)
