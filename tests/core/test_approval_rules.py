"""The rules of a site: how values compare, what people read, which rule counts, when it is time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.approvalflow import asked, found, task

from relay.core.approval_decision import decide, filled, holds
from relay.core.approval_values import (
    DEFAULT_RULE,
    Check,
    Findings,
    Rows,
    Rule,
    RuleSet,
    Task,
    Verdict,
)

DEFAULT = RuleSet()
NOON = 1_800_000_000.0
"""2027-01-15 08:00:00."""


def judged(findings: Findings, rules: RuleSet = DEFAULT, now: float | None = NOON, **fields: Any) -> Verdict:
    """The decision on the usual request, with other fields where a test needs them."""
    return decide(asked(**fields), findings, rules, now)


def rule(*checks: Check, **more: Any) -> RuleSet:
    """One rule of a site."""
    return RuleSet((Rule("overrides", checks, **more),))


# -- overrides ---------------------------------------------------------------------------------------------------------


def test_overrides_replace_the_last_three_checks_and_no_others() -> None:
    """Task and user are still looked at."""
    rules = rule(Check("u_maintenance", "equal", "Not in maintenance", value="true"))
    good = found(task(u_maintenance="true", approval="", state="99", cmdb_ci__name="x"))
    assert judged(good, rules).allow
    assert judged(good, rules).rule == "overrides"
    assert judged(replace(good, users=Rows()), rules).rule == "user"
    bad = judged(found(task(u_maintenance="false")), rules)
    assert (bad.rule, bad.text) == ("overrides: u_maintenance", "Not in maintenance")


def test_a_list_without_checks_still_has_task_and_user() -> None:
    """It is the site's own choice."""
    assert judged(found(task(state="9")), rule()).allow
    assert not judged(found(task(assigned_to="")), rule()).allow


def test_a_column_that_is_not_shown_is_a_denial() -> None:
    """The instance lacks it, or hides it from the relay's account."""
    verdict = judged(found(task()), rule(Check("u_nothing", "equal", "No: %TaskFieldName%", value="")))
    assert (verdict.reason, verdict.text) == ("ServiceNow does not show u_nothing", "No: ")


def test_a_reference_is_a_field_of_the_request() -> None:
    """One that the request does not have matches nothing, also not what is empty as well."""
    rules = rule(Check("u_tag", "equal", "wrong tag", reference="jump_item.tag"))
    assert judged(found(task(u_tag="blue")), rules, jump_item__tag="blue").allow
    assert not judged(found(task(u_tag="blue")), rules, jump_item__tag="Blue").allow
    assert judged(found(task(u_tag="")), rules).reason == "the request has no jump_item.tag"
    assert not judged(found(task(u_tag="")), rules, jump_item__tag="").allow
    assert not judged(found(task(u_tag="")), rule(Check("u_tag", "equal", "", value=""))).allow
    assert not judged(found(task(u_tag="")), rule(Check("u_tag", "equal", ""))).allow


def test_texts_of_the_request_are_names_and_no_numbers() -> None:
    """Of which 7 and 007 are two, while 3 is 3.0 where the configuration says a number."""
    named = rule(Check("u_badge", "equal", "no", reference="jump_item.tag"))
    assert not judged(found(task(u_badge="007")), named, jump_item__tag="7").allow
    assert judged(found(task(u_badge="007")), named, jump_item__tag="007").allow
    assert judged(found(task(priority="3.0")), rule(Check("priority", "equal", "no", value="3"))).allow
    assert judged(
        found(task(priority="2")), rule(Check("priority", "less", "no", reference="jump_item.tag")), jump_item__tag="3"
    ).allow


