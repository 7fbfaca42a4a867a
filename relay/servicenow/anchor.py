"""Checkpoints of the audit log as records of a ServiceNow table, out of reach of whoever can change this machine."""

from __future__ import annotations

from relay.core.checkpoint import Note, parse_note
from relay.core.errors import ServiceNowError
from relay.servicenow.calls import insert_row, is_sys_id, row_of
from relay.servicenow.session import Lane


class TableAnchor:
    """Inserts a record for each checkpoint.

    Args:
        table: the table's name.
        field: the column that takes the checkpoint.
        lane: the session to use.

    """

    def __init__(self, table: str, field: str, lane: Lane) -> None:
        self._table = table
        self._field = field
        self._lane = lane

    async def write(self, note: Note) -> None:
        """Insert a record with the checkpoint's text, and see that it was stored whole.

        Raises:
            ServiceNowError: BSR-2026 with the reason.

        """
        try:
            await self._write(note)
        except ServiceNowError as error:
            raise ServiceNowError(2026, error.text, maybe_sent=error.maybe_sent, after=error.after) from None

    async def _write(self, note: Note) -> None:
        call = insert_row(self._table, {self._field: note.text}, ("sys_id", self._field))
        row = row_of(await self._lane.value(call))
        if not is_sys_id(row.get("sys_id", "")):
            raise ServiceNowError(2011, "an insert's answer without a sys_id", maybe_sent=True)
        try:
            stored = parse_note(row.get(self._field, ""))
        except ValueError:
            stored = None
        if stored != note:
            raise ServiceNowError(2006, f"{self._table}.{self._field} does not hold what was written", maybe_sent=True)
