"""A small HTTP proxy on loopback that understands CONNECT and nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from types import TracebackType
from typing import Any, Self


class ConnectProxy:
    """Tunnels CONNECT to 127.0.0.1 at the port asked for, whatever the host's name.

    Args:
        account: (user name, password) that must be given, else 407.
        answer: bytes answered to every CONNECT instead of tunnelling; b"" hangs. A list is sent piece by piece, every
            few milliseconds; None in it ends the connection.
        context: speak TLS to clients.

    Attributes:
        asked: the targets of the CONNECT requests, in order.
        heads: their header blocks.
        received: everything that clients sent, the tunnels' contents included.

    """

    def __init__(
        self,
        account: tuple[str, str] | None = None,
        answer: bytes | list[bytes | None] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.account = account
        self.answer = answer
        self.context = context
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.received = bytearray()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """`http://localhost:PORT`."""
        return f"{'https' if self.context else 'http'}://localhost:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def drop(self) -> None:
        """End every connection that is open."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._tunnel(reader, writer)
        self._tasks.discard(task)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.received += head.encode("latin-1")
        self.asked.append(head.split(" ")[1])
        self.heads.append(head)
        if self.account is not None:
            pair = base64.b64encode(":".join(self.account).encode()).decode()
            if f"proxy-authorization: basic {pair}".lower() not in head.lower():
                writer.write(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
                return
        if self.answer is not None:
            for piece in self.answer if isinstance(self.answer, list) else [self.answer]:
                if piece is None:
                    return
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            await reader.read()
            return
        port = int(self.asked[-1].rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, back, self.received), _copy(there, writer))
        finally:
            back.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, noted: bytearray | None = None) -> None:
    while data := await source.read(65536):
        if noted is not None:
            noted += data
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
