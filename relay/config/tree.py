"""A configuration document as a tree of values, each with the place where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.config.values import Plain
from relay.core.jobs import Json

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_REFERENCES = frozenset({"credential", "file"})

Path = tuple[str | int, ...]
"""Keys and list indexes from the root of a document."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count characters from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text. `plain`: written without quotes."""

    mark: Mark
    end: Mark
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    mark: Mark
    end: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its place, and what stands at it."""

    mark: Mark
    value: Node


@dataclass(frozen=True, slots=True)
class Map:
    """Keys in the order of the file."""

    mark: Mark
    end: Mark
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def is_reference(self) -> bool:
        """Whether it has the form of a reference to a secret, which is one value and not a section."""
        return (
            len(self.entries) == 1
            and _REFERENCES.issuperset(self.entries)
            and all(isinstance(entry.value, Scalar) for entry in self.entries.values())
        )


Node = Scalar | Items | Map


def merge(base: Map, over: Map, one_value: Callable[[Path], bool], path: Path = ()) -> Map:
    """Two documents as one: maps are merged key by key, everything else is replaced by the later one.

    A section that both have keeps the place of the first, so that a problem of the section is shown at its beginning;
    what is replaced has the place of the later one.

    Args:
        base: the earlier document.
        over: the later one.
        one_value: whether a map at this path is one value and not a section: `{file: ...}` over `{credential: ...}`
            is not both.
        path: where the two stand.

    """
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        former, below = entries.get(key), (*path, key)
        if former and isinstance(former.value, Map) and isinstance(entry.value, Map) and not one_value(below):
            entries[key] = Entry(former.mark, merge(former.value, entry.value, one_value, below))
        else:
            entries[key] = entry
    return Map(base.mark, base.end, entries)


def data(node: Node) -> Json:
    """The tree as plain values: None, text (`Plain` when it had no quotes), lists and dictionaries."""
    if isinstance(node, Map):
        return {key: data(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [data(item) for item in node.items]
    if not node.plain:
        return node.text
    return None if node.text in _NULLS else Plain(node.text)


def find(root: Map, path: Path) -> tuple[Node, Mark, bool]:
    """The node at a path, the place of its key (of the item in a list), and whether the path ends there.

    Where the path leads out of the tree it is the last node that is in it.
    """
    node: Node = root
    mark = root.mark
    for step in path:
        if isinstance(node, Map) and str(step) in node.entries:
            entry = node.entries[str(step)]
            node, mark = entry.value, entry.mark
        elif isinstance(node, Items) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
            mark = node.mark
        else:
            return node, mark, False
    return node, mark, True
