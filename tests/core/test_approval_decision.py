"""Whether a session may start: each check, each way around it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.approvalflow import ITEM, TASK, USER, asked, found, task, user

from relay.core.approval_decision import decide
from relay.core.approval_values import (
    Check,
    Findings,
    Rows,
    Rule,
    RuleSet,
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


# -- the five default checks -------------------------------------------------------------------------------------------


def test_everything_right_is_allowed() -> None:
    """Every check holds, and each is told; the session gets the attributes by which its import finds the task."""
    verdict = judged(found(task()))
    assert verdict.allow
    assert verdict.attributes == {"snow_task_id": TASK, "snow_cmdb_ci_id": ITEM}
    assert [one.line for one in verdict.compared] == [
        "task.number: 'CHG0001' = 'CHG0001': yes",
        "user.user_name: 'jdoe' = 'jdoe': yes",
        f"task.assigned_to: '{USER}' = '{USER}': yes",
        "task.cmdb_ci.name: 'web01' = 'web01': yes",
        "task.approval: 'approved' = 'approved': yes",
        "task.state: '-1' < '3': yes",
    ]


ROWS = Rows((task(),))
WRONG: list[tuple[str, Findings, dict[str, Any], str, str]] = [
    ("no ticket", found(task()), {"ticket_id": ""}, "task", "No ticket was given."),
    ("a blank ticket", found(task()), {"ticket_id": " \t"}, "task", "No ticket was given."),
    ("not found", found(), {}, "task", "The ticket 'CHG0001' was not found."),
    ("two tasks", found(task(), task(sys_id="ba" * 16)), {}, "task", "more than one record"),
    ("a page of tasks", found(task(), task(number="x")), {}, "task", "more than one record"),
    ("a full page", Findings(Rows((task(),), whole=False), users=Rows((user(),))), {}, "task", "more than one record"),
    ("another task", found(task(number="CHG0002")), {}, "task", "returned another record"),
    ("a task in other case", found(task(number="chg0001")), {}, "task", "does not write the ticket"),
    ("a task with a look-alike", found(task(number="\uff23HG0001")), {}, "task", "does not write the ticket"),
    ("no sys_id", found(task(sys_id="")), {}, "task", "returned another record"),
    ("an odd sys_id", found(task(sys_id="AB" * 16)), {}, "task", "returned another record"),
    ("no user", found(task()), {"user__username": ""}, "user", "does not say who asks"),
    ("unknown user", found(task(), users=()), {}, "user", "was not found"),
    ("a user by another name", found(task(), users=(user(user_name="x"),)), {}, "user", "was not found"),
    ("a user in other case", found(task(), users=(user(user_name="JDoe"),)), {}, "user", "does not write the user"),
    ("two users", found(task(), users=(user(), user("12" * 16))), {}, "user", "more than one user"),
    (
        "two users who differ by case",
        found(task(), users=(user(), user("12" * 16, user_name="JDOE"))),
        {},
        "user",
        "more than one user",
    ),
    (
        "two users by different columns",
        found(task(), users=(user(), user("12" * 16, user_name="x", u_beyondtrust_username="jdoe"))),
        {},
        "user",
        "more than one user",
    ),
    ("a full page of users", replace(found(task()), users=Rows((user(),), whole=False)), {}, "user", "more than one"),
    ("an odd user", found(task(), users=(user("x"),)), {}, "user", "was not found"),
    ("somebody else's", found(task(assigned_to="12" * 16)), {}, "user", "somebody else"),
    ("nobody's", found(task(assigned_to="")), {}, "user", "assigned to nobody"),
    (
        "another computer",
        found(task(cmdb_ci__name="db01")),
        {},
        "computer",
        "for another computer: 'db01', not 'web01'",
    ),
    ("a computer in other case", found(task(cmdb_ci__name="WEB01")), {}, "computer", "for another computer"),
    ("no computer there", found(task(cmdb_ci__name="")), {}, "computer", "for another computer"),
    ("no computer here", found(task()), {"jump_item__computer_name": ""}, "computer", "for another computer"),
    ("neither", found(task(cmdb_ci__name="")), {"jump_item__computer_name": ""}, "computer", "for another computer"),
    ("blank both", found(task(cmdb_ci__name=" ")), {"jump_item__computer_name": " "}, "computer", "another computer"),
    ("requested", found(task(approval="requested")), {}, "approval", "not approved: its approval is 'requested'"),
    ("nearly approved", found(task(approval="Approved")), {}, "approval", "not approved"),
    ("closed", found(task(state="3")), {}, "state", "it must be < 3"),
    ("no state", found(task(state="")), {}, "state", "it must be < 3"),
    ("a word for a state", found(task(state="new")), {}, "state", "it must be < 3"),
    ("not a number", found(task(state="NaN")), {}, "state", "it must be < 3"),
    ("minus infinity", found(task(state="-inf")), {}, "state", "it must be < 3"),
    ("Arabic digits", found(task(state="\u0661")), {}, "state", "it must be < 3"),
]


@pytest.mark.parametrize(
    ("findings", "fields", "name", "text"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_one_thing_wrong_is_a_denial_with_its_own_text(
    findings: Findings, fields: dict[str, Any], name: str, text: str
) -> None:
    """Whatever else is right."""
    verdict = judged(findings, **fields)
    assert (verdict.allow, verdict.rule) == (False, name)
    assert text in verdict.text
    assert verdict.reason
    assert verdict.attributes == {}


HOSTILE = [
    "CHG0001^ORnumber=CHG0002",
    "CHG0001^NQnumber=CHG0002",
    "^ORactive=true",
    "javascript:gs.getUserID()",
    "NOT CHG0001",
    "!=CHG0001",
    "CHG0001\x00",
    "CHG0001\n",
    "CHG0001\u200b",
    "\u202eCHG0001",
    " CHG0001",
    "CHG0001 ",
    "CHG%30001",
    "*",
    "%",
    "CHG0001,CHG0002",
    "INCHG0001,CHG0002",
    "CHG00\uff101",
    "\u0421HG0001",
    "CHG0001" * 100,
    "${jndi:ldap://x}",
    "{{7*7}}",
]


@pytest.mark.parametrize("ticket", HOSTILE)
def test_a_ticket_that_is_more_than_a_number_finds_nothing(ticket: str) -> None:
    """Whatever a query made of it may have returned."""
    verdict = judged(found(task()), ticket_id=ticket)
    assert not verdict.allow
    assert verdict.rule == "task"
    assert verdict.text.isprintable()


@pytest.mark.parametrize("ticket", ["CHG0001^ORnumber=CHG0002", "CHG0001\x00", "^", "a" * 256, " CHG"])
def test_not_even_an_equal_number_makes_a_ticket_of_it(ticket: str) -> None:
    """A task whose number is such a text cannot be told from what a query made of it."""
    assert judged(found(task(number=ticket)), ticket_id=ticket).reason == "the task is not found"


@pytest.mark.parametrize(
    "name", ["jdoe^ORuser_name=admin", "j\u200bdoe", "jdoe ", "a" * 256, "j\u043ede", "JDOE", "jdo\u00e9"]
)
def test_a_user_who_is_more_than_a_name_is_nobody(name: str) -> None:
    """Neither are look-alikes, names with what cannot be seen, or names in other case."""
    assert judged(found(task()), user__username=name).rule == "user"


@pytest.mark.parametrize("name", ["jdoe^ORuser_name=admin", "j\u200bdoe", "jdoe ", "a" * 256])
def test_not_even_an_equal_name_makes_a_user_of_it(name: str) -> None:
    """As with tickets."""
    assert judged(found(task(), users=(user(user_name=name),)), user__username=name).reason == "the user is not found"


def test_a_name_with_accents_is_itself_and_not_its_neighbour() -> None:
    """The other row that ServiceNow returns for it does not matter."""
    rows = (user(user_name="m\u00fcller"), user("12" * 16, user_name="muller"))
    assert judged(found(task(), users=rows), user__username="m\u00fcller").allow
    assert not judged(found(task(), users=rows), user__username="muller").allow


def test_any_column_of_names_will_do() -> None:
    """The one that the appliance's name stands in is told."""
    verdict = judged(found(task(), users=(user(user_name="john", x_bmgr_bomgar_pam_username="jdoe"),)))
    assert verdict.allow
    assert verdict.compared[1].check == "user.x_bmgr_bomgar_pam_username"


