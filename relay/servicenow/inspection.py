"""What can be found out about an instance without writing to it: who may do what, which tables and columns there are.

Why columns are learned in two ways: `sys_dictionary` tells all of them, and so what a wrong name may have meant, but
few users may read it; a record that is asked for by columns comes without those that its table does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from relay.core.doctor_tables import Shape
from relay.core.errors import ServiceNowError
from relay.servicenow import journal
from relay.servicenow.batch import Part, decode, encode
from relay.servicenow.calls import Call, Row, get_attachments, get_rows, is_sys_id, rows_of
from relay.servicenow.query import build, contains, equals, named_equals, one_of
from relay.servicenow.session import Lane
from relay.servicenow.session_tables import REJECTED

DICTIONARY: Final = "sys_dictionary"
TABLES: Final = "sys_db_object"
USERS: Final = "sys_user"
ROLES: Final = "sys_user_has_role"
_DEEPEST: Final = 8  # tables between one and the first that it is made from
_MOST: Final = 4_000  # columns of all tables that are asked for together
_MANY: Final = 200
_FORBIDDEN: Final = 2006
_ENVELOPE: Final = frozenset({2006, 2015, 2016})
"""Errors of a whole batch that say nothing about its parts: this instance has no Batch API for this account."""


class Inspection:
    """Looks at the instance. `lane`: the sessions to use.

    Attributes:
        batch: why the Batch API cannot be used; None while it could.

    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.batch: ServiceNowError | None = None

    async def queue(self, agent: str) -> Sequence[Row]:
        """A record of the agent's queue, if it has any. The first thing to ask: it signs in.

        Raises:
            ServiceNowError: it cannot be read.

        """
        return rows_of(await self._lane.value(queue_call(agent)))

    async def ask(self, calls: Sequence[Call]) -> list[Part]:
        """What became of each call: all in one request, unless the instance takes no such.

        Raises:
            ServiceNowError: there is no answer to any.

        """
        try:
            return decode(len(calls), await self._lane.value(encode(calls))).parts
        except ServiceNowError as error:
            if error.number not in _ENVELOPE:
                raise
            self.batch = error
        return list(await asyncio.gather(*map(self._alone, calls)))

    async def _alone(self, call: Call) -> Part:
        try:
            return await self._lane.value(call)
        except ServiceNowError as error:
            return error

    async def dictionary(self, names: Collection[str]) -> dict[str, frozenset[str]]:
        """The columns of those tables that this account can see the dictionary of, those of their parents included.

        Raises:
            ServiceNowError: there is no answer; a refusal is none, and gives nothing.

        """
        parents = await self._parents(names)
        entries = await self._shown(dictionary_call(parents)) if parents else []
        own: dict[str, set[str]] = {}
        for row in entries if len(entries) < _MOST else ():
            own.setdefault(row.get("name", ""), set()).add(row.get("element", ""))
        found = {}
        for name in names:
            chain = _chain(name, parents)
            if chain and all(own.get(table) for table in chain):
                found[name] = frozenset().union(*(own[table] for table in chain)) - {""}
        return found

    async def alike(self, name: str) -> tuple[str, ...]:
        """Names of tables that begin as this one does.

        Raises:
            ServiceNowError: there is no answer.

        """
        rows = await self._shown(alike_call(name))
        return tuple(row["name"] for row in rows if row.get("name"))

    async def roles(self, user: str) -> frozenset[str] | None:
        """The names of a user's roles, by the user's sys_id; None when this account is shown none.

        Raises:
            ServiceNowError: there is no answer.

        """
        rows = await self._shown(roles_call(user))
        return frozenset(row["role.name"] for row in rows if row.get("user") == user and row.get("role.name")) or None

    async def _parents(self, names: Collection[str]) -> dict[str, str]:
        """For each of these tables, and those that they are made from, the table that it is made from, "" for none."""
        parents: dict[str, str] = {}
        waiting = set(names)
        for _ in range(_DEEPEST):
            if not waiting:
                break
            rows = await self._shown(parents_call(waiting))
            found = {row["name"]: row["super_class.name"] for row in rows if _tells(row)}
            parents |= {name: parent for name, parent in found.items() if name in waiting}
            waiting = {parent for parent in found.values() if parent} - parents.keys()
        return parents

    async def _shown(self, call: Call) -> list[Row]:
        """Rows, none where this account may not see any."""
        try:
            return rows_of(await self._lane.value(call))
        except ServiceNowError as error:
            if error.number in {_FORBIDDEN, REJECTED}:
                return []
            raise


