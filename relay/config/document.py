"""Reads one YAML document strictly into a tree.

Refused, each with its place: keys given twice, anchors, aliases, merge keys, tags, more than one document, nesting
without end, documents over 1 MiB or not in UTF-8. Booleans, numbers and dates are not resolved here: a plain scalar
stays text, and the key that it stands at says what it means.

Why the parser's events and not PyYAML's composer: an alias is refused where it is met, before anything is built of it,
and the reading goes on, so that one run shows every problem of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, cast

import yaml

from relay.config.problems import LINE_BREAK, Problem, Source, dotted
from relay.config.tree import Entry, Items, Map, Mark, Node, Path, Scalar, data

LARGEST = 1024**2
DEEPEST = 32
"""The model itself is 8 deep."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")
_UNREADABLE = "key"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Place(Protocol):
    """A mark of either of PyYAML's parsers; line and column from 0."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its tree (None when it could not be read to its end), its lines, and what is wrong with it."""

    file: str
    root: Map | None
    source: Source
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Reader:
    """Builds the tree from events, collecting problems and all keys with their values on the way."""

    file: str
    events: Iterator[yaml.Event]
    problems: list[tuple[int, Mark, str, str]] = field(default_factory=list)
    pairs: list[tuple[str, Node]] = field(default_factory=list)

    def mark(self, place: _Place | None) -> Mark:
        """A place as people count; the parser says none only where it knows none."""
        return Mark(self.file, place.line + 1, place.column + 1) if place else Mark(self.file, 1, 1)

    def refuse(self, number: int, mark: Mark, path: Path, text: str) -> None:
        self.problems.append((number, mark, dotted(path), text))

    def document(self) -> Map:
        """The root of the only document."""
        root = Map(Mark(self.file, 1, 1), Mark(self.file, 1, 1))
        seen = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    self.refuse(1002, self.mark(event.start_mark), (), "only one document may stand in a file")
                    break
                if event.tags:
                    self.refuse(1005, self.mark(event.start_mark), (), "tags are not allowed")
            elif isinstance(event, yaml.NodeEvent):
                node = self.node(event, ())
                if isinstance(node, Map):
                    root = Map(root.mark, node.end, node.entries)
                elif data(node) is not None:
                    self.refuse(1006, node.mark, (), "write a map of keys")
        return root

    def node(self, event: yaml.Event, path: Path) -> Node:
        """The tree of the node that begins with this event."""
        mark, end = self.mark(event.start_mark), self.mark(event.end_mark)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(1005, mark, path, "aliases are not allowed; write the value out")
            return Scalar(mark, end, "", plain=True)
        # What is no alias begins a scalar, a map or a list, and may carry an anchor and a tag.
        begun = cast("yaml.ScalarEvent | yaml.CollectionStartEvent", event)
        if begun.anchor is not None:
            self.refuse(1005, mark, path, "anchors are not allowed; write the value out where it is needed")
        if begun.tag is not None:
            self.refuse(1005, mark, path, "tags are not allowed; write the plain value")
        if isinstance(begun, yaml.ScalarEvent):
            return Scalar(mark, end, begun.value, plain=not begun.style)
        if len(path) >= DEEPEST:
            raise _TooDeepError(mark)
        return self.map(mark, path) if isinstance(begun, yaml.MappingStartEvent) else self.list(mark, path)

    def map(self, mark: Mark, path: Path) -> Map:
        """The map whose start was just read."""
        found: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            name = key.text if key else "?"
            value = self.node(next(self.events), (*path, name))
            # What stands at a key that cannot be read may be anything, so it is masked like a secret.
            self.pairs.append((name if key else _UNREADABLE, value))
            if key is None:
                continue
            if name == "<<" and key.plain:
                self.refuse(1005, key.mark, path, "merge keys are not allowed; write the keys out")
            elif name in found:
                first = found[name].mark
                self.refuse(1004, key.mark, (*path, name), f"the key is given in line {first.line} already")
            else:
                found[name] = Entry(key.mark, value)
        return Map(mark, self.mark(event.end_mark), found)

    def key(self, event: yaml.Event, path: Path) -> Scalar | None:
        """The key that begins with this event; None for what is no text."""
        if not isinstance(event, yaml.AliasEvent):
            node = self.node(event, (*path, "?"))
            if isinstance(node, Scalar):
                return node
            self.refuse(1006, node.mark, path, "a key must be text")
            return None
        self.refuse(1005, self.mark(event.start_mark), path, "aliases are not allowed; write the key out")
        return None

    def list(self, mark: Mark, path: Path) -> Items:
        """The list whose start was just read."""
        found: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.node(event, (*path, len(found))))
        return Items(mark, self.mark(event.end_mark), tuple(found))


class _TooDeepError(Exception):
    """Maps and lists nested deeper than `DEEPEST`."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        super().__init__()


def read(file: str, content: bytes) -> Document:
    """The document in a file's content. Never raises: what is wrong is in the document's `problems`."""
    top = Mark(file, 1, 1)
    if len(content) > LARGEST:
        return Document(file, None, Source(""), (Problem(1011, top, "", "the file is larger than 1 MiB"),))
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        where = _place(file, before, len(before))
        return Document(file, None, Source(""), (Problem(1011, where, "", "the file is not UTF-8 from here on"),))
    source = Source(text)
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        mark = _place(file, text, forbidden.start())
        what = f"the character U+{ord(forbidden[0]):04X} may not stand in YAML"
        return _failed(file, source, [(1002, mark, "", what)])
    reader = _Reader(file, yaml.parse(text, Loader=_LOADER))
    try:
        root = reader.document()
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        return _failed(file, source, [*reader.problems, (1002, reader.mark(place), "", words or "not well-formed")])
    except _TooDeepError as error:
        return _failed(file, source, [*reader.problems, (1002, error.mark, "", f"nested deeper than {DEEPEST} levels")])
    source.learn(reader.pairs)
    return Document(file, root, source, _shown(source, reader.problems))


def _failed(file: str, source: Source, problems: list[tuple[int, Mark, str, str]]) -> Document:
    return Document(file, None, source, _shown(source, problems))


def _shown(source: Source, problems: list[tuple[int, Mark, str, str]]) -> tuple[Problem, ...]:
    inside = ((number, source.inside(mark), where, text) for number, mark, where, text in problems)
    return tuple(
        Problem(number, mark, where, text, source.excerpt(mark.line, mark.column))
        for number, mark, where, text in inside
    )


def _place(file: str, text: str, index: int) -> Mark:
    """The line and column of a character."""
    breaks = list(LINE_BREAK.finditer(text, 0, index))
    return Mark(file, len(breaks) + 1, index - (breaks[-1].end() if breaks else 0) + 1)
