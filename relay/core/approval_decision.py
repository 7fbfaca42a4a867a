"""Whether a session may start: a pure decision over a request, what ServiceNow answered, and the rules.

The checks are those of the vendor's default processing, in its order: the task is found, the person is the one that it
is assigned to, its configuration item is the computer, it is approved, its state is less than 3. The rules of a site
replace the last three.

How values are compared
- Nothing is taken on the query's word: a task counts only when its number (else its sys_id) came back exactly as it was
  asked for, a user only when one of the columns of names did. Exactly is character by character: no case, no accent, no
  look-alike, no space more or less is forgiven. The vendor's script compares so; ServiceNow's queries do not.
- More than one task is no match, whatever the others are. Of users a second one counts whose name differs in nothing
  but case or Unicode's compatible forms: who is meant cannot be told then. A full page of rows is no match either.
- A number is an ASCII text such as `3`, `-5` or `2.50`: a minus or none, up to 18 digits, up to 18 more after a point.
  So no spaces, plus signs, exponents, groups of thousands, NaN, infinity or digits of other scripts. Numbers compare
  exactly, never as floating point.
- `equal` holds for equal texts; with a number of the configuration also for an equal number, so that 3 is 3.0. Texts of
  the request are names, of which 7 and 007 are two.
- `less` and `greater` hold for two numbers or two of ServiceNow's date-times, never for other texts.
- What is empty, blank, or was not returned compares with nothing, itself included.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from relay.core.approval_fields import GROUP
from relay.core.approval_values import (
    CI_ATTRIBUTE,
    LONGEST_TEXT,
    PLANNED,
    SYMBOLS,
    TASK_ATTRIBUTE,
    Check,
    Comparator,
    Compared,
    Findings,
    Request,
    Rows,
    Rule,
    RuleSet,
    Task,
    User,
    Verdict,
    shown,
)
from relay.core.instant import epoch, written

LONGEST_NAME: Final = 255
"""Characters of a ticket's number, a user's name or a Jump Group's; ServiceNow's columns have fewer."""
_SYS_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_WORDS: Final = {"equal": "as wanted", "less": "less", "greater": "greater"}
MESSAGE_WORDS: Final = ("TaskFieldName", "ComparatorSymbol", "FieldValue")
"""What a denial's text may hold between percent signs."""
_RESERVED: Final = re.compile(f"%({'|'.join(MESSAGE_WORDS)})%")


@dataclass(slots=True)
class _Trial:
    """What a decision has come to: comparisons and denials in the order in which they were made."""

    compared: list[Compared] = field(default_factory=list)
    denials: list[Verdict] = field(default_factory=list)

    def compare(self, check: str, found: str, comparator: Comparator, wanted: str, *, holds: bool) -> None:
        """A comparison was made."""
        self.compared.append(Compared(check, shown(found), comparator, shown(wanted), holds))

    def deny(self, rule: str, reason: str, text: str) -> None:
        """A check does not hold."""
        self.denials.append(Verdict(allow=False, reason=reason, rule=rule, text=shown(text, LONGEST_TEXT)))


def decide(request: Request, findings: Findings, rules: RuleSet, now: float | None) -> Verdict:
    """Allow when every check holds; else the denial of the first that does not.

    Checks after a denial are still made, where they can be, so that whoever looks for the reason sees all of them.

    Args:
        request: what the appliance asks.
        findings: what ServiceNow answered, as it came.
        rules: the appliance's.
        now: the moment that planned start and end are compared with, seconds since the epoch; None when nobody knows.

    """
    trial = _Trial()
    task = _task(trial, request, findings)
    rule = None
    if task is not None:
        _user(trial, request.user, task, findings.users)
        rule = _rule(trial, request.fields.get(GROUP), task, rules)
    if task is not None and rule is not None:
        for check in rule.checks:
            _check(trial, check, rule, task, request)
        if rule.grace is not None:
            _planned(trial, task, rule.grace, now)
    if task is None or rule is None or trial.denials:
        return replace(trial.denials[0], compared=tuple(trial.compared))
    attributes = {TASK_ATTRIBUTE: task.sys_id}
    if _SYS_ID.fullmatch(task["cmdb_ci"]):
        attributes[CI_ATTRIBUTE] = task["cmdb_ci"]
    held = tuple(trial.compared)
    return Verdict(allow=True, reason="every check holds", rule=rule.name, compared=held, attributes=attributes)