def _tells(row: Row) -> bool:
    """Whether a row of `sys_db_object` says which table it is made from, or that there is none."""
    return {"name", "super_class", "super_class.name"} <= row.keys() and (not row["super_class"]) == (
        not row["super_class.name"]
    )


def _chain(name: str, parents: Mapping[str, str]) -> list[str]:
    """A table and those that it is made from; empty where one of them is not known."""
    chain: list[str] = []
    while name:
        if name not in parents or name in chain:
            return []
        chain.append(name)
        name = parents[name]
    return chain


def queue_call(agent: str) -> Call:
    """Asks for a record of an agent's queue."""
    query = build(equals("agent", agent), equals("queue", "output"))
    return get_rows("ecc_queue", query, ("sys_id", "agent", "queue"), 1)


def parents_call(names: Collection[str]) -> Call:
    """Asks which tables these are made from."""
    return get_rows(TABLES, build(one_of("name", sorted(names))), ("name", "super_class", "super_class.name"), _MANY)


def dictionary_call(names: Collection[str]) -> Call:
    """Asks for the columns of tables."""
    return get_rows(DICTIONARY, build(one_of("name", sorted(names))), ("name", "element"), _MOST)


def alike_call(name: str) -> Call:
    """Asks for tables whose names hold the beginning of this one."""
    return get_rows(TABLES, build(contains("name", name[: max(4, len(name) // 2)])), ("name",), _MANY)


def roles_call(user: str) -> Call:
    """Asks for the roles of a user, by sys_id."""
    return get_rows(ROLES, build(named_equals("user", user)), ("user", "role.name"), _MANY)


def agent_call(name: str) -> Call:
    """Asks for our record in `ecc_agent`; `name` without `mid.server.`."""
    return get_rows("ecc_agent", build(equals("name", name)), ("sys_id", "name", "status", "last_refreshed"), 5)


def journal_call() -> Call:
    """Asks for any journal entry."""
    return get_rows(journal.TABLE, "", ("sys_id", "element", "value"), 1)


def attachment_call() -> Call:
    """Asks for an attachment of the queue."""
    return get_attachments(build(equals("table_name", "ecc_queue")), 1)


def user_call(name: str, columns: Sequence[str]) -> Call:
    """Asks for a user by name, with these columns."""
    fields = tuple(dict.fromkeys(("sys_id", "user_name", "active", "locked_out", *columns)))
    return get_rows(USERS, build(named_equals("user_name", name)), fields, 2)


def table_call(table: str, columns: Sequence[str]) -> Call:
    """Asks for any record of a table, with these columns."""
    return get_rows(table, "", tuple(dict.fromkeys(("sys_id", *columns))), 1)


def shape_of(table: str, part: Part, columns: frozenset[str] | None) -> Shape:
    """What the answer to `table_call` says; `columns` are those of the dictionary, None where it is closed."""
    try:
        if isinstance(part, ServiceNowError):
            raise part
        rows = rows_of(part)
    except ServiceNowError as error:
        if error.number == REJECTED and "invalid table" in error.detail.lower():
            return Shape(exists=False)
        return Shape(exists=None, refused=f"table '{table}': {error.detail}", number=error.number)
    if columns is not None:
        return Shape(exists=True, columns=columns, way="sys_dictionary")
    return Shape(exists=True, columns=frozenset(rows[0]), way="a record") if rows else Shape(exists=True)


def readable(part: Part) -> bool | None:
    """What the answer to `journal_call` says: whether entries can be read; None when there was none to see."""
    if isinstance(part, ServiceNowError):
        return False
    return any("value" in row for row in rows_of(part)) or None


def sys_id_of(rows: Sequence[Row], name: str) -> str:
    """The sys_id of the one user of a name, "" without one."""
    found = [row.get("sys_id", "") for row in rows if row.get("user_name", "").casefold() == name.casefold()]
    return found[0] if len(found) == 1 and is_sys_id(found[0]) else ""
