"""The appliance's XML as JSON, for callers of typed operations.

    <session_list xmlns="..."><session lsid="e9.."><lseq>8</lseq></session></session_list>
    {"session_list": {"session": [{"@lsid": "e9..", "lseq": "8"}]}}

Names are local names: the namespace differs by product and version. An attribute is `@name`, text beside attributes
or children is `#text`, every other value is text as it came. A child that stands more than once is a list; a child of
a list element is one always, so that one session and two have the same shape. An error document is
`{"error": "text"}`.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from typing import Any, Final

from lxml import etree

from relay.core.errors import ApplianceError
from relay.core.record import Reply
from relay.host.xml import XmlError, XmlSource, read_xml

MOST_ELEMENTS: Final = 300_000
"""Elements and attributes of an answer of up to 5 MiB: 17 bytes for each. Larger ones, where they are configured, may
hold more in proportion."""
BYTES_EACH: Final = 17
LARGE: Final = 256 * 1024
"""Bytes of a body that waits until no other large one is read: each unfolds to many times its size in memory."""
LISTS: Final = frozenset(
    {
        "command_shell_recordings",
        "connected_clients",
        "custom_attributes",
        "data",
        "enabled_shared_ips",
        "events",
        "files",
        "logged_in_reps",
        "members",
        "permissions",
        "issues",
        "session_details",
        "support_teams",
        "system_information",
    }
)
"""Elements that hold any number of children; so does every name that ends in `_list`."""
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_REFERENCE: Final = re.compile(rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));")
_TYPE: Final = ("Content-Type", "application/json")


class JsonShaper:
    """Turns replies into JSON, for any number of threads; large ones one after the other."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def to_json(self, reply: Reply) -> Reply:
        """The reply with a JSON body; unchanged when its body is not XML.

        Raises:
            ApplianceError: BSR-3009, the XML cannot be read.

        """
        if not reply.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") or _is_page(reply):
            return reply
        with self._turn if len(reply.body) > LARGE else contextlib.nullcontext():
            body = _shape(reply.body)
        left = (header for header in reply.headers if header[0].lower() not in {"content-type", "content-length"})
        return Reply(reply.status, (_TYPE, *left), body)


def _shape(xml: bytes) -> bytes:
    root = _parse(xml)
    return json.dumps({_name(root): _value(root)}, ensure_ascii=False).encode("utf-8", "replace")


def _is_page(reply: Reply) -> bool:
    """Whether the body is a page for people, as a server error's often is."""
    return any(name.lower() == "content-type" and "html" in value.lower() for name, value in reply.headers)


def _parse(body: bytes) -> etree._Element:
    """The root element; characters that XML forbids are left out in a second try.

    Reports hold what was typed in a session, control characters among it.
    """
    source = XmlSource(max(MOST_ELEMENTS, len(body) // BYTES_EACH))
    try:
        return read_xml(body, source)
    except XmlError as error:
        if not error.malformed:
            raise ApplianceError(3009, f"XML: {error}") from None
    try:
        return read_xml(_REFERENCE.sub(b"", _FORBIDDEN.sub(b"", body)), source)
    except XmlError as error:
        raise ApplianceError(3009, f"XML: {error}") from None


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


def _value(element: etree._Element) -> Any:  # noqa: ANN401  # JSON
    text = (element.text or "").strip() if len(element) else element.text or ""
    if not len(element) and not element.attrib and _name(element) not in LISTS:
        return text
    value: dict[str, Any] = {f"@{etree.QName(name).localname}": one for name, one in element.attrib.items()}
    always = _name(element) in LISTS or _name(element).endswith("_list")
    for child in element:
        name = _name(child)
        if name not in value:
            value[name] = [_value(child)] if always else _value(child)
        elif isinstance(value[name], list):
            value[name].append(_value(child))
        else:
            value[name] = [value[name], _value(child)]
    if text:
        value["#text"] = text
    return value
