"""From what a site writes under `policy.operations` and `policy.allow` to the operations of its policy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from relay.core import grammar, templates
from relay.core.arguments import ARGUMENT_NAME, Argument, Place, canonical
from relay.core.catalog import CATALOG
from relay.core.narrowing import narrow
from relay.core.operations import GROUPS, OPERATION_NAME, ArgumentSpec, Operation, OperationSpec, Problem
from relay.core.refusal import Refusal

MAX_ARGUMENTS: Final = 60
"""Arguments of a site's operation: twice what the largest operation of the vendor has."""

_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})


def assemble(
    specs: Mapping[str, OperationSpec], appliances: Collection[str] | None = None
) -> tuple[tuple[Operation, ...], tuple[Problem, ...]]:
    """The operations of a site: its own first, then the catalog with what the site narrowed.

    Args:
        specs: by name; the name or a vendor's name of a built-in operation narrows that.
        appliances: the configured names; None leaves them unchecked.

    Returns:
        The operations, and every problem with its path below `policy.operations`.

    """
    own: list[Operation] = []
    catalog = {operation.name: operation for operation in CATALOG}
    problems: list[Problem] = []
    for name, spec in specs.items():
        builtins = [operation for operation in CATALOG if name in operation.names]
        found: list[Problem] = []
        if not builtins:
            operation, found = define(name, spec)
            own += [operation] if operation is not None else []
        elif len(builtins) > 1:
            found = [Problem((), "it names several: write " + " or ".join(each.name for each in builtins))]
        else:
            catalog[builtins[0].name], narrowed = narrow(catalog[builtins[0].name], spec)
            found = list(narrowed)
        if spec.appliance is not None and appliances is not None and spec.appliance not in appliances:
            found.append(
                Problem(("appliance",), f"there is no appliance of this name{_hint(spec.appliance, appliances)}")
            )
        problems += [replace(problem, path=(name, *problem.path)) for problem in found]
    return (*own, *catalog.values()), tuple(problems)


def unknown(allow: Sequence[str], operations: Sequence[Operation]) -> tuple[tuple[int, str], ...]:
    """The entries of `policy.allow` that name nothing: their index, and a text that says what may be meant."""
    known = {*GROUPS, *(name for operation in operations for name in operation.names)}
    return tuple(
        (index, f"no operation or group has this name{_hint(entry, known)}")
        for index, entry in enumerate(allow)
        if entry not in known
    )


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def define(name: str, spec: OperationSpec) -> tuple[Operation | None, list[Problem]]:
    """A site's own operation; None when it has problems."""
    problems = grammar.problems_of(spec)
    if OPERATION_NAME.fullmatch(name) is None:
        problems.append(Problem((), "a name is a letter and up to 63 letters, digits, '_' and '-'"))
    if name in GROUPS:
        problems.append(Problem((), "a group has this name"))
    problems += [Problem((), f"{key} is missing") for key in ("method", "path") if getattr(spec, key) is None]
    path = templates.same(spec.path or "/")
    wrong = templates.problem(path) if spec.path is not None else None
    if wrong is not None:
        problems.append(Problem(("path",), wrong))
    if len(spec.arguments) > MAX_ARGUMENTS:
        problems.append(Problem(("arguments",), f"more than {MAX_ARGUMENTS} arguments"))
    arguments: list[Argument] = []
    for key, each in spec.arguments.items():
        argument, found = _argument(key, each)
        problems += [replace(problem, path=("arguments", key, *problem.path)) for problem in found]
        arguments.append(argument)
    problems += _places(spec.method or "POST", None if wrong else path, arguments)
    if problems:
        return None, problems
    return Operation(
        name=name,
        description=spec.description or "",
        methods=(cast("str", spec.method),),
        path=path,
        arguments=tuple(arguments),
        safe=bool(spec.safe),
        per_minute=spec.per_minute or 0,
        appliance=spec.appliance,
        types=spec.types or (),
        max_bytes=spec.max_bytes or 0,
        require_signature=bool(spec.require_signature),
        soap_action=spec.soap_action,
    ), []


def _argument(name: str, spec: ArgumentSpec) -> tuple[Argument, list[Problem]]:
    place = cast("Place", spec.place or "query")
    argument = Argument(
        name, place=place, required=bool(spec.required) or place == "path", description=spec.description or ""
    )
    if ARGUMENT_NAME.fullmatch(name) is None:
        return argument, [Problem((), "a name is a letter and up to 127 letters, digits, '_', '-' and '.'")]
    problems = grammar.argument_problems(spec, kind=spec.type or "string", of=spec.of)
    if spec.type == "enum" or spec.of == "enum":
        problems += [Problem(("values",), "an enum needs its values")] if spec.values is None else []
    if spec.max_items == 0:
        problems.append(Problem(("max_items",), "a list of no items is no argument"))
    if problems:
        return argument, problems
    argument = grammar.typed(argument, spec)
    if spec.default is None:
        return argument, []
    if argument.required:
        return argument, [Problem(("default",), "a required argument has no default")]
    try:
        return replace(argument, default=canonical(argument, spec.default)), []
    except Refusal as refusal:
        return argument, [Problem(("default",), refusal.detail)]


def _places(method: str, path: str | None, arguments: Sequence[Argument]) -> list[Problem]:
    """Arguments must stand where their place says: in the path's holes, or in a body that the method has."""
    problems = []
    in_path = {argument.name for argument in arguments if argument.place == "path"}
    holes = in_path if path is None else set(templates.holes(path))
    problems += [Problem(("path",), f"there is no argument '{name}' with in: path") for name in sorted(holes - in_path)]
    problems += [
        Problem(("arguments", name, "in"), "the path has no {argument} for it") for name in sorted(in_path - holes)
    ]
    places = {argument.place for argument in arguments}
    if method not in _BODY_METHODS:
        problems += [
            Problem(("arguments", argument.name, "in"), f"a {method} has no body")
            for argument in arguments
            if argument.place in {"form", "json"}
        ]
    if {"form", "json"} <= places:
        problems.append(Problem(("arguments",), "a body is a form or JSON, not both"))
    return problems
