"""Judges the policy's section by the rules of the core, and gives what it says its places.

Why by itself and not as a part of the model: a site with a mistake elsewhere, or in one of its operations, learns of
the other mistakes in the same run.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from relay.config.policy import MAX_ALLOWED, Allowed, OperationName, OperationSettings
from relay.config.problems import Problem
from relay.config.tree import Items, Map, data, find
from relay.config.validate import Judge
from relay.core.definitions import assemble, unknown
from relay.core.operations import OperationSpec

NO_SUCH_NAME = 1014

_NAME: TypeAdapter[str] = TypeAdapter(OperationName)
_ALLOWED: TypeAdapter[str] = TypeAdapter(Allowed)


def policy_problems(judge: Judge) -> list[Problem]:
    """What is wrong with the operations and allowed names whose form is right."""
    written = _map_at(judge, "policy", "operations")
    appliances = _map_at(judge, "appliances")
    operations, problems = assemble(_specs(written), list(appliances.entries) if appliances else None)
    found = [judge.problem(each.number, ("policy", "operations", *each.path), each.text) for each in problems]
    allowed = _allowed(judge)
    named = set(written.entries) if written else set()  # they are there, if not well defined
    return found + [
        judge.problem(NO_SUCH_NAME, ("policy", "allow", allowed[nth][0]), text)
        for nth, text in unknown([name for _, name in allowed], operations)
        if allowed[nth][1] not in named
    ]


def _map_at(judge: Judge, *path: str) -> Map | None:
    node, _, whole = find(judge.root, path)
    return node if whole and isinstance(node, Map) else None


def _specs(operations: Map | None) -> dict[str, OperationSpec]:
    """The operations that are right as far as their form goes."""
    found = {}
    for name, entry in operations.entries.items() if operations else ():
        try:
            found[_NAME.validate_python(name)] = OperationSettings.model_validate(data(entry.value)).spec()
        except ValidationError:
            continue  # it has its problems already
    return found


def _allowed(judge: Judge) -> list[tuple[int, str]]:
    """The allowed names that can be looked up, with their places in the list."""
    node, _, whole = find(judge.root, ("policy", "allow"))
    if not whole or not isinstance(node, Items) or len(node.items) > MAX_ALLOWED:
        return []
    found = []
    for index, item in enumerate(node.items):
        try:
            found.append((index, _ALLOWED.validate_python(data(item))))
        except ValidationError:
            continue  # as above
    return found
