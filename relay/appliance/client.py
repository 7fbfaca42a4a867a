"""One appliance: admits calls within its limits, and sends them, each over a connection of its own.

Why no connection is kept: "When making consecutive API calls, you must close the connection after each API call"
(vendor's API documentation).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote, urlencode

import structlog

from relay.appliance.auth import Account
from relay.appliance.faults import translate
from relay.appliance.token import Token, error_name
from relay.config.model import ApplianceSettings
from relay.core import limits
from relay.core.errors import ApplianceError
from relay.core.limits import Urgency, Usage, Wait
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.host.bodies import BodyLimit
from relay.host.clock import Clock
from relay.host.exchange import HttpFault, HttpRequest, HttpResponse, Pairs, Target, find_header
from relay.host.http import Download, HttpClient
from relay.host.secrets import SecretReader

log = structlog.get_logger("relay.appliance")

PATIENCE = 1.1
"""Seconds that `admit` waits at most, since the caller has other work: the window of a second and one slot of it."""

OPEN_PATHS = frozenset({"/check_health"})
"""What the appliance answers to everybody: no token goes there, so that it works with an account that is locked."""

CONFIGURATION = "/api/config/v1"
"""Answers 401 also to unknown parameters (vendor's OpenAPI file): a 401 there may have nothing to do with the token."""

TOKEN_BYTES = 64 * 1024
"""The largest answer of the token endpoint that is read; real ones have 200 bytes."""

Sleep = Callable[[float], Awaitable[None]]
Answer = TypeVar("Answer", HttpResponse, Download)


class Appliance:
    """One appliance with its account and limits.

    Args:
        name: its name in the configuration.
        settings: its section.
        target: where it is; made from the same section.
        secrets: reads the client secret.
        answer_bytes: the largest answer that ServiceNow is given.
        version: the relay's, for `User-Agent`.
        clock: both clocks.
        sleep: waits, in seconds.

    Attributes:
        target: as given.

    """

    def __init__(
        self,
        name: str,
        settings: ApplianceSettings,
        target: Target,
        secrets: SecretReader,
        *,
        answer_bytes: int,
        version: str,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._name = name
        self._settings = settings
        self.target = target
        self._answer_bytes = answer_bytes
        self._agent = f"bseries-relay/{version}"
        self._clock = clock
        self._sleep = sleep
        self._limits = limits.limits_of(settings.limits.requests_per_second, settings.limits.requests_per_hour)
        self._usage = Usage()
        self._under_way = 0
        self._lanes: asyncio.LifoQueue[HttpClient] = asyncio.LifoQueue()
        for _ in range(settings.limits.concurrent):
            self._lanes.put_nowait(HttpClient(target, keep_alive=False, cookies=False))
        # The token has a lane of its own: calls that wait for it must not keep it from being asked for.
        self._token_lane = HttpClient(target, keep_alive=False, cookies=False)
        # So has what may take hours.
        self._long_lane = HttpClient(target, keep_alive=False, cookies=False)
        self._account = Account(name, settings.auth, secrets, clock, self._post_for_token)

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now. It is counted then.

        Raises:
            ApplianceError: not now; `after` says in how many seconds, when that is known. Nothing was sent.

        """
        until = self._clock.monotonic() + PATIENCE
        if request.path not in OPEN_PATHS:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._account.token()
            except TimeoutError:
                raise ApplianceError(3015, f"{self._name}: still waiting for a token", after=PATIENCE) from None
        await self._start(until, urgency=request.urgency)

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send a call once; after a 401 that does not say why, once more with a new token.

        Raises:
            ApplianceError: no usable answer. BSR-3007 and 3005 mean "not executed". BSR-3008, 3009 and 3013 mean
                that it was executed; they are final.

        """
        try:
            async with asyncio.timeout(self._settings.timeout):
                lane = await self._lanes.get()
        except TimeoutError:
            raise ApplianceError(3003, f"{self._name}: waiting for other calls", maybe_sent=False) from None
        try:
            token = None if request.path in OPEN_PATHS else await self._account.token()
            response = await self._exchange(lane, request, token)
            if token is not None and response.status == 401:  # noqa: PLR2004 - unauthorized
                response = await self._unauthorized(lane, request, response, token)
            elif token is not None:
                self._account.accepted(token)
        finally:
            self._lanes.put_nowait(lane)
        self._check_type(request, response)
        return _reply(response)

    @asynccontextmanager
    async def receive(self, request: ApplianceRequest) -> AsyncIterator[Download]:
        """Send a call once; the body of its answer is read within the block. One such call at a time.

        Why not `call`: an answer of gigabytes is no value, and takes longer than a call may. `request.max_bytes` is the
        only bound of its size; the appliance's timeout is that of each piece, whose `read` raises `HttpFault`.

        Raises:
            ApplianceError: no answer. BSR-3007 and 3005 mean "not executed".

        """
        token = await self._account.token()
        async with AsyncExitStack() as stack:
            prepared = replace(self._prepare(request, token), limit=BodyLimit(request.max_bytes))
            try:
                download = await self._observed(stack.enter_async_context(self._long_lane.receive(prepared)))
            except HttpFault as fault:
                raise translate(fault, name=self._name) from None
            if download.status == 429:  # noqa: PLR2004 - too many requests
                raise self._held(download.headers)
            if download.status == 401:  # noqa: PLR2004 - unauthorized
                raise await self._refused(download, token)
            self._account.accepted(token)
            log.debug("appliance.call", appliance=self._name, operation=request.operation, status=download.status)
            yield download

    async def aclose(self) -> None:
        """End everything under way."""
        await self._account.aclose()
        await self._token_lane.aclose()
        await self._long_lane.aclose()
        while not self._lanes.empty():
            await self._lanes.get_nowait().aclose()

    async def _start(self, until: float, *, urgency: Urgency) -> None:
        """Count a call, when its turn comes by `until`."""
        while True:
            now = self._clock.monotonic()
            self._usage, wait = limits.take(self._limits, self._usage, now, urgency=urgency)
            if not wait.seconds:
                return
            if now + wait.seconds > until:
                raise self._later(wait)
            await self._sleep(wait.seconds)

    def _later(self, wait: Wait) -> ApplianceError:
        number, what = {
            "hour": (3011, "the configured calls of this hour"),
            "account": (3011, "the account's calls of this hour, as the appliance counts them"),
            "held": (3007, "the appliance asked to wait"),
        }.get(wait.why, (3007, "the calls of this second"))
        return ApplianceError(number, f"{self._name}: {what}", after=wait.seconds)

    async def _post_for_token(self, headers: Pairs, body: bytes) -> HttpResponse:
        await self._start(self._clock.monotonic() + PATIENCE, urgency="urgent")
        request = HttpRequest(
            "POST",
            f"{self.target.origin}/oauth2/token",
            (*headers, *self._common()),
            body,
            timeout=self._settings.timeout,
            limit=BodyLimit(TOKEN_BYTES),
        )
        response = await self._send(self._token_lane, request)
        if response.status == 429:  # noqa: PLR2004 - too many requests
            raise self._held(response.headers)
        return response

    async def _exchange(self, lane: HttpClient, request: ApplianceRequest, token: Token | None) -> HttpResponse:
        """Send once; a 429 is an error, everything else that came whole is an answer."""
        try:
            response = await self._send(lane, self._prepare(request, token))
        except HttpFault as fault:
            if fault.status == 429:  # noqa: PLR2004 - too many requests
                raise self._held(fault.headers) from None
            raise translate(fault, name=self._name) from None
        if response.status == 429:  # noqa: PLR2004 - too many requests
            raise self._held(response.headers, _reply(response))
        log.debug("appliance.call", appliance=self._name, operation=request.operation, status=response.status)
        return response

    async def _send(self, lane: HttpClient, request: HttpRequest) -> HttpResponse:
        return await self._observed(lane.send(request))

    async def _observed(self, answering: Awaitable[Answer]) -> Answer:
        """Count a call while it has no answer, and read from that what the appliance counts."""
        self._under_way += 1
        headers: Pairs = ()
        try:
            answer = await answering
            headers = answer.headers
        except HttpFault as fault:
            headers = fault.headers
            raise
        finally:
            self._under_way -= 1
            self._usage = limits.observe(
                self._usage,
                self._clock.monotonic(),
                find_header(headers, "x-ratelimit-limit"),
                find_header(headers, "x-ratelimit-remaining"),
                self._under_way,
            )
        return answer

    def _held(self, headers: Pairs, reply: Reply | None = None) -> ApplianceError:
        now = self._clock.monotonic()
        pause = limits.retry_after(find_header(headers, "retry-after"), self._clock.wall())
        self._usage = limits.hold(self._usage, now, pause)
        after = max(0.0, self._usage.held_until - now)
        log.warning("appliance.limited", appliance=self._name, seconds=round(after, 1))
        return ApplianceError(3007, f"{self._name}: HTTP 429", maybe_sent=False, after=after, reply=reply)

    async def _unauthorized(
        self, lane: HttpClient, request: ApplianceRequest, response: HttpResponse, token: Token
    ) -> HttpResponse:
        """Judge a 401, which means that the call was not executed.

        One that speaks of the token is an error, and the call may be repeated. Any other may mean an expired token or,
        at the Configuration API, a parameter that it does not know: it is tried once with a new token and then handed
        back.

        Raises:
            ApplianceError: BSR-3005: the token was refused.

        """
        if _refuses_token(response) and not _is_configuration(request):
            self._account.rejected(token)
            raise ApplianceError(3005, f"{self._name}: the token was refused", maybe_sent=False, reply=_reply(response))
        another = await self._account.replace(token)
        if another is None:
            return response
        self._usage, wait = limits.take(self._limits, self._usage, self._clock.monotonic(), urgency=request.urgency)
        if wait.seconds:
            return response
        response = await self._exchange(lane, request, another)
        if response.status != 401:  # noqa: PLR2004 - unauthorized
            self._account.accepted(another)
        return response

    async def _refused(self, download: Download, token: Token) -> ApplianceError:
        """What a 401 means where a long answer was asked for: the call was not executed, and may be repeated.

        One that does not speak of the token may mean its age: the next call has another one then.
        """
        try:
            body = await download.read()
        except HttpFault:
            body = b""
        response = HttpResponse(download.status, download.headers, body, 0.0)
        if _refuses_token(response):
            self._account.rejected(token)
            return ApplianceError(3005, f"{self._name}: the token was refused", maybe_sent=False)
        await self._account.replace(token)
        return ApplianceError(3005, f"{self._name}: HTTP 401", maybe_sent=False)

    def _prepare(self, request: ApplianceRequest, token: Token | None) -> HttpRequest:
        headers = list(self._common())
        if token is not None:
            headers.append(("Authorization", f"Bearer {token.secret.reveal()}"))
        if request.accept is not None:
            headers.append(("Accept", request.accept))
        if request.content_type is not None:
            headers.append(("Content-Type", request.content_type))
        most = self._settings.limits.response_bytes
        query = f"?{urlencode(request.query, quote_via=quote, safe='')}" if request.query else ""
        return HttpRequest(
            request.method,
            f"{self.target.origin}{request.path}{query}",
            tuple(headers),
            request.body,
            timeout=self._settings.timeout,
            limit=BodyLimit(keep=min(self._answer_bytes, request.max_bytes or most, most), count=most),
        )

    def _common(self) -> Pairs:
        # Identity: on the way within one house compression gains little and would have to be bounded.
        return (
            ("User-Agent", self._agent),
            ("Accept-Language", "en-us"),
            ("Accept-Encoding", "identity"),
        )

    def _check_type(self, request: ApplianceRequest, response: HttpResponse) -> None:
        """Refuse a success of another kind than the operation allows; errors may come as any page."""
        if not request.types or not response.body or not 200 <= response.status < 300:  # noqa: PLR2004 - successes
            return
        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        if kind not in {allowed.lower() for allowed in request.types}:
            shown = kind[:60] if kind.isascii() and kind.isprintable() else "?"
            detail = f"{self._name}: {shown or 'no content type'}; allowed: {', '.join(request.types)}"
            raise ApplianceError(3013, detail, maybe_sent=True)


def _is_configuration(request: ApplianceRequest) -> bool:
    return request.path == CONFIGURATION or request.path.startswith(CONFIGURATION + "/")


def _reply(response: HttpResponse) -> Reply:
    return Reply(response.status, response.headers, response.body)


def _refuses_token(response: HttpResponse) -> bool:
    """Whether a 401 speaks of the token, as the vendor's does in JSON and RFC 6750 in a header."""
    challenge = (response.header("www-authenticate") or "").lower()
    return error_name(response.body) in {"access_denied", "invalid_token"} or "invalid_token" in challenge
