from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.config.tree import Entry, Items, Map, Mark, Node, Path, Scalar, data, find
from relay.config.tree import merge as merge_where
from relay.config.values import Plain

HERE = Mark("f", 1, 1)
WORDS = st.sampled_from(["a", "b", "c", "url"])


def scalar(text: str) -> Scalar:
    return Scalar(HERE, HERE, text, plain=False)


def branch(depth: int) -> st.SearchStrategy[Map]:
    """Maps in which a key is a section at every level but the last, as in a model."""
    leaf: st.SearchStrategy[Node] = st.one_of(
        WORDS.map(scalar), st.lists(WORDS.map(scalar), max_size=2).map(lambda items: Items(HERE, HERE, tuple(items)))
    )
    below: st.SearchStrategy[Node] = leaf if depth == 0 else branch(depth - 1)
    entries = st.dictionaries(WORDS, below.map(lambda node: Entry(HERE, node)), max_size=4)
    return entries.map(lambda found: Map(HERE, HERE, found))


def one_value(path: Path) -> bool:
    """A path at which maps are replaced whole, as references to secrets are."""
    return path[-1] == "url"


def merge(base: Map, over: Map) -> Map:
    return merge_where(base, over, one_value)


TREES = branch(2)
EMPTY = Map(HERE, HERE)


@given(TREES)
def test_an_empty_drop_in_changes_nothing(tree: Map) -> None:
    """The empty document is neutral on both sides."""
    assert data(merge(tree, EMPTY)) == data(merge(EMPTY, tree)) == data(tree)


@given(TREES)
def test_a_drop_in_twice_is_as_once(tree: Map) -> None:
    """Merging a document over itself changes nothing."""
    assert data(merge(tree, tree)) == data(tree)


@given(TREES, TREES, TREES)
def test_only_the_order_of_files_counts(first: Map, second: Map, third: Map) -> None:
    """Merging is associative: a drop-in means the same however many files stand before it."""
    assert data(merge(merge(first, second), third)) == data(merge(first, merge(second, third)))


@given(TREES, TREES)
def test_the_later_file_wins(first: Map, second: Map) -> None:
    """Every value of the later file holds, and every key of both is there."""

    def holds(over: object, merged: object) -> bool:
        if isinstance(over, dict) and isinstance(merged, dict):
            return all(holds(value, merged.get(key)) for key, value in over.items())
        return over == merged

    merged = data(merge(first, second))
    assert holds(data(second), merged)
    assert set(merged) == set(first.entries) | set(second.entries)


def test_one_value_is_replaced_and_not_merged() -> None:
    """A map that is one value is replaced whole, with its place; a section is merged and keeps its first place."""
    later = Mark("g", 2, 2)

    def tree(key: str, name: str, mark: Mark) -> Map:
        return Map(mark, mark, {key: Entry(mark, Map(mark, mark, {name: Entry(mark, scalar(name))}))})

    replaced = merge(tree("url", "credential", HERE), tree("url", "value", later))
    assert (data(replaced), replaced.entries["url"].mark) == ({"url": {"value": "value"}}, later)
    both = merge(tree("a", "credential", HERE), tree("a", "file", later))
    assert (data(both), both.entries["a"].mark) == ({"a": {"credential": "credential", "file": "file"}}, HERE)


def test_what_a_scalar_is() -> None:
    """Without quotes the five spellings of nothing are nothing, everything else is a plain word; in quotes, text."""
    assert [data(Scalar(HERE, HERE, text, plain=True)) for text in ("", "~", "null", "Null", "NULL")] == [None] * 5
    assert isinstance(data(Scalar(HERE, HERE, "true", plain=True)), Plain)
    quoted = data(scalar("null"))
    assert (quoted, isinstance(quoted, Plain)) == ("null", False)


def test_finding_a_place() -> None:
    """A path leads to its node, or to the last one on the way that is written."""
    at = [Mark("f", line, 1) for line in range(1, 6)]
    items = Items(at[2], at[2], (Scalar(at[3], at[3], "x", plain=True),))
    root = Map(at[0], at[0], {"a": Entry(at[1], items)})
    assert find(root, ("a", 0)) == (items.items[0], at[3], True)
    assert find(root, ("a", 1)) == (items, at[1], False)
    assert find(root, ("a", "x")) == (items, at[1], False)
    assert find(root, ("b", "c")) == (root, at[0], False)
    assert find(root, ("a", 0, "deeper")) == (items.items[0], at[3], False)
    assert find(root, ()) == (root, at[0], True)
