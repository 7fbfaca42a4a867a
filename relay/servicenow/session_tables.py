"""Writes rows of sessions and events, each once, however often it is tried.

A row is known by its key. Where the instance keeps the sys_id that a row wishes for, a second insert of it is refused;
where it gives its own, a row is looked for by its key first. An insert that may still be under way is not seen by that:
after an error with `maybe_sent` whoever repeats it waits as after an insert into the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Row, Table
from relay.servicenow import calls
from relay.servicenow.batch import Part
from relay.servicenow.batcher import Batcher
from relay.servicenow.query import build, named_equals, named_one_of
from relay.servicenow.session import Lane
from relay.servicenow.session_links import only_asked

KEYS: Final = 50
"""Keys in one query: 3.3 KB of a URL that should stay under 8 KB."""
MOST: Final = 10  # rows of one key; more than one is the work of an insert that was long under way
REFUSED: Final = frozenset({2006, 2015})
"""What an instance answers to an insert whose sys_id is there already, among other things."""
REJECTED: Final = 2015


@dataclass(frozen=True, slots=True)
class Written:
    """A row is there. `before`: it was there before this call. `kept`: with the sys_id that it wished for."""

    sys_id: str
    before: bool
    kept: bool


class RowWriter:
    """Writes the rows of one table.

    Args:
        table: the table, with its names of columns.
        lane: the sessions to use.
        batcher: makes batches of several calls.

    """

    def __init__(self, table: Table, lane: Lane, batcher: Batcher) -> None:
        self._table = table
        self._key = table.column("key")
        self._fields = ("sys_id", self._key, "sys_created_on")
        self._lane = lane
        self._batcher = batcher

    async def exists(self) -> bool:
        """Whether the instance has the table.

        Raises:
            ServiceNowError: it did not say; also when it has the table but does not show it to this account.

        """
        try:
            calls.rows_of(await self._lane.value(calls.get_rows(self._table.name, "", ("sys_id",), 1)))
        except ServiceNowError as error:
            if error.number == REJECTED and "invalid table" in error.detail.lower():
                return False
            raise only_asked(error) from None
        return True

    async def has(self, row: Row) -> bool:
        """Whether there is a row of this key.

        Raises:
            ServiceNowError: it could not be asked.

        """
        there = (await self._find([row]))[0]
        if isinstance(there, ServiceNowError):
            raise there
        return there is not None

    async def upsert(self, row: Row) -> Written:
        """Insert the row, or change the one of its key to hold these values; columns it does not name stay.

        Raises:
            ServiceNowError: it may not be there, or not as it should be.

        """
        there = (await self._find([row]))[0]
        if isinstance(there, ServiceNowError):
            raise there
        if there is None:
            written = (await self._insert([row]))[0]
            if isinstance(written, ServiceNowError):
                raise written
            if not written.before:
                return written
            there = written
        call = calls.update_row(self._table.name, there.sys_id, row.values, self._fields)
        changed = calls.row_of(await self._lane.value(call))
        if changed.get("sys_id") != there.sys_id or changed.get(self._key) != row.key:
            raise ServiceNowError(2019, "another row than the one that was changed", maybe_sent=True)
        return there

    async def add(self, rows: Sequence[Row]) -> list[Written | ServiceNowError]:
        """Insert those rows that are not there; one that is stays as it is. What became of each, in order."""
        results: dict[str, Written | ServiceNowError | None] = dict(
            zip((row.key for row in rows), await self._find(rows), strict=True)
        )
        missing = list({row.key: row for row in rows if results[row.key] is None}.values())
        results.update(zip((row.key for row in missing), await self._insert(missing), strict=True))
        return [result for row in rows if (result := results[row.key]) is not None]

    async def _insert(self, rows: Sequence[Row]) -> list[Written | ServiceNowError]:
        asked = [calls.insert_row(self._table.name, {**row.values, "sys_id": row.sys_id}, self._fields) for row in rows]
        parts = await self._batcher.run(self._lane, asked)
        results = [self._inserted(row, part) for row, part in zip(rows, parts, strict=True)]
        doubtful = [
            number
            for number, result in enumerate(results)
            if isinstance(result, ServiceNowError) and result.number in REFUSED and not result.maybe_sent
        ]
        # A refused insert whose sys_id is there was done before, by a try whose outcome was never learned.
        for number, there in zip(doubtful, await self._find([rows[number] for number in doubtful]), strict=True):
            if isinstance(there, ServiceNowError):
                results[number] = ServiceNowError(there.number, there.detail, maybe_sent=True, after=there.after)
            elif there is not None:
                results[number] = there
        return results

    def _inserted(self, row: Row, part: Part) -> Written | ServiceNowError:
        """What the answer to an insert says."""
        if isinstance(part, ServiceNowError):
            return part
        try:
            found = calls.row_of(part)
        except ServiceNowError as error:
            return error
        if not calls.is_sys_id(found.get("sys_id", "")):
            return ServiceNowError(2011, "an insert's answer without a sys_id", maybe_sent=True)
        if found.get(self._key) != row.key:
            return ServiceNowError(REJECTED, f"{self._table.name}.{self._key} was not stored as written")
        return Written(found["sys_id"], before=False, kept=found["sys_id"] == row.sys_id)

    async def _find(self, rows: Sequence[Row]) -> list[Written | ServiceNowError | None]:
        """For each row what is there of its key: None when there is nothing."""
        groups = [rows[start : start + KEYS] for start in range(0, len(rows), KEYS)]
        parts = await self._batcher.run(self._lane, [self._query(group) for group in groups])
        found: list[Written | ServiceNowError | None] = []
        for group, part in zip(groups, parts, strict=True):
            try:
                found += self._found(group, part)
            except ServiceNowError as error:
                found += [only_asked(error)] * len(group)
        return found

    def _query(self, rows: Sequence[Row]) -> calls.Call:
        keys = [row.key for row in rows]
        term = named_equals(self._key, keys[0]) if len(keys) == 1 else named_one_of(self._key, keys)
        return calls.get_rows(self._table.name, build(term), self._fields, MOST + len(keys))

    def _found(self, rows: Sequence[Row], part: Part) -> list[Written | None]:
        if isinstance(part, ServiceNowError):
            raise part
        answered = calls.rows_of(part)
        wished = {row.key: row for row in rows}
        there: dict[str, calls.Row] = {}
        mine = [one for one in answered if one.get(self._key) in wished and calls.is_sys_id(one.get("sys_id", ""))]
        if len(mine) < len(answered):
            # Conditions on columns that are not there are ignored: every insert would then be one more.
            raise ServiceNowError(REJECTED, f"rows of {self._table.name} came that were not asked for by {self._key}")
        # Of two rows the one with the sys_id that was wished for is meant, else the older one.
        for one in sorted(mine, key=lambda one: (one.get("sys_created_on", ""), one["sys_id"]), reverse=True):
            key = one[self._key]
            if key not in there or there[key]["sys_id"] != wished[key].sys_id:
                there[key] = one
        return [self._standing(row, there.get(row.key)) for row in rows]

    @staticmethod
    def _standing(row: Row, found: calls.Row | None) -> Written | None:
        return Written(found["sys_id"], before=True, kept=found["sys_id"] == row.sys_id) if found is not None else None
