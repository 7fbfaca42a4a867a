"""Work notes and other entries of journals: written once, and found again by the mark in their last line.

A journal takes every write as a further entry, the same text again too. So nothing here repeats a write.
"""

from __future__ import annotations

from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Place
from relay.servicenow import calls
from relay.servicenow.query import UnmatchableError, build, contains, equals
from relay.servicenow.session import Lane
from relay.servicenow.session_links import only_asked

TABLE: Final = "sys_journal_field"
WORK_NOTES: Final = "work_notes"
_FIELDS: Final = ("sys_id", "element_id", "element", "value")
_MOST: Final = 50
_FORBIDDEN: Final = 2006


async def write_note(lane: Lane, record: Place, text: str, element: str = WORK_NOTES) -> None:
    """Add an entry to a journal of a record, as a person does who writes into the field.

    Raises:
        ServiceNowError: with `maybe_sent` where nobody knows whether it was added.

    """
    call = calls.update_row(record.table, record.sys_id, {element: text}, ("sys_id",))
    if calls.row_of(await lane.value(call)).get("sys_id") != record.sys_id:
        raise ServiceNowError(2019, "another row than the one that was changed", maybe_sent=True)


async def write_entry(lane: Lane, record: Place, text: str, element: str) -> None:
    """Add an entry to the journal itself, for a record whose form shows it without a field of its own.

    Raises:
        ServiceNowError: as `write_note`.

    """
    values = {"name": record.table, "element": element, "element_id": record.sys_id, "value": text}
    stored = calls.row_of(await lane.value(calls.insert_row(TABLE, values, ("sys_id", "element_id", "element"))))
    if not calls.is_sys_id(stored.get("sys_id", "")):
        raise ServiceNowError(2011, "an insert's answer without a sys_id", maybe_sent=True)
    if (stored.get("element_id"), stored.get("element")) != (record.sys_id, element):
        raise ServiceNowError(2015, f"{TABLE} did not store what was written", maybe_sent=True)


async def find_mark(lane: Lane, record: Place, mark: str, element: str) -> bool | None:
    """Whether an entry of a record's journal ends in the line `mark`; None when this account may not read entries.

    An account that is shown no entries gets False like one for which there is none: see `readable`.

    Raises:
        ServiceNowError: it could not be asked.

    """
    try:
        query = build(equals("element_id", record.sys_id), equals("element", element), contains("value", mark))
    except UnmatchableError:
        return False
    rows = await _entries(lane, query, _MOST)
    if rows is None:
        return None
    mine = [row for row in rows if row.get("element_id") == record.sys_id and row.get("element") == element]
    if rows and not mine:
        raise ServiceNowError(2019, f"{len(rows)} entries, none of the record asked for")
    if any(_last_line(row.get("value", "")) == mark for row in mine):
        return True
    return None if any("value" not in row for row in mine) else False


async def readable(lane: Lane) -> bool | None:
    """Whether this account may read entries of journals; None when it was neither shown one nor refused.

    Raises:
        ServiceNowError: it could not be asked.

    """
    rows = await _entries(lane, "", 1)
    if rows is None:
        return False
    return any("value" in row for row in rows) or None


async def _entries(lane: Lane, query: str, limit: int) -> list[calls.Row] | None:
    try:
        return calls.rows_of(await lane.value(calls.get_rows(TABLE, query, _FIELDS, limit)))
    except ServiceNowError as error:
        if error.number == _FORBIDDEN:
            return None
        raise only_asked(error) from None


def _last_line(text: str) -> str:
    lines = text.rstrip().splitlines()
    return lines[-1].strip() if lines else ""
