"""ServiceNow's tables in memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from relay.sandbox import dictionary
from relay.sandbox.query import Query, parse
from relay.sandbox.schema import TABLES, Table

Row = dict[str, str]


class Duplicate(Exception):  # noqa: N818 - it is the database's answer
    """A row of this sys_id exists."""


class Tables:
    """Rows by table and sys_id. `clock` gives seconds since the epoch.

    Every change wakes those who wait in `until`.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.tables: dict[str, Table] = {**TABLES, **{one.name: one for one in dictionary.DESCRIBED}}
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self._index: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        self._counter = 0
        self._numbers: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def define(self, table: Table) -> None:
        """Make a table known, as its application's installation does; one of that name starts empty."""
        self.drop(table.name)
        self.tables[table.name] = table

    def drop(self, name: str) -> None:
        """Take a table away with its rows; an unknown name is left alone."""
        for row in self._rows.pop(name, {}).values():
            self._forget(name, row)
        self.tables.pop(name, None)

    def stamp(self, seconds: float | None = None) -> str:
        """A time as the instance writes it: `YYYY-MM-DD HH:MM:SS` in UTC, by default now."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.clock() if seconds is None else seconds))

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table and of those that extend it, as they were inserted."""
        if table in dictionary.NAMES:
            yield from dictionary.rows(table, self.tables)
        for name, description in list(self.tables.items()):
            if table in {name, description.extends}:
                yield from list(self._rows[name].values())

    def get(self, table: str, sys_id: str) -> Row | None:
        """One row, or None."""
        if table in dictionary.NAMES:
            return next((row for row in self.rows(table) if row["sys_id"] == sys_id), None)
        for name, description in self.tables.items():
            if table in {name, description.extends} and sys_id in self._rows[name]:
                return self._rows[name][sys_id]
        return None

    def insert(self, table: str, values: Mapping[str, str], user: str = "system") -> Row:
        """Add a row; unknown columns are ignored, long texts are cut, a missing `sys_id` is made.

        Raises:
            Duplicate: the given sys_id is taken.
            KeyError: no such table.

        """
        description = self.tables[table]
        sys_id = values.get("sys_id") or uuid.uuid4().hex
        if sys_id in self._rows[table]:
            raise Duplicate(sys_id)
        now = self.stamp()
        row: Row = dict.fromkeys(sorted(description.columns), "")
        row.update(description.defaults)
        row.update(sys_created_on=now, sys_updated_on=now, sys_created_by=user, sys_updated_by=user, sys_mod_count="0")
        if "sys_class_name" in description.columns:
            row["sys_class_name"] = table
        if description.prefix:
            self._numbers[table] += 1
            row["number"] = f"{description.prefix}{self._numbers[table]:07d}"
        if "sequence" in description.columns:
            self._counter += 1
            row["sequence"] = f"{int(self.clock() * 1000):x}{self._counter:07d}"
        row.update(self._clean(description, values))
        row["sys_id"] = sys_id
        self._rows[table][sys_id] = row
        self._note(table, row)
        self._wake()
        return row

    def update(self, table: str, row: Row, values: Mapping[str, str], user: str = "system") -> bool:
        """Change a row; False when nothing changed, which leaves its modification count alone."""
        description = self.tables[table]
        changes = {k: v for k, v in self._clean(description, values).items() if row[k] != v and k != "sys_id"}
        if not changes:
            return False
        self._forget(table, row)
        row.update(changes)
        self._note(table, row)
        self.touch(row, user)
        return True

    def touch(self, row: Row, user: str) -> None:
        """Note that a row was changed, in its modification count, time and author."""
        row["sys_mod_count"] = str(int(row["sys_mod_count"]) + 1)
        row["sys_updated_on"] = self.stamp()
        row["sys_updated_by"] = user
        self._wake()

    def delete(self, table: str, sys_id: str) -> bool:
        """Remove a row; False when there is none."""
        row = self._rows[table].pop(sys_id, None)
        if row is not None:
            self._forget(table, row)
            self._wake()
        return row is not None

    def value(self, table: str, row: Row, path: str) -> str:
        """A column's value; `assigned_to.user_name` follows references. `""` where something is missing."""
        first, _, rest = path.partition(".")
        value = row.get(first, "")
        if not rest:
            return value
        target = self.tables[table].references.get(first, "")
        other = self.get(target, value) if target else None
        return self.value(target, other, rest) if other is not None else ""

    def knows(self, table: str, path: str) -> bool:
        """Whether a table has a column; `assigned_to.user_name` follows references."""
        first, _, rest = path.partition(".")
        description = self.tables[table]
        if first not in description.columns:
            return False
        return not rest or (first in description.references and self.knows(description.references[first], rest))

    def find(self, table: str, text: str) -> list[Row]:
        """The rows that an encoded query selects, in its order."""
        query = self.parse(table, text)

        def get(row: Row, name: str) -> str:
            return row.get(name, "") if "." not in name else self.value(table, row, name)

        rows = query.select(self._candidates(table, query), get)
        query.sort(rows, get)
        return rows

    def parse(self, table: str, text: str) -> Query:
        """An encoded query, read for a table."""
        return parse(text, lambda name: self.knows(table, name))

    async def until(self, predicate: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until `predicate()` holds, asking after every change.

        Raises:
            TimeoutError: it did not within `seconds`.

        """
        async with asyncio.timeout(seconds):
            while not predicate():
                self._changed.clear()
                await self._changed.wait()

    def _candidates(self, table: str, query: Query) -> Iterable[Row]:
        ids = query.single("sys_id")
        if ids is not None:
            return [row for row in (self.get(table, sys_id) for sys_id in sorted(ids)) if row is not None]
        for keys in (*(_values(query, column) for column in self.tables[table].indexed), _pairs(table, query)):
            if keys is not None:
                found = [sys_id for key in sorted(keys) for sys_id in self._index.get((table, key), ())]
                return [self._rows[table][sys_id] for sys_id in found]
        return self.rows(table)

    def _note(self, table: str, row: Row) -> None:
        for key in self._keys(table, row):
            self._index[table, key][row["sys_id"]] = None

    def _forget(self, table: str, row: Row) -> None:
        for key in self._keys(table, row):
            self._index[table, key].pop(row["sys_id"], None)

    def _keys(self, table: str, row: Row) -> list[str]:
        keys = [f"{column}={row[column]}".casefold() for column in self.tables[table].indexed]
        if table == "ecc_queue":
            keys.append(f"{row['queue']}|{row['state']}".casefold())
        return keys

    def _wake(self) -> None:
        self._changed.set()

    @staticmethod
    def _clean(description: Table, values: Mapping[str, str]) -> Row:
        return {
            name: str(value)[: description.lengths.get(name)]
            for name, value in values.items()
            if name in description.columns
        }


def _values(query: Query, column: str) -> frozenset[str] | None:
    values = query.single(column)
    return None if values is None else frozenset(f"{column}={value}" for value in values)


def _pairs(table: str, query: Query) -> frozenset[str] | None:
    queues, states = query.single("queue"), query.single("state")
    if table != "ecc_queue" or queues is None or states is None:
        return None
    return frozenset(f"{queue}|{state}" for queue in queues for state in states)
