"""Validates a tree against the model, and turns every complaint into a problem with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from relay.config.describe import Path, keys, section_at
from relay.config.known import known_part
from relay.config.leaves import LITERAL_SECRET, WRONG_KIND, WordOr
from relay.config.model import Settings
from relay.config.problems import Problem, Source, dotted
from relay.config.tree import Map, Mark, Scalar, data, find

UNKNOWN = 1003
MISSING = 1007

_MOST_GUESSES = 100
_TAGS = frozenset({WordOr.IS_WORD, WordOr.IS_OTHER})
_SHAPES = {
    "model_type": "write a map of keys, not a single value or a list",
    "mapping_type": "write a map of names, not a single value or a list",
    "dict_type": "write a map of names, not a single value or a list",
    "tuple_type": "write a list, like [first, second]",
    "too_short": "at least one is needed",
    "too_long": "these are too many",
}


@dataclass(slots=True)
class Judge:
    """Makes problems of places in one merged tree.

    Attributes:
        root: the tree.
        sources: the files that it is made of, for excerpts.

    """

    root: Map
    sources: Mapping[str, Source]
    _guesses: int = field(default=0)

    def settings(self) -> tuple[Settings, list[Problem]]:
        """The settings, and what is wrong; with problems, the settings hold only what is right."""
        values = data(self.root)
        try:
            return Settings.model_validate(values), []
        except ValidationError as error:
            return known_part(values), list(self._problems(error))

    def is_written(self, path: Path) -> bool:
        """Whether a value stands at a path."""
        node, _, whole = find(self.root, path)
        return whole and data(node) is not None

    def problem(
        self,
        number: int,
        path: Path,
        text: str,
        *,
        at_key: bool = False,
        warning: bool = False,
        inside: tuple[int, int] = (1, 1),
    ) -> Problem:
        """A problem at a path: at its value, at its key, or at the nearest thing above that is written.

        `inside`: line and column within a value that is text.
        """
        node, key, whole = find(self.root, path)
        mark = key if at_key or not whole or isinstance(node, Map) else node.mark
        if mark is node.mark and isinstance(node, Scalar):
            mark = self._inside(node, *inside)
        if number == LITERAL_SECRET and whole:
            self.sources[node.mark.file].hide(node)
        excerpt = self.sources[mark.file].excerpt(mark.line, mark.column) if self.root.entries else ""
        return Problem(number, mark, dotted(path), text, excerpt, warning)

    def _inside(self, node: Scalar, line: int, column: int) -> Mark:
        """A place within a text, where the file has that line of the text as it is; else where the text begins."""
        if (line, column) == (1, 1):
            return node.mark
        begin, lines = node.mark, self.sources[node.mark.file].lines
        block = lines[begin.line - 1][begin.column - 1 : begin.column] == "|"
        at = begin.line + (line if block else 0)
        wanted = node.text.splitlines()[line - 1]
        start = lines[at - 1].find(wanted, 0 if block else begin.column - 1) if at <= len(lines) else -1
        return begin if start < 0 else Mark(begin.file, at, start + column)

    def _problems(self, error: ValidationError) -> Iterator[Problem]:
        for item in error.errors(include_url=False, include_input=False):
            path = tuple(step for step in item["loc"] if step not in _TAGS)
            context = item.get("ctx", {})
            at_key = bool(path) and path[-1] == "[key]"
            path = path[:-1] if at_key else path
            if item["type"] == "missing":
                yield self.problem(MISSING, path, "the key is required")
            elif item["type"] == "extra_forbidden":
                yield self._unknown(path)
            elif item["type"] == "relay":
                yield self.problem(context["number"], path, context["text"], at_key=at_key, inside=context["at"])
            else:
                yield self.problem(WRONG_KIND, path, _SHAPES.get(item["type"], item["msg"]))

    def _unknown(self, path: Path) -> Problem:
        """A key that does not exist."""
        section = section_at(Settings, path[:-1])
        self._guesses += 1
        hint = _suggestion(str(path[-1]), _names(section)) if section and self._guesses <= _MOST_GUESSES else ""
        return self.problem(UNKNOWN, path, "unknown key" + hint, at_key=True)


def _names(section: Any) -> dict[str, str]:  # noqa: ANN401  # type[Section], which mypy cannot tell from its metaclass
    """What a key may have been meant to be: a key of the section, or of one of its sections."""
    deeper = {
        below.name: f"{key.name}.{below.name}"
        for key in keys(section)
        if isinstance(key.shape, type)
        for below in keys(key.shape)
    }
    return deeper | {key.name: key.name for key in keys(section)}


def _suggestion(word: str, names: Mapping[str, str]) -> str:
    """`; did you mean 'poll'?` when a name is near, else nothing. `names` gives what to say for each."""
    near = difflib.get_close_matches(word[:80], list(names), n=1, cutoff=0.6)
    return f"; did you mean '{names[near[0]]}'?" if near else ""