@pytest.mark.parametrize(
    ("one", "comparator", "other", "right"),
    [
        ("2", "less", "3", True),
        ("10", "less", "9", False),
        ("10", "greater", "9", True),
        ("-5", "less", "-4", True),
        ("3", "less", "3", False),
        ("3", "greater", "3", False),
        ("2.5", "less", "2.50", False),
        ("2.5", "equal", "2.50", True),
        ("-0", "equal", "0", True),
        ("0.1", "greater", "0.09999999999999999", True),
        ("999999999999999999", "greater", "999999999999999998", True),
        ("1e3", "equal", "1000", False),
        ("1e3", "greater", "2", False),
        ("+3", "equal", "3", False),
        (" 3", "less", "4", False),
        ("1,000", "less", "2", False),
        ("0x1", "less", "2", False),
        ("1_0", "greater", "2", False),
        (".5", "less", "2", False),
        ("5.", "less", "9", False),
        ("inf", "greater", "2", False),
        ("-Infinity", "less", "2", False),
        ("nan", "less", "2", False),
        ("nan", "equal", "nan", True),
        ("\u0661", "less", "2", False),
        ("\u00b2", "less", "3", False),
        ("\uff11", "less", "3", False),
        ("1" * 19, "greater", "2", False),
        ("a", "less", "b", False),
        ("b", "greater", "a", False),
        ("a", "equal", "a", True),
        ("a", "equal", "A", False),
        ("", "equal", "", False),
        ("", "less", "3", False),
        ("3", "greater", "", False),
        ("2027-01-01 00:00:00", "less", "2027-01-01 00:00:01", True),
        ("2027-01-01 00:00:02", "greater", "2027-01-01 00:00:01", True),
        ("2027-13-01 00:00:00", "less", "2028-01-01 00:00:00", False),
        ("2027-01-01 00:00:00", "less", "3", False),
        ("3", "less", "2027-01-01 00:00:00", False),
    ],
)
def test_how_values_compare(one: str, comparator: Any, other: str, right: bool) -> None:
    """Numbers as numbers, date-times as moments, and other texts only for equality."""
    assert holds(one, comparator, other) is right


@given(
    st.text(max_size=6) | st.integers().map(str) | st.floats().map(str), st.text(max_size=6) | st.integers().map(str)
)
@settings(max_examples=200)
def test_comparing_is_an_order(one: str, other: str) -> None:
    """At most one of the three holds, and each mirrors its opposite."""
    held = [holds(one, comparator, other) for comparator in ("less", "equal", "greater")]
    assert sum(held) <= 1
    assert held == [holds(other, comparator, one) for comparator in ("greater", "equal", "less")]


# -- texts -------------------------------------------------------------------------------------------------------------


def test_reserved_words_are_replaced_once() -> None:
    """A value that holds one is shown as it is; other words between percent signs stay."""
    text = "%TaskFieldName% %ComparatorSymbol% %FieldValue% %Other% %TaskFieldName%"
    assert (
        filled(text, "%FieldValue%", "less", "%TaskFieldName%") == "%FieldValue% < %TaskFieldName% %Other% %FieldValue%"
    )
    assert filled("100%", "a", "equal", "b") == "100%"
    assert filled("%ComparatorSymbol%%ComparatorSymbol%", "a", "greater", "b") == ">>"
    assert filled("%%FieldValue%%", "a", "equal", "b") == "%b%"


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=700))
@settings(max_examples=100)
def test_a_text_is_bounded_and_printable(value: str, wanted: str, message: str) -> None:
    """Whatever the configuration, the request and ServiceNow hold."""
    rules = rule(Check("state", "equal", message + "%TaskFieldName%%FieldValue%", value=wanted))
    for verdict in (judged(found(task(state=value)), rules), judged(found(), ticket_id=value + "x")):
        assert len(verdict.text) <= 500
        assert verdict.text.isprintable()
        assert all(one.line.isprintable() and len(one.line) < 300 for one in verdict.compared)


# -- which rule --------------------------------------------------------------------------------------------------------

OPEN = Check("approval", "equal", "open", value="approved")
SHUT = Check("approval", "equal", "shut", value="never")
BY_TABLE = RuleSet(
    (
        Rule("incidents", (SHUT,), tables=frozenset({"incident"})),
        Rule("servers", (OPEN,), tables=frozenset({"change_request"}), groups=frozenset({"Servers", "Core"})),
        Rule("changes", (SHUT,), tables=frozenset({"change_request"})),
    )
)


@pytest.mark.parametrize(
    ("table", "group", "name"),
    [
        ("change_request", "Servers", ""),
        ("change_request", "Core", ""),
        ("change_request", "Other", "changes: approval"),
        ("change_request", "", "changes: approval"),
        ("change_request", "servers", "rules"),
        ("change_request", "\uff33ervers", "rules"),
        ("incident", "Servers", "incidents: approval"),
        ("problem", "Servers", "rules"),
        ("", "Servers", "rules"),
    ],
)
def test_the_first_rule_that_fits_counts(table: str, group: str, name: str) -> None:
    """By task table and Jump Group; what fits none, or nearly fits one, is denied."""
    verdict = judged(found(task(sys_class_name=table)), BY_TABLE, jump_item__group=group)
    assert (verdict.allow, verdict.rule) == ((True, "servers") if not name else (False, name))


