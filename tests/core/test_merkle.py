"""The Merkle tree of the audit log: RFC 6962, kept in logarithmic room."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.merkle import EMPTY, Tree, leaf_hash, node_hash

LINES = st.lists(st.binary(max_size=12), max_size=40)
PUBLISHED_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The vectors that Certificate Transparency's implementations share: roots over the first 0 to 8 leaves."""


def plain(lines: list[bytes]) -> bytes:
    """The root as RFC 6962 section 2.1 defines it, word for word."""
    if not lines:
        return hashlib.sha256().digest()
    if len(lines) == 1:
        return hashlib.sha256(b"\0" + lines[0]).digest()
    split = 1
    while split * 2 < len(lines):
        split *= 2
    return hashlib.sha256(b"\1" + plain(lines[:split]) + plain(lines[split:])).digest()


def tree_of(lines: list[bytes]) -> Tree:
    return Tree().with_leaves(map(leaf_hash, lines))


@pytest.mark.parametrize("size", range(9))
def test_the_published_vectors_hold(size: int) -> None:
    """The roots over the published leaves are the published ones."""
    assert tree_of([bytes.fromhex(leaf) for leaf in PUBLISHED_LEAVES[:size]]).root.hex() == PUBLISHED_ROOTS[size]


@given(lines=LINES)
def test_the_root_is_the_one_of_the_definition(lines: list[bytes]) -> None:
    """Whatever the lines, the compact range gives the root of the recursive definition."""
    tree = tree_of(lines)
    assert tree.root == plain(lines)
    assert tree.size == len(lines)
    assert len(tree.peaks) == len(lines).bit_count()


@given(lines=LINES, data=st.data())
def test_lines_may_come_in_any_portions(lines: list[bytes], data: st.DataObject) -> None:
    """A tree that was stored and goes on is the tree over all lines; the stored one stays as it was."""
    split = data.draw(st.integers(0, len(lines)))
    first = tree_of(lines[:split])
    again = Tree(first.size, first.peaks)
    assert again.with_leaves(map(leaf_hash, lines[split:])) == tree_of(lines)
    assert first.root == plain(lines[:split])


@pytest.mark.parametrize(("size", "peaks"), [(-1, ()), (1, ()), (0, (EMPTY,)), (3, (EMPTY,)), (1, (b"short",))])
def test_peaks_that_fit_no_tree_are_refused(size: int, peaks: tuple[bytes, ...]) -> None:
    """A stored state that cannot be one is a ValueError, never a wrong root."""
    with pytest.raises(ValueError, match="no tree"):
        Tree(size, peaks)


def test_leaves_and_nodes_are_told_apart() -> None:
    """A line that looks like a node is no node: the two are hashed with different prefixes."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right) == tree_of([b"a", b"b"]).root
