"""The canonical text of a JSON value (RFC 8785), so that two programs hash the same bytes for the same value.

Names are sorted by their UTF-16 code units, nothing is spaced, strings escape what they must and nothing else, the text
is UTF-8. Whole numbers are exact in every reader up to 2^53 - 1; larger ones are refused, and so is every fraction.

Why no fractions: ECMAScript's shortest form of a double is the one hard part of the standard, and nothing that is
signed here holds one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from relay.core.jobs import Json

MAX_INTEGER: Final = 2**53 - 1
DEEPEST: Final = 32
"""Objects and lists in one another; what is signed has two."""


class NotCanonical(Exception):  # noqa: N818  # whoever asks makes it an error of its own
    """The value has no canonical text: a fraction, a number too large, text that is no Unicode, or no JSON at all."""


def canonical(value: Json) -> bytes:
    """The canonical text of a value.

    Raises:
        NotCanonical: see the class.

    """
    try:
        return _text(value, 0).encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("text with half of a surrogate pair") from None


def _text(value: Json, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical("a number beyond 2^53 - 1")
        return str(int(value))
    if depth == DEEPEST:
        raise NotCanonical(f"more than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return "{" + ",".join(_members(value, depth + 1)) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ",".join(_text(item, depth + 1) for item in value) + "]"
    raise NotCanonical(f"a value of type {type(value).__name__}")


def _members(value: Mapping[str, Json], depth: int) -> list[str]:
    if not all(isinstance(name, str) for name in value):
        raise NotCanonical("a name that is no text")
    # Big-endian UTF-16 compares as its code units do.
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return [f"{_string(name)}:{_text(value[name], depth)}" for name in names]


def _string(text: str) -> str:
    # Python escapes what ECMAScript does, in the same short forms and with lower-case digits.
    return json.dumps(text, ensure_ascii=False)
