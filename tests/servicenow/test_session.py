"""Sessions with an instance over real TLS: signing in, cookies, faults, the clock."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from support.ecc_table import FakeInstance, answer
from support.server import HANG, RESET, Reply, Request, Response, Truncate
from support.tls import Authority

from relay.config.model import ServiceNowSettings
from relay.core.errors import ConfigError, ServiceNowError
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.servicenow.calls import get_row
from relay.servicenow.instance import SESSIONS, Instance

TABLE = "/api/now/table/ecc_queue"
BASIC = "Basic " + base64.b64encode(b"svc:hunter2hunter2").decode()
CLIENT = {"oauth_client": {"client_id": "id", "client_secret": {"file": "SECRET"}}}
PASSWORD = {
    "oauth_password": {
        "client_id": "id",
        "client_secret": {"file": "SECRET"},
        "username": "svc",
        "password": {"file": "SECRET"},
    }
}
EMPTY = answer(200, {"result": []})


async def poll(instance: Instance) -> Any:
    return await instance.queue.poll(10, [])


async def failure(instance: Instance) -> ServiceNowError:
    with pytest.raises(ServiceNowError) as caught:
        await poll(instance)
    return caught.value


def with_secret(auth: dict[str, Any], file: Path) -> dict[str, Any]:
    """The settings of `auth` with the secret's file put in."""
    return {
        kind: {name: {"file": str(file)} if isinstance(value, dict) else value for name, value in fields.items()}
        for kind, fields in auth.items()
    }


async def test_basic(connect: Any) -> None:
    """A request carries the user's name and password and asks for JSON."""
    async with connect(lambda _request: EMPTY) as (instance, server):
        await poll(instance)
        headers = server.requests[0].headers
        assert headers["authorization"] == BASIC
        assert headers["accept"] == "application/json"


async def test_cookies_by_lane(connect: Any) -> None:
    """Each session keeps its own cookies, and its connection."""

    def handler(request: Request) -> Reply:
        return answer(200, {"result": []}, **{"set-cookie": f"JSESSIONID=s{request.connection.number}; Path=/; Secure"})

    async with connect(handler) as (instance, server):
        for _ in range(2):
            await poll(instance)
            await instance.queue.processing(10, [])
        cookies = [request.headers.get("cookie") for request in server.requests]
        assert cookies == [None, None, "JSESSIONID=s0", "JSESSIONID=s1"]
        assert len(server.connections) == 2


async def test_stale_session(connect: Any) -> None:
    """A 401 to a session that worked before: cookies are dropped and the request is sent once more."""
    replies = [
        answer(200, {"result": []}, **{"set-cookie": "JSESSIONID=old; Path=/"}),
        answer(401, {"error": {"message": "User Not Authenticated"}}),
        EMPTY,
    ]
    async with connect(lambda _request: replies.pop(0)) as (instance, server):
        await poll(instance)
        await poll(instance)
        assert [request.headers.get("cookie") for request in server.requests] == [None, "JSESSIONID=old", None]


async def test_wrong_password(connect: Any) -> None:
    """A 401 to a password that has not changed is not tried again, so that the account is not locked."""
    async with connect(lambda _request: answer(401, {})) as (instance, server):
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (2005, False)
        assert len(server.requests) == 1


def rotate(file: Path, text: str = "another-password") -> None:
    file.write_text(text)


async def test_refused_credentials_rest(connect: Any) -> None:
    """After a refusal no session tries for a while; the one that is let in again ends that."""
    replies = [answer(401, {}), EMPTY, EMPTY]
    async with connect(lambda _request: replies.pop(0)) as (instance, server):
        await failure(instance)
        resting = await failure(instance)
        assert (resting.number, resting.maybe_sent) == (2005, False)
        assert resting.after is not None
        assert 0 < resting.after <= 1
        with pytest.raises(ServiceNowError):
            await instance.queue.processing(1)
        assert len(server.requests) == 1
        instance.shared._quiet_until = 0.0
        await poll(instance)
        await instance.queue.processing(1)
        assert len(server.requests) == 3


