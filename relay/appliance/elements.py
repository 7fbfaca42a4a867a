"""Taking an element of the appliance's XML apart so that nothing of it is lost: what nobody asked for is kept too."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from lxml import etree

from relay.core.session_report import Moment, Pairs, read_moment, read_seconds

T = TypeVar("T")
_NUMBER: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"", "0", "false"})


def local(name: str) -> str:
    """A name without its namespace, which differs by product and version."""
    return name.rpartition("}")[2]


class Parts:
    """What an element holds, to be taken once; `rest` gives what was not, below the same path for all of its children.

    Taking a thing twice gives nothing the second time, so that a repeated element ends in `rest` and not nowhere.
    """

    def __init__(self, element: etree._Element, path: str = "", extra: list[tuple[str, str]] | None = None) -> None:
        self._path = path
        self._extra: list[tuple[str, str]] = [] if extra is None else extra
        self._attributes = [(local(str(name)), str(value)) for name, value in element.attrib.items()]
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

    def children(self, name: str) -> list[Parts]:
        """Every child of a name."""
        found = [child for child in self._children if local(child.tag) == name]
        self._children = [child for child in self._children if local(child.tag) != name]
        return [self._below(child, name) for child in found]

    def own(self, name: str) -> list[etree._Element]:
        """Every child of a name, for a value that keeps its own rest."""
        found = [child for child in self._children if local(child.tag) == name]
        self._children = [child for child in self._children if local(child.tag) != name]
        return found

    def anything(self) -> list[tuple[str, Parts]]:
        """Every child that is left, with its name."""
        found, self._children = self._children, []
        return [(local(child.tag), self._below(child, local(child.tag))) for child in found]

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
            self._extra.append((self._join(name), text))

    def ended(self, value: T) -> T:
        """The value, once everything that is left of this element went to the rest."""
        self._extra += self._leftover()
        return value

    def rest(self) -> Pairs:
        """What nobody took, of the whole value: paths and texts."""
        self._extra += self._leftover()
        return tuple(self._extra)

    def _leftover(self) -> list[tuple[str, str]]:
        found = [(self._join(f"@{name}"), value) for name, value in self._attributes]
        if self._text.strip():
            found.append((self._path, self._text.strip()))
        for child in self._children:
            found += Parts(child, self._join(local(child.tag))).rest()
        self._attributes, self._children, self._text = [], [], ""
        return found

    def _below(self, child: etree._Element, name: str) -> Parts:
        return Parts(child, self._join(name), self._extra)

    def _join(self, name: str) -> str:
        return self._path + name if name.startswith("@") or not self._path else f"{self._path}/{name}"


def leaves(element: etree._Element, path: str) -> Pairs:
    """Every text and attribute of an element that nobody knows."""
    return Parts(element, path).rest()
