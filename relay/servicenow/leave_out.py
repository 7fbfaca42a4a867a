"""Take credentials out of what ServiceNow wrote, before anything else looks at it.

The appliance's credentials live in the relay. What a record carries (a legacy user name in a query, a script's own
client secret) is neither used nor repeated in an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus
from xml.sax.saxutils import quoteattr

from relay.core.jobs import Json
from relay.core.urls import MAX_TEXT
from relay.servicenow import json_reader
from relay.servicenow.payload_shapes import SECRET_HEADERS, is_encrypted, is_secret_name

_FORM: Final = re.compile(r"[A-Za-z0-9_.%+\[\]-]{1,255}=[^\s<>{}]*\Z")
LONGEST_FORM: Final = MAX_TEXT
"""Characters of a query or form that are gone through. The policy refuses longer ones whatever they hold, and a record
of a million `&` would otherwise keep everything else waiting for seconds."""
_USER_INFO: Final = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")

Pairs = tuple[tuple[str, str], ...]


def headers(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Header fields without those that hold credentials."""
    return tuple(
        (name, value)
        for name, value in pairs
        if name.strip().casefold() not in SECRET_HEADERS and not is_secret_name(name) and not is_encrypted(value)
    )


def query(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Query parameters (values percent-encoded) without those that hold credentials."""
    return tuple(
        (name, value)
        for name, value in pairs
        if not is_secret_name(unquote_plus(name)) and not is_encrypted(unquote_plus(value))
    )


def url(text: str) -> str:
    """A URL whose query holds no credentials. Its other parts are left as they are, for the policy to judge.

    One that is too long for the policy is left as it is altogether.
    """
    if len(text) > LONGEST_FORM:
        return text
    front, mark, rest = text.partition("?")
    if not mark:
        return text
    wanted, hash_mark, fragment = rest.partition("#")
    kept = form(wanted)
    return front + ("?" + kept if kept or kept == wanted else "") + hash_mark + fragment


def url_to_show(text: str) -> str:
    """A URL as an answer repeats it: without `user:password@` as well. Of an overlong one nothing is repeated."""
    if len(text) > LONGEST_FORM:
        return ""
    return _USER_INFO.sub(lambda match: f"{match[1] or ''}//", url(text))


def form(text: str) -> str:
    """A query string or form body without the pairs that hold credentials; the others stay byte for byte."""
    pieces = text.split("&")
    kept = [piece for piece in pieces if not _is_secret_pair(piece)]
    return text if len(kept) == len(pieces) else "&".join(kept)


def _is_secret_pair(piece: str) -> bool:
    name, _, value = piece.partition("=")
    return is_secret_name(unquote_plus(name)) or is_encrypted(unquote_plus(value))


def body(text: str, content_type: str) -> str:
    """A request's body without the credentials in it: pairs of a form, top-level members of a JSON object.

    A form that is too long for the policy is left as it is.
    """
    if _is_form(text, content_type):
        return text if len(text) > LONGEST_FORM else form(text)
    if text.lstrip()[:1] == "{":
        try:
            value = json_reader.parse_strict(text)
        except json_reader.JsonError:
            return text
        kept = members(value)
        return text if len(kept) == len(value) else json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    return text


def _is_form(text: str, content_type: str) -> bool:
    return "form-urlencoded" in content_type.casefold() or (not content_type and _FORM.match(text) is not None)


def body_to_show(text: str, content_type: str) -> str | None:
    """A request's body as an answer repeats it; None when it may hold credentials that `body` cannot take out."""
    if len(text) > LONGEST_FORM and _is_form(text, content_type):
        return None
    cleaned = body(text, content_type)
    if cleaned.lstrip()[:1] not in {"{", "["}:
        return cleaned
    try:
        value = json_reader.parse_strict(cleaned)
    except json_reader.JsonError:
        return None
    return None if _holds_secrets(value) else cleaned


def _holds_secrets(value: Json) -> bool:
    if isinstance(value, dict):
        return len(members(value)) < len(value) or any(map(_holds_secrets, value.values()))
    return isinstance(value, list) and any(map(_holds_secrets, value))


def members(value: dict[str, Json]) -> dict[str, Json]:
    """A JSON object without the members that hold credentials."""
    return {
        name: item
        for name, item in value.items()
        if not is_secret_name(name) and not (isinstance(item, str) and is_encrypted(item))
    }


def fields_document(pairs: Pairs) -> str:
    """`<fields><field name value/></fields>`, as `message_headers` and `message_parameters` hold it."""
    rows = "".join(f"<field name={_quoted(name)} value={_quoted(value)}/>" for name, value in pairs)
    return f'<?xml version="1.0" encoding="UTF-8"?><fields>{rows}</fields>'


def _quoted(value: str) -> str:
    return quoteattr(value, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
