"""Answers requests: 403 for who is not known, 200 for what is on disk, 503 for what could not be put there.

Why whoever is known always gets 200, whatever it posts: the appliance sends no other event until one is answered so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from relay.core.errors import InternalError, ListenerError, StorageError
from relay.core.posts import LONGEST_BODY, PATHS, Content, Post, owner_of, post_of
from relay.listener.connection import Connection, Limits
from relay.listener.ports import Clock, Inbox
from relay.listener.refusals import Refusals

log = structlog.get_logger("relay.listener")

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./-]{0,60}")
"""How much of an unknown path is told: a token that was appended without a question mark is not."""


class Desk:
    """The ASGI application. The connection that a request came by is in its state, as `connection`.

    Args:
        inbox: keeps posts.
        clock: gives each its time.
        refusals: hears who was refused.
        limits: bound time and size.
        count: called with each answer: whose post it was, "" where nobody knows, and the status.

    """

    def __init__(
        self, inbox: Inbox, clock: Clock, refusals: Refusals, limits: Limits, count: Callable[[str, int], None]
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._refusals = refusals
        self._limits = limits
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        connection: Connection = request.state.connection
        connection.answering = asyncio.current_task()
        try:
            response = await self._answer(connection, request)
        except ClientDisconnect:
            return
        except Exception:  # the appliance hears that it shall try again, whatever is wrong here
            log.exception("listener.fault", code=InternalError(9001).code, source=str(connection.source))
            response = _text(500, "the relay failed; try again")
        self._count(connection.appliance, response.status_code)
        await response(scope, receive, send)

    async def _answer(self, connection: Connection, request: Request) -> Response:
        odd = _odd(request)
        if odd:
            self._refusals.tell(ListenerError(6010, odd), connection.source)
            return _text(400, odd)
        content = await self._content(request)
        connection.put_off(self._limits.answer + self._limits.goodbye)
        try:
            owner = owner_of(connection.station.senders, connection.source, request.scope["query_string"])
        except ListenerError as error:
            self._refusals.tell(error, connection.source)
            return _text(403, "not accepted from here")
        connection.appliance = owner.appliance
        path = request.scope["path"]
        if path not in PATHS:
            plain = _PLAIN_PATH.match(path)
            detail = plain[0] if plain else ""
            self._refusals.tell(ListenerError(6008, detail), connection.source, owner.appliance)
            return _text(404, "there is nothing at this path; events go to /events")
        if request.method != "POST":
            return _text(405, "only POST is served", allow="POST")
        return await self._put(post_of(owner, path, content, self._clock.wall()), connection)

    async def _content(self, request: Request) -> Content:
        """The whole body, of which only a beginning is kept."""
        kept = bytearray()
        size = 0
        async for piece in request.stream():
            size += len(piece)
            kept += piece[: LONGEST_BODY + 1 - len(kept)]
            if size > self._limits.counted:
                break
        return Content(request.headers.get("content-type", ""), bytes(kept))

    async def _put(self, post: Post, connection: Connection) -> Response:
        try:
            async with asyncio.timeout(self._limits.answer):
                new = await self._inbox.put(post)
        except ListenerError as error:
            self._refusals.tell(error, connection.source, post.appliance)
            return _text(404, error.detail)
        except StorageError as error:
            log.warning("listener.not_stored", code=error.code, error=error.text, **_about(post))
            return _text(503, "the relay cannot store anything now; try again", retry_after="30")
        except TimeoutError:
            late = ListenerError(6011)
            log.warning("listener.not_stored", code=late.code, error=late.text, **_about(post))
            return _text(503, "the relay cannot store anything now; try again", retry_after="30")
        source = str(connection.source)
        if post.code is not None:
            bad = ListenerError(post.code, post.detail)
            log.warning("listener.quarantined", code=bad.code, error=bad.text, new=new, source=source, **_about(post))
        else:
            log.info("listener.post", new=new, source=source, **_about(post))
        return _text(200, "accepted")


def _odd(request: Request) -> str:
    """Why somebody between us may have seen another request, or another end of it; "" when nobody may."""
    chunked = "transfer-encoding" in request.headers
    if chunked and "content-length" in request.headers:
        return "a body of two lengths"
    version = request.scope["http_version"]
    return "" if version == "1.1" or (version == "1.0" and not chunked) else "not HTTP/1.1"


def _about(post: Post) -> dict[str, str]:
    """The fields of every line about a post."""
    return {"post": post.id, "kind": post.kind, "appliance": post.appliance, "path": post.path}


def _text(status: int, text: str, **headers: str) -> Response:
    """An answer, after which the connection ends: what may follow the request on it is never read."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return PlainTextResponse(f"{text}\n", status, {"connection": "close", **fields})
