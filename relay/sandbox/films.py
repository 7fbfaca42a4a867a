"""Recordings of any size that need no memory: their bytes are made when they are asked for, the same each time."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_PIECE = 1 << 16
_NUMBER = 8  # bytes of a piece's number at its beginning: a piece that is missing or doubled changes the digest


@dataclass(frozen=True, slots=True)
class Film:
    """A recording of `size` bytes; another `seed` gives other bytes. `told`: its size is told before it is sent."""

    size: int
    seed: int = 0
    told: bool = True

    def pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""
        block = random.Random(self.seed).randbytes(_PIECE - _NUMBER)  # noqa: S311 - pictures of nothing
        for start in range(0, self.size, _PIECE):
            yield ((start // _PIECE).to_bytes(_NUMBER) + block)[: self.size - start]

    def sha256(self) -> str:
        """The digest of the bytes, hex."""
        return _digest(self)


@lru_cache(maxsize=1024)
def _digest(film: Film) -> str:
    digest = hashlib.sha256()
    for piece in film.pieces():
        digest.update(piece)
    return digest.hexdigest()