def holds(found: str, comparator: Comparator, wanted: str, *, names: bool = False) -> bool:
    """Whether two values compare so; see the module. `names`: equal numbers are not enough for `equal`."""
    if not found.strip() or not wanted.strip():
        return False
    one, other = _number(found), _number(wanted)
    if comparator == "equal":
        return found == wanted or (not names and one is not None and one == other)
    if one is not None and other is not None:
        return one < other if comparator == "less" else one > other
    first, second = epoch(found), epoch(wanted)
    if first is not None and second is not None:
        return first < second if comparator == "less" else first > second
    return False


def filled(message: str, found: str, comparator: Comparator, wanted: str) -> str:
    """A denial's text with its reserved words replaced, once: a value that holds one is only a value."""
    words = {"TaskFieldName": shown(found), "ComparatorSymbol": SYMBOLS[comparator], "FieldValue": shown(wanted)}
    return _RESERVED.sub(lambda match: words[match[1]], message)


# -- the task ----------------------------------------------------------------------------------------------------------


def _task(trial: _Trial, request: Request, findings: Findings) -> Task | None:
    """The one task that the ticket names."""
    ticket = request.ticket_id
    if request.flaw:
        trial.deny("request", "the request has no one meaning", f"The request is refused: {request.flaw}.")
        return None
    if not ticket.strip():
        trial.deny("task", "no ticket", "No ticket was given.")
        return None
    asked = [("number", ticket, findings.by_number)] if _plain(ticket) else []
    if _SYS_ID.fullmatch(ticket.lower()):
        asked.append(("sys_id", ticket.lower(), findings.by_sys_id))
    for column, wanted, rows in asked:
        if rows.rows or not rows.whole:
            return _one_task(trial, column, wanted, rows)
    trial.compare("task.number", "", "equal", ticket, holds=False)
    trial.deny("task", "the task is not found", f"The ticket '{shown(ticket)}' was not found.")
    return None


def _one_task(trial: _Trial, column: str, wanted: str, rows: Rows[Task]) -> Task | None:
    known = f"'{shown(wanted)}'"
    if len(rows.rows) != 1 or not rows.whole:
        trial.compare(f"task.{column}", f"{len(rows.rows)} records", "equal", wanted, holds=False)
        trial.deny("task", "more than one task", f"ServiceNow has more than one record for the ticket {known}.")
        return None
    (task,) = rows.rows
    same = task[column] == wanted and _SYS_ID.fullmatch(task.sys_id) is not None
    trial.compare(f"task.{column}", task[column], "equal", wanted, holds=same)
    if same:
        return task
    if task[column] != wanted and _alike(task[column], wanted):
        trial.deny("task", "the task's name is written otherwise", f"ServiceNow does not write the ticket {known} so.")
    else:
        trial.deny("task", "another task came back", f"ServiceNow returned another record for the ticket {known}.")
    return None


# -- the user ----------------------------------------------------------------------------------------------------------


def _user(trial: _Trial, name: str, task: Task, users: Rows[User]) -> None:
    """The person must be the one that the task is assigned to."""
    known = f"'{shown(name)}'"
    if not name.strip():
        trial.deny("user", "no user", "The request does not say who asks.")
        return
    alike = [one for one in users.rows if any(_alike(text, name) for text in one.names.values())]
    if len(alike) > 1 or not users.whole:
        trial.compare("user", f"{len(users.rows)} users", "equal", name, holds=False)
        trial.deny("user", "more than one user", f"ServiceNow has more than one user with the name {known}.")
        return
    exact = [(column, one) for one in alike for column, text in one.names.items() if text == name]
    if not exact or not _plain(name) or not _SYS_ID.fullmatch(exact[0][1].sys_id):
        trial.compare(
            "user", next((text for one in alike for text in one.names.values()), ""), "equal", name, holds=False
        )
        if alike and not exact:
            trial.deny(
                "user", "the user's name is written otherwise", f"ServiceNow does not write the user {known} so."
            )
        else:
            trial.deny("user", "the user is not found", f"The user {known} was not found in ServiceNow.")
        return
    column, user = exact[0]
    assigned = task["assigned_to"]
    trial.compare(f"user.{column}", name, "equal", name, holds=True)
    trial.compare("task.assigned_to", assigned, "equal", user.sys_id, holds=assigned == user.sys_id)
    if not assigned:
        trial.deny("user", "the task is assigned to nobody", "The ticket is assigned to nobody.")
    elif assigned != user.sys_id:
        trial.deny("user", "the task is assigned to another user", "The ticket is assigned to somebody else.")