async def test_one_session_signs_in_after_a_refusal(connect: Any) -> None:
    """When the pause is over one session tries and the others wait for what becomes of it: one 401 for each pause."""
    async with connect(lambda _request: answer(401, {})) as (instance, server):
        await failure(instance)
        for tries in (2, 3):
            instance.shared._quiet_until = 0.0
            calls = (poll(instance), instance.queue.processing(1), instance.queue.claim(["a" * 32]))
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert [getattr(error, "number", None) for error in errors[:2]] == [2005, 2005]  # claims are values
            assert len(server.requests) == tries


async def test_cookies_that_still_work_prove_no_password(connect: Any) -> None:
    """A session that its cookies let in does not end the pauses of one whose sign-in is refused: they grow."""

    def handler(request: Request) -> Reply:
        if "cookie" in request.headers or not server_refuses:
            return answer(200, {"result": []}, **{"set-cookie": "JSESSIONID=old; Path=/"})
        return answer(401, {})

    server_refuses: list[bool] = []
    async with connect(handler) as (instance, _):
        await poll(instance)
        server_refuses.append(True)
        for refusals in (1, 2, 3):
            with pytest.raises(ServiceNowError):
                await instance.queue.processing(1)
            assert instance.shared._refusals == refusals
            instance.shared._quiet_until = 0.0
            await poll(instance)
        server_refuses.clear()
        await instance.queue.processing(1)
        assert instance.shared.trusted


async def test_a_session_that_ends_while_others_are_refused(connect: Any) -> None:
    """It is not signed in again at once, as it would be when nothing spoke against the password."""
    refuse: list[bool] = []
    async with connect(lambda _request: answer(401, {}) if refuse else EMPTY) as (instance, server):
        await poll(instance)
        refuse.append(True)
        with pytest.raises(ServiceNowError):
            await instance.queue.processing(1)
        instance.shared._quiet_until = 0.0
        before = len(server.requests)
        await failure(instance)
        assert len(server.requests) == before + 1


async def test_rotated_password(connect: Any, secret_file: Path) -> None:
    """After a 401 the password's file is read again, and a new one is tried at once."""

    def handler(request: Request) -> Reply:
        return EMPTY if request.headers["authorization"] != BASIC else answer(401, {})

    async with connect(handler) as (instance, server):
        rotate(secret_file)
        await poll(instance)
        assert len(server.requests) == 2


async def test_a_password_that_always_changes_is_no_chance(connect: Any, secret_file: Path) -> None:
    """Three other passwords are tried at once after a refusal; with more the pauses go on, until one is let in."""
    right: list[bool] = []
    async with connect(lambda _request: EMPTY if right else answer(401, {})) as (instance, server):
        tries = []
        for number in range(6):
            await failure(instance)
            tries.append(len(server.requests))
            rotate(secret_file, f"wrong-{number}")
            assert list(instance.renew()) == []
        assert tries == [1, 2, 3, 4, 4, 4]
        right.append(True)
        instance.shared._quiet_until = 0.0
        await poll(instance)
        assert instance.shared.trusted
        instance.shared.refused()
        rotate(secret_file)
        assert list(instance.renew()) == []
        assert instance.shared.trusted


async def test_rotated_credential(connect: Any, authority: Authority, tmp_path: Path) -> None:
    """A refused systemd credential says that a new one needs a restart."""
    rotate(tmp_path / "pw")
    async with connect(lambda _request: answer(401, {})) as (_, server):
        values = {
            "url": server.url,
            "auth": {"basic": {"username": "svc", "password": {"credential": "pw"}}},
            "tls": {"ca_file": str(authority.ca_file)},
        }
        secrets = SecretReader({"CREDENTIALS_DIRECTORY": str(tmp_path)})
        instance = Instance.connect(ServiceNowSettings.model_validate(values), "relay01", secrets, Clock())
        assert "restart" in (await failure(instance)).text
        await instance.aclose()


