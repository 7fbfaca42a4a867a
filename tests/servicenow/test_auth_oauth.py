"""OAuth: one token for all, renewed early; refresh tokens; assertions and the clocks that date them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from relay.core.errors import ConfigError, ServiceNowError
from relay.core.secret import Secret
from relay.servicenow.auth_jwt import GRANT_TYPE, JwtGrant, signing_key
from relay.servicenow.auth_oauth import ClientGrant, Fields, OAuth, PasswordGrant, token_of

REFUSAL = ServiceNowError(2017, "HTTP 401")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time


class Endpoint:
    """Gives tokens `t1`, `t2`, ... with `more`, or raises what stands in `trouble`; refuses `refuses`' grant types."""

    def __init__(self, life: float = 1800.0, **more: Any) -> None:
        self.life = life
        self.more = more
        self.forms: list[Fields] = []
        self.trouble: Exception | None = None
        self.refuses: set[str] = set()

    @property
    def grants(self) -> list[Any]:
        return [fields["grant_type"] for fields in self.forms]

    async def fetch(self, fields: Fields) -> Any:
        self.forms.append(fields)
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        if fields["grant_type"] in self.refuses:
            raise REFUSAL
        return {"access_token": f"t{len(self.forms)}", "token_type": "Bearer", "expires_in": self.life, **self.more}


def oauth(endpoint: Endpoint, clock: Clock) -> OAuth:
    return OAuth(ClientGrant("id", lambda: Secret("secret")), endpoint.fetch, clock)


def by_password(endpoint: Endpoint, clock: Clock, password: Callable[[], Secret] = lambda: Secret("pw")) -> OAuth:
    return OAuth(PasswordGrant("id", lambda: Secret("secret"), "svc", password), endpoint.fetch, clock)


async def shown(auth: OAuth) -> str:
    return (await auth.header()).reveal()


async def test_one_token_for_all() -> None:
    """Sessions that need a token at the same time share one request and one token."""
    endpoint = Endpoint()
    auth = oauth(endpoint, Clock())
    headers = await asyncio.gather(*(shown(auth) for _ in range(20)))
    assert set(headers) == {"Bearer t1"}
    assert len(endpoint.forms) == 1


async def test_client_grant() -> None:
    """The grant type client credentials sends id and secret, nothing else."""
    endpoint = Endpoint()
    await oauth(endpoint, Clock()).header()
    assert endpoint.forms == [
        {"grant_type": "client_credentials", "client_id": "id", "client_secret": Secret("secret")}
    ]


def test_password_grant() -> None:
    """The grant type password adds the user."""
    assert PasswordGrant("id", lambda: Secret("s"), "svc", lambda: Secret("p")).fields() == {
        "grant_type": "password",
        "client_id": "id",
        "client_secret": Secret("s"),
        "username": "svc",
        "password": Secret("p"),
    }


@pytest.mark.parametrize(("life", "early"), [(1800.0, 60.0), (60.0, 30.0), (10.0, 5.0)])
async def test_renewed_early(life: float, early: float) -> None:
    """A token is renewed a minute before its end, or after half of a short life."""
    clock, endpoint = Clock(), Endpoint(life)
    auth = oauth(endpoint, clock)
    await auth.header()
    clock.time += life - early - 0.1
    assert await shown(auth) == "Bearer t1"
    clock.time += 0.2
    assert await shown(auth) == "Bearer t2"


async def test_renewal_may_fail() -> None:
    """While the token still lives, a failed renewal hurts nobody and is not repeated at once; at its end it does."""
    clock, endpoint = Clock(), Endpoint()
    auth = oauth(endpoint, clock)
    await auth.header()
    endpoint.trouble = ServiceNowError(2003, "slow", maybe_sent=True)
    clock.time += 1745.0
    assert await shown(auth) == "Bearer t1"
    assert await shown(auth) == "Bearer t1"
    assert len(endpoint.forms) == 2
    clock.time += 60.0
    with pytest.raises(ServiceNowError) as caught:
        await auth.header()
    assert (caught.value.number, caught.value.maybe_sent) == (2003, False)
    endpoint.trouble = None
    clock.time += 100.0
    assert await shown(auth) == "Bearer t4"


async def test_failures_back_off() -> None:
    """After a refused token request every session gets that error without a request, for longer each time."""
    clock, endpoint = Clock(), Endpoint()
    auth = oauth(endpoint, clock)
    endpoint.trouble = ServiceNowError(2017, "HTTP 401")
    waits = []
    for _ in range(8):
        with pytest.raises(ServiceNowError):
            await auth.header()
        asked = len(endpoint.forms)
        with pytest.raises(ServiceNowError) as caught:
            await auth.header()
        assert len(endpoint.forms) == asked
        assert caught.value.number == 2017
        assert caught.value.after is not None
        waits.append(caught.value.after)
        clock.time += caught.value.after
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


