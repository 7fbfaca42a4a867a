"""Binding: what a call brings, judged against one operation; and the request made anew from what was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay.core import templates
from relay.core.arguments import Argument, Place, canonical
from relay.core.jobs import Json
from relay.core.operations import Operation
from relay.core.policy_values import ApplianceRequest
from relay.core.refusal import Refusal, shown
from relay.core.urls import encode_pairs

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Given:
    """One argument as a call brings it. `place` None: its place means nothing (a typed call, a SOAP element)."""

    name: str
    value: Json
    place: Place | None = None


def bind(operation: Operation, given: Sequence[Given]) -> dict[str, str]:
    """The canonical text of every argument, in the order in which the operation sends them.

    The operation's fixed pairs are expected to be gone from `given`.

    Raises:
        Refusal: BSR-4005 for an argument that the operation does not take, BSR-4004 for one that is not acceptable.

    """
    wanted: list[tuple[Argument, Given]] = []
    for item in given:
        argument = operation.argument(item.name)
        if argument is None:
            raise Refusal(4005, f"'{shown(item.name)}' is no argument of '{operation.name}'", "arguments")
        wanted.append((argument, item))
    found: dict[str, str] = {}
    for argument, item in wanted:
        if item.name in found:
            raise Refusal(4004, f"'{item.name}' is given twice", f"argument {argument.label}")
        if not _in_place(operation, argument, item):
            raise Refusal(4004, f"'{item.name}' belongs in the {argument.place}", f"argument {argument.label}")
        found[item.name] = canonical(argument, item.value, item.name)
    return _complete(operation, found)


def _in_place(operation: Operation, argument: Argument, item: Given) -> bool:
    if item.place is None or item.place == argument.place or operation.handed_over:
        return True
    return operation.either and {item.place, argument.place} == {"query", "form"}


def _complete(operation: Operation, found: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for argument in operation.arguments:
        if argument.family:
            members = {name: found[name] for name in sorted(found) if operation.argument(name) == argument}
            _check_family(argument, members, [found[name] for name in found if argument.takes(name)])
            values.update(members)
        elif argument.name in found:
            values[argument.name] = found[argument.name]
        elif argument.default is not None:
            values[argument.name] = argument.default
        elif argument.required:
            raise Refusal(4004, f"'{argument.name}' is missing", f"argument {argument.label}")
    return values


def _check_family(argument: Argument, members: Mapping[str, str], every: Sequence[str]) -> None:
    """Judge a family as a whole. `every` holds the values of members that have an argument of their own, too."""
    rule = f"argument {argument.label}"
    if argument.required and not every:
        raise Refusal(4004, f"at least one '{argument.label}' is missing", rule)
    if len(members) > argument.max_items:
        raise Refusal(4004, f"'{argument.label}' is given more than {argument.max_items} times", rule)
    total = sum(len(value.encode()) for value in every)
    if argument.max_total and total > argument.max_total:
        raise Refusal(4004, f"all '{argument.label}' together have more than {argument.max_total} bytes", rule)


def rebuild(
    operation: Operation, values: Mapping[str, str], appliance: str, method: str, accept: str = ""
) -> ApplianceRequest:
    """The request that stands for the operation and its judged values, and for nothing else of the call.

    `accept` is the call's own `Accept`; it only chooses among the operation's types.
    """
    pairs = [*operation.fixed, *_placed(operation, values, "query")]
    form = _placed(operation, values, "form")
    if operation.either:
        pairs, form = ([], pairs + form) if method == "POST" else (pairs + form, [])
    body, content_type = _body(operation, form, _placed(operation, values, "json"))
    return ApplianceRequest(
        appliance=appliance,
        operation=operation.name,
        method=method,
        path=templates.fill(operation.path, values),
        query=tuple(pairs),
        body=body,
        content_type=content_type,
        accept=_accept(operation, accept),
        safe=operation.safe,
        urgency="urgent" if operation.reserved else "ordinary",
        max_bytes=operation.max_bytes,
        types=operation.types,
    )


def _placed(operation: Operation, values: Mapping[str, str], place: Place) -> list[tuple[str, str]]:
    places = {name: argument.place for name in values if (argument := operation.argument(name)) is not None}
    return [(name, value) for name, value in values.items() if places[name] == place]


def _body(
    operation: Operation, form: list[tuple[str, str]], members: list[tuple[str, str]]
) -> tuple[bytes, str | None]:
    if any(argument.place == "json" for argument in operation.arguments):
        whole = {name: _json_value(operation, name, text) for name, text in members}
        return json.dumps(whole, separators=(",", ":")).encode("ascii"), JSON
    return (encode_pairs(form).encode("ascii"), FORM) if form else (b"", None)


def _json_value(operation: Operation, name: str, text: str) -> Json:
    argument = operation.argument(name)
    if argument is None or argument.type not in {"integer", "list"}:
        return text
    if argument.type == "integer":
        return int(text)
    return [int(item) if argument.of == "integer" else item for item in text.split(",")]


def _accept(operation: Operation, wanted: str) -> str | None:
    if operation.accept:
        return operation.accept
    asked = [item.partition(";")[0].strip().lower() for item in wanted.split(",")]
    return next((item for item in asked if item in operation.types), None) or ", ".join(operation.types) or None
