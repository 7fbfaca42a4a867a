"""Nothing is allowed unless every rule holds on values that were read back: against an oracle of its own."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.approvalflow import FIELDS, ITEM, TASK, USER, asked, task, user

from relay.core.approval_decision import decide
from relay.core.approval_values import DEFAULT_RULE, Findings, Request, Rows, Rule, RuleSet, Task, User, Value
from relay.core.instant import epoch

NOON = 1_800_000_000.0
"""2027-01-15 08:00:00."""

NAMES = st.sampled_from(["jdoe", "JDoe", "j\u043ede", "jane", "", " ", "jdoe^ORx", "jdo\u00e9", "jdoe\u200b"])
TICKETS = st.sampled_from(["CHG0001", "chg0001", "CHG0002", TASK, TASK.upper(), "", "CHG0001^NQ", "\uff23HG0001"])
IDS = st.sampled_from([TASK, "ba" * 16, "AB" * 16, "", "x"])
PEOPLE = st.sampled_from([USER, "12" * 16, ""])
COMPUTERS = st.sampled_from(["web01", "WEB01", "db01", "", " "])
STATES = st.sampled_from(["-5", "1", "2.9", "3", "10", "", "nan", "new", "\u0661", "-inf"])
APPROVALS = st.sampled_from(["approved", "Approved", "requested", ""])
DATES = st.sampled_from(["2027-01-15 07:00:00", "2027-01-15 08:00:00", "2027-01-15 09:00:00", "", "soon"])
GROUPS = st.sampled_from([None, "Servers", "servers", "Other", ""])
GRACES = st.sampled_from([None, 0.0, 3600.0])


SPOILS = st.sets(
    st.sampled_from(
        ["task", "task", "tasks", "users", "user", "ticket", "name", "computer", "group", "grace", "flaw", "now"]
    ),
    max_size=3,
)
USUAL = task(start_date="2027-01-15 07:00:00", end_date="2027-01-15 09:00:00")


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """A row with one or two columns that are wrong, or not there."""
    drawn = {
        "sys_id": draw(IDS),
        "number": draw(TICKETS),
        "sys_class_name": draw(st.sampled_from(["change_request", "incident", ""])),
        "assigned_to": draw(PEOPLE),
        "cmdb_ci": draw(st.sampled_from([ITEM, "", "x"])),
        "cmdb_ci.name": draw(COMPUTERS),
        "approval": draw(APPROVALS),
        "state": draw(STATES),
        "start_date": draw(DATES),
        "end_date": draw(DATES),
    }
    values = dict(USUAL.values)
    for name in draw(st.sets(st.sampled_from(sorted(drawn)), min_size=1, max_size=2)):
        values[name] = Value(drawn[name])
    for name in draw(st.lists(st.sampled_from(sorted(drawn)), max_size=1)) if draw(st.integers(0, 4)) == 0 else ():
        del values[name]
    return Task(values)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Request, Findings, RuleSet, float | None]:
    """A request that is right, what ServiceNow answers, and the rules of a site, with up to three things spoilt."""
    spoilt = draw(SPOILS)

    def one(name: str, usual: Any, other: st.SearchStrategy[Any]) -> Any:
        return draw(other) if name in spoilt else usual

    def some(name: str, usual: Any, other: st.SearchStrategy[Any]) -> Rows[Any]:
        many = st.lists(st.just(usual) | other, max_size=2).map(tuple)
        return Rows(one(name, (usual,), many), whole=one(name, True, st.sampled_from([True, True, False])))

    row = one("task", USUAL, tasks())
    people = st.builds(lambda who, name, other: user(who, user_name=name, u_name=other), PEOPLE, NAMES, NAMES)
    person = one("user", user(USER, user_name="jdoe", u_name=""), people)
    by_id = draw(st.booleans()) and "tasks" not in spoilt
    rows = some("tasks", row, tasks())
    findings = Findings(Rows() if by_id else rows, rows, some("users", person, people))
    fields = {
        "ticket_id": one("ticket", TASK if by_id else "CHG0001", TICKETS),
        "user.username": one("name", "jdoe", NAMES),
        "jump_item.computer_name": one("computer", "web01", COMPUTERS),
        "jump_item.group": one("group", "Servers", GROUPS),
    }
    said = {name: value for name, value in {**FIELDS, **fields}.items() if value is not None}
    flaw = one("flaw", "", st.sampled_from(["", "x"]))
    request = replace(asked(), ticket_id=said["ticket_id"], fields=said, flaw=flaw)
    checks, servers = DEFAULT_RULE.checks, frozenset({"Servers"})
    second = one("group", frozenset(), st.sampled_from([frozenset(), frozenset({"Other"})]))
    rules = (
        Rule("a", checks, frozenset({"change_request"}), servers, one("grace", 0.0, GRACES)),
        Rule("b", checks, groups=second),
    )
    return request, findings, RuleSet(rules), one("now", NOON, st.sampled_from([NOON, NOON + 7000, None]))


def one_task(ticket: str, findings: Findings) -> dict[str, str] | None:
    """The values of the one task that the ticket names exactly."""
    by_id = ticket.lower() == TASK and findings.by_number == Rows()
    rows = findings.by_sys_id if by_id else findings.by_number
    if len(rows.rows) != 1 or not rows.whole:
        return None
    value = {column: one.value for column, one in rows.rows[0].values.items()}
    named = value.get("sys_id") == ticket.lower() if by_id else value.get("number") == ticket
    return value if named and ticket and "^" not in ticket and value.get("sys_id") in {TASK, "ba" * 16} else None


def one_user(name: str, users: Rows[User]) -> str | None:
    """The sys_id of the only user whose name is this one, or could be taken for it."""
    like = [one for one in users.rows if any(folded(text) == folded(name) for text in one.names.values())]
    if len(like) != 1 or not users.whole or name not in like[0].names.values():
        return None
    return like[0].sys_id if name.strip() and name.isprintable() and "^" not in name else None


def folded(name: str) -> str:
    """A name without case and compatible forms."""
    return unicodedata.normalize("NFKC", name).casefold()


def one_rule(table: str | None, group: str | None, rules: RuleSet) -> Rule | None:
    """The rule for changes of servers, else the other one; a task of a table that nobody knows has none."""
    first, second = rules.rules
    if not table or group in {None, "servers"}:
        return None
    if table == "change_request" and group == "Servers":
        return first
    return second if group in second.groups or not second.groups else None


def in_time(rule: Rule, value: dict[str, str], now: float | None) -> bool:
    """Whether the planned time has come and not gone."""
    if rule.grace is None:
        return True
    start, end = epoch(value.get("start_date", "")), epoch(value.get("end_date", ""))
    if start is None or end is None or now is None or end < start:
        return False
    return start - rule.grace <= now <= end + rule.grace


def oracle(request: Request, findings: Findings, rules: RuleSet, now: float | None) -> bool:
    """Whether every rule holds, told in another way: from what is true of an allowed request."""
    fields = request.fields
    value = one_task(request.ticket_id, findings)
    who = one_user(fields["user.username"], findings.users)
    if request.flaw or value is None or not who or who != value.get("assigned_to"):
        return False
    rule = one_rule(value.get("sys_class_name"), fields.get("jump_item.group"), rules)
    computer = fields["jump_item.computer_name"]
    return (
        rule is not None
        and bool(computer.strip())
        and (value.get("cmdb_ci.name"), value.get("approval")) == (computer, "approved")
        and value.get("state") in {"-5", "-1", "1", "2.9"}
        and in_time(rule, value, now)
    )


@given(worlds())
@settings(max_examples=500, deadline=None)
def test_nothing_is_allowed_unless_every_rule_holds_on_what_was_read_back(
    world: tuple[Request, Findings, RuleSet, float | None],
) -> None:
    """And what holds everywhere is allowed: the decision is exactly that."""
    verdict = decide(*world)
    assert verdict.allow is oracle(*world)
    assert verdict.allow is not bool(verdict.text)
    if verdict.allow:
        assert all(one.holds for one in verdict.compared)
        assert len(verdict.compared) >= 6
    else:
        assert verdict.attributes == {}


@given(worlds())
@settings(max_examples=50, deadline=None)
def test_a_decision_is_a_function(world: tuple[Request, Findings, RuleSet, float | None]) -> None:
    """The same values give the same decision."""
    assert decide(*world) == decide(*world)


def test_the_worlds_hold_what_is_allowed_and_what_is_nearly() -> None:
    """The property above is about something: a good part of the worlds is allowed, and denials have many reasons."""
    reasons: Counter[str] = Counter()

    @given(worlds())
    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    def count(world: tuple[Request, Findings, RuleSet, float | None]) -> None:
        reasons[decide(*world).reason] += 1

    count()
    assert reasons["every check holds"] > 40
    assert len(reasons) > 12
