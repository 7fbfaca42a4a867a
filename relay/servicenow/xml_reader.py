"""A queue record's XML: text that the instance made, well or not."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from relay.host.xml import XmlError, XmlSource, read_xml

MOST_ELEMENTS: Final = 20_000  # a record of 1 MiB cannot sensibly hold more
_BARE_AMPERSAND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")


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
        raw = stripped.encode()
    except UnicodeEncodeError:
        raise XmlError("the text holds lone surrogates") from None
    return read_xml(raw, XmlSource(MOST_ELEMENTS, "utf-8", recover))


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
