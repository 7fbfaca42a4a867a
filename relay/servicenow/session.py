"""One session with the instance: a connection, a cookie jar, one request at a time.

Why several: the instance serves the requests of one session one after the other, so a slow insert would hold up the
poll. Each lane has sessions of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import structlog

from relay.core import lockout
from relay.core.errors import ServiceNowError
from relay.core.jobs import Json
from relay.core.secret import Secret
from relay.core.servertime import ServerClock
from relay.host.clock import Clock
from relay.host.http import BodyLimit, HttpClient, HttpFault, HttpRequest, HttpResponse, Target
from relay.servicenow.answers import check_status, fault_error, value_of
from relay.servicenow.auth import TROUBLE, Auth
from relay.servicenow.auth_oauth import Fields
from relay.servicenow.calls import JSON_TYPE, Call

log = structlog.get_logger("relay.servicenow")

ANSWER_BYTES: Final = 12 * 1024 * 1024
"""The largest answer that is read: a batch's is 10 MB at most by the instance's own limit."""
SLOWEST: Final = 256 * 1024
"""Bytes a second that an upload must come to on the whole, beside the time that every request has."""
TOKEN_BYTES: Final = 64 * 1024
UNAUTHORIZED: Final = 401


@dataclass(slots=True)
class Shared:
    """What all sessions share: the way to the instance, its clock, and how many requests were sent in each lane."""

    target: Target
    timeout: float
    clock: Clock
    requests: Counter[str] = field(default_factory=Counter)
    server_clock: ServerClock = field(default_factory=ServerClock)
    _refusals: int = 0
    _quiet_until: float = 0.0
    _signing_in: bool = False
    _chances: tuple[float, ...] = ()

    def now(self) -> float | None:
        """The instance's clock, seconds since the epoch; None without a fresh reading."""
        return self.server_clock.now(self.clock.monotonic(), self.clock.wall())

    @contextmanager
    def turn(self, *, known: bool) -> Iterator[None]:
        """Let a session send a request, or make it wait because credentials were refused.

        Why: instances lock users after some tries. So after a refusal one session at a time signs in; one that is
        `known`, which was let in and not refused since, need not.

        Raises:
            ServiceNowError: BSR-2005, not now.

        """
        wait = self._quiet_until - self.clock.monotonic()
        if self._refusals and wait > 0:
            raise ServiceNowError(2005, "waiting before the next try", after=wait)
        if known or not self._refusals:
            yield
            return
        if self._signing_in:
            raise ServiceNowError(2005, "waiting for another session's try", after=TROUBLE.first)
        self._signing_in = True
        try:
            yield
        finally:
            self._signing_in = False

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the credentials."""
        return not self._refusals

    def signed_in(self) -> None:
        """A session was let in that had not been before. Of others their cookies may be all that lets them in."""
        self._refusals, self._chances = 0, ()

    def renewed(self) -> None:
        """The credentials are others than those that were refused: they are tried at once, unless they always are."""
        chances = lockout.chance(self._chances, self.clock.monotonic())
        if self._refusals and chances is not None:
            self._refusals, self._chances = 0, chances

    def refused(self) -> None:
        """A session was not let in, with credentials that have no chance to be better at once."""
        self._refusals += 1
        self._quiet_until = self.clock.monotonic() + TROUBLE.delay(self._refusals, 1.0)

    async def send(self, client: HttpClient, lane: str, request: HttpRequest) -> HttpResponse:
        """Send one request, count it, and read the clock of its answer.

        Raises:
            ServiceNowError: there is no usable answer.

        """
        self.requests[lane] += 1
        try:
            response = await client.send(request)
        except HttpFault as fault:
            log.info("servicenow.fault", lane=lane, method=request.method, fault=fault.kind, detail=fault.detail)
            raise fault_error(fault, self.now()) from None
        self.server_clock = self.server_clock.heard(response.header("date"), self.clock.monotonic(), self.clock.wall())
        log.debug(
            "servicenow.request",
            lane=lane,
            method=request.method,
            status=response.status,
            elapsed=round(response.elapsed, 4),
        )
        return response


class Session:
    """Sends calls, signed in. Every failure is a `ServiceNowError`, but what the source of a stream raises."""

    def __init__(self, shared: Shared, auth: Auth, lane: str) -> None:
        self._shared = shared
        self._auth = auth
        self._lane = lane
        self._client = HttpClient(shared.target, keep_alive=True, cookies=True)
        self._accepted = 0  # requests since the last refusal

    async def value(self, call: Call, limit: int = ANSWER_BYTES) -> Json:
        """The JSON of a call's answer, read up to `limit` bytes; None of an empty one."""
        response = await self._exchange(call, limit)
        return value_of(
            response.status,
            response.body,
            content_type=response.header("content-type") or "",
            retry_after=response.header("retry-after"),
            now=self._shared.now(),
        )

    async def content(self, call: Call, limit: int) -> bytes:
        """The bytes of a call's answer."""
        response = await self._exchange(call, limit)
        retry_after = response.header("retry-after")
        check_status(response.status, response.body, retry_after=retry_after, now=self._shared.now())
        return response.body

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _exchange(self, call: Call, limit: int) -> HttpResponse:
        """Send a call. After a 401 it is sent once more if the session or the credentials have a chance to be better.

        A 401 says that the call was not executed, whatever it was.
        """
        with self._shared.turn(known=self._accepted > 0):
            header = await self._auth.header()
            response = await self._send(call, header, limit)
            if response.status == UNAUTHORIZED:
                response = await self._again(call, header, response, limit)
        if response.status == UNAUTHORIZED:
            self._shared.refused()
            raise ServiceNowError(2005, self._auth.hint)
        self._accepted += 1
        if self._accepted == 1:
            self._shared.signed_in()
        return response

    async def _again(self, call: Call, header: Secret | None, response: HttpResponse, limit: int) -> HttpResponse:
        """What becomes of a call that was answered 401: the answer to a second try, where that has a chance."""
        accepted, self._accepted = self._accepted, 0
        self._client.drop_cookies()
        renewed = await self._auth.refused(header)
        if renewed or (accepted and self._shared.trusted):
            response = await self._send(call, await self._auth.header(), limit)
        if header is None and accepted == 1 and not renewed and response.status != UNAUTHORIZED:
            # What was let in by certificate alone was refused with the cookies of that: some instances take cookies
            # without a header for a browser's, and want a token of its page.
            self._client.refuse_cookies()
        return response

    async def _send(self, call: Call, header: Secret | None, limit: int) -> HttpResponse:
        headers = [("Accept", call.accept)]
        if header is not None:
            headers.append(("Authorization", header.reveal()))
        if call.content_type is not None:
            headers.append(("Content-Type", call.content_type))
        request = HttpRequest(
            method=call.method,
            url=self._shared.target.origin + call.target,
            headers=tuple(headers),
            content=call.content if call.stream is None else call.stream,
            timeout=self._shared.timeout + (call.stream.size / SLOWEST if call.stream is not None else 0.0),
            limit=BodyLimit(limit),
        )
        return await self._shared.send(self._client, self._lane, request)