@pytest.mark.parametrize(
    ("auth", "form"),
    [
        (CLIENT, {"grant_type": "client_credentials", "client_id": "id", "client_secret": "hunter2hunter2"}),
        (
            PASSWORD,
            {
                "grant_type": "password",
                "client_id": "id",
                "client_secret": "hunter2hunter2",
                "username": "svc",
                "password": "hunter2hunter2",
            },
        ),
    ],
)
async def test_oauth(connect: Any, secret_file: Path, auth: dict[str, Any], form: dict[str, str]) -> None:
    """One token, fetched by a form post, serves all lanes."""

    def handler(request: Request) -> Reply:
        if request.path == "/oauth_token.do":
            return answer(200, {"access_token": "t1", "token_type": "Bearer", "expires_in": 1799})
        return EMPTY

    async with connect(handler, auth=with_secret(auth, secret_file)) as (instance, server):
        await asyncio.gather(poll(instance), instance.queue.processing(1, []), instance.queue.find(["a" * 32]))
        tokens = [request for request in server.requests if request.path == "/oauth_token.do"]
        assert len(tokens) == 1
        assert tokens[0].form == form
        assert tokens[0].headers["content-type"] == "application/x-www-form-urlencoded"
        assert "authorization" not in tokens[0].headers
        others = [request for request in server.requests if request.path != "/oauth_token.do"]
        assert {request.headers["authorization"] for request in others} == {"Bearer t1"}
        assert instance.requests == {"token": 1, "poll": 1, "lookup": 2}


async def test_revoked_token(connect: Any, secret_file: Path) -> None:
    """A 401 drops the token once; a fresh one that is refused as well is BSR-2005."""
    given: list[str] = []

    def handler(request: Request) -> Reply:
        if request.path == "/oauth_token.do":
            given.append(f"t{len(given) + 1}")
            return answer(200, {"access_token": given[-1], "expires_in": 1799})
        return EMPTY if request.headers["authorization"] == "Bearer t2" and len(given) == 2 else answer(401, {})

    async with connect(handler, auth=with_secret(CLIENT, secret_file)) as (instance, _):
        await poll(instance)
        assert given == ["t1", "t2"]
        given.append("revoked")
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (2005, False)
        assert len(given) == 4


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        (answer(400, {"error": "invalid_client"}), 2017),
        (answer(401, {"error": "server_error"}), 2017),
        (answer(403, {}), 2017),
        (answer(200, {"scope": "x"}), 2017),
        (Response(200, b"<html>", {"content-type": "text/html"}), 2009),
        (answer(500, {}), 2008),
        (answer(429, {}), 2007),
        (RESET, 2004),
    ],
)
async def test_no_token(connect: Any, secret_file: Path, reply: Reply, number: int) -> None:
    """Whatever becomes of a token request, the call itself was not sent."""
    async with connect(lambda _request: reply, auth=with_secret(CLIENT, secret_file)) as (instance, server):
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (number, False)
        assert "hunter2" not in error.text
        assert [request.path for request in server.requests] == ["/oauth_token.do"]


def test_a_key_that_is_none_shows_at_start(authority: Authority, tmp_path: Path) -> None:
    """An assertion's key that cannot sign is a configuration error before anything is sent."""
    file = tmp_path / "x"
    file.write_text("no key")
    file.chmod(0o600)
    secret = {"file": str(file)}
    jwt = {"oauth_jwt": {"client_id": "a", "client_secret": secret, "key": secret, "key_id": "k", "subject": "s"}}
    values = {"url": "https://localhost", "auth": jwt, "tls": {"ca_file": str(authority.ca_file)}}
    with pytest.raises(ConfigError) as caught:
        Instance.connect(ServiceNowSettings.model_validate(values), "relay01", SecretReader({}), Clock())
    assert caught.value.number == 1024


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        (RESET, 2004),
        (Truncate(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"), 2004),
        (Response(200, b'{"result": [', {"content-type": "application/json"}), 2011),
        (Response(200, b"x", {"content-type": "application/json", "content-encoding": "br"}), 2011),
        (b"no http at all\r\n\r\n", 2004),
    ],
)
async def test_broken_answers(connect: Any, reply: Reply, number: int) -> None:
    """A request that was sent and whose answer broke may have been executed."""
    async with connect(lambda _request: reply) as (instance, _):
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (number, True)


