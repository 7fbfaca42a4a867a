"""A site narrows a built-in operation under its name: what it writes may only take away.

Every narrowing is one of: another description; one appliance; one of the methods; a lower `per_minute` or `max_bytes`;
fewer types; a required signature; not safe; and for an argument a stricter grammar, a requirement or a default. A
member of a family may be written out with a stricter grammar of its own. All else would widen and is a problem.

Why a pattern is added to the built-in one instead of replacing it: whether one pattern is stricter than another is
hard to tell, and both together always are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from relay.core import grammar, templates
from relay.core.arguments import Argument, canonical
from relay.core.operations import ArgumentSpec, Operation, OperationSpec, Problem
from relay.core.refusal import Refusal

WIDENS: Final = 1015


def narrow(builtin: Operation, spec: OperationSpec) -> tuple[Operation, tuple[Problem, ...]]:
    """The built-in operation with what the site takes away.

    Problems have paths below the operation's name; BSR-1015 marks a widening. The operation is only of use without
    problems.
    """
    problems = [*grammar.problems_of(spec), *_widenings(builtin, spec)]
    arguments: dict[str, Argument] = {argument.name: argument for argument in builtin.arguments}
    for name, changes in spec.arguments.items():
        argument, found = _argument(builtin, name, changes)
        problems += [replace(problem, path=("arguments", name, *problem.path)) for problem in found]
        if argument is not None:
            arguments[argument.name] = argument
    narrowed = replace(
        builtin,
        description=builtin.description if spec.description is None else spec.description,
        appliance=spec.appliance or builtin.appliance,
        methods=builtin.methods if spec.method is None else (spec.method,),
        safe=builtin.safe if spec.safe is None else spec.safe,
        per_minute=builtin.per_minute if spec.per_minute is None else spec.per_minute,
        types=builtin.types if spec.types is None else spec.types,
        max_bytes=builtin.max_bytes if spec.max_bytes is None else spec.max_bytes,
        require_signature=builtin.require_signature or bool(spec.require_signature),
        arguments=tuple(arguments.values()),
    )
    return narrowed, tuple(problems)


def _widenings(builtin: Operation, spec: OperationSpec) -> list[Problem]:
    found: list[Problem] = []

    def rule(key: str, text: str, *, broken: bool) -> None:
        if broken:
            path = ("response", key) if key in {"types", "max_bytes"} else (key,)
            found.append(Problem(path, text, WIDENS))

    rule(
        "appliance",
        f"'{builtin.name}' is for appliance '{builtin.appliance}'",
        broken=spec.appliance is not None and builtin.appliance not in {None, spec.appliance},
    )
    rule(
        "method",
        f"'{builtin.name}' takes {', '.join(builtin.methods)}",
        broken=spec.method is not None and spec.method not in builtin.methods,
    )
    rule(
        "path",
        f"the path of '{builtin.name}' is {builtin.path}",
        broken=spec.path is not None and templates.same(spec.path) != builtin.path,
    )
    rule("soap_action", f"'{builtin.name}' has none", broken=spec.soap_action not in {None, builtin.soap_action})
    rule("safe", f"'{builtin.name}' is not safe to repeat", broken=bool(spec.safe) and not builtin.safe)
    rule(
        "per_minute",
        f"'{builtin.name}' allows {builtin.per_minute}",
        broken=0 < builtin.per_minute < (spec.per_minute or 0),
    )
    rule(
        "max_bytes",
        f"'{builtin.name}' allows {builtin.max_bytes}",
        broken=0 < builtin.max_bytes < (spec.max_bytes or 0),
    )
    rule(
        "types",
        f"'{builtin.name}' allows {', '.join(builtin.types)}",
        broken=bool(builtin.types) and not set(spec.types or ()) <= set(builtin.types),
    )
    return found


def _argument(builtin: Operation, name: str, changes: ArgumentSpec) -> tuple[Argument | None, list[Problem]]:
    """The narrowed argument of this name (a family with or without its star), or one of a family's members."""
    own = next((argument for argument in builtin.arguments if name in {argument.name, argument.label}), None)
    if own is not None:
        return _narrow(own, changes)
    family = builtin.argument(name)
    if family is None or not family.family:
        return None, [Problem((), f"'{builtin.name}' has no such argument; new ones would widen it", WIDENS)]
    member = replace(family, name=name, family=False, collective="", max_total=0, required=False)
    return _narrow(member, changes)


