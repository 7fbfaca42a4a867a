"""Requests for approval, what ServiceNow knows about them, and the rules they are judged by, as values.

A request is what an appliance posts before a session may start; its fields came over the network, and so did every
value of a task or user. Nothing here believes any of them: the decision is in `relay.core.approval_decision`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

from relay.core.approval_fields import COMPUTER, USERNAME
from relay.core.canonical import canonical
from relay.core.refusal import Refusal
from relay.core.urls import Origin, split

T = TypeVar("T")

Comparator = Literal["equal", "less", "greater"]
SYMBOLS: Final[Mapping[Comparator, str]] = {"equal": "=", "less": "<", "greater": ">"}
Encoding = Literal["form", "json"]
Response = Literal["allow", "deny"]

TASK_ATTRIBUTE: Final = "snow_task_id"
CI_ATTRIBUTE: Final = "snow_cmdb_ci_id"
"""Session attributes of an allowed session: by them its import finds the task and the configuration item."""

ALWAYS_READ: Final = ("sys_id", "number", "sys_class_name", "assigned_to", "cmdb_ci")
PLANNED: Final = ("start_date", "end_date")
"""Columns of a change between which it is planned to be made, ServiceNow's date-times in UTC."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for approval.

    Attributes:
        appliance: whose it is.
        request_id: the appliance's name for it, which its answer repeats.
        ticket_id: what the person typed; "" without one.
        response_url: where the answer goes, if it may go there.
        path: where it was posted.
        fields: everything that was posted, the above included.
        received: seconds since the epoch.
        flaw: why it can only be denied, "" when nothing is wrong with its form.

    """

    appliance: str
    request_id: str
    ticket_id: str = field(repr=False)
    response_url: str = field(repr=False)
    path: str
    fields: Mapping[str, str] = field(repr=False)
    received: float
    flaw: str = ""

    @property
    def user(self) -> str:
        """The appliance's name of the person, "" when the request does not say."""
        return self.fields.get(USERNAME, "")

    @property
    def computer(self) -> str:
        """The name of the computer, "" when the request does not say."""
        return self.fields.get(COMPUTER, "")

    @property
    def size(self) -> int:
        """Characters of all that was posted."""
        return sum(len(name) + len(value) for name, value in self.fields.items())

    @property
    def digest(self) -> str:
        """SHA-256 of all that was posted: two requests of one id that say the same have the same."""
        return hashlib.sha256(canonical([self.flaw, *map(list, sorted(self.fields.items()))])).hexdigest()


@dataclass(frozen=True, slots=True)
class Door:
    """Where decisions about one appliance's requests may be sent, and nowhere else.

    Attributes:
        origins: host in lower case and port, of its URL and its other names.
        path: the only path.

    """

    origins: frozenset[Origin]
    path: str

    def check(self, url: str) -> str:
        """The URL to send to, made anew from its parts; never the text that came over the network.

        Raises:
            Refusal: BSR-4003, the URL leads elsewhere, or carries a query.

        """
        parts = split(url)
        path = "/" + "/".join(parts.segments)
        if parts.origin not in self.origins:
            there = f"{parts.origin[0][:255]}:{parts.origin[1]}"
            raise Refusal(4003, f"the answer would go to {there}, which is no host and port of the appliance's")
        if path != self.path or "?" in url:
            raise Refusal(4003, f"the answer would go to another path than {self.path}, or carry a query")
        host, port = parts.origin
        return f"https://{host}:{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Value:
    """A column's value as ServiceNow returned it, and as it shows it to people."""

    value: str
    display: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A row of `task` or of a table made from it, as it came back.

    `values` holds each column that was asked for and that the instance returned, by the name it was asked by, dotted
    ones included. A column that is not there was not returned; one that is empty has the value "".
    """

    values: Mapping[str, Value] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        """A column's value, "" when it was not returned."""
        found = self.values.get(name)
        return "" if found is None else found.value

    @property
    def sys_id(self) -> str:
        """32 hexadecimal digits, if the instance is right."""
        return self["sys_id"]

    @property
    def table(self) -> str:
        """The table that the row really belongs to: `change_request`, `incident`."""
        return self["sys_class_name"]