async def test_silence(connect: Any) -> None:
    """An instance that does not answer in time may have executed the request."""
    async with connect(lambda _request: HANG, timeout="200ms") as (instance, _):
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (2003, True)


async def test_nobody_there(connect: Any) -> None:
    """A refused connection means that nothing was sent."""
    async with connect(lambda _request: EMPTY) as (instance, server):
        await server.stop()
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (2001, False)


async def test_stranger(connect: Any, tmp_path: Path) -> None:
    """A server whose certificate is not trusted gets nothing."""
    stranger = Authority(tmp_path / "other")
    async with connect(lambda _request: EMPTY, tls={"ca_file": str(stranger.ca_file)}) as (instance, server):
        error = await failure(instance)
        assert (error.number, error.maybe_sent) == (2002, False)
        assert server.received == 0


async def test_clock(connect: Any) -> None:
    """The instance's clock is read from its answers, also from refusals."""
    date = {"date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    async with connect(lambda _request: answer(404, {}, **date)) as (instance, _):
        assert instance.queue.now() is None
        await failure(instance)
        now = instance.queue.now()
        assert now is not None
        assert 784111777 <= now < 784111787


async def test_retry_after_by_date(connect: Any) -> None:
    """A Retry-After date is measured by the instance's own clock."""
    headers = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": "Sun, 06 Nov 1994 08:50:37 GMT"}
    async with connect(lambda _request: answer(429, {}, **headers)) as (instance, _):
        error = await failure(instance)
        assert error.after == pytest.approx(60, abs=1)


async def test_lanes_overlap(connect: Any) -> None:
    """A slow claim holds up neither the poll nor a second claim, but a third one waits."""
    slow, both = asyncio.Event(), asyncio.Event()
    claims = 0

    async def handler(request: Request) -> Reply:
        nonlocal claims
        if request.method == "PATCH":
            claims += 1
            if claims == SESSIONS["claim"]:
                both.set()
            await slow.wait()
            return answer(404, {})
        return EMPTY

    async with connect(handler) as (instance, _):
        tasks = [asyncio.create_task(instance.queue.claim([digit * 32])) for digit in "abc"]
        await both.wait()
        for _ in range(3):
            await poll(instance)
        assert claims == SESSIONS["claim"] == 2
        slow.set()
        await asyncio.gather(*tasks)
        assert claims == 3


async def test_cancelled_call_frees_its_session(connect: Any) -> None:
    """A call that is cancelled leaves its session usable, on a new connection."""
    replies: list[Reply] = [HANG, EMPTY]
    async with connect(lambda _request: replies.pop(0)) as (instance, server):
        task = asyncio.create_task(poll(instance))
        await server.wait_for_requests(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await poll(instance)
        assert len(server.connections) == 2


def test_targets() -> None:
    """A row's target holds the fields that are wanted, commas unescaped."""
    assert get_row("ecc_queue", "a" * 32, ["x", "y"]).target == (
        f"{TABLE}/{'a' * 32}?sysparm_fields=x,y&sysparm_exclude_reference_link=true"
    )


async def test_fake_is_strict() -> None:
    """The tests' own instance fails a test that asks it for what it does not know."""
    with pytest.raises(AssertionError):
        FakeInstance().serve("GET", "/api/now/other", b"", {})
