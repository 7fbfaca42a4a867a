"""XML of unknown origin, read with every limit that a queue record may need.

Why not defusedxml: it knows no limit of depth or number, and lxml with these options resolves nothing by itself.
"""

from __future__ import annotations

import io
import re
from typing import Final

from lxml import etree

DEEPEST: Final = 64  # a SOAP envelope nests some ten elements; libxml2 itself stops at 256
MOST_ELEMENTS: Final = 20_000  # a record of 1 MiB cannot sensibly hold more
MOST_ATTRIBUTES: Final = 64  # of one element
_BARE_AMPERSAND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


class XmlError(ValueError):
    """The text is not XML, or beyond a limit. The message is fit to be shown: it never quotes the text."""


def parse(text: str, *, recover: bool = False) -> etree._Element:
    """The root element of a document given as text; its own encoding declaration means nothing.

    With `recover`, what is not well-formed is passed over; the limits hold nevertheless.

    Raises:
        XmlError: not well-formed, a DOCTYPE, or beyond a limit.

    """
    stripped = text.strip().removeprefix("\ufeff")
    if "<!DOCTYPE" in stripped:
        # Raw `<` stands in no attribute and no text, so that this refuses nothing but CDATA and comments besides.
        raise XmlError("a document type is not allowed")
    try:
        return _build(stripped.encode(), recover=recover)
    except UnicodeEncodeError:
        raise XmlError("the text holds lone surrogates") from None
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise XmlError(f"not well-formed at line {line}, column {column}") from None


def parse_leniently(text: str) -> etree._Element:
    """As `parse`, but of a text that is not well-formed everything that a parser can make out.

    Why: the instance puts values into some payloads without escaping them, so that a `&` in one is nothing unusual.
    A text that was cut off is not completed, however: half a value could mean something else.

    Raises:
        XmlError: nothing can be made out, a DOCTYPE, or beyond a limit.

    """
    try:
        return parse(text)
    except XmlError:
        root = parse(_BARE_AMPERSAND.sub("&amp;", text), recover=True)
    if not text.rstrip().endswith(f"</{root.tag}>"):
        raise XmlError("its end is missing")
    return root


def _build(raw: bytes, *, recover: bool) -> etree._Element:
    reader = etree.iterparse(
        io.BytesIO(raw),
        events=("start", "end"),
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        recover=recover,
    )
    depth = count = 0
    for event, element in reader:
        if event == "end":
            depth -= 1
            continue
        depth += 1
        count += 1
        if depth > DEEPEST or count > MOST_ELEMENTS or len(element.attrib) > MOST_ATTRIBUTES:
            raise XmlError("too many elements or attributes, or nested too deep")
    root: etree._Element | None = reader.root
    if root is None:
        raise XmlError("there is no element in it")
    return root
