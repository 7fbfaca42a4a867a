"""Signing in: passwords that change, tokens that are shared."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import pytest

from relay.core.errors import ConfigError, ServiceNowError
from relay.core.secret import Secret
from relay.servicenow.auth import BasicAuth, OAuth, client_grant, password_grant, token_of


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time


class Endpoint:
    """Gives tokens `t1`, `t2`, ... or raises what stands in `trouble`."""

    def __init__(self, life: float = 1800.0) -> None:
        self.life = life
        self.forms: list[Mapping[str, Secret | str]] = []
        self.trouble: Exception | None = None

    async def fetch(self, fields: Mapping[str, Secret | str]) -> Any:
        self.forms.append(fields)
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        return {"access_token": f"t{len(self.forms)}", "token_type": "Bearer", "expires_in": self.life}


def oauth(endpoint: Endpoint, clock: Clock) -> OAuth:
    return OAuth(client_grant("id", lambda: Secret("secret")), endpoint.fetch, clock)


async def shown(auth: OAuth | BasicAuth) -> str:
    return (await auth.header()).reveal()


async def test_basic() -> None:
    """Basic authentication is user and password in UTF-8."""
    auth = BasicAuth("svc", lambda: Secret("pässword"))
    assert await shown(auth) == "Basic " + base64.b64encode("svc:pässword".encode()).decode()


async def test_basic_after_401() -> None:
    """After a 401 the password is read again; the same one is not worth another try."""
    password = Secret("old")
    auth = BasicAuth("svc", lambda: password)
    first = await auth.header()
    assert not await auth.refused(first)
    password = Secret("new")
    assert await auth.refused(first)
    assert await auth.header() != first


async def test_basic_unreadable_after_401() -> None:
    """A password that cannot be read after a 401 is an error that says so, and nothing was sent."""
    readings = iter([Secret("x")])

    def read() -> Secret:
        try:
            return next(readings)
        except StopIteration:
            raise ConfigError(1009, "gone") from None

    auth = BasicAuth("svc", read)
    with pytest.raises(ServiceNowError) as caught:
        await auth.refused(await auth.header())
    assert (caught.value.number, caught.value.maybe_sent) == (2005, False)
    assert "gone" in caught.value.text


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
    assert password_grant("id", lambda: Secret("s"), "svc", lambda: Secret("p"))() == {
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
    """A client secret that cannot be read any more is BSR-2017 with the reason."""

    def read() -> Secret:
        raise ConfigError(1009, "gone")

    auth = OAuth(client_grant("id", read), Endpoint().fetch, Clock())
    with pytest.raises(ServiceNowError) as caught:
        await auth.header()
    assert caught.value.number == 2017
    assert "gone" in caught.value.text


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
    header, seconds = token_of({"access_token": "a", "token_type": "bearer", "expires_in": said})
    assert (header.reveal(), seconds) == ("Bearer a", life)
