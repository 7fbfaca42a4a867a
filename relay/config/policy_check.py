"""Judges the policy's section by the rules of the core, and gives what it says its places.

Why by itself and not as a part of the model: a site with a mistake elsewhere learns of its policy's mistakes in the
same run.
"""

from __future__ import annotations

from pydantic import ValidationError

from relay.config.policy import PolicySettings
from relay.config.problems import Problem
from relay.config.tree import Map, data
from relay.config.validate import Judge
from relay.core.definitions import assemble, unknown

NO_SUCH_NAME = 1014


def policy_problems(judge: Judge) -> list[Problem]:
    """What is wrong with `policy` beyond its form; nothing when its form is wrong already."""
    entries = judge.root.entries
    if "policy" not in entries:
        return []
    try:
        policy = PolicySettings.model_validate(data(entries["policy"].value) or {})
    except ValidationError:
        return []
    appliances = entries["appliances"].value if "appliances" in entries else None
    names = list(appliances.entries) if isinstance(appliances, Map) else None
    operations, problems = assemble(policy.specs(), names)
    found = [judge.problem(each.number, ("policy", "operations", *each.path), each.text) for each in problems]
    return found + [
        judge.problem(NO_SUCH_NAME, ("policy", "allow", index), text)
        for index, text in unknown(policy.allow, operations)
        if policy.allow[index] not in policy.operations  # it is there, only not well defined
    ]
