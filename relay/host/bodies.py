"""Answers' bodies, bounded while they arrive: in bytes on the wire, in bytes after decompression, and in memory.

A body over the bound is counted on for a while, so that the error can name its real size, but no longer kept.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

STEP = 256 * 1024
"""Bytes decoded at a time: between two steps others may run."""

WIRE_ALLOWANCE = 1024 * 1024
"""What a body may be larger on the wire than decoded: gzip's own cost for data that does not compress."""

PIECES = 10_000
"""Chunks of one body that may be of any size; with more, they must hold 16 bytes on the average: each costs time of its
own, and one byte may be all that it holds."""

_BREATH = 256
"""Pieces between two breaks."""

MEMBERS = 1000
"""Members of one gzip stream: real ones have one; empty ones cost time without adding a byte."""


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Keep at most `keep` decoded bytes; of a larger body count up to `count` to learn its size."""

    keep: int
    count: int = 0

    @property
    def most(self) -> int:
        """Where counting ends."""
        return max(self.keep, self.count)


class TooLargeError(Exception):
    """The body is over its bound. `size` is its real size; None: it is over `count` as well."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        super().__init__(size)


class UndecodableError(Exception):
    """The body is encoded in a way that was not asked for, or its encoding is damaged."""


class TruncatedError(Exception):
    """The body ended before it was complete."""


class Body:
    """Collects one body.

    Args:
        encoding: the answer's Content-Encoding; "" when there is none.
        limit: the bounds.

    Raises:
        UndecodableError: neither gzip nor identity.

    """

    def __init__(self, encoding: str, limit: BodyLimit) -> None:
        encoding = encoding.strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise UndecodableError(f"content encoding {encoding[:40]!r}")
        self._gzip = _Gzip() if encoding.endswith("gzip") else None
        self._limit = limit
        self._kept = bytearray()
        self._wire = 0
        self._pieces = 0
        self.size = 0

    @property
    def encoded(self) -> bool:
        """Whether bytes on the wire are not the body's bytes."""
        return self._gzip is not None

    def feed(self, chunk: bytes) -> bool:
        """Take bytes as they came over the wire. Call `step` until it has no more before the next.

        Returns:
            Whether it is time to let others run.

        Raises:
            TooLargeError: too many of them.
            UndecodableError: they come in pieces that are too small.

        """
        self._wire += len(chunk)
        self._pieces += 1
        if self._wire > self._limit.most + WIRE_ALLOWANCE:
            raise TooLargeError(None)
        if self._pieces > PIECES + self._wire // 16:
            raise UndecodableError("too many chunks that hold next to nothing")
        if self._gzip is None:
            self._keep(chunk)
        else:
            self._gzip.feed(chunk)
        return self._pieces % _BREATH == 0

    def step(self) -> bool:
        """Decode the next part of what was fed; True when there is more to decode.

        Raises:
            TooLargeError: the decoded body is over `count`.
            UndecodableError: not gzip.

        """
        if self._gzip is None:
            return False
        self._keep(self._gzip.step(STEP))
        return self._gzip.pending

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            TooLargeError: it is larger than `keep`; with its size.
            TruncatedError: the gzip stream is not complete.

        """
        if self._gzip is not None and not self._gzip.complete:
            raise TruncatedError
        if self.size > self._limit.keep:
            raise TooLargeError(self.size)
        return bytes(self._kept)

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit.most:
            raise TooLargeError(None)
        if self.size > self._limit.keep:
            self._kept = bytearray()
        else:
            self._kept += data


class _Gzip:
    """A gzip stream of one or more members, decoded in steps. Nothing at all is a complete stream, too."""

    def __init__(self) -> None:
        self._data = b""
        self._member: zlib._Decompress | None = None
        self._members = 0
        self.pending = False

    def feed(self, chunk: bytes) -> None:
        self._data = chunk
        self.pending = True

    @property
    def complete(self) -> bool:
        return self._member is None

    def step(self, most: int) -> bytes:
        if self._member is None:
            if not self._data:
                self.pending = False
                return b""
            self._members += 1
            if self._members > MEMBERS:
                raise UndecodableError("too many gzip members")
            self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        member = self._member
        try:
            decoded = member.decompress(self._data, most)
        except zlib.error:
            raise UndecodableError("damaged gzip") from None
        self._data = member.unused_data if member.eof else member.unconsumed_tail
        # A full step may have left output inside zlib although all input is used up.
        self.pending = bool(self._data) or (len(decoded) == most and not member.eof)
        if member.eof:
            self._member = None
        return decoded