async def test_unreadable_secret() -> None:
    """A client secret that can never be read is BSR-2017 with the reason."""
    readings = iter([Secret("secret")])

    def read() -> Secret:
        try:
            return next(readings)
        except StopIteration:
            raise ConfigError(1009, "gone") from None

    auth = OAuth(ClientGrant("id", read), Endpoint().fetch, Clock())
    with pytest.raises(ServiceNowError) as caught:
        await auth.header()
    assert caught.value.number == 2017
    assert "gone" in caught.value.text


async def test_a_changed_secret_is_tried_at_once() -> None:
    """A secret that was replaced ends the pause after a refusal; one that is the same as before does not."""
    clock, endpoint, secret = Clock(), Endpoint(), Secret("wrong")
    auth = OAuth(ClientGrant("id", lambda: secret), endpoint.fetch, clock)
    endpoint.trouble = REFUSAL
    with pytest.raises(ServiceNowError):
        await auth.header()
    endpoint.trouble = None
    assert not auth.renew()
    with pytest.raises(ServiceNowError):
        await auth.header()
    assert len(endpoint.forms) == 1
    secret = Secret("right")
    assert auth.renew()
    assert await shown(auth) == "Bearer t2"
    assert endpoint.forms[-1]["client_secret"] == Secret("right")


async def test_a_secret_that_always_changes_is_no_chance() -> None:
    """Three changed secrets are tried at once; with more the pauses go on, until there is a token."""
    clock, endpoint, secret = Clock(), Endpoint(), Secret("wrong")
    auth = OAuth(ClientGrant("id", lambda: secret), endpoint.fetch, clock)
    endpoint.trouble = REFUSAL
    tries = []
    for number in range(6):
        with pytest.raises(ServiceNowError):
            await auth.header()
        tries.append(len(endpoint.forms))
        secret = Secret(f"wrong-{number}")
        assert auth.renew()
    assert tries == [1, 2, 3, 4, 4, 4]
    clock.time += 60.0
    endpoint.trouble = None
    assert await shown(auth) == "Bearer t5"


async def test_refused_token_is_dropped_once() -> None:
    """A refused token is dropped; one that another session has fetched since is not."""
    endpoint = Endpoint()
    auth = oauth(endpoint, Clock())
    first = await auth.header()
    assert await auth.refused(first)
    assert await shown(auth) == "Bearer t2"
    assert await auth.refused(first)
    assert await shown(auth) == "Bearer t2"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"access_token": ""},
        {"access_token": 1},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "a", "token_type": 1},
        {"error": "server_error", "error_description": "access_denied"},
    ],
)
def test_no_token(answer: Any) -> None:
    """An answer without a usable bearer token is BSR-2017."""
    with pytest.raises(ServiceNowError) as caught:
        token_of(answer)
    assert caught.value.number == 2017


@pytest.mark.parametrize(
    ("said", "life"),
    [
        (1799, 1799.0),
        ("60", 60.0),
        (1e-300, 10.0),
        (0, 1800.0),
        (-5, 1800.0),
        (None, 1800.0),
        ("soon", 1800.0),
        (1e300, 1800.0),
        (10**400, 1800.0),
    ],
)
def test_life(said: Any, life: float) -> None:
    """A life that is no sensible number of seconds counts as the usual one; the type is compared without case."""
    token = token_of({"access_token": "a", "token_type": "bearer", "expires_in": said})
    assert (token.header.reveal(), token.life, token.refresh) == ("Bearer a", life, None)


# ---- refresh tokens


async def test_the_password_is_sent_once() -> None:
    """A token is renewed with the refresh token of the last answer, and the password stays here."""
    clock, endpoint = Clock(), Endpoint(refresh_token="r1")
    auth = by_password(endpoint, clock)
    await auth.header()
    endpoint.more = {"refresh_token": "r2"}
    clock.time += 1750
    assert await shown(auth) == "Bearer t2"
    endpoint.more = {}
    clock.time += 1750
    await auth.header()
    clock.time += 1750
    assert await shown(auth) == "Bearer t4"
    assert endpoint.grants == ["password", "refresh_token", "refresh_token", "refresh_token"]
    assert [fields.get("refresh_token") for fields in endpoint.forms] == [
        None,
        *(Secret(r) for r in ("r1", "r2", "r2")),
    ]
    assert endpoint.forms[1] == {
        "grant_type": "refresh_token",
        "client_id": "id",
        "client_secret": Secret("secret"),
        "refresh_token": Secret("r1"),
    }


