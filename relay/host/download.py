"""An answer's body that is read as it is wanted, however long it is; a few pieces of it are in memory at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import httpx

from relay.host.bodies import PIECES, TooLargeError, TruncatedError, UndecodableError
from relay.host.exchange import HttpFault, HttpRequest, Pairs, find_header
from relay.host.faults import FOREIGN, translate
from relay.host.network import Egress, Progress

PIECE: Final = 64 * 1024
"""Bytes of each piece that is handed over, but of the last."""
UNENCODED: Final = frozenset({"", "identity"})


class Download:
    """An answer whose body is still on its way.

    Why each piece has its own time and the whole has none: nobody knows how long gigabytes take, but a side that is
    alive sends 64 KiB within the time that any other answer has.

    Attributes:
        status: the HTTP status.
        headers: as they came.
        size: the body's bytes as the headers tell them; None when they do not.

    """

    def __init__(
        self, request: HttpRequest, response: httpx.Response, headers: Pairs, egress: Egress, progress: Progress
    ) -> None:
        self.status = response.status_code
        self.headers = headers
        self.size = declared_length(response)
        self._request = request
        self._egress = egress
        self._progress = progress
        self._encoding = response.headers.get("content-encoding", "").strip().lower()
        self._until_close = is_until_close(response, self.size)
        self._chunks = response.aiter_raw().__aiter__()
        self._held = bytearray()
        self._ended = False
        self._broken = False
        self._came = 0
        self._counted = 0

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return find_header(self.headers, name)

    async def read(self) -> bytes:
        """The next piece: `PIECE` bytes, fewer at the end, none after it.

        Raises:
            HttpFault: `timeout`: the request's time was over before the piece was whole; `too large`: the body is over
                the request's limit; `undecodable`: it is encoded; `broken`: it ended early.

        """
        if self._broken:
            raise HttpFault("broken", "the answer ended early", maybe_sent=True, status=self.status)
        # Unless this read ends well: after a fault the stream gives what would pass for its end.
        self._broken = True
        try:
            self._check()
            async with asyncio.timeout(self._request.timeout):
                while len(self._held) < PIECE and not self._ended:
                    await self._take()
        except TimeoutError:
            detail = f"no more of the answer came, {self._request.timeout:g} s were over"
            raise HttpFault("timeout", detail, maybe_sent=True, status=self.status, headers=self.headers) from None
        except FOREIGN as error:
            raise translate(error, self._progress, self._request.limit, self.status, self.headers) from None
        self._broken = False
        piece = bytes(memoryview(self._held)[:PIECE])
        del self._held[:PIECE]
        return piece

    async def end(self) -> None:
        """Read no more. Never waits, so that a cancelled call can do it."""
        self._egress.abort()
        # The stream's generators shall end by the error of the next read, not by being left behind.
        with contextlib.suppress(*FOREIGN, StopAsyncIteration, httpx.StreamError):
            while True:
                await anext(self._chunks)

    def _check(self) -> None:
        if self._encoding not in UNENCODED:
            raise UndecodableError(f"content encoding {self._encoding[:40]!r}")
        if self.size is not None and self.size > self._request.limit.keep:
            raise TooLargeError(self.size)

    async def _take(self) -> None:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._ended = True
            if self._until_close and not self._egress.ended_in_order():
                raise TruncatedError
            return
        self._came += len(chunk)
        self._counted += 1
        if self._came > self._request.limit.keep:
            raise TooLargeError(None)
        if self._counted > PIECES + self._came // 16:
            raise UndecodableError("too many chunks that hold next to nothing")
        self._held += chunk


def declared_length(response: httpx.Response) -> int | None:
    """The body's bytes on the wire as the answer's headers tell them."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def is_until_close(response: httpx.Response, length: int | None) -> bool:
    """Whether nothing but the connection's end tells where the body ends."""
    return length is None and "chunked" not in response.headers.get("transfer-encoding", "").lower()