@dataclass(frozen=True, slots=True)
class User:
    """A row of `sys_user` as it came back. `names` holds those columns of appliance user names that exist."""

    sys_id: str
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """What a query returned. `whole` False: as many rows as were asked for, so that there may be more."""

    rows: tuple[T, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Findings:
    """What ServiceNow answered about one request; every row, also those that do not match.

    A value that cannot stand in a query was not asked for: no rows.

    Attributes:
        by_number: tasks by number = ticket.
        by_sys_id: tasks by sys_id = ticket.
        users: users one of whose columns of names is the request's user name.
        now: the instance's clock at its answer, seconds since the epoch; None when it did not say.

    """

    by_number: Rows[Task] = field(default_factory=Rows)
    by_sys_id: Rows[Task] = field(default_factory=Rows)
    users: Rows[User] = field(default_factory=Rows)
    now: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A task's column against a value of the configuration or of the request; one of the two is there.

    Attributes:
        field: the column, may be dotted.
        comparator: how they must compare.
        message: the denial; the reserved words in it are replaced.
        value: a text of the configuration.
        reference: a field of the request.
        name: how audit and rule are told, "" means the field's name.

    """

    field: str
    comparator: Comparator
    message: str
    value: str | None = None
    reference: str | None = None
    name: str = ""


DEFAULT_CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "cmdb_ci.name",
        "equal",
        "The ticket is for another computer: '%TaskFieldName%', not '%FieldValue%'.",
        reference=COMPUTER,
        name="computer",
    ),
    Check(
        "approval",
        "equal",
        "The ticket is not approved: its approval is '%TaskFieldName%'.",
        value="approved",
        name="approval",
    ),
    Check(
        "state",
        "less",
        "The ticket's state, '%TaskFieldName%', does not allow access; it must be %ComparatorSymbol% %FieldValue%.",
        value="3",
        name="state",
    ),
)
"""The last three checks of the vendor's default processing (vendor's guide for the ServiceNow integration of PRA)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A list of checks, all of which must hold, and the requests that it is for.

    Attributes:
        name: for the audit log: `default`, `overrides`, `rules 2`.
        checks: in the order in which they are made.
        tables: names of task tables (`change_request`); empty means every task.
        groups: names of Jump groups, exactly as the appliance posts them; empty means every Jump item.
        grace: seconds by which now may lie outside the task's planned start and end; None: these are not looked at.

    """

    name: str
    checks: tuple[Check, ...]
    tables: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    grace: float | None = None


DEFAULT_RULE: Final = Rule("default", DEFAULT_CHECKS)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one appliance. The first rule that fits task and Jump group counts; without one it is a denial."""

    rules: tuple[Rule, ...] = (DEFAULT_RULE,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the task that a decision needs."""
        checked = (check.field for rule in self.rules for check in rule.checks)
        planned = PLANNED if any(rule.grace is not None for rule in self.rules) else ()
        return tuple(dict.fromkeys((*ALWAYS_READ, *planned, *checked)))


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison that was made: what was looked at, what was found, what was wanted, and whether it holds."""

    check: str
    found: str
    comparator: Comparator
    wanted: str
    holds: bool

    @property
    def line(self) -> str:
        """The comparison in one line, as the audit log tells it."""
        return (
            f"{self.check}: '{self.found}' {SYMBOLS[self.comparator]} '{self.wanted}': {'yes' if self.holds else 'no'}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision.

    Attributes:
        allow: the session may start.
        reason: why, in a few fixed words.
        rule: the rule or check that decided.
        text: what the person is told; "" on allow.
        compared: every comparison that was made, in order; values bounded and printable.
        attributes: of the session, on allow.

    """

    allow: bool
    reason: str
    rule: str
    text: str = ""
    compared: tuple[Compared, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent to the appliance: `response_id` is the request's id."""

    response_id: str
    response: Response
    message: str
    attributes: Mapping[str, str] = field(default_factory=dict)


LONGEST_TEXT: Final = 500
"""Characters that a person is shown."""
LONGEST_SHOWN: Final = 80
"""Characters of one value within it."""


def shown(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Text from anywhere as people may see it: what cannot be printed is `?`, and the end is cut."""
    cut = "".join(one if one.isprintable() else "?" for one in text[:longest])
    return cut if len(text) <= longest else cut[:-3] + "..."