# -- the rules ---------------------------------------------------------------------------------------------------------


def _rule(trial: _Trial, group: str | None, task: Task, rules: RuleSet) -> Rule | None:
    """The first rule that fits.

    A group that is nearly one with rules of its own, a request without one, or a task whose table the relay's user may
    not see, must not slip into the rules of others.
    """
    if not task.table and any(rule.tables for rule in rules.rules):
        text = "ServiceNow does not show which kind of ticket it is."
        trial.deny("rules", "ServiceNow does not show sys_class_name", text)
        return None
    groups = frozenset[str]().union(*(rule.groups for rule in rules.rules))
    if groups and group is None:
        trial.deny("rules", "no Jump Group", "The request does not say which Jump Group it is for.")
        return None
    if groups and len(group or "") > LONGEST_NAME:  # to look for one that it is like would keep others waiting
        trial.deny("rules", "the Jump Group's name is too long", "The request's Jump Group has no name of one.")
        return None
    if group is not None and group not in groups and any(_alike(group, one) for one in groups):
        text = f"The Jump Group '{shown(group)}' is written otherwise in the relay's rules."
        trial.deny("rules", "the Jump Group's name is written otherwise", text)
        return None
    for rule in rules.rules:
        if (not rule.tables or task.table in rule.tables) and (not rule.groups or group in rule.groups):
            return rule
    trial.deny("rules", "no rule", "There are no rules for tickets of this kind.")
    return None


def _check(trial: _Trial, check: Check, rule: Rule, task: Task, request: Request) -> None:
    found = task[check.field]
    wanted = check.value if check.value is not None else request.fields.get(check.reference or "", "")
    held = holds(found, check.comparator, wanted, names=check.value is None)
    trial.compare(f"task.{check.field}", found, check.comparator, wanted, holds=held)
    if held:
        return
    if check.field not in task.values:
        reason = f"ServiceNow does not show {check.field}"
    elif check.value is None and not wanted.strip():
        reason = f"the request has no {check.reference}"
    else:
        reason = f"{check.field} is not {_WORDS[check.comparator]}"
    name = check.name or f"{rule.name}: {check.field}"
    trial.deny(name, reason, filled(check.message, found, check.comparator, wanted))


def _planned(trial: _Trial, task: Task, grace: float, now: float | None) -> None:
    """Now must lie between planned start and end, both included, or not further outside than the grace."""
    start, end = (task[column] for column in PLANNED)
    first, last = epoch(start), epoch(end)
    if first is None or last is None or first > last:
        trial.compare("task.start_date", start, "less", end, holds=False)
        trial.deny("window", "the task is not planned", "The ticket has no planned start and end.")
        return
    if now is None:
        trial.deny("window", "the time is not known", "Whether the ticket's planned time has come cannot be told.")
        return
    begun, lasting = first - grace <= now, now <= last + grace
    trial.compare("task.start_date", start, "less", written(now), holds=begun)
    trial.compare("task.end_date", end, "greater", written(now), holds=lasting)
    if not begun:
        trial.deny("window", "before the planned start", f"The ticket's planned time begins at {start} UTC.")
    elif not lasting:
        trial.deny("window", "after the planned end", f"The ticket's planned time ended at {end} UTC.")


def _plain(text: str) -> bool:
    """Whether a text may be a number or name at all: what could mean something to a query is none."""
    return len(text) <= LONGEST_NAME and text.isprintable() and "^" not in text and text == text.strip()


def _alike(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(text: str) -> str:
    """What is left of a name without case and without Unicode's compatible forms."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None
