"""OAuth at ServiceNow: one bearer token for all sessions, and the requests that give one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from relay.core import lockout
from relay.core.errors import ConfigError, ServiceNowError
from relay.core.jobs import Json
from relay.core.secret import Secret
from relay.servicenow.auth import TROUBLE, ReadSecret

log = structlog.get_logger("relay.servicenow")

DEFAULT_LIFE: Final = 1800.0  # seconds; what an instance gives unless it says otherwise
SHORTEST_LIFE: Final = 10.0  # seconds; a token that claims less would be asked for with every request
EARLY: Final = 60.0  # seconds before its end that a token is renewed, so that no request carries a dying one
REFUSED: Final = 2017

_TOKEN: Final = re.compile(r"[!-~]{1,8192}")

Fields = Mapping[str, Secret | str]
"""A token request's form."""


class Clock(Protocol):
    """A clock that never jumps."""

    def monotonic(self) -> float:
        """Seconds."""
        ...


class Grant(Protocol):
    """A way to ask for a token. Its secrets are read afresh for each request."""

    def fields(self) -> Fields:
        """The request's form.

        Raises:
            ConfigError: a secret cannot be used.

        """
        ...

    def again(self) -> bool:
        """After a refusal: whether another request at once has a chance that this one had not."""
        ...

    def refresh(self, token: Secret) -> Fields | None:
        """The form that renews a token without the grant itself; None where that is not done."""
        ...

    def renew(self) -> bool:
        """Read the secrets again; whether they changed. Raises `ConfigError`: one cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token answer: the `Authorization` header, its life in seconds, and what renews it."""

    header: Secret
    life: float
    refresh: Secret | None = None


class OAuth:
    """A bearer token, shared by all sessions, fetched by one of them at a time and renewed before it ends.

    Args:
        grant: makes the token requests.
        fetch: sends a token request and returns the JSON of its answer.
        clock: tells how old a token is.
        hint: as in `Auth`.

    """

    def __init__(self, grant: Grant, fetch: Callable[[Fields], Awaitable[Json]], clock: Clock, hint: str = "") -> None:
        self.hint = hint
        self._grant = grant
        self._fetch = fetch
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._header: Secret | None = None
        self._refresh: Secret | None = None
        self._refreshed: Secret | None = None  # the header, when a refresh token gave it
        self._ends = 0.0
        self._renew_at = 0.0
        self._failure: ServiceNowError | None = None
        self._failures = 0
        self._try_again_at = 0.0
        self._chances: tuple[float, ...] = ()

    async def header(self) -> Secret:
        """`Bearer ...`."""
        if self._header is not None and self._clock.monotonic() < self._renew_at:
            return self._header
        async with self._one_at_a_time:
            now = self._clock.monotonic()
            if self._header is None or now >= self._renew_at:
                self._header = await self._renewed(now)
            return self._header

    async def refused(self, header: Secret | None) -> bool:
        """Drop the token, unless another session has replaced it already."""
        if self._header == header:
            self._header = None
            if header == self._refreshed:
                # What a refresh token gives is no good any more; the grant itself may be.
                self._refresh = None
        return True

    def renew(self) -> bool:
        """Read the secrets again. Changed ones are tried at once, unless they change all the time."""
        changed = self._grant.renew()
        chances = lockout.chance(self._chances, self._clock.monotonic())
        if changed and self._failures and chances is not None:
            self._forgive()
            self._chances = chances
        return changed

    def _forgive(self) -> None:
        self._failure, self._failures, self._try_again_at = None, 0, 0.0

    async def _renewed(self, now: float) -> Secret:
        """Fetch a token. A failure is kept in mind for a while, so that not every session tries in vain."""
        former = self._header if now < self._ends else None
        if now < self._try_again_at and self._failure is not None:
            if former is not None:
                return former
            raise ServiceNowError(self._failure.number, self._failure.detail, after=self._try_again_at - now)
        try:
            token = await self._ask()
        except (ConfigError, ServiceNowError) as error:
            failure = self._failed(error)
            self._failures += 1
            self._failure = failure
            self._try_again_at = now + TROUBLE.delay(self._failures, 1.0, failure.after)
            if former is not None:
                return former
            raise failure from None
        self._forgive()
        self._chances = ()
        self._ends = now + token.life
        self._renew_at = now + max(token.life - EARLY, token.life / 2)
        return token.header

    def _failed(self, error: ConfigError | ServiceNowError) -> ServiceNowError:
        """What is told of a token request that failed: nothing of the request itself was sent."""
        if isinstance(error, ConfigError):
            return ServiceNowError(REFUSED, error.text)
        detail = "; ".join(filter(None, (error.detail, self.hint if error.number == REFUSED else "")))
        return ServiceNowError(error.number, detail, after=error.after)

    async def _ask(self) -> Token:
        """A token by the refresh token, where there is one that is accepted, else by the grant."""
        fields = self._grant.refresh(self._refresh) if self._refresh is not None else None
        if fields is not None:
            try:
                token = token_of(await self._fetch(fields))
            except ServiceNowError as error:
                if error.number != REFUSED:
                    raise
                self._refresh = None
                log.info("servicenow.refresh_refused", error=error)
            else:
                self._refresh, self._refreshed = token.refresh or self._refresh, token.header
                return token
        try:
            token = token_of(await self._fetch(self._grant.fields()))
        except ServiceNowError as error:
            if error.number != REFUSED or not self._grant.again():
                raise
            token = token_of(await self._fetch(self._grant.fields()))
        self._refresh, self._refreshed = token.refresh, None
        return token


