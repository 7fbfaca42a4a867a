"""What a site may write about an operation and its arguments, each key by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, cast

from relay.core import patterns
from relay.core.arguments import (
    ARGUMENT_TYPES,
    ITEM_TYPES,
    MAX_INTEGER,
    MAX_LENGTH,
    PLACES,
    Argument,
    ArgumentType,
    ItemType,
)
from relay.core.operations import ArgumentSpec, OperationSpec, Problem

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
MAX_ITEMS: Final = 100
"""Items of a list at most: what the Command API takes at once."""

MAX_PER_MINUTE: Final = 6000
"""Five times what the appliance's own limit of 20 a second lets pass."""

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII)
_KEYS: Final = {
    "min": ("integer",),
    "max": ("integer",),
    "max_length": ("string",),
    "pattern": ("string",),
    "values": ("enum",),
    "max_items": (),
    "of": (),
}


def problems_of(spec: OperationSpec) -> list[Problem]:
    """What is wrong with an operation's own keys, arguments left aside."""
    found: list[Problem] = []

    def rule(path: tuple[str, ...], text: str, *, broken: bool) -> None:
        if broken:
            found.append(Problem(path, text))

    rule(("method",), f"a method is one of {', '.join(METHODS)}", broken=spec.method not in {None, *METHODS})
    rule(
        ("per_minute",),
        f"a whole number from 1 to {MAX_PER_MINUTE}",
        broken=spec.per_minute is not None and not 1 <= spec.per_minute <= MAX_PER_MINUTE,
    )
    rule(
        ("response", "max_bytes"),
        "a size of at least one byte",
        broken=spec.max_bytes is not None and spec.max_bytes < 1,
    )
    rule(
        ("response", "types"),
        "a list of content types like text/xml, in lower case, without parameters",
        broken=spec.types is not None and not (spec.types and all(_MEDIA_TYPE.fullmatch(item) for item in spec.types)),
    )
    rule(
        ("soap_action",),
        "a SOAP action is 1 to 120 printable ASCII characters",
        broken=spec.soap_action is not None
        and not (0 < len(spec.soap_action) <= 120 and spec.soap_action.isascii() and spec.soap_action.isprintable()),  # noqa: PLR2004  # the length of the record's field
    )
    return found


def argument_problems(spec: ArgumentSpec, *, kind: str, of: str | None, family: bool = False) -> list[Problem]:
    """What is wrong with an argument's keys, given its type and, of a list, its items' type.

    A family has `max_items` whatever its type: 0 closes it but for members that are written out.
    """
    if kind not in ARGUMENT_TYPES:
        return [Problem(("type",), f"a type is one of {', '.join(ARGUMENT_TYPES)}")]
    if spec.place not in {None, *PLACES}:
        return [Problem(("in",), f"an argument is in one of {', '.join(PLACES)}")]
    if spec.of is not None and spec.of not in ITEM_TYPES:
        return [Problem(("of",), f"items are of one of {', '.join(ITEM_TYPES)}")]
    return [*_misplaced(spec, kind, of, family=family), *_values(spec, of or "string" if kind == "list" else kind)]


def _written(spec: ArgumentSpec) -> dict[str, object]:
    keys = {
        "min": spec.minimum,
        "max": spec.maximum,
        "max_length": spec.max_length,
        "pattern": spec.pattern,
        "values": spec.values,
        "max_items": spec.max_items,
        "of": spec.of,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _misplaced(spec: ArgumentSpec, kind: str, of: str | None, *, family: bool) -> list[Problem]:
    """Keys that the type does not have. A list has its own and those of its items."""
    item = of or "string" if kind == "list" else kind
    return [
        Problem((key,), f"an argument of type {kind} has no {key}")
        for key in _written(spec)
        if item not in _KEYS[key]
        and not (kind == "list" and key in {"max_items", "of"})
        and not (family and key == "max_items")
    ]


def _values(spec: ArgumentSpec, kind: str) -> list[Problem]:
    found: list[Problem] = []

    def rule(key: str, text: str, *, broken: bool) -> None:
        if broken:
            found.append(Problem((key,), text))

    low = -MAX_INTEGER if spec.minimum is None else spec.minimum
    high = MAX_INTEGER if spec.maximum is None else spec.maximum
    rule("min", f"a bound lies within {MAX_INTEGER} on both sides of 0", broken=abs(low) > MAX_INTEGER)
    rule("max", f"a bound lies within {MAX_INTEGER} on both sides of 0", broken=abs(high) > MAX_INTEGER)
    rule("max", "the largest value is smaller than the smallest", broken=low > high)
    length = 1 if spec.max_length is None else spec.max_length
    rule("max_length", f"a whole number from 1 to {MAX_LENGTH}", broken=not 1 <= length <= MAX_LENGTH)
    items = 1 if spec.max_items is None else spec.max_items
    rule("max_items", f"a whole number from 0 to {MAX_ITEMS}", broken=not 0 <= items <= MAX_ITEMS)
    if spec.pattern is not None:
        try:
            patterns.check(spec.pattern)
        except patterns.PatternProblem as problem:
            found.append(Problem(("pattern",), str(problem)))
    if kind == "enum" and spec.values is not None:
        good = all(0 < len(value) <= MAX_LENGTH and value.isascii() and value.isprintable() for value in spec.values)
        rule(
            "values",
            "a list of different values in printable ASCII",
            broken=not spec.values or not good or len(set(spec.values)) != len(spec.values),
        )
    return found


def typed(base: Argument, spec: ArgumentSpec) -> Argument:
    """The argument with the spec's type and that type's keys; `argument_problems` found nothing wrong."""
    return replace(
        base,
        type=cast("ArgumentType", spec.type or "string"),
        of=cast("ItemType", spec.of or "string") if spec.type == "list" else None,
        max_length=base.max_length if spec.max_length is None else spec.max_length,
        patterns=() if spec.pattern is None else (spec.pattern,),
        minimum=spec.minimum,
        maximum=spec.maximum,
        values=spec.values or (),
        max_items=base.max_items if spec.max_items is None else spec.max_items,
    )
