"""Our row in `ecc_agent`: ServiceNow shows it as a MID server, and marks it Down when it is not refreshed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from relay.core.errors import ServiceNowError
from relay.servicenow.calls import Row, get_rows, insert_row, is_sys_id, row_of, rows_of, update_row
from relay.servicenow.query import build, equals
from relay.servicenow.session import Lane

TABLE: Final = "ecc_agent"
GONE: Final = 2016
_FIELDS: Final = ("sys_id", "name", "status")
_MOST: Final = 5  # rows of our name; more than one is a fault that is reported


class EccAgent:
    """Finds or makes the row, and keeps it current.

    Args:
        name: the relay's name, without `mid.server.`.
        lane: the session to use.
        now: seconds since the epoch, the instance's clock if it is known.
        facts: further columns, such as `host_name` and `version`.

    """

    def __init__(self, name: str, lane: Lane, now: Callable[[], float], facts: Mapping[str, str]) -> None:
        self._name = name
        self._lane = lane
        self._now = now
        self._facts = dict(facts)
        self._sys_id: str | None = None

    async def refresh(self, status: str) -> None:
        """Set the row's status (`Up`, `Paused`, `Down`) and the time of the last refresh; make the row if need be.

        Raises:
            ServiceNowError: BSR-2018 with the reason.

        """
        try:
            await self._refresh(status)
        except ServiceNowError as error:
            raise ServiceNowError(2018, error.text, maybe_sent=error.maybe_sent, after=error.after) from None

    async def _refresh(self, status: str) -> None:
        if self._sys_id is None:
            self._sys_id = await self._find()
        refreshed = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%d %H:%M:%S")
        values = {**self._facts, "status": status, "last_refreshed": refreshed}
        if self._sys_id is not None:
            try:
                row = row_of(await self._lane.value(update_row(TABLE, self._sys_id, values, _FIELDS)))
            except ServiceNowError as error:
                if error.number != GONE:
                    raise
                # Somebody deleted the row: make it anew.
                self._sys_id = None
            else:
                self._check(row, status)
                return
        row = row_of(await self._lane.value(insert_row(TABLE, {"name": self._name, **values}, _FIELDS)))
        self._check(row, status)
        self._sys_id = row["sys_id"]

    async def _find(self) -> str | None:
        value = await self._lane.value(get_rows(TABLE, build(equals("name", self._name)), _FIELDS, _MOST))
        found = rows_of(value)
        ours = [row for row in found if row.get("name") == self._name and is_sys_id(row.get("sys_id", ""))]
        if len(ours) > 1:
            raise ServiceNowError(2015, f"{len(ours)} rows of ecc_agent have the name {self._name!r}")
        if found and not ours and not any(row.get("name", "").casefold() == self._name.casefold() for row in found):
            raise ServiceNowError(2019, f"{len(found)} rows of ecc_agent, none of the name asked for")
        return ours[0]["sys_id"] if ours else None

    @staticmethod
    def _check(row: Row, status: str) -> None:
        if row.get("status") != status or not is_sys_id(row.get("sys_id", "")):
            raise ServiceNowError(2006, "a write to ecc_agent.status was dropped")
