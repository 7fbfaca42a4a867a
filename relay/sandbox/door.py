"""HTTPS on loopback for one stand-in, with the faults of a connection.

Why uvicorn's protocol without uvicorn's server: a stand-in is stopped and started on the same port while its process
goes on, several share one event loop, and no signal handler may be installed inside a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import traceback
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol, cast

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from relay.sandbox.behave import Behaviour
from relay.sandbox.faults import Faults
from relay.sandbox.web import Broken, Measured, Request, Response, split_target, text_response

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: the kernel sends RST instead of FIN
_PIECES = 20
KEPT = 16 * 1024 * 1024  # bytes of a body; over what any API but the Attachment API takes
_IDLE = 30  # seconds an idle connection is kept, as a load balancer would

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Handler(Protocol):
    """What stands behind a door."""

    faults: Faults

    def classify(self, request: Request) -> frozenset[str]:
        """The lanes of a request."""
        ...

    async def handle(self, request: Request) -> Response:
        """Process a request."""
        ...


class _Protocol(H11Protocol):
    """uvicorn's protocol, whose application also knows the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = cast("Any", partial(cast("Any", self.app), transport))


class Door:
    """Listens on 127.0.0.1 for one handler. The port stays the same over `close` and `open`.

    `context` may be changed while it listens: the next handshake sees it. `errors` are faults of the stand-in itself:
    always empty, or the sandbox is wrong.
    """

    def __init__(self, handler: Handler, context: ssl.SSLContext, behaviour: Behaviour | None = None) -> None:
        self.handler = handler
        self.behaviour = behaviour or Behaviour()
        self.context = context
        self._config = Config(
            cast("Any", self._serve),
            http=_Protocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None
        self.port = 0
        self.errors: list[Exception] = []

    @property
    def url(self) -> str:
        """The origin, `https://127.0.0.1:PORT`."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    async def open(self, port: int = 0) -> None:
        """Accept connections, the first time at `port` (0: any free one), later always at the same.

        A socket that is bound and does not listen keeps the port ours while we are closed.
        """
        if self._place is None:
            self._place = _bound(port)
            self.port = self._place.getsockname()[1]
        if self._server is None:
            loop = asyncio.get_running_loop()
            listener = _bound(self.port)
            self._server = await loop.create_server(self._protocol, sock=listener, ssl=self.context, backlog=512)

    async def close(self) -> None:
        """Refuse connections from now on, and break those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for connection in list(self._state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)

    async def leave(self) -> None:
        """Close for good."""
        await self.close()
        # A client that has gone in the middle of its handshake: the loop takes notice of that now or never.
        await asyncio.sleep(0.01)
        await self.behaviour.close()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        if self._place is not None:
            self._place.close()
            self._place = None

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(config=self._config, server_state=self._state, app_state={})

    async def _serve(self, transport: asyncio.Transport, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401 - ASGI
        request = await _read(scope, receive)
        if request is None:
            return
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        request.certificate = hashlib.sha256(shown).hexdigest() if shown else ""
        try:
            request.lanes = self.handler.classify(request)
            faults = self.handler.faults.take(request)
            response = await self.behaviour.run(faults, request, self.handler.handle)
        except Broken as broken:
            if not broken.hold:
                _reset(transport)
            await _gone(receive)
            return
        except Exception as error:  # noqa: BLE001 - a fault of the stand-in itself must be seen, not taken for a planned one
            self.errors.append(error)
            traceback.print_exception(error)
            response = text_response(500, "the sandbox itself failed; see its stderr")
        await _write(response, transport, send)


def _bound(port: int) -> socket.socket:
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every connection. Without it answers wait 40 ms for a client's delayed acknowledgement, which a
    # client that asks one thing after the other pays each time: no comparison would be fair.
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    place.bind(("127.0.0.1", port))
    return place


class _Intake:
    """A body on its way in: kept while it is small, then only counted and hashed."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self._size = 0
        self._digest = hashlib.sha256()

    def take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= KEPT:
            self.kept += piece
            return
        self._digest.update(self.kept)
        self._digest.update(piece)
        self.kept.clear()

    def beyond(self) -> Measured | None:
        """What is known of a body that was not kept."""
        return Measured(self._size, self._digest.hexdigest()) if self._size > KEPT else None


async def _read(scope: Any, receive: Receive) -> Request | None:  # noqa: ANN401 - ASGI
    """The request; None when the client went before it was complete: half a request takes no effect."""
    path, query = split_target(scope["raw_path"].decode("latin-1") + "?" + scope["query_string"].decode("latin-1"))
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    intake = _Intake()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        intake.take(message.get("body", b""))
        more = message.get("more_body", False)
    request = Request(scope["method"], path, query, headers, bytes(intake.kept))
    request.beyond = intake.beyond()
    return request


async def _write(response: Response, transport: asyncio.Transport, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if response.cut:
        body = response.whole()
        headers.append((b"content-length", str(len(body) + 2).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        transport.close()
        return
    if isinstance(response.body, bytes):
        headers.append((b"content-length", str(len(response.body)).encode()))
        if not response.drip:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
            return
    elif response.size is not None:
        headers.append((b"content-length", str(response.size).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for piece in _pieces(response):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(response.drip)
    await send({"type": "http.response.body", "body": b""})


def _pieces(response: Response) -> Iterable[bytes]:
    if not response.drip:
        return response.body if not isinstance(response.body, bytes) else (response.body,)
    body = response.whole()
    size = len(body) // _PIECES + 1
    return (body[start : start + size] for start in range(0, len(body), size))


def _reset(transport: asyncio.Transport) -> None:
    peer = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # the client may be gone already
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
