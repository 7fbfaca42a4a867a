"""How the relay proves who it is. One object is shared by all sessions; each further way to sign in is one more class.

An `Authorization` header travels as a `Secret` until it is written into a request.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from relay.core.errors import ConfigError, ServiceNowError
from relay.core.jobs import Json
from relay.core.retry import Backoff
from relay.core.secret import Secret

ReadSecret = Callable[[], Secret]
"""Reads one secret as it is now; raises `ConfigError`."""

DEFAULT_LIFE: Final = 1800.0  # seconds; what an instance gives unless it says otherwise
EARLY: Final = 60.0  # seconds before its end that a token is renewed, so that no request carries a dying one
TROUBLE: Final = Backoff(first=1.0, longest=60.0)  # instances lock users after some failed tries


class Clock(Protocol):
    """A clock that never jumps."""

    def monotonic(self) -> float:
        """Seconds."""
        ...


class Auth(Protocol):
    """A way to sign in. Raises nothing but `ServiceNowError` with `maybe_sent` False: the request was not begun."""

    hint: str
    """What a person should know when the credentials are refused."""

    async def header(self) -> Secret:
        """The value of the `Authorization` header for the next request."""
        ...

    async def refused(self, header: Secret) -> bool:
        """The instance answered 401 to this value. Returns whether another one is worth a try."""
        ...


class BasicAuth:
    """A user's name and password. The password is read again after a 401: it may have been changed meanwhile."""

    def __init__(self, username: str, password: ReadSecret, hint: str = "") -> None:
        self.hint = hint
        self._username = username
        self._password = password
        self._header = self._make(password())

    async def header(self) -> Secret:
        """`Basic ...`."""
        return self._header

    async def refused(self, header: Secret) -> bool:
        """Read the password again; True when it is another one than the one that was refused."""
        try:
            self._header = self._make(self._password())
        except ConfigError as error:
            raise ServiceNowError(2005, error.text) from None
        return self._header != header

    def _make(self, password: Secret) -> Secret:
        pair = f"{self._username}:{password.reveal()}".encode()
        return Secret("Basic " + base64.b64encode(pair).decode())


class OAuth:
    """A bearer token, shared by all sessions, fetched by one of them at a time and renewed before it ends.

    Args:
        grant: the fields of the token request, secrets read afresh; raises `ConfigError`.
        fetch: sends a token request and returns the JSON of its answer.
        clock: tells how old a token is.
        hint: as in `Auth`.

    """

    def __init__(
        self,
        grant: Callable[[], Mapping[str, Secret | str]],
        fetch: Callable[[Mapping[str, Secret | str]], Awaitable[Json]],
        clock: Clock,
        hint: str = "",
    ) -> None:
        self.hint = hint
        self._grant = grant
        self._fetch = fetch
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._header: Secret | None = None
        self._ends = 0.0
        self._renew_at = 0.0
        self._failure: ServiceNowError | None = None
        self._failures = 0
        self._try_again_at = 0.0

    async def header(self) -> Secret:
        """`Bearer ...`."""
        if self._header is not None and self._clock.monotonic() < self._renew_at:
            return self._header
        async with self._one_at_a_time:
            now = self._clock.monotonic()
            if self._header is None or now >= self._renew_at:
                self._header = await self._renewed(now)
            return self._header

    async def refused(self, header: Secret) -> bool:
        """Drop the token, unless another session has replaced it already."""
        if self._header == header:
            self._header = None
        return True

    async def _renewed(self, now: float) -> Secret:
        """Fetch a token. A failure is kept in mind for a while, so that not every session tries in vain."""
        former = self._header if now < self._ends else None
        if now < self._try_again_at and self._failure is not None:
            if former is not None:
                return former
            raise ServiceNowError(self._failure.number, self._failure.detail, after=self._try_again_at - now)
        try:
            answer = await self._fetch(self._grant())
            header, life = token_of(answer)
        except (ConfigError, ServiceNowError) as error:
            failure = ServiceNowError(
                error.number if isinstance(error, ServiceNowError) else 2017,
                error.detail if isinstance(error, ServiceNowError) else error.text,
                after=error.after,
            )
            self._failures += 1
            self._failure = failure
            self._try_again_at = now + TROUBLE.delay(self._failures, 1.0, failure.after)
            if former is not None:
                return former
            raise failure from None
        self._failure, self._failures = None, 0
        self._ends = now + life
        self._renew_at = now + max(life - EARLY, life / 2)
        return header


def client_grant(client_id: str, client_secret: ReadSecret) -> Callable[[], Mapping[str, Secret | str]]:
    """The fields of the grant type client credentials."""
    return lambda: {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret()}


def password_grant(
    client_id: str, client_secret: ReadSecret, username: str, password: ReadSecret
) -> Callable[[], Mapping[str, Secret | str]]:
    """The fields of the grant type password."""
    return lambda: {
        "grant_type": "password",
        "client_id": client_id,
        "client_secret": client_secret(),
        "username": username,
        "password": password(),
    }


def token_of(answer: Json) -> tuple[Secret, float]:
    """The `Authorization` header and the life in seconds that a token answer gives.

    Raises:
        ServiceNowError: BSR-2017, it gives none.

    """
    found = answer if isinstance(answer, dict) else {}
    token, kind = found.get("access_token"), found.get("token_type", "Bearer")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,8192}", token):
        raise ServiceNowError(2017, "the answer holds no access token")
    if not isinstance(kind, str) or kind.casefold() != "bearer":
        raise ServiceNowError(2017, "the token is no bearer token")
    try:
        life = float(found.get("expires_in", DEFAULT_LIFE))
    except (TypeError, ValueError, OverflowError):
        life = DEFAULT_LIFE
    return Secret(f"Bearer {token}"), life if 0 < life <= 10 * 365 * 86400 else DEFAULT_LIFE
