"""What the settings of approvals mean as rules."""

from __future__ import annotations

from pathlib import Path

from support.configuration import SMALLEST, loaded

from relay.config.approval_rules import door_of, rules_of
from relay.config.flows import ApprovalSettings
from relay.core.approval_values import DEFAULT_RULE, Check, Rule, RuleSet

STATE = Check("state", "less", "It is %TaskFieldName%", value="3")
COMPUTER = Check("cmdb_ci.name", "equal", "Another computer", reference="jump_item.computer_name")
CLOSED = Check("active", "equal", "Closed", value="true")
OVERRIDES = """\
  overrides:
    - {field: state, comparator: less, value: "3", message: "It is %TaskFieldName%"}
    - {field: cmdb_ci.name, comparator: equal, reference: jump_item.computer_name, message: Another computer}
"""
RULES = """\
  rules:
    - {tables: [change_request, u_change], window: true, grace: 15m}
    - {jump_groups: [Servers], window: true}
    - {overrides: [{field: active, comparator: equal, value: "true", message: Closed}]}
"""


def rules(tmp_path: Path, text: str) -> RuleSet:
    return rules_of(loaded(tmp_path, SMALLEST + "approvals:\n  mode: evaluate\n" + text).settings.approvals)


def test_nothing_written(tmp_path: Path) -> None:
    """The checks of the vendor's default processing hold for every ticket."""
    assert rules(tmp_path, "") == RuleSet((DEFAULT_RULE,))


def test_overrides_replace_the_last_three_checks(tmp_path: Path) -> None:
    """The list is the whole of what is asked of a task once it is found and its person is right."""
    assert rules(tmp_path, OVERRIDES) == RuleSet((Rule("overrides", (STATE, COMPUTER)),))


def test_rules_come_first_and_the_rest_holds_for_the_others(tmp_path: Path) -> None:
    """A rule without checks of its own has those of all; nothing is left without any."""
    first, second, third, rest = rules(tmp_path, OVERRIDES + RULES).rules
    assert first == Rule("rules 1", (STATE, COMPUTER), tables=frozenset({"change_request", "u_change"}), grace=900.0)
    assert second == Rule("rules 2", (STATE, COMPUTER), groups=frozenset({"Servers"}), grace=0.0)
    assert third == Rule("rules 3", (CLOSED,))
    assert rest == Rule("overrides", (STATE, COMPUTER))
    without = rules(tmp_path, RULES).rules
    assert [rule.checks for rule in without] == [
        DEFAULT_RULE.checks,
        DEFAULT_RULE.checks,
        (CLOSED,),
        DEFAULT_RULE.checks,
    ]
    assert all(rule.checks for rule in without)


def test_an_appliance_has_its_own(tmp_path: Path) -> None:
    """Where decisions go, and by which rules they are made, may differ from appliance to appliance."""
    own = "    also_known_as: [other.example]\n    approvals: {response_path: /x/y, overrides: []}\n"
    settings = loaded(tmp_path, SMALLEST + own).settings
    door = door_of(settings, "default")
    assert door.path == "/x/y"
    assert {host for host, _ in door.origins} == {"access.example.com", "other.example"}
    assert rules_of(settings.approvals_of("default")) == rules_of(ApprovalSettings())