class ClientGrant:
    """The grant type client credentials, and what all grant types have: the OAuth application's id and secret."""

    def __init__(self, client_id: str, client_secret: ReadSecret) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._known = self._secrets()

    def fields(self) -> Fields:
        """See `Grant`."""
        return self._form("client_credentials")

    def again(self) -> bool:
        """Nothing would be other."""
        return False

    def refresh(self, token: Secret) -> Fields | None:  # noqa: ARG002 - as `Grant` has it
        """Not done: nothing is spared by it."""
        return None

    def renew(self) -> bool:
        """See `Grant`."""
        former, self._known = self._known, self._secrets()
        return self._known != former

    def _secrets(self) -> tuple[Secret, ...]:
        return (self._client_secret(),)

    def _form(self, grant_type: str, **more: Secret | str) -> Fields:
        return {
            "grant_type": grant_type,
            "client_id": self._client_id,
            "client_secret": self._client_secret(),
            **more,
        }


class PasswordGrant(ClientGrant):
    """The grant type password. Its answer carries a refresh token, so that the password itself is sent rarely."""

    def __init__(self, client_id: str, client_secret: ReadSecret, username: str, password: ReadSecret) -> None:
        self._username = username
        self._password = password
        super().__init__(client_id, client_secret)

    def fields(self) -> Fields:
        """See `Grant`."""
        return self._form("password", username=self._username, password=self._password())

    def refresh(self, token: Secret) -> Fields:
        """The grant type refresh token."""
        return self._form("refresh_token", refresh_token=token)

    def _secrets(self) -> tuple[Secret, ...]:
        return (*super()._secrets(), self._password())


def token_of(answer: Json) -> Token:
    """What a token answer gives.

    Raises:
        ServiceNowError: BSR-2017, it gives no usable token.

    """
    found = answer if isinstance(answer, dict) else {}
    token, kind, refresh = found.get("access_token"), found.get("token_type", "Bearer"), found.get("refresh_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ServiceNowError(REFUSED, "the answer holds no access token")
    if not isinstance(kind, str) or kind.casefold() != "bearer":
        raise ServiceNowError(REFUSED, "the token is no bearer token")
    try:
        life = float(found.get("expires_in", DEFAULT_LIFE))
    except (TypeError, ValueError, OverflowError):
        life = DEFAULT_LIFE
    return Token(
        Secret(f"Bearer {token}"),
        max(life, SHORTEST_LIFE) if 0 < life <= 10 * 365 * 86400 else DEFAULT_LIFE,
        Secret(refresh) if isinstance(refresh, str) and _TOKEN.fullmatch(refresh) else None,
    )