@pytest.mark.parametrize("answer", ["refused", "no token"])
async def test_a_refused_refresh_token_falls_back_to_the_password(answer: str) -> None:
    """When the refresh token is worth nothing any more the password is sent at once, and its answer's one is used."""
    clock, endpoint = Clock(), Endpoint(refresh_token="r1")
    auth = by_password(endpoint, clock)
    await auth.header()
    clock.time += 1750
    if answer == "refused":
        endpoint.refuses = {"refresh_token"}
    else:
        endpoint.trouble = None
        fetch = endpoint.fetch

        async def empty(fields: Fields) -> Any:
            return {} if fields["grant_type"] == "refresh_token" else await fetch(fields)

        auth._fetch = empty
    assert await shown(auth) == f"Bearer t{len(endpoint.forms)}"
    assert endpoint.grants[-1] == "password"


async def test_a_refused_refresh_token_is_not_tried_again() -> None:
    """Also when the password is refused as well: the next request is for the password alone."""
    clock, endpoint = Clock(), Endpoint(refresh_token="r1")
    auth = by_password(endpoint, clock)
    await auth.header()
    clock.time += 1900
    endpoint.trouble = REFUSAL
    with pytest.raises(ServiceNowError):
        await auth.header()
    endpoint.trouble = None
    clock.time += 10
    await auth.header()
    assert endpoint.grants == ["password", "refresh_token", "password", "password"]


async def test_a_refresh_that_fails_otherwise_keeps_the_password_here() -> None:
    """A slow or broken instance is no reason to send the password: the refresh token may still be good."""
    clock, endpoint = Clock(), Endpoint(refresh_token="r1")
    auth = by_password(endpoint, clock)
    await auth.header()
    clock.time += 1900
    endpoint.trouble = ServiceNowError(2003, "slow")
    with pytest.raises(ServiceNowError):
        await auth.header()
    endpoint.trouble = None
    clock.time += 10
    await auth.header()
    assert endpoint.grants == ["password", "refresh_token", "refresh_token"]


async def test_a_refreshed_token_that_is_refused_takes_the_refresh_token_along() -> None:
    """A 401 is met with the refresh token first; when what it gives is refused as well, with the password."""
    endpoint = Endpoint(refresh_token="r1")
    auth = by_password(endpoint, Clock())
    assert await auth.refused(await auth.header())
    assert await auth.refused(await auth.header())
    await auth.header()
    assert endpoint.grants == ["password", "refresh_token", "password"]


@pytest.mark.parametrize("refresh", [1, "", "a b", None, ["r"]])
async def test_a_refresh_token_that_is_none(refresh: Any) -> None:
    """What cannot be sent back is no refresh token."""
    clock, endpoint = Clock(), Endpoint(refresh_token=refresh)
    auth = by_password(endpoint, clock)
    await auth.header()
    clock.time += 1750
    await auth.header()
    assert endpoint.grants == ["password", "password"]


async def test_other_grants_use_no_refresh_token() -> None:
    """Client credentials and assertions are sent anew, whatever the answer carries."""
    clock, endpoint = Clock(), Endpoint(refresh_token="r1")
    auth = oauth(endpoint, clock)
    await auth.header()
    clock.time += 1750
    await auth.header()
    assert endpoint.grants == ["client_credentials", "client_credentials"]


# ---- assertions


KEY = rsa.generate_private_key(65537, 2048)


def pem(key: Any = KEY, phrase: bytes | None = None) -> Secret:
    guard = form.BestAvailableEncryption(phrase) if phrase else form.NoEncryption()
    return Secret(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, guard).decode())


class Times:
    """ServiceNow's clock as far as it is known, and this machine's."""

    def __init__(self) -> None:
        self.local = 1_800_000_000.0
        self.server: float | None = None

    def now(self) -> float:
        return self.server or self.local


def by_key(times: Times, key: Callable[[], Secret] = pem) -> JwtGrant:
    return JwtGrant("id", lambda: Secret("secret"), key, key_id="k1", subject="svc.relay", now=times.now)


