"""Takes connections: who calls, how many, TLS, and how long it may all take.

Why not uvicorn's own server: it never ends a request that drips, knows nothing of the PROXY protocol, which stands
before TLS, and installs signal handlers. Its HTTP protocol is used as it is, one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from relay.core.addresses import read_address
from relay.core.errors import ListenerError
from relay.core.proxy_header import SHORTEST, NotProxy, begins, caller, more
from relay.listener.connection import Connection, Limits, Places
from relay.listener.desk import Desk
from relay.listener.refusals import Refusals
from relay.listener.station import Station

log = structlog.get_logger("relay.listener")

_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE: Final = 1.0  # seconds, when the system has no room for a connection
_TELLING: Final = 6  # bytes that tell the PROXY protocol from TLS


class _Protocol(H11Protocol):
    """uvicorn's protocol, which tells when its connection has ended, and never keeps a log of requests.

    Args:
        config: of uvicorn.
        state: of uvicorn.
        connection: goes with the request, and hears of the end.
        refused: is called when what came is no HTTP/1.1.

    """

    def __init__(self, config: Config, state: ServerState, connection: Connection, refused: Callable[[], None]) -> None:
        super().__init__(config, state, {"connection": connection})
        self.access_log = False
        self._connection = connection
        self._refused = refused

    def send_400_response(self, msg: str) -> None:
        self._refused()
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.closed.set()


class Entrance:
    """Serves connections of listening sockets.

    Args:
        desk: answers requests.
        refusals: hears who was refused.
        limits: bound everything.

    """

    def __init__(self, desk: Desk, refusals: Refusals, limits: Limits) -> None:
        self._refusals = refusals
        self._limits = limits
        self._places = Places(limits)
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = ServerState()
        self._config = Config(
            desk,
            http="h11",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",  # its errors are ours to tell, and its lines quote requests
            access_log=False,
            proxy_headers=False,
            date_header=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.header,
        )
        self._config.load()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._tasks)

    async def accept(self, listening: socket.socket, station: Callable[[], Station | None]) -> None:
        """Take one connection when there is one, and serve it beside whatever else goes on.

        Args:
            listening: where.
            station: gives what counts at that moment; None: nobody is served.

        Raises:
            OSError: nothing can be accepted any more.

        """
        await _readable(listening)
        try:
            accepted, address = listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # who called is gone again
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            log.warning("listener.no_room", reason=error.strerror, connections=self.connections)
            await asyncio.sleep(_PAUSE)
            return
        source = read_address(address[0])
        now = station()
        if now is None:
            accepted.close()
            return
        if self.connections >= self._limits.connections:
            accepted.close()
            self._refusals.tell(ListenerError(6007, f"{self._limits.connections} in all"), source)
            return
        accepted.setblocking(False)  # noqa: FBT003  # as socket has it
        task = asyncio.create_task(self._serve(accepted, Connection(now, source)), name="listener connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, accepted: socket.socket, connection: Connection) -> None:
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(accepted)
                async with asyncio.timeout(self._limits.request) as connection.deadline:
                    if connection.station.balances(connection.source):
                        await self._introduce(accepted, connection)
                        stack.enter_context(self._places.taken(connection))
                    else:
                        stack.enter_context(self._places.taken(connection))
                        await self._not_introduced(accepted)
                    await asyncio.sleep(self._places.wait(connection, asyncio.get_running_loop().time()))
                    await self._converse(accepted, connection)
        except TimeoutError:
            self._refusals.tell(ListenerError(6009), connection.source)
        except ListenerError as error:
            self._refusals.tell(error, connection.source)
        except ssl.SSLError as error:
            reason = (error.reason or "TLS").replace("_", " ").lower()
            self._refusals.tell(ListenerError(6010, reason), connection.source)
        except OSError:
            pass  # who called is gone again, as a load balancer is that only looks whether somebody listens

    async def _introduce(self, accepted: socket.socket, connection: Connection) -> None:
        """Let the load balancer say who calls."""
        header = b""
        loop = asyncio.get_running_loop()
        try:
            while missing := more(header):
                piece = await loop.sock_recv(accepted, missing)
                if not piece:
                    raise ConnectionResetError
                header += piece
            connection.source = caller(header) or connection.source
        except NotProxy as error:
            raise ListenerError(6006, str(error)) from None

    async def _not_introduced(self, accepted: socket.socket) -> None:
        """See that nobody else says who calls."""
        await _readable(accepted)
        first = accepted.recv(SHORTEST, socket.MSG_PEEK)
        if len(first) >= _TELLING and begins(first):
            raise ListenerError(6006, "from an address that is not in proxy_protocol_from")

    async def _converse(self, accepted: socket.socket, connection: Connection) -> None:
        """Serve the request; return when the connection has ended and its post is where it belongs."""
        bad = functools.partial(self._refusals.tell, ListenerError(6010, "not HTTP/1.1"), connection.source)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: _Protocol(self._config, self._state, connection, bad),
            accepted.dup(),  # the transport closes its own, in its own time
            ssl=connection.station.context,
            ssl_handshake_timeout=self._limits.request,
            ssl_shutdown_timeout=self._limits.goodbye,
        )
        try:
            await connection.closed.wait()
            if connection.answering is not None:
                await asyncio.wait({connection.answering})
        finally:
            if connection.answering is not None:
                connection.answering.cancel()
            if not transport.is_closing():  # closing twice leaves a transport of TLS without anything to abort
                transport.abort()
            with contextlib.suppress(OSError):  # it has ended already
                accepted.shutdown(socket.SHUT_RDWR)
            await connection.closed.wait()


async def _readable(one: socket.socket) -> None:
    """Return when something can be read from, or accepted by, a socket."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(one, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(one)