def test_a_request_without_a_group_is_denied_where_groups_have_rules() -> None:
    """It could be of any group; where none has rules of its own it does not matter."""
    fields = {name: value for name, value in asked().fields.items() if name != "jump_item.group"}
    request = replace(asked(), fields=fields)
    assert decide(request, found(task()), BY_TABLE, NOON).reason == "no Jump Group"
    assert decide(request, found(task()), DEFAULT, NOON).allow
    assert decide(request, found(task()), RuleSet(()), NOON).reason == "no rule"


def test_a_group_that_no_group_can_be_called_is_denied_where_groups_have_rules() -> None:
    """Nothing is made of what it may be like: that would take seconds in which others wait."""
    long = "\ufdfa" * 256
    assert judged(found(task()), BY_TABLE, jump_item__group=long).reason == "the Jump Group's name is too long"
    assert judged(found(task()), DEFAULT, jump_item__group=long).allow


def test_a_task_whose_table_is_not_shown_is_denied_where_tables_have_rules() -> None:
    """It could be of any table: the rules of others, without a window, are not for it."""
    rules = RuleSet((replace(DEFAULT_RULE, tables=frozenset({"change_request"}), grace=0.0), DEFAULT_RULE))
    nameless = Task({name: value for name, value in task().values.items() if name != "sys_class_name"})
    for one in (nameless, task(sys_class_name="")):
        assert judged(found(one), rules).reason == "ServiceNow does not show sys_class_name"
        assert judged(found(one), DEFAULT).allow


# -- planned time ------------------------------------------------------------------------------------------------------


def planned(start: str, end: str, grace: float = 0.0, now: float | None = NOON) -> Verdict:
    """A change that is planned so."""
    rules = RuleSet((replace(DEFAULT_RULE, grace=grace),))
    return judged(found(task(start_date=start, end_date=end)), rules, now)


@pytest.mark.parametrize(
    ("start", "end", "grace", "reason"),
    [
        ("2027-01-15 07:00:00", "2027-01-15 09:00:00", 0.0, ""),
        ("2027-01-15 08:00:00", "2027-01-15 08:00:00", 0.0, ""),
        ("2027-01-15 08:00:01", "2027-01-15 09:00:00", 0.0, "before the planned start"),
        ("2027-01-15 08:15:00", "2027-01-15 09:00:00", 900.0, ""),
        ("2027-01-15 08:15:01", "2027-01-15 09:00:00", 900.0, "before the planned start"),
        ("2027-01-15 07:00:00", "2027-01-15 07:59:59", 0.0, "after the planned end"),
        ("2027-01-15 07:00:00", "2027-01-15 07:45:00", 900.0, ""),
        ("2027-01-15 07:00:00", "2027-01-15 07:44:59", 900.0, "after the planned end"),
        ("2027-01-15 09:00:00", "2027-01-15 07:00:00", 9000.0, "the task is not planned"),
        ("", "2027-01-15 09:00:00", 0.0, "the task is not planned"),
        ("2027-01-15 07:00:00", "", 0.0, "the task is not planned"),
        ("2027-01-15", "2027-01-16", 0.0, "the task is not planned"),
        ("15/01/2027 07:00:00", "15/01/2027 09:00:00", 0.0, "the task is not planned"),
    ],
)
def test_now_must_lie_in_the_planned_time(start: str, end: str, grace: float, reason: str) -> None:
    """Both ends included, and the grace on both sides."""
    verdict = planned(start, end, grace)
    assert verdict.allow is not bool(reason)
    assert not reason or verdict.reason == reason


def test_a_planned_time_needs_to_know_what_time_it_is() -> None:
    """Nobody knows, so it is a denial."""
    assert planned("2027-01-15 07:00:00", "2027-01-15 09:00:00", now=None).reason == "the time is not known"


def test_planned_times_are_not_looked_at_unless_asked_for() -> None:
    """The rules say so, and read no such columns either."""
    assert judged(found(task(start_date="2000-01-01 00:00:00", end_date="2000-01-02 00:00:00"))).allow
    assert "start_date" not in DEFAULT.columns
    assert RuleSet((replace(DEFAULT_RULE, grace=0.0),)).columns[-5:] == (
        "start_date",
        "end_date",
        "cmdb_ci.name",
        "approval",
        "state",
    )