class Lane:
    """The sessions of one kind of work. Who comes while all are busy waits for the first that is free."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        self._free = list(sessions)
        self._slots = asyncio.Semaphore(len(sessions))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session, for as long as the block lasts."""
        async with self._slots:
            session = self._free.pop()
            try:
                yield session
            finally:
                self._free.append(session)

    async def value(self, call: Call, limit: int = ANSWER_BYTES) -> Json:
        """As `Session.value`, on whichever session is free."""
        async with self.session() as session:
            return await session.value(call, limit)

    async def aclose(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            await session.aclose()


def token_fetcher(shared: Shared, client: HttpClient) -> Callable[[Fields], Awaitable[Json]]:
    """What fetches a token: a form post to `/oauth_token.do`, the only form that the instance takes."""

    async def fetch(fields: Fields) -> Json:
        form = {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}
        request = HttpRequest(
            method="POST",
            url=shared.target.origin + "/oauth_token.do",
            headers=(("Accept", JSON_TYPE), ("Content-Type", "application/x-www-form-urlencoded")),
            content=urlencode(form).encode(),
            timeout=shared.timeout,
            limit=BodyLimit(TOKEN_BYTES),
        )
        for value in fields.values():
            if isinstance(value, Secret):
                shared.target.learn(value)  # an assertion is made here and read from nowhere
        response = await shared.send(client, "token", request)
        if response.status in {400, 401, 403}:
            raise ServiceNowError(2017, f"HTTP {response.status}")
        answer = value_of(
            response.status,
            response.body,
            content_type=response.header("content-type") or "",
            retry_after=response.header("retry-after"),
            now=shared.now(),
        )
        for name in ("access_token", "refresh_token", "id_token"):
            token = answer.get(name) if isinstance(answer, dict) else None
            if isinstance(token, str):
                shared.target.learn(Secret(token))
        return answer

    return fetch
