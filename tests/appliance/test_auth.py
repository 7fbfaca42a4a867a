"""The account: one shared token, renewed early, and never asked for in a loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
from support.account import DENIED, Bench, FakeAppliance, json_response, work
from support.server import HANG, HttpsServer, Reply, Request, Response
from support.tls import Authority, Certificate

from relay.appliance.auth import Account
from relay.appliance.token import read_token
from relay.config.model import ApplianceAuth
from relay.config.values import SecretRef
from relay.core.errors import ApplianceError
from relay.host.exchange import HttpResponse
from relay.host.secrets import SecretReader


@pytest.fixture
def bench(authority: Authority, tmp_path: Path) -> Bench:
    return Bench(authority, tmp_path)


async def test_the_token_request_is_the_documented_one(bench: Bench, certificate: Certificate) -> None:
    """A form with Basic credentials goes to /oauth2/token, over a connection of its own."""
    fake = FakeAppliance(token_type="bearer", life=1799)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.admit(work())
        await appliance.aclose()
    request = fake.token_requests[0]
    assert (request.method, request.target, request.body) == (
        "POST",
        "/oauth2/token",
        b"grant_type=client_credentials",
    )
    assert request.headers["authorization"] == "Basic Y2xpZW50OnMzY3JldA=="
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["connection"] == "close"


async def test_one_token_serves_all_calls(bench: Bench, certificate: Certificate) -> None:
    """However many calls begin at once, one token is asked for."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await asyncio.gather(*(appliance.admit(work()) for _ in range(8)))
        await asyncio.gather(*(appliance.call(work()) for _ in range(8)))
        await appliance.aclose()
    assert len(fake.token_requests) == 1
    assert {call.headers["authorization"] for call in fake.calls} == {"Bearer token-1"}