def unpacked(fields: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an assertion whose signature is right."""
    assertion = fields["assertion"]
    assert isinstance(assertion, Secret)
    first, second, third = (part.encode() for part in assertion.reveal().split("."))
    KEY.public_key().verify(_bytes(third), first + b"." + second, padding.PKCS1v15(), hashes.SHA256())
    return json.loads(_bytes(first)), json.loads(_bytes(second))


def _bytes(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def test_an_assertion() -> None:
    """It is signed with RS256 and says who, for whom, from when until when; each one has an id of its own."""
    times = Times()
    grant = by_key(times)
    fields = grant.fields()
    header, claims = unpacked(fields)
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    jti = claims.pop("jti")
    assert claims == {"iss": "id", "sub": "svc.relay", "aud": "id", "iat": 1_800_000_000, "exp": 1_800_000_300}
    assert {key: value for key, value in fields.items() if key != "assertion"} == {
        "grant_type": GRANT_TYPE,
        "client_id": "id",
        "client_secret": Secret("secret"),
    }
    assert unpacked(grant.fields())[1]["jti"] != jti
    assert "eyJ" not in repr(fields)


def test_an_assertion_is_dated_by_servicenow() -> None:
    """Where ServiceNow's clock is known, this machine's does not matter."""
    times = Times()
    times.server = times.local - 40_000
    assert unpacked(by_key(times).fields())[1]["iat"] == 1_799_960_000


async def test_a_refusal_that_tells_the_time_is_tried_once_more() -> None:
    """A refusal whose Date shows that our clock is wrong is answered with a new assertion by that Date, once."""
    times, endpoint = Times(), Endpoint()
    fetch = endpoint.fetch

    async def late(fields: Fields) -> Any:
        times.server = times.local + 7200  # what the answer's Date header says
        if unpacked(fields)[1]["exp"] <= times.server - 300:
            await fetch({"grant_type": "refused"})
            raise REFUSAL
        return await fetch(fields)

    auth = OAuth(by_key(times), late, Clock())
    assert await shown(auth) == "Bearer t2"
    endpoint.refuses = {GRANT_TYPE}
    auth = OAuth(by_key(times), late, Clock())
    with pytest.raises(ServiceNowError):
        await auth.header()
    assert len(endpoint.forms) == 3


@pytest.mark.parametrize("skew", [0.0, 29.0, -29.0])
async def test_a_refusal_with_the_right_time_is_final(skew: float) -> None:
    """A refusal that clocks do not explain is not tried again at once."""
    times, endpoint = Times(), Endpoint()
    endpoint.refuses = {GRANT_TYPE}
    fetch = endpoint.fetch

    async def dated(fields: Fields) -> Any:
        times.server = times.local + skew
        return await fetch(fields)

    with pytest.raises(ServiceNowError):
        await OAuth(by_key(times), dated, Clock()).header()
    assert len(endpoint.forms) == 1


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (Secret("nonsense"), "no private key in PEM"),
        (Secret(""), "no private key in PEM"),
        (pem(phrase=b"phrase"), "has a pass phrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "no RSA key"),
        (pem(rsa.generate_private_key(65537, 1024)), "an RSA key of 1024 bits"),  # noqa: S505 - that is the point
        (
            Secret(KEY.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()),
            "no private key in PEM",
        ),
        (Secret(pem().reveal()[:900]), "no private key in PEM"),
    ],
    ids=["nonsense", "empty", "encrypted", "elliptic", "short", "public", "half"],
)
def test_a_key_that_cannot_sign(key: Secret, why: str) -> None:
    """Anything but an RSA key of 2048 bits without a pass phrase is BSR-1024, which quotes nothing of it."""
    with pytest.raises(ConfigError) as caught:
        signing_key(key)
    assert caught.value.number == 1024
    assert why in caught.value.detail
    assert key.reveal()[30:60] not in caught.value.text or not key.reveal()[30:60]


def test_a_key_that_was_replaced() -> None:
    """A new key signs from now on; one that is none leaves the former in use, and `renew` says so."""
    given = [pem()]
    grant = by_key(Times(), lambda: given[-1])
    given.append(Secret("-----BEGIN PRIVATE KEY-----\nhalf"))
    with pytest.raises(ConfigError, match="BSR-1024"):
        grant.renew()
    unpacked(grant.fields())
    other = rsa.generate_private_key(65537, 2048)
    given.append(pem(other))
    assert grant.renew()
    assertion = grant.fields()["assertion"]
    assert isinstance(assertion, Secret)
    first, second, third = (part.encode() for part in assertion.reveal().split("."))
    other.public_key().verify(_bytes(third), first + b"." + second, padding.PKCS1v15(), hashes.SHA256())
    assert not grant.renew()