def test_a_task_is_found_by_its_sys_id_when_no_number_is_that() -> None:
    """In any case of its letters, compared with what came back."""
    rows = Rows((task(),))
    by = Findings(by_sys_id=rows, users=Rows((user(),)))
    assert judged(by, ticket_id=TASK).allow
    assert judged(by, ticket_id=TASK.upper()).allow
    assert judged(by, ticket_id="ba" * 16).reason == "another task came back"
    assert judged(by).reason == "the task is not found"
    assert judged(replace(by, by_number=rows), ticket_id=TASK).reason == "another task came back"


def test_a_task_without_an_item_has_no_attribute_for_it() -> None:
    """Nor has one whose item is no sys_id."""
    rules = rule(Check("approval", "equal", "no", value="approved"))
    for item in ("", "x"):
        assert judged(found(task(cmdb_ci=item)), rules).attributes == {"snow_task_id": TASK}


def test_the_first_denial_counts_and_all_checks_are_told() -> None:
    """Who looks for the reason sees everything that is wrong."""
    verdict = judged(found(task(assigned_to="12" * 16, approval="rejected", state="7")))
    assert verdict.reason == "the task is assigned to another user"
    assert [one.check for one in verdict.compared if not one.holds] == [
        "task.assigned_to",
        "task.approval",
        "task.state",
    ]


def test_a_request_with_two_meanings_is_denied() -> None:
    """Though everything is found."""
    verdict = decide(replace(asked(), flaw="it says ticket_id more than once"), found(task()), DEFAULT, NOON)
    assert verdict.text == "The request is refused: it says ticket_id more than once."