async def test_a_waiter_that_is_cancelled_does_not_take_the_token_along(bench: Bench, certificate: Certificate) -> None:
    """A cancel of one waiter leaves the request for the token to the others."""
    gate = asyncio.Event()
    fake = FakeAppliance()

    async def slowly(request: Request) -> Reply:
        await gate.wait()
        return fake.issue(request)

    fake.token_reply = slowly
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        first, second = (asyncio.create_task(appliance.call(work())) for _ in range(2))
        await server.wait_for_requests(1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        assert (await second).status == 200
        await appliance.aclose()
    assert len(fake.token_requests) == 1


@pytest.mark.parametrize(("life", "early"), [(3600, 300), (1799, 299.8), (60, 10)])
async def test_a_token_is_renewed_early_while_the_old_one_serves(
    bench: Bench, certificate: Certificate, life: float, early: float
) -> None:
    """Five minutes before its end (a sixth of a short life) a new token is asked for, and no call waits for it."""
    fake = FakeAppliance(life=life)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        bench.clock.now += life - early - 0.5
        await appliance.call(work())
        assert len(fake.token_requests) == 1
        bench.clock.now += 1
        await appliance.call(work())
        assert fake.calls[-1].headers["authorization"] == "Bearer token-1"
        await server.wait_for_requests(5)
        await asyncio.sleep(0.05)
        await appliance.call(work())
        assert fake.calls[-1].headers["authorization"] == "Bearer token-2"
        await appliance.aclose()
    assert len(fake.token_requests) == 2


async def test_a_failed_early_renewal_is_not_repeated_at_once(bench: Bench, certificate: Certificate) -> None:
    """While the old token is good a renewal that fails waits 15 seconds for its next try, and calls go on."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        fake.token_reply = Response(503)
        bench.clock.now += 3400
        for count in (2, 2, 3):
            await appliance.call(work())
            await asyncio.sleep(0.05)
            assert len(fake.token_requests) == count
            bench.clock.now += 8
        await appliance.aclose()


async def test_an_expired_token_is_not_sent(bench: Bench, certificate: Certificate) -> None:
    """After its life a token is replaced before the call."""
    fake = FakeAppliance(life=100)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        bench.clock.now += 101
        await appliance.call(work())
        await appliance.aclose()
    assert [call.headers["authorization"] for call in fake.calls] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    "refusal",
    [
        DENIED,
        json_response(401, {"error": "invalid_token"}),
        Response(401, b"", {"www-authenticate": 'Bearer error="invalid_token"'}),
    ],
)
async def test_a_refused_token_is_dropped(bench: Bench, certificate: Certificate, refusal: Response) -> None:
    """A 401 that speaks of the token was not executed; the caller's repetition goes with a new one."""
    fake = FakeAppliance(refuse=refusal)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        fake.valid.clear()
        with pytest.raises(ApplianceError) as caught:
            await appliance.call(work())
        assert (caught.value.number, caught.value.maybe_sent, caught.value.retryable) == (3005, False, True)
        await appliance.admit(work())
        assert (await appliance.call(work())).status == 200
        await appliance.aclose()
    assert len(fake.token_requests) == 2
    assert len(fake.calls) == 3


async def test_a_token_is_dropped_once(bench: Bench, certificate: Certificate) -> None:
    """Calls that were under way with a dropped token do not drop the new one."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        fake.valid.clear()
        results = await asyncio.gather(*(appliance.call(work()) for _ in range(5)), return_exceptions=True)
        assert {type(result) for result in results} == {ApplianceError}
        await appliance.call(work())
        await appliance.aclose()
    assert len(fake.token_requests) == 2


async def test_tokens_that_never_work_are_not_asked_for_in_a_loop(bench: Bench, certificate: Certificate) -> None:
    """An account whose fresh tokens are refused is left alone for growing times."""
    fake = FakeAppliance()
    fake.token_reply = json_response(200, {"access_token": "useless", "token_type": "Bearer", "expires_in": 3600})
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        waits = []
        for _ in range(20):
            with pytest.raises(ApplianceError) as caught:
                await appliance.call(work())
            waits.append(caught.value.after)
        assert len(fake.token_requests) == 1
        assert waits[1:] == [pytest.approx(15)] * 19
        numbers = set()
        for _ in range(900):
            bench.clock.now += 1
            with pytest.raises(ApplianceError) as caught:
                await appliance.call(work())
            numbers.add(caught.value.number)
        assert len(fake.token_requests) == 6
        assert numbers == {3005, 3006}
        await appliance.aclose()


async def test_a_401_that_does_not_say_why_is_tried_once_more(bench: Bench, certificate: Certificate) -> None:
    """With a token of some age a bare 401 is met with a new token, once, and the second answer stands."""
    fake = FakeAppliance(refuse=Response(401, b"<error>?</error>"))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        fake.valid.clear()
        bench.clock.now += 61
        assert (await appliance.call(work())).status == 200
        assert [call.headers["authorization"] for call in fake.calls] == [
            "Bearer token-1",
            "Bearer token-1",
            "Bearer token-2",
        ]
        await appliance.aclose()


async def test_bare_401s_at_once_cost_one_token(bench: Bench, certificate: Certificate) -> None:
    """Calls that meet a bare 401 at the same time go again with one new token."""
    fake = FakeAppliance(refuse=Response(401))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        fake.valid.clear()
        bench.clock.now += 61
        replies = await asyncio.gather(*(appliance.call(work()) for _ in range(5)))
        await appliance.aclose()
    assert [reply.status for reply in replies] == [200] * 5
    assert len(fake.token_requests) == 2


@pytest.mark.parametrize("path", ["/api/config/v1", "/api/config/v1/jump-client"])
async def test_a_401_of_the_configuration_api_may_mean_the_call(
    bench: Bench, certificate: Certificate, path: str
) -> None:
    """There a 401 is handed back: at once with a young token, after one try with a new token otherwise."""
    fake = FakeAppliance(answer=lambda _: DENIED)
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        assert (await appliance.call(work(path))).status == 401
        assert (len(fake.calls), len(fake.token_requests)) == (1, 1)
        bench.clock.now += 61
        assert (await appliance.call(work(path))).status == 401
        assert (len(fake.calls), len(fake.token_requests)) == (3, 2)
        # However often that happens the account keeps some of its 30 tokens for others, and nothing is refused.
        for _ in range(50):
            bench.clock.now += 61
            assert (await appliance.call(work(path))).status == 401
        assert len(fake.token_requests) == 20
        fake.answer = lambda _: Response(200, b"fine")
        assert (await appliance.call(work())).status == 200
        await appliance.aclose()


async def test_a_new_token_that_cannot_be_had_leaves_the_401(bench: Bench, certificate: Certificate) -> None:
    """When the try with a new token fails before it is sent, the 401 is the answer."""
    fake = FakeAppliance(answer=lambda _: Response(401))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        await appliance.call(work())
        bench.clock.now += 61
        fake.token_reply = Response(500)
        assert (await appliance.call(work())).status == 401
        assert len(fake.token_requests) == 2
        fake.answer = lambda _: Response(200)
        assert (await appliance.call(work())).status == 200
        assert fake.calls[-1].headers["authorization"] == "Bearer token-1"
        await appliance.aclose()


async def test_the_second_try_keeps_to_the_rate_limit(bench: Bench, certificate: Certificate) -> None:
    """When the limit leaves no call for a second try, the 401 is the answer."""
    fake = FakeAppliance(answer=lambda _: Response(401))
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url, requests_per_hour=5)
        await appliance.admit(work())
        await appliance.call(work())
        bench.clock.now += 61
        for _ in range(2):
            await appliance.admit(work())
        assert (await appliance.call(work())).status == 401
        await appliance.aclose()
    assert len(fake.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_account_is_left_alone(bench: Bench, certificate: Certificate, status: int) -> None:
    """Refusals by the token endpoint are followed by growing pauses, whoever asks in between."""
    fake = FakeAppliance()
    fake.token_reply = json_response(status, {"error": "invalid_client", "error_description": "evil text"})
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with structlog.testing.capture_logs() as logs, pytest.raises(ApplianceError) as caught:
            await appliance.admit(work())
        assert (caught.value.number, caught.value.detail) == (3005, "default: invalid_client")
        assert (caught.value.after, caught.value.maybe_sent) == (pytest.approx(15), False)
        refusals = [entry for entry in logs if entry["event"] == "appliance.account.refused"]
        assert [(entry["said"], entry["times"]) for entry in refusals] == [("invalid_client", 1)]
        numbers = []
        for _ in range(180):
            bench.clock.now += 5
            with pytest.raises(ApplianceError) as caught:
                await appliance.admit(work())
            numbers.append(caught.value.number)
        assert len(fake.token_requests) == 6
        assert numbers[0] == 3005
        assert numbers[-1] == 3006
        await appliance.aclose()


async def test_a_rotated_secret_is_a_new_chance(bench: Bench, certificate: Certificate) -> None:
    """A file with another secret is tried at once, whatever pause the old one earned."""
    fake = FakeAppliance(secret="new")
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        for _ in range(3):
            with pytest.raises(ApplianceError):
                await appliance.admit(work())
        assert len(fake.token_requests) == 1
        bench.write_secret("new")
        await appliance.admit(work())
        assert (await appliance.call(work())).status == 200
        await appliance.aclose()


async def test_a_secret_that_always_changes_is_no_chance(bench: Bench, certificate: Certificate) -> None:
    """Three other secrets are tried at once, the fourth when the pause is over: accounts are locked by refusals."""
    fake = FakeAppliance(secret="right")
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        for number in range(10):
            bench.write_secret(f"wrong-{number}")
            with pytest.raises(ApplianceError):
                await appliance.admit(work())
        assert len(fake.token_requests) == 4
        bench.clock.now += 15
        bench.write_secret("right")
        await appliance.admit(work())
        assert (await appliance.call(work())).status == 200
        await appliance.aclose()


async def test_an_unreadable_secret(bench: Bench, certificate: Certificate) -> None:
    """A secret that cannot be read is BSR-3005 with the reason, and asks nobody for anything."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        bench.secret_file.chmod(0o644)
        with pytest.raises(ApplianceError, match=r"BSR-3005.*BSR-1010"):
            await appliance.admit(work())
        await appliance.aclose()
    assert fake.token_requests == []


async def test_a_refused_credential_tells_of_the_restart(bench: Bench) -> None:
    """Systemd hands out credentials only at start: the error says what to do after a rotation."""
    (bench.folder / "pw").write_text("old")

    async def refuse(_headers: object, _body: bytes) -> HttpResponse:
        return HttpResponse(401, (), b"", 0.0)

    auth = ApplianceAuth.model_construct(client_id="client", client_secret=SecretRef("credential", "pw"))
    reader = SecretReader({"CREDENTIALS_DIRECTORY": str(bench.folder)})
    account = Account("default", auth, reader, bench.clock, refuse)
    with pytest.raises(ApplianceError, match=r"BSR-3005.*HTTP 401; .*restart"):
        await account.token()


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        (Response(500), 3015),
        (Response(404, b"<html>"), 3015),
        (Response(200, b"<html>"), 3015),
        (json_response(200, {"access_token": "a\r\nb: c", "token_type": "Bearer", "expires_in": 60}), 3015),
        (Response(429, b"", {"retry-after": "4"}), 3007),
        (Response(200, b"x" * 100_000), 3008),
    ],
)
async def test_other_answers_of_the_token_endpoint(
    bench: Bench, certificate: Certificate, reply: Response, number: int
) -> None:
    """What is neither a token nor a refusal has its own code, locks nothing, and nothing was sent."""
    fake = FakeAppliance()
    fake.token_reply = reply
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with pytest.raises(ApplianceError) as caught:
            await appliance.admit(work())
        assert (caught.value.number, caught.value.maybe_sent) == (number, False)
        fake.token_reply = None
        bench.clock.now += 5
        await appliance.admit(work())
        await appliance.aclose()


