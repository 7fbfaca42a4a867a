"""URLs, paths and pairs as ServiceNow writes them, read strictly; and the encoding of what the relay sends.

Why a reader of our own: general URL parsers are made to find a meaning in anything, and what two of them find differs.
Here a URL has one meaning or none: visible ASCII, https, an exact host, plain segments, well-formed escapes decoded
once as strict UTF-8. The result is only compared and judged; nothing of it is ever sent as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from relay.core.arguments import fits_segment
from relay.core.refusal import Refusal, shown

MAX_URL: Final = 8192
"""Characters: what common servers read of a request line."""

MAX_TEXT: Final = 65536
"""Characters of a query or form: six times the largest set of custom attributes, percent-encoded."""

MAX_PAIRS: Final = 200
"""Pairs of a call: more than any operation has arguments."""

HTTPS_PORT: Final = 443

Origin = tuple[str, int]
"""Host in lower case (IPv6 in brackets), and port."""

_AUTHORITY = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)
_VISIBLE = re.compile(r"[!-~]*", re.ASCII)
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_LOGIN = re.compile(r"(\A|//)[^/?#]*@")
_PART = re.compile(r"(?:[A-Za-z0-9._~!$'()*,:@/?+-]|%[0-9A-Fa-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Url:
    """A URL taken apart: `segments` and `query` are still percent-encoded, `query` is "" without one."""

    origin: Origin
    segments: tuple[str, ...]
    query: str


def split(url: str) -> Url:
    """Take an absolute https URL apart.

    Raises:
        Refusal: BSR-4003, says what is wrong with it.

    """
    if len(url) > MAX_URL:
        raise Refusal(4003, f"the URL has more than {MAX_URL} characters")
    if _VISIBLE.fullmatch(url) is None or "\\" in url:
        raise Refusal(4003, f"the URL holds a character that a URL cannot hold: '{shown(url)}'")
    if "#" in url:
        raise Refusal(4003, f"the URL holds a fragment: '{shown(url)}'")
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.lower() != "https":
        raise Refusal(4003, f"the URL is not an absolute https URL: '{shown(_without_login(url))}'")
    before, _question, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    return Url(read_authority(authority), read_segments(slash + path), query)


def read_authority(text: str, default_port: int = HTTPS_PORT) -> Origin:
    """Host and port of `host` or `host:port`.

    Raises:
        Refusal: BSR-4003; user information, an empty host and odd ports among the reasons.

    """
    found = _AUTHORITY.fullmatch(text)
    if found is None or ".." in text or int(found["port"] or default_port) > 65535:  # noqa: PLR2004  # ports end there
        raise Refusal(4003, f"not a plain host name with an optional port: '{shown(_without_login(text))}'")
    return found["host"].lower(), int(found["port"] or default_port)


def _without_login(text: str) -> str:
    """A URL or authority as a refusal repeats it: what stands before `@` may be a password."""
    return _LOGIN.sub(r"\1...@", text)


def read_segments(path: str) -> tuple[str, ...]:
    """The segments of a path that starts with `/`, still percent-encoded.

    Raises:
        Refusal: BSR-4003 for empty or dot segments, whatever way they are written, and for any character or escape
            that some server could take for a separator.

    """
    head, *segments = path.split("/")
    if head or not segments:
        raise Refusal(4003, "the URL has no path")
    for segment in segments:
        if _SEGMENT.fullmatch(segment) is None or not fits_segment(decode_segment(segment)):
            raise Refusal(4003, f"the path is not plain: '{shown(path)}'")
    return tuple(segments)


def decode_segment(segment: str) -> str:
    """A segment of `read_segments` as text; what is not UTF-8 gives "", which is no segment."""
    return _decoded(segment) or ""


def read_pairs(text: str, what: str = "the query") -> tuple[tuple[str, str], ...]:
    """The pairs of a query or form, decoded once; `+` is a space.

    Raises:
        Refusal: BSR-4004.

    """
    if len(text) > MAX_TEXT:
        raise Refusal(4004, f"{what} has more than {MAX_TEXT} characters")
    if not text:
        return ()
    parts = text.split("&")
    if len(parts) > MAX_PAIRS:
        raise Refusal(4004, f"{what} has more than {MAX_PAIRS} pairs")
    pairs = []
    for part in parts:
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise Refusal(4004, f"{what} holds something that is no name=value: '{shown(part)}'")
        pairs.append((read_value(name, what), read_value(value, what)))
    return tuple(pairs)


def read_value(text: str, what: str = "the query") -> str:
    """One percent-encoded name or value of a query or form as text.

    Raises:
        Refusal: BSR-4004 for a character that must be encoded, a broken escape, or bytes that are not UTF-8.

    """
    if _PART.fullmatch(text) is None:
        raise Refusal(4004, f"{what} is not percent-encoded: '{shown(text)}'")
    decoded = _decoded(text.replace("+", " "))
    if decoded is None:
        raise Refusal(4004, f"{what} is not UTF-8: '{shown(text)}'")
    return decoded


def _decoded(text: str) -> str | None:
    try:
        return unquote_to_bytes(text).decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        return None


def encode_segment(text: str) -> str:
    """Text as one segment: all but RFC 3986's unreserved characters is percent-encoded."""
    return quote(text, safe="")


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs as a query or form: all but RFC 3986's unreserved characters is percent-encoded."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
