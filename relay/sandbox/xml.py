"""Writes the appliance's XML, with the namespace that this appliance uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from relay.sandbox.web import Response

Dialect = Literal["documented", "sra", "bomgar", "none"]

NAMESPACES: Mapping[Dialect, str] = {
    "documented": "https://www.beyondtrust.com/namespaces/API/{}",
    "sra": "http://www.beyondtrust.com/sra/namespaces/API/{}",
    "bomgar": "http://www.bomgar.com/namespaces/API/{}",
    "none": "",
}
XML_TYPE = "text/xml; charset=UTF-8"
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'


def element(name: str, /, *children: str, **attributes: object) -> str:
    """An element; `children` are XML already, attribute values are not."""
    inside = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{name}{inside}>{''.join(children)}</{name}>"


def text(name: str, value: object, /, **attributes: object) -> str:
    """An element that holds text."""
    return element(name, escape(str(value)), **attributes)


def root(dialect: Dialect, api: str, name: str, *children: str) -> str:
    """A whole document in the namespace of `api` (`command` or `reporting`)."""
    space = NAMESPACES[dialect].format(api)
    opening = f"<{name} xmlns={quoteattr(space)}>" if space else f"<{name}>"
    return f"{PROLOG}{opening}{''.join(children)}</{name}>\n"


def respond(document: str, status: int = 200) -> Response:
    """An answer that holds a document."""
    return Response(status, [("Content-Type", XML_TYPE)], document.encode())


def error(dialect: Dialect, api: str, message: str, status: int = 200) -> Response:
    """The appliance's error document; its HTTP status is 200 as a rule."""
    return respond(root(dialect, api, "error", escape(message)), status)
