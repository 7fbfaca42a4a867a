"""XML of unknown origin, read with every limit: the one way in which this program lets lxml at foreign bytes.

Why not defusedxml: it knows no limit of depth or number, and lxml with these options resolves nothing by itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lxml import etree

DEEPEST = 64
"""A SOAP envelope or a session report nests some ten elements; libxml2 itself stops at 256."""
MOST_ATTRIBUTES = 64
"""Of one element. Reading the attributes of an element takes time that grows with the square of their number."""
LONGEST_PROLOG = 32 * 1024
"""Bytes before the first element is complete. The declarations of a document type stand there: it is refused, but only
once they are all read, which takes time that grows with the square of their number."""
_FIRST = 4 * 1024
# One text or attribute ends at 10 MB by libxml2's own limit, which `huge_tree=False` keeps.


class XmlError(ValueError):
    """The bytes are not XML, or beyond a limit. The message is fit to be shown: it never quotes them.

    `malformed`: they are not well-formed, as opposed to well-formed and refused.
    """

    def __init__(self, text: str, *, malformed: bool = False) -> None:
        self.malformed = malformed
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class XmlSource:
    """How some bytes are to be read.

    Attributes:
        most_elements: more are refused, their attributes counted with them: each costs some hundred bytes of memory.
            None counts nothing, for who walks a document, clears what was read, and counts what is kept.
        encoding: what the bytes are in, whatever their own declaration says; None believes the declaration.
        recover: what is not well-formed is passed over; the limits hold nevertheless.

    """

    most_elements: int | None
    encoding: str | None = None
    recover: bool = False


def read_xml(raw: bytes, source: XmlSource) -> etree._Element:
    """The root element.

    Raises:
        XmlError: not well-formed, a document type, or beyond a limit.

    """
    root: etree._Element | None = None
    for _event, element in walk_xml(io.BytesIO(raw), source):
        root = element if root is None else root
    if root is None:
        raise XmlError("there is no element in it", malformed=True)
    if source.recover:
        _check_text(root)
    return root


def walk_xml(file: BinaryIO, source: XmlSource) -> Iterator[tuple[str, etree._Element]]:
    """Each element of a document as it begins ("start", its attributes are there) and ends ("end", it is whole).

    Whoever walks a large document clears what has ended (`forget`), so that memory stays flat.

    Raises:
        XmlError: not well-formed, a document type, or beyond a limit; what was given before stays as it is.

    """
    try:
        yield from _walk(file, source)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise XmlError(f"not well-formed at line {line}, column {column}", malformed=True) from None


def forget(element: etree._Element) -> None:
    """Free what an element that has ended holds, and its elder siblings.

    Why not the element itself: the parser may still be about to append to the last child of an open element.
    """
    element.clear(keep_tail=True)  # type: ignore[call-arg]  # the stubs are older than the library
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _check_text(root: etree._Element) -> None:
    """Refuse what a recovering reading lets through although it is no text: a reference to half a character."""
    try:
        for element in root.iter():
            _ = element.tag, element.text, element.tail, element.items()
    except UnicodeDecodeError:
        raise XmlError("it refers to characters that are none") from None


class _Bytes:
    """Gives the parser what it asks for, but little until it has found an element."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._given = 0
        self.begun = False

    def read(self, size: int = -1, /) -> bytes:
        """See `BinaryIO.read`."""
        if self.begun:
            return self._file.read(size)
        if self._given >= LONGEST_PROLOG:
            raise XmlError("its first element begins too late")
        piece = self._file.read(_FIRST)
        self._given += len(piece)
        return piece


def _walk(file: BinaryIO, source: XmlSource) -> Iterator[tuple[str, etree._Element]]:
    given = _Bytes(file)
    reader = etree.iterparse(
        given,
        events=("start", "end"),
        encoding=source.encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=source.recover,
    )
    most = float("inf") if source.most_elements is None else source.most_elements
    depth = count = 0
    for event, element in reader:
        given.begun = True
        if event == "end":
            depth -= 1
            yield event, element
            continue
        if count == 0 and element.getroottree().docinfo.internalDTD is not None:
            raise XmlError("a document type is not allowed")
        depth += 1
        count += 1 + len(element.attrib)
        if depth > DEEPEST or count > most or len(element.attrib) > MOST_ATTRIBUTES:
            raise XmlError("too many elements or attributes, or nested too deep")
        yield event, element
