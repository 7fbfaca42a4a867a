"""From the settings of approvals to the rules that the core decides by, and to where its decisions may go."""

from __future__ import annotations

from relay.config.flows import ApprovalSettings, OverrideSettings, RuleSettings
from relay.config.model import Settings
from relay.core.approval_values import DEFAULT_RULE, Check, Door, Rule, RuleSet


def rules_of(approvals: ApprovalSettings) -> RuleSet:
    """The rules: those that are written, in order, and at the end what holds for every other ticket."""
    rest = Rule("overrides", _checks(approvals.overrides)) if approvals.overrides else DEFAULT_RULE
    return RuleSet((*(_rule(number, one, rest) for number, one in enumerate(approvals.rules, 1)), rest))


def door_of(settings: Settings, appliance: str) -> Door:
    """Where decisions about an appliance's requests may be sent."""
    return Door(settings.appliances[appliance].origins, settings.approvals_of(appliance).response_path)


def _rule(number: int, rule: RuleSettings, rest: Rule) -> Rule:
    return Rule(
        f"rules {number}",
        _checks(rule.overrides) or rest.checks,
        tables=frozenset(rule.tables),
        groups=frozenset(rule.jump_groups),
        grace=(rule.grace or 0.0) if rule.window else None,
    )


def _checks(overrides: tuple[OverrideSettings, ...]) -> tuple[Check, ...]:
    return tuple(Check(one.field, one.comparator, one.message, one.value, one.reference) for one in overrides)
