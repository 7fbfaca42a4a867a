"""What a call brings besides its path, read strictly: query, message parameters, form, JSON object, SOAP envelope."""

from __future__ import annotations

import json
from typing import Any, Final
from xml.etree import ElementTree as ET

from relay.core.binding import FORM, JSON, Given
from relay.core.jobs import Json
from relay.core.operations import Operation
from relay.core.record import HttpCall
from relay.core.refusal import Refusal, shown
from relay.core.urls import MAX_PAIRS, MAX_TEXT, read_pairs, read_value

_OVERRIDES: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})
_ENVELOPES: Final = frozenset(
    {"{http://schemas.xmlsoap.org/soap/envelope/}", "{http://www.w3.org/2003/05/soap-envelope}"}
)


def header(call: HttpCall, name: str) -> str:
    """The value of a header of the call, "" without it.

    Raises:
        Refusal: BSR-4004 when it is there more than once.

    """
    found = [value for key, value in call.headers if _plain(key) == name]
    if len(found) > 1:
        raise Refusal(4004, f"the header {name} is given more than once", "headers")
    return found[0] if found else ""


def _plain(key: str) -> str:
    return key.strip().lower().replace("_", "-")


def refuse_overrides(call: HttpCall) -> None:
    """Refuse a call whose headers would make it another method's.

    Raises:
        Refusal: BSR-4003.

    """
    if any(_plain(key) in _OVERRIDES for key, _value in call.headers):
        raise Refusal(4003, "a header that replaces the method is not accepted", "headers")


def read_given(call: HttpCall, query: str) -> tuple[Given, ...]:
    """Everything that the call brings besides its path. `query` is the URL's, still encoded.

    Raises:
        Refusal: BSR-4004.

    """
    given = [Given(name, value, "query") for name, value in read_pairs(query)]
    if len(call.query) > MAX_PAIRS or sum(len(name) + len(value) for name, value in call.query) > MAX_TEXT:
        raise Refusal(4004, "there are too many message parameters", "message_parameters")
    what = "message_parameters"
    given += [Given(read_value(name, what), read_value(value, what), "query") for name, value in call.query]
    given += _soap(call.body) if call.soap_action is not None else _body(call)
    seen: set[str] = set()
    for item in given:
        if item.name in seen:
            raise Refusal(4004, f"'{shown(item.name)}' is given twice", "arguments")
        seen.add(item.name)
    return tuple(given)


def _body(call: HttpCall) -> list[Given]:
    if not call.body:
        return []
    if call.method.upper() in _BODILESS:
        raise Refusal(4004, f"a {shown(call.method)} carries no body", "content")
    kind = header(call, "content-type").partition(";")[0].strip().lower()
    if not kind:
        kind = JSON if call.body.lstrip().startswith("{") else FORM
    if kind == FORM:
        return [Given(name, value, "form") for name, value in read_pairs(call.body, "the form")]
    if kind == JSON:
        return [Given(name, value, "json") for name, value in read_object(call.body).items()]
    raise Refusal(4004, f"a body is a form or a JSON object, not '{shown(kind)}'", "content")


def read_object(text: str) -> dict[str, Json]:
    """A JSON object whose names are all different.

    Raises:
        Refusal: BSR-4004.

    """
    if len(text) > MAX_TEXT:
        raise Refusal(4004, f"the JSON body has more than {MAX_TEXT} characters", "content")
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(4004, "the body is not a JSON object with different names", "content")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_text: str) -> None:
    raise ValueError


def _soap(text: str) -> list[Given]:
    """The leaves below the one element of a SOAP body, by local name. Nested or repeated ones are refused."""
    # Without a document type there is nothing that the parser could expand.
    if len(text) > MAX_TEXT or "<!DOCTYPE" in text.upper():
        raise Refusal(4004, "the SOAP envelope is too large or has a document type", "content")
    try:
        root = ET.fromstring(text)  # noqa: S314  # bounded, without document type, see above
    except (ET.ParseError, ValueError):
        raise Refusal(4004, "the SOAP envelope is not well-formed", "content") from None
    bodies = [child for lead in _ENVELOPES if root.tag == f"{lead}Envelope" for child in root.findall(f"{lead}Body")]
    calls = [call for body in bodies for call in body]
    if len(bodies) != 1 or len(calls) != 1:
        raise Refusal(4004, "not a SOAP envelope with one call in its body", "content")
    leaves = list(calls[0])
    if any(len(leaf) for leaf in leaves) or len(leaves) > MAX_PAIRS:
        raise Refusal(4004, "an element of the SOAP call is nested", "content")
    return [Given(leaf.tag.rpartition("}")[2], leaf.text or "") for leaf in leaves]


def split_fixed(operation: Operation, given: tuple[Given, ...]) -> tuple[Given, ...] | None:
    """What is given besides the operation's fixed pairs; None when the call does not bring all of these."""
    fixed = dict(operation.fixed)
    taken = {item.name: item.value for item in given if item.name in fixed and item.place in {"query", "form"}}
    return tuple(item for item in given if item.name not in fixed) if taken == fixed else None
