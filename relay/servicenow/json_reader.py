"""JSON of unknown origin: bounded in depth and number, strict where a person's work is read."""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn

from relay.core.jobs import Json

DEEPEST: Final = 32  # an answer of the Table API nests 4, an argument of an operation hardly more

MOST_VALUES: Final = 400_000
"""Texts, lists, objects and commas of an answer. A thousand rows with every column of the queue have a fifth of it.
Why, beside the bound on bytes: an empty list is three bytes of an answer and eighty of memory."""

MOST_BRACKETS: Final = 10_000
"""Opening brackets of a person's work, those in texts included: no operation takes nested values, and a record of
hundreds of thousands would keep everything else waiting."""


_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_INNER: Final = (b"[", b"{", b",")


class JsonError(ValueError):
    """The text is not JSON, or beyond a limit. The message is fit to be shown: it never quotes the text."""


class JsonTooLargeError(JsonError):
    """It holds more values than are read."""


def parse(text: bytes, *, deepest: int = DEEPEST, most: int = MOST_VALUES) -> Json:
    """A JSON value as an API answers it; of equal keys the last wins, as everywhere.

    Raises:
        JsonTooLargeError: more than `most` values.
        JsonError: not JSON, or nested too deep.

    """
    if _exceeds(text, most):
        raise JsonTooLargeError("too many values")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise JsonError("not JSON, or nested too deep") from None
    _bound(value, deepest)
    return value


def parse_strict(text: str, *, deepest: int = DEEPEST) -> Json:
    """A JSON value that a person's script wrote.

    Raises:
        JsonError: also for keys given twice, NaN, infinities, and lone surrogates.

    """
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise JsonError("too many lists and objects")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        # Escapes such as `\ud800` make text that is not UTF-8 and that nothing downstream could store.
        json.dumps(value, ensure_ascii=False).encode()
    except JsonError:
        raise
    except (ValueError, RecursionError):
        raise JsonError("not JSON, or nested too deep") from None
    _bound(value, deepest)
    return value


def _exceeds(text: bytes, most: int) -> bool:
    """Whether it holds more values than `most`; what stands in texts does not count."""
    if _count(text, 0, len(text)) + text.count(b'"') <= most:
        return False
    number = place = 0
    for found in _TEXT.finditer(text):
        number += 1 + _count(text, place, found.start())
        place = found.end()
        if number > most:
            return True
    return number + _count(text, place, len(text)) > most


def _count(text: bytes, start: int, end: int) -> int:
    return sum(text.count(sign, start, end) for sign in _INNER)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise JsonError("a key is given twice")
    return made


def _no_constant(_name: str) -> NoReturn:
    raise JsonError("NaN and infinities are not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("a number is too large")
    return value


def _bound(value: Json, deepest: int) -> None:
    level = [value]
    for _ in range(deepest):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise JsonError("nested too deep")


def _children(value: Json) -> list[Json]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]
