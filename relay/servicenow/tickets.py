"""Looks up what a request for approval names: the task by number, by sys_id, and the user, all in one request.

Values were typed by a person at the appliance: one that cannot stand in a query is not asked for. Every row that comes
back is handed on as it is, whether it matches or not; whoever decides compares it. A part of the answer that is missing
or failed is an error and never "not found".

Why other tables than `task` are asked too: a query of `task` shows none of the columns that only a table made from it
has, such as the planned dates of a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from relay.core.approval_values import PLANNED, Findings, Request, Rows, RuleSet, Task, User, Value
from relay.core.errors import ServiceNowError
from relay.core.jobs import Json
from relay.servicenow.batch import Part, decode, encode
from relay.servicenow.calls import Call, Row, get_rows, is_sys_id, rows_of, shown_rows_of
from relay.servicenow.query import UnmatchableError, build, named_equals
from relay.servicenow.session import Lane
from relay.servicenow.session_links import only_asked

log = structlog.get_logger("relay.servicenow")

TASK: Final = "task"
USERS: Final = "sys_user"
CHANGES: Final = "change_request"
MOST_TASKS: Final = 2
"""Rows of one look-up for a task: a second one says that it is not the only one, and that is enough."""
MOST_USERS: Final = 10
"""Rows of one look-up for a user: names that differ by case are different users, and a query finds all of them."""
LACKING: Final = 600.0
"""Seconds for which a column that the instance did not show is not asked by; then somebody may have made it."""

_LONGEST: Final = 255
_ENVELOPE: Final = frozenset({2006, 2015, 2016})
"""Errors of a whole batch that say nothing about its parts: this instance has no Batch API for this account."""
_WORDS: Final = (
    "active approval assigned_to assignment_group business_service closed_at closed_by cmdb_ci company contact_type "
    "due_date escalation expected_start impact location number opened_at opened_by parent priority short_description "
    "state sys_class_name sys_created_by sys_created_on sys_domain sys_id sys_updated_by sys_updated_on urgency "
    "work_end work_start"
)
_OWN: Final = frozenset(_WORDS.split())
"""Columns of `task` itself, as every instance has them."""


@dataclass(slots=True)
class Lacking:
    """Columns of `sys_user` that the instance did not show, and until when that is believed (monotonic seconds).

    An unknown column in a query is ignored, so that anybody's row comes; one that is asked for does not come at all.
    """

    monotonic: Callable[[], float]
    _until: dict[str, float] = field(default_factory=dict)

    def present(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Those of the columns that may be there."""
        now = self.monotonic()
        return tuple(column for column in columns if self._until.get(column, 0.0) <= now)

    def learn(self, answers: Mapping[str, Sequence[Row]]) -> None:
        """Rows came back for each column that was asked by, all columns asked for in each.

        Several rows without the column that they were asked by were not asked by it; a single one may only hide it
        from this account.
        """
        shown = {column for rows in answers.values() for row in rows for column in row}
        for column, rows in answers.items():
            if column in shown:
                self._until.pop(column, None)
            elif len(rows) > 1 and self._until.get(column, 0.0) <= self.monotonic():
                self._until[column] = self.monotonic() + LACKING
                log.info("servicenow.column_lacking", table=USERS, column=column)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A look-up: the table, the column that must be the value, and the call that asks."""

    table: str
    column: str
    call: Call


class TicketLookups:
    """Tasks and users for the rules of one appliance.

    Args:
        rules: tell which columns of a task are needed.
        user_fields: columns of `sys_user` that hold a person's name at the appliance.
        lane: the sessions to use; nobody else's, since a person waits for each look-up.
        lacking: shared by all appliances of an instance.
        now: the instance's clock.

    """

    def __init__(
        self,
        rules: RuleSet,
        user_fields: Sequence[str],
        lane: Lane,
        lacking: Lacking,
        now: Callable[[], float | None],
    ) -> None:
        self._columns = {TASK: rules.columns, **_of_other_tables(rules)}
        self._user_fields = tuple(user_fields)
        self._lane = lane
        self._lacking = lacking
        self._now = now

    async def find(self, request: Request) -> Findings:
        """What ServiceNow knows of the request's ticket and user. Changes nothing; may be cancelled.

        Raises:
            ServiceNowError: not every answer is there.

        """
        names = self._lacking.present(self._user_fields)
        ticket = request.ticket_id
        asked = [one for table, fields in self._columns.items() for one in task_calls(table, ticket, fields)]
        asked += user_calls(request.user, names)
        parts = await self._ask([one.call for one in asked])
        tasks: dict[tuple[str, str], list[dict[str, Value]]] = {}
        users: dict[str, list[Row]] = {}
        for one, part in zip(asked, parts, strict=True):
            if isinstance(part, ServiceNowError):
                raise only_asked(part)
            try:
                if one.table == USERS:
                    users[one.column] = rows_of(part)
                else:
                    tasks[one.table, one.column] = _values(part)
            except ServiceNowError as error:
                raise only_asked(error) from None
        self._lacking.learn(users)
        return Findings(_tasks(tasks, "number"), _tasks(tasks, "sys_id"), _users(users), self._now())

    async def _ask(self, calls: Sequence[Call]) -> list[Part]:
        """What became of each call: all in one request, unless the instance takes no such."""
        if len(calls) <= 1:
            return [await _alone(self._lane, call) for call in calls]
        try:
            return decode(len(calls), await self._lane.value(encode(calls))).parts
        except ServiceNowError as error:
            if error.number not in _ENVELOPE:
                raise only_asked(error) from None
        return list(await asyncio.gather(*(_alone(self._lane, call) for call in calls)))


def _of_other_tables(rules: RuleSet) -> dict[str, tuple[str, ...]]:
    """The columns that only tables made from `task` have, by table."""
    found: dict[str, dict[str, None]] = {}
    for rule in rules.rules:
        columns = [*(check.field for check in rule.checks), *(PLANNED if rule.grace is not None else ())]
        others = [column for column in columns if column.partition(".")[0] not in _OWN]
        # Without tables only the dates are known to belong to one.
        for table in sorted(rule.tables - {TASK}) or ([CHANGES] if rule.grace is not None else []):
            found.setdefault(table, {}).update(dict.fromkeys(others))
    return {table: ("sys_id", *columns) for table, columns in found.items() if columns}


def task_calls(table: str, ticket: str, fields: Sequence[str]) -> list[_Asked]:
    """The look-ups for a ticket in one table: by number, and by sys_id where it can be one."""
    wanted = [("number", ticket)] if len(ticket) <= _LONGEST else []
    wanted += [("sys_id", ticket.lower())] if is_sys_id(ticket.lower()) else []
    return [
        _Asked(table, column, get_rows(table, query, fields, MOST_TASKS, display=True))
        for column, value in wanted
        if (query := _query(column, value)) is not None
    ]


def user_calls(name: str, columns: Sequence[str]) -> list[_Asked]:
    """The look-ups for a person, one for each column that may hold the name."""
    return [
        _Asked(USERS, column, get_rows(USERS, query, ("sys_id", *columns), MOST_USERS))
        for column in columns
        if len(name) <= _LONGEST and (query := _query(column, name)) is not None
    ]


def _query(column: str, value: str) -> str | None:
    """The query for one value; None for one that can match nothing."""
    try:
        return build(named_equals(column, value))
    except UnmatchableError:
        return None


def _values(part: Json) -> list[dict[str, Value]]:
    """The rows of an answer, each column with its value and what is shown of it."""
    return [{name: Value(*both) for name, both in row.items()} for row in shown_rows_of(part)]


def _tasks(found: Mapping[tuple[str, str], Sequence[dict[str, Value]]], by: str) -> Rows[Task]:
    """The tasks that were found by one column, each with what the table that it belongs to has besides."""
    rows = found.get((TASK, by), ())
    more = [row for (table, column), others in found.items() if table != TASK and column == by for row in others]
    whole = []
    for row in rows:
        own = row.get("sys_id")
        besides = {name: value for other in more if other.get("sys_id") == own for name, value in other.items()}
        whole.append(Task({**besides, **row}))
    return Rows(tuple(whole), whole=len(rows) < MOST_TASKS)


def _users(answers: Mapping[str, Sequence[Row]]) -> Rows[User]:
    """The users of all look-ups, each once; of a look-up by a column that does not come back nobody."""
    known = [[row for row in rows if column in row] for column, rows in answers.items()]
    found: dict[str, User] = {}
    for nth, row in enumerate(row for rows in known for row in rows):
        sys_id = row.get("sys_id", "")
        # A row without a sys_id is nobody known, and stays beside others of its kind.
        name = sys_id if is_sys_id(sys_id) else str(nth)
        found[name] = User(sys_id, {column: row[column] for column in answers if column in row})
    return Rows(tuple(found.values()), whole=all(len(rows) < MOST_USERS for rows in known))


async def _alone(lane: Lane, call: Call) -> Part:
    try:
        return await lane.value(call)
    except ServiceNowError as error:
        return error
