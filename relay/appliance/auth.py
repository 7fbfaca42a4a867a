"""One API account: its one shared token, renewed early and never asked for in a loop.

Why so careful: the appliance locks an account after some refusals in a row, and its 31st token makes the oldest
invalid. So one request for a token is under way at most, everybody waits for that one, refusals are followed by growing
pauses, and live tokens are counted.
"""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Awaitable, Callable

import structlog

from relay.appliance.faults import translate
from relay.appliance.token import Token, error_name, read_token
from relay.config.model import ApplianceAuth
from relay.core import lockout
from relay.core.errors import ApplianceError, RelayError
from relay.core.lockout import Refusals
from relay.core.secret import Secret
from relay.host.clock import Clock
from relay.host.exchange import HttpFault, HttpResponse
from relay.host.secrets import ROTATION, SecretReader

log = structlog.get_logger("relay.appliance")

FRESH = 60.0
"""Seconds. A token younger than this did not expire: what refuses it refuses the account."""

RENEWAL_PAUSE = 15.0
"""Seconds between tries to renew a token that is still good."""

_REFUSED = frozenset({400, 401, 403})

Send = Callable[[tuple[tuple[str, str], ...], bytes], Awaitable[HttpResponse]]
"""Posts headers and body to `/oauth2/token`, within the account's rate limit."""


class Account:
    """One API account of one appliance.

    Args:
        name: the appliance's name.
        settings: client id and where its secret is.
        secrets: reads the secret, anew for each token.
        clock: monotonic time.
        send: posts to the token endpoint.

    """

    def __init__(self, name: str, settings: ApplianceAuth, secrets: SecretReader, clock: Clock, send: Send) -> None:
        self._name = name
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._send = send
        self._token: Token | None = None
        self._proven: Token | None = None
        self._renewal: asyncio.Task[Token] | None = None
        self._refusals = Refusals()
        self._live: tuple[float, ...] = ()
        self._tried: Secret | None = None
        self._chances: tuple[float, ...] = ()
        self._asked = -math.inf

    async def token(self) -> Token:
        """A token that is valid now. A new one is asked for when there is none, or soon none.

        Raises:
            ApplianceError: there is none to be had now; `maybe_sent` is False, since no call was made.

        """
        now = self._clock.monotonic()
        token = self._token if self._token and self._token.expires > now else None
        if token is None:
            return await asyncio.shield(self._renew())
        due = lockout.renew_at(token.issued, token.expires - token.issued)
        if now >= max(due, self._asked + RENEWAL_PAUSE) and not self._wait(now):
            self._renew()
        return token

    def accepted(self, token: Token) -> None:
        """The appliance accepted this token: whatever refuses it later is its age."""
        self._proven = token
        self._refusals, self._chances = Refusals(), ()

    def rejected(self, token: Token) -> None:
        """The appliance refused this token: drop it. One that never worked counts as a refusal of the account."""
        if token is not self._token:
            return
        self._token = None
        log.info("appliance.token.rejected", appliance=self._name)
        if token is not self._proven:
            self._refusals = lockout.refused(self._refusals, self._clock.monotonic())

    async def replace(self, token: Token) -> Token | None:
        """Another token, after a refusal that may have other reasons than the token; None when that is not sensible."""
        now = self._clock.monotonic()
        if now - token.issued < FRESH or self._wait(now):
            return None
        try:
            # The old one stays until there is a new one: it may well be good.
            return await (asyncio.shield(self._renew()) if token is self._token else self.token())
        except ApplianceError:
            return None

    async def aclose(self) -> None:
        """End a request for a token that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _wait(self, now: float) -> float:
        return lockout.wait_for_token(self._refusals, self._live, now)

    def _renew(self) -> asyncio.Task[Token]:
        """The one request for a token: the one under way, or a new one."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._request(), name=f"token of {self._name}")
            # Nobody may be waiting for a renewal ahead of time; its failure shows when the token has expired.
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewal

    async def _request(self) -> Token:
        secret = self._secret()
        if secret != self._tried:
            self._tried = secret
            self._new_chance()
        now = self._asked = self._clock.monotonic()
        wait = self._wait(now)
        if wait > 0:
            number = 3006 if self._refusals.several or self._refusals.not_before <= now else 3005
            raise ApplianceError(number, f"{self._name}: the next try is in {wait:.0f} s", after=wait)
        pair = f"{self._settings.client_id}:{secret.reveal()}".encode()
        headers = (
            ("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
        )
        try:
            response = await self._send(headers, b"grant_type=client_credentials")
        except HttpFault as fault:
            raise translate(fault, name=self._name, maybe_sent=False) from None
        return self._judge(response, now)

    def _new_chance(self) -> None:
        """The pauses were for another secret than this one, unless it changes all the time."""
        chances = lockout.chance(self._chances, self._clock.monotonic())
        if self._refusals.count and chances is not None:
            self._refusals, self._chances = Refusals(), chances

    def _secret(self) -> Secret:
        try:
            return self._secrets.latest(self._settings.client_secret)
        except RelayError as error:
            raise ApplianceError(3005, f"{self._name}: {error.text}") from None

    def _judge(self, response: HttpResponse, started: float) -> Token:
        if response.status in _REFUSED:
            self._refusals = lockout.refused(self._refusals, self._clock.monotonic())
            after = self._refusals.not_before - self._clock.monotonic()
            said = error_name(response.body) or f"HTTP {response.status}"
            hint = f"; {ROTATION}" if self._settings.client_secret.kind == "credential" else ""
            log.warning("appliance.account.refused", appliance=self._name, said=said, times=self._refusals.count)
            raise ApplianceError(3005, f"{self._name}: {said}{hint}", after=after)
        token = read_token(response.body, started) if response.status == 200 else None  # noqa: PLR2004 - HTTP's OK
        if token is None:
            raise ApplianceError(3015, f"{self._name}: HTTP {response.status}")
        self._live = lockout.issued(self._live, started, token.expires)
        self._token = token
        log.info("appliance.token.issued", appliance=self._name, life=round(token.expires - started))
        return token
