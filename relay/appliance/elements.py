"""Taking an element of the appliance's XML apart so that nothing of it is lost: what nobody asked for is kept too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from sys import intern
from typing import Final, TypeVar

from lxml import etree

from relay.core.errors import ApplianceError
from relay.core.session_report import Moment, Pairs, read_moment, read_seconds

T = TypeVar("T")
_NUMBER: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
MOST_UNKNOWN: Final = 20_000
"""Texts and attributes of one session that nobody asked for; a report has none of them, or some dozens."""
LONGEST_UNKNOWN: Final = 4_000_000
"""Characters of these, paths among them: long names around many small elements give each one a long path."""
_SHORT: Final = 40
"""Characters of a value that may stand often: a name, a type, a number. It is held once."""
_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"", "0", "false"})


def local(name: str) -> str:
    """A name without its namespace, which differs by product and version."""
    return name.rpartition("}")[2]


class Allowance:
    """How much is kept of a session that nobody asked for."""

    __slots__ = ("_characters", "_pairs")

    def __init__(self) -> None:
        self._pairs = self._characters = 0

    def spend(self, path: str, text: str) -> tuple[str, str]:
        """The pair to be kept.

        Raises:
            ApplianceError: BSR-3009, it is one too many.

        """
        self._pairs += 1
        self._characters += len(path) + len(text)
        for spent, most, what in (
            (self._pairs, MOST_UNKNOWN, "texts and attributes"),
            (self._characters, LONGEST_UNKNOWN, "characters in elements and attributes"),
        ):
            if spent > most:
                raise ApplianceError(3009, f"one item of the report has more than {most} {what} that are not known")
        return path, text


class Parts:
    """What an element holds, to be taken once; `rest` gives what was not, below the same path for all of its children.

    Taking a thing twice gives nothing the second time, so that a repeated element ends in `rest` and not nowhere. All
    that is made of one session has one `Allowance`: what is beyond it is BSR-3009, from whichever method.
    """

    __slots__ = ("_allowance", "_attributes", "_children", "_extra", "_path", "_text")

    def __init__(
        self,
        element: etree._Element,
        path: str = "",
        *,
        allowance: Allowance | None = None,
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        self._path = path
        self._allowance = Allowance() if allowance is None else allowance
        self._extra: list[tuple[str, str]] = [] if extra is None else extra
        self._attributes = [(local(str(name)), _once(str(value))) for name, value in element.attrib.items()]
        self._children = [child for child in element if isinstance(child.tag, str)]
        self._text = (element.text or "") + "".join(child.tail or "" for child in element)

    def attribute(self, name: str) -> str:
        """An attribute's value without spaces around it, "" without it."""
        return self.raw_attribute(name).strip()

    def raw_attribute(self, name: str) -> str:
        """An attribute's value as it came."""
        for index, (found, value) in enumerate(self._attributes):
            if found == name:
                del self._attributes[index]
                return value
        return ""

    def text(self) -> str:
        """The element's own text without spaces around it."""
        return self.raw_text().strip()

    def raw_text(self) -> str:
        """The element's own text as it came."""
        text, self._text = self._text, ""
        return text

    def child(self, name: str) -> Parts | None:
        """The first child of a name."""
        for index, child in enumerate(self._children):
            if local(child.tag) == name:
                del self._children[index]
                return self._below(child, name)
        return None

    def children(self, name: str) -> Iterator[Parts]:
        """Every child of a name."""
        return (self._below(child, name) for child in self._named(name))

    def own(self, name: str) -> Iterator[Parts]:
        """Every child of a name, for a value that keeps its own rest."""
        return (Parts(child, allowance=self._allowance) for child in self._named(name))

    def anything(self) -> Iterator[tuple[str, Parts]]:
        """Every child that is left, with its name."""
        found, self._children = self._children, []
        return ((local(child.tag), self._below(child, local(child.tag))) for child in found)

    def leaf(self, name: str) -> str:
        """The text of the first child of a name, "" without it."""
        found = self.child(name)
        return "" if found is None else found.ended(found.text())

    def number(self, name: str) -> int | None:
        """The whole number in a child; what is none is kept as text."""
        text = self.leaf(name)
        if _NUMBER.fullmatch(text):
            return int(text)
        self.keep(name, text)
        return None

    def flag(self, name: str) -> bool:
        """Whether a child says 1; what is neither yes nor no is kept as text."""
        text = self.leaf(name)
        if text.lower() not in _TRUE | _FALSE:
            self.keep(name, text)
        return text.lower() in _TRUE

    def moment(self, name: str) -> Moment | None:
        """The time in a child."""
        found = self.child(name)
        if found is None:
            return None
        stamp = found.attribute("timestamp")
        if read_seconds(stamp) is None:
            found.keep("@timestamp", stamp)
        return found.ended(read_moment(stamp, found.text()))

    def keep(self, name: str, text: str) -> None:
        """Keep a text that could not be read, unless it is empty."""
        if text:
            self._extra.append(self._allowance.spend(self._join(name), text))

    def ended(self, value: T) -> T:
        """The value, once everything that is left of this element went to the rest."""
        self._leave()
        return value

    def rest(self) -> Pairs:
        """What nobody took, of the whole value: paths and texts."""
        self._leave()
        return tuple(self._extra)

    def _leave(self) -> None:
        for name, value in self._attributes:
            self._extra.append(self._allowance.spend(self._join(f"@{name}"), value))
        if text := self._text.strip():
            self._extra.append(self._allowance.spend(self._path, text))
        for child in self._children:
            self._below(child, local(child.tag))._leave()  # noqa: SLF001  # one of its own kind
        self._attributes, self._children, self._text = [], [], ""

    def _named(self, name: str) -> list[etree._Element]:
        found = [child for child in self._children if local(child.tag) == name]
        self._children = [child for child in self._children if local(child.tag) != name]
        return found

    def _below(self, child: etree._Element, name: str) -> Parts:
        return Parts(child, self._join(name), allowance=self._allowance, extra=self._extra)

    def _join(self, name: str) -> str:
        return self._path + name if name.startswith("@") or not self._path else f"{self._path}/{name}"


def leaves(element: etree._Element, path: str, allowance: Allowance) -> Pairs:
    """Every text and attribute of an element that nobody knows."""
    return Parts(element, path, allowance=allowance).rest()


def _once(text: str) -> str:
    return intern(text) if len(text) <= _SHORT else text
