"""The Merkle tree over the audit log's lines: RFC 6962 section 2.1 (the same as RFC 9162 section 2.1.1), SHA-256.

A leaf is a line's bytes without the line feed. What is kept is not the tree but its compact range: the roots of the
perfect trees that it falls into, one for each bit of its size that is set. That is enough to add lines and to tell the
root, whatever the log's length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

EMPTY = hashlib.sha256().digest()
"""The root of a tree without leaves."""
HASH_BYTES = 32
_LEAF, _NODE = b"\0", b"\1"


def leaf_hash(line: bytes) -> bytes:
    """What stands for a line in the tree."""
    return hashlib.sha256(_LEAF + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The root of two subtrees."""
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of `size` leaves. `peaks` are the roots of its perfect subtrees, the largest and leftmost first.

    Raises:
        ValueError: no tree of this size has these peaks.

    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or self.size.bit_count() != len(self.peaks) or any(len(p) != HASH_BYTES for p in self.peaks):
            msg = f"no tree of {self.size} leaves has these {len(self.peaks)} peaks"
            raise ValueError(msg)

    def with_leaves(self, leaves: Iterable[bytes]) -> Self:
        """The tree after some more leaves (`leaf_hash` of each); about two hashes a leaf, whatever the size."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            top = leaf
            # Each set bit at the end of the size is a perfect tree as large as the one just made: they join.
            trees = size
            while trees & 1:
                top = node_hash(peaks.pop(), top)
                trees >>= 1
            peaks.append(top)
            size += 1
        return type(self)(size, tuple(peaks))

    @property
    def root(self) -> bytes:
        """The Merkle tree hash, 32 bytes."""
        if not self.peaks:
            return EMPTY
        *rest, root = self.peaks
        for peak in reversed(rest):
            root = node_hash(peak, root)
        return root
