"""The control socket: administrators of this machine ask and order, one line of JSON each way.

Who may is the file's mode (0660): root, the service user and its group. What passes is bounded in size and time, since
also the own group is no reason to hang.

    -> {"command": "status", "arguments": {...}}
    <- {"ok": true, "result": {...}}    or    {"ok": false, "code": "BSR-nnnn", "error": "...", "fix": "..."}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

import structlog

from relay.core.errors import ConfigError, InternalError, RelayError
from relay.core.jobs import Json
from relay.host.files import disk_error

log = structlog.get_logger("relay.control")

LONGEST_LINE = 64 * 1024
"""Bytes of a request; no command needs more."""
PATIENCE = 10.0
"""Seconds for a client to send its request."""
LAST_ANSWERS = 1.0
"""Seconds that the end waits for answers that are being made."""
MODE = 0o660
_PEER = struct.Struct("3i")

Serve = Callable[[str, Mapping[str, Json], str], Awaitable[Json]]
"""Called with the command, its arguments and the author's name; what it raises becomes the answer's error."""


class ControlSocket:
    """Serves the socket at `path` while its context lasts, for clients that mean the relay of the folder `state`.

    A client that names another folder is sent away: on a machine with two relays an order must not reach the wrong one.
    """

    def __init__(self, path: Path, serve: Serve, state: Path) -> None:
        self._path = path
        self._serve = serve
        self._state = state
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Bind the socket; the state folder's lock makes sure that nobody else answers on it.

        Raises:
            StorageError: its folder cannot be written.

        """
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, sock=_bound(self._path), limit=LONGEST_LINE)
        except OSError as error:
            raise disk_error(error, self._path) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        if self._clients:
            await asyncio.wait(self._clients, timeout=LAST_ANSWERS)
        for client in self._clients:
            client.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._client(reader, writer), name="control")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                async with asyncio.timeout(PATIENCE):
                    line = await reader.readline()
                writer.write(json.dumps(await self._answer(line, _author(writer))).encode() + b"\n")
                await writer.drain()
            except (TimeoutError, ValueError):
                log.debug("control.bad_client")
            finally:
                writer.close()

    async def _answer(self, line: bytes, author: str) -> dict[str, Json]:
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError):
            asked = None
        match asked:
            case {"state": str(state)} if state != str(self._state.resolve()):
                return _error(ConfigError(1023, str(self._state)))
            case {"command": str(command), "arguments": dict(arguments)}:
                try:
                    return {"ok": True, "result": await self._serve(command, arguments, author)}
                except RelayError as error:
                    return _error(error)
                except Exception as error:  # a fault of ours: whoever asked is told, and the relay goes on
                    fault = InternalError(9001, type(error).__name__)
                    log.exception("control.fault", code=fault.code, command=command)
                    return _error(fault)
            case _:
                return _error(ConfigError(1022, "the request is not understood"))


def _bound(path: Path) -> socket.socket:
    """A listening socket that nobody else could connect to even for a moment."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o777 & ~MODE)
    try:
        listening.bind(str(path))
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _error(error: RelayError) -> dict[str, Json]:
    return {"ok": False, "code": error.code, "number": error.number, "error": str(error), "fix": error.hint}


def _author(writer: asyncio.StreamWriter) -> str:
    """The name of the user at the other end, as the kernel tells it."""
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