def _narrow(argument: Argument, spec: ArgumentSpec) -> tuple[Argument, list[Problem]]:
    problems = grammar.argument_problems(
        spec, kind=spec.type or argument.type, of=spec.of or argument.of, family=argument.family
    )
    if problems:
        return argument, problems
    if spec.type not in {None, argument.type}:
        narrowed, problems = _retyped(argument, spec)
    else:
        narrowed, problems = _tightened(argument, spec)
    if spec.place not in {None, argument.place}:
        problems.append(Problem(("in",), f"it belongs in the {argument.place}", WIDENS))
    if spec.required is False and argument.required:
        problems.append(Problem(("required",), "it is required", WIDENS))
    narrowed = replace(
        narrowed,
        required=argument.required or bool(spec.required),
        description=argument.description if spec.description is None else spec.description,
    )
    if not problems and (spec.default is not None or argument.default is not None):
        narrowed, problems = _with_default(narrowed, argument, spec)
    return narrowed, problems


def _with_default(narrowed: Argument, builtin: Argument, spec: ArgumentSpec) -> tuple[Argument, list[Problem]]:
    if spec.default is not None and (builtin.required or builtin.family):
        return narrowed, [Problem(("default",), "a default would stand in for what the call must bring", WIDENS)]
    if spec.required and spec.default is None:
        return replace(narrowed, default=None), []
    try:
        return replace(
            narrowed, default=canonical(narrowed, builtin.default if spec.default is None else spec.default)
        ), []
    except Refusal as refusal:
        return narrowed, [Problem(("default",), refusal.detail)]


def _retyped(argument: Argument, spec: ArgumentSpec) -> tuple[Argument, list[Problem]]:
    """Another type: any text may become something stricter, and anything but a list an enum of its own values."""
    plain = argument.type == "string" and not argument.patterns
    lengths: Mapping[str, int] = {"id": 32, "date": 10, "integer": 17}
    if spec.type == "enum" and argument.type != "list":
        problems = [
            Problem(("values",), f"the built-in argument does not take '{value}'", WIDENS)
            for value in spec.values or ()
            if not _takes(argument, value)
        ]
        return replace(argument, type="enum", values=spec.values or ()), problems
    if plain and lengths.get(spec.type or "", argument.max_length + 1) <= argument.max_length:
        return grammar.typed(argument, spec), []
    return argument, [Problem(("type",), f"it is of type {argument.type}; {spec.type} is not stricter", WIDENS)]


def _takes(argument: Argument, value: str) -> bool:
    try:
        return canonical(argument, value) == value
    except Refusal:
        return False


def _tightened(argument: Argument, spec: ArgumentSpec) -> tuple[Argument, list[Problem]]:
    problems: list[Problem] = []

    def bound(key: str, wanted: int | None, given: int | None, looser: Callable[[int, int], bool]) -> int | None:
        if wanted is None:
            return given
        if given is not None and looser(wanted, given):
            problems.append(Problem((key,), f"it is {given}; {wanted} would be looser", WIDENS))
        return wanted

    def above(wanted: int, given: int) -> bool:
        return wanted > given

    def below(wanted: int, given: int) -> bool:
        return wanted < given

    minimum = bound("min", spec.minimum, argument.minimum, below)
    maximum = bound("max", spec.maximum, argument.maximum, above)
    max_length = bound("max_length", spec.max_length, argument.max_length, above)
    max_items = bound("max_items", spec.max_items, argument.max_items, above)
    values = argument.values if spec.values is None else spec.values
    if not set(values) <= set(argument.values):
        problems.append(Problem(("values",), f"only {', '.join(argument.values)} are allowed", WIDENS))
    if spec.of not in {None, argument.of}:
        problems.append(Problem(("of",), f"its items are of type {argument.of}", WIDENS))
    narrowed = replace(
        argument,
        minimum=minimum,
        maximum=maximum,
        max_length=argument.max_length if max_length is None else max_length,
        max_items=argument.max_items if max_items is None else max_items,
        values=values,
        patterns=argument.patterns if spec.pattern is None else (*argument.patterns, spec.pattern),
    )
    return narrowed, problems