async def test_admission_does_not_wait_long_for_a_token(
    bench: Bench, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token endpoint that hangs costs admission its patience and no more; the request goes on."""
    monkeypatch.setattr("relay.appliance.client.PATIENCE", 0.1)
    gate = asyncio.Event()
    fake = FakeAppliance()

    async def slowly(request: Request) -> Reply:
        await gate.wait()
        return fake.issue(request)

    fake.token_reply = slowly
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        for _ in range(2):
            with pytest.raises(ApplianceError) as caught:
                await appliance.admit(work())
            assert (caught.value.number, caught.value.after) == (3015, 0.1)
        gate.set()
        while True:
            try:
                await appliance.admit(work())
                break
            except ApplianceError:
                continue
        await appliance.aclose()
    assert len(fake.token_requests) == 1


async def test_closing_ends_a_request_for_a_token(bench: Bench, certificate: Certificate) -> None:
    """Nothing is left running after a close in the middle of a token request."""
    fake = FakeAppliance()
    fake.token_reply = HANG
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        call = asyncio.create_task(appliance.call(work()))
        await server.wait_for_requests(1)
        await appliance.aclose()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert all(not task.get_name().startswith("token") for task in asyncio.all_tasks())


async def test_secrets_and_tokens_are_not_logged(bench: Bench, certificate: Certificate) -> None:
    """No log line and no error holds the secret or a token."""
    fake = FakeAppliance()
    async with HttpsServer(fake, certificate) as server:
        appliance = bench.make(server.url)
        with structlog.testing.capture_logs() as logs:
            await appliance.call(work())
            fake.valid.clear()
            with pytest.raises(ApplianceError) as caught:
                await appliance.call(work())
        await appliance.aclose()
    text = f"{logs} {caught.value!r} {caught.value.text}"
    assert "appliance.token.issued" in text
    assert "s3cret" not in text
    assert "token-1" not in text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nonsense",
        b"\xff",
        b"[" * 100_000,
        b'{"access_token": "", "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": 5, "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "a b", "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "t", "token_type": "MAC", "expires_in": 60}',
        b'{"access_token": "t", "expires_in": 60}',
        b'{"access_token": "t", "token_type": "Bearer"}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": "60"}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": true}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": 0}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": -1}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": NaN}',
        b'{"access_token": "t", "token_type": "Bearer", "expires_in": Infinity}',
    ],
    ids=range(17),
)
def test_what_is_no_token(body: bytes) -> None:
    """A token answer is complete and clean, or none."""
    assert read_token(body, 0.0) is None


def test_a_token_that_claims_to_live_for_ever() -> None:
    """A life over a day is taken for a day."""
    token = read_token(b'{"access_token": "t", "token_type": "BEARER", "expires_in": 1e9}', 5.0)
    assert token is not None
    assert (token.secret.reveal(), token.issued, token.expires) == ("t", 5.0, 86405.0)


def test_a_token_that_claims_to_end_at_once() -> None:
    """A life of next to nothing is taken for ten seconds, so that no call asks for a token of its own."""
    token = read_token(b'{"access_token": "t", "token_type": "Bearer", "expires_in": 1e-300}', 5.0)
    assert token is not None
    assert token.expires == 15.0


def test_a_life_too_long_for_a_float() -> None:
    """A whole number of 400 digits is a long life, and no fault of ours."""
    token = read_token(b'{"access_token": "t", "token_type": "Bearer", "expires_in": %s}' % (b"9" * 400), 5.0)
    assert token is not None
    assert token.expires == 86405.0
