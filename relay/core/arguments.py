"""Arguments of operations: their grammar, and the one function that judges a value.

A value is judged once, gets one canonical text, and only that text is ever sent. Look-alikes (full-width or Arabic
digits), control characters and separators of lines never pass; nothing is trimmed, folded or normalised on the way.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from relay.core.jobs import Json
from relay.core.patterns import matches
from relay.core.refusal import Refusal, shown

ArgumentType = Literal["string", "integer", "date", "enum", "id", "list"]
ItemType = Literal["string", "integer", "date", "enum", "id"]
Place = Literal["path", "query", "form", "json"]

ARGUMENT_TYPES: Final[tuple[str, ...]] = get_args(ArgumentType)
ITEM_TYPES: Final[tuple[str, ...]] = get_args(ItemType)
PLACES: Final[tuple[str, ...]] = get_args(Place)

ARGUMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}", re.ASCII)
"""An argument's name on the wire; it needs no encoding anywhere."""

FAMILY_MEMBER: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
"""What may follow a family's prefix: a custom field's code name."""

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""

MAX_LENGTH: Final = 4096
"""Characters of one value at most, whatever its grammar: four times the appliance's longest field."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ID = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)
_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Explicit directions make text show otherwise than it reads (CVE-2021-42574).
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What some server takes for a separator, an escape or a parameter of the segment.
_NOT_IN_PATH = frozenset("/\\%?#;")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an operation.

    Attributes:
        name: as on the wire. A family's name is the prefix of its members' names (`session.custom.`).
        type: the grammar of its value.
        place: where the rebuilt request carries it; where a call must bring it.
        required: a call without it is refused. A family: at least one member.
        default: canonical text that is sent when the call does not bring it.
        max_length: characters, of a `string` and of each `string` in a list.
        patterns: each must match the whole value; the value is then ASCII.
        minimum: of an `integer`; None is -MAX_INTEGER.
        maximum: of an `integer`; None is MAX_INTEGER.
        values: of an `enum`, compared exactly.
        of: the type of a list's items; the grammar above then holds for each.
        max_items: of a list, or members of a family.
        family: an open family of arguments that share a prefix.
        max_total: UTF-8 bytes of all values of a family together; 0 is no limit.
        collective: the name under which a JSON object brings a family's members without their prefix.
        description: for people.

    """

    name: str
    type: ArgumentType = "string"
    place: Place = "query"
    required: bool = False
    default: str | None = None
    max_length: int = 255
    patterns: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    of: ItemType | None = None
    max_items: int = 100
    family: bool = False
    max_total: int = 0
    collective: str = ""
    description: str = ""

    @property
    def label(self) -> str:
        """The name for people: a family is written with a star."""
        return f"{self.name}*" if self.family else self.name

    def takes(self, name: str) -> bool:
        """Whether an argument of a call, by its name, is this one."""
        if not self.family:
            return name == self.name
        return name.startswith(self.name) and FAMILY_MEMBER.fullmatch(name, len(self.name)) is not None


def canonical(argument: Argument, value: Json, name: str | None = None) -> str:
    """The one text that stands for a value.

    Args:
        argument: the grammar.
        value: text, or a JSON value: an integer stands for its digits, an array for a list.
        name: the name in messages, the argument's own unless it is a family.

    Raises:
        Refusal: BSR-4004, says what the argument takes.

    """
    label = name or argument.name
    if argument.type != "list":
        return _single(argument, _text(value, label), label)
    item = replace(argument, type=argument.of or "string")
    parts = value if isinstance(value, list) else _text(value, label).split(",", argument.max_items)
    if not 1 <= len(parts) <= argument.max_items:
        raise Refusal(4004, f"'{label}' takes 1 to {argument.max_items} items")
    texts = [_single(item, _text(part, label), label) for part in parts]
    if any("," in text or not text for text in texts):
        raise Refusal(4004, f"an item of '{label}' is empty or holds a comma")
    return ",".join(texts)


def _text(value: Json, label: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return str(value)
    raise Refusal(4004, f"'{label}' takes text or a whole number")


def _single(argument: Argument, text: str, label: str) -> str:
    if len(text) > MAX_LENGTH:
        raise Refusal(4004, f"'{label}' has more than {MAX_LENGTH} characters")
    if any(unicodedata.category(char) in _BAD_CATEGORIES or char in _BIDI for char in text):
        raise Refusal(4004, f"'{label}' holds a control character")
    judged = _JUDGES[argument.type](argument, text)
    if judged is None:
        raise Refusal(4004, f"'{label}' takes {grammar(argument)}, not '{shown(text)}'")
    if argument.place == "path" and not fits_segment(judged):
        raise Refusal(4004, f"'{label}' cannot stand in a path: '{shown(text)}'")
    return judged


def fits_segment(text: str) -> bool:
    """Whether text may be one segment of a path: printable ASCII, no separator, no escape, no dot segment."""
    return text.isascii() and text.isprintable() and text not in {"", ".", ".."} and not _NOT_IN_PATH & set(text)


def _string(argument: Argument, text: str) -> str | None:
    if len(text) > argument.max_length:
        return None
    return text if all(matches(pattern, text) for pattern in argument.patterns) else None


def _integer(argument: Argument, text: str) -> str | None:
    if _INTEGER.fullmatch(text) is None or text == "-0":
        return None
    low = -MAX_INTEGER if argument.minimum is None else argument.minimum
    high = MAX_INTEGER if argument.maximum is None else argument.maximum
    return text if low <= int(text) <= high else None


def _date(_argument: Argument, text: str) -> str | None:
    if _DATE.fullmatch(text) is None:
        return None
    try:
        dt.date(int(text[:4]), int(text[5:7]), int(text[8:]))
    except ValueError:
        return None
    return text


def _enum(argument: Argument, text: str) -> str | None:
    return text if text in argument.values else None


def _id(_argument: Argument, text: str) -> str | None:
    return text.lower() if _ID.fullmatch(text) else None


_JUDGES = {"string": _string, "integer": _integer, "date": _date, "enum": _enum, "id": _id}


def grammar(argument: Argument) -> str:
    """What the argument takes, in a few words for people."""
    kind = argument.type
    if kind == "list":
        return f"1 to {argument.max_items} items, each {grammar(replace(argument, type=argument.of or 'string'))}"
    if kind == "integer":
        return _range(argument.minimum, argument.maximum)
    if kind == "date":
        return "a date YYYY-MM-DD"
    if kind == "enum":
        return "one of " + ", ".join(argument.values)
    if kind == "id":
        return "32 hexadecimal digits"
    like = "".join(f" like {pattern}" for pattern in argument.patterns)
    return f"text of at most {argument.max_length} characters{like}"


def _range(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return "a whole number"
    if high is None:
        return f"a whole number from {low}"
    return f"a whole number up to {high}" if low is None else f"a whole number from {low} to {high}"
