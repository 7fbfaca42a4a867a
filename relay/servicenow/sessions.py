"""ServiceNow as the import of sessions sees it: look-ups, rows, notes, files, under one roof."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Link, Lookup, Place, Row, Table
from relay.host.clock import Clock
from relay.host.http import Streamed
from relay.servicenow import journal, session_files
from relay.servicenow.batcher import Batcher
from relay.servicenow.session import Lane
from relay.servicenow.session_files import Attached
from relay.servicenow.session_links import REFUSALS, find_links
from relay.servicenow.session_tables import RowWriter

log = structlog.get_logger("relay.servicenow")

LOOK_FOR_TABLES: Final = 300.0
"""Seconds for which tables that are missing are taken for missing; those that are there are not asked for again."""


class SessionRecords:
    """What is read and written for sessions.

    Every method raises nothing but `ServiceNowError`, `attach` also what its source raises. An error without
    `maybe_sent` changed nothing and never will. Rows and files may be repeated after any error; where it has
    `maybe_sent` and is no received 5xx, not before `servicenow.settle` has passed. Notes may not.

    Args:
        tables: those that rows are written to, with their names of columns; empty writes none.
        lane: the sessions to use.
        batcher: makes batches of several calls; not the queue's, so that neither makes the other's smaller.
        clock: this machine's clocks.
        files: the sessions to use for files; absent: `lane`.
        named: the configuration names the tables, so that nothing goes without them.

    """

    def __init__(
        self,
        tables: Iterable[Table],
        lane: Lane,
        batcher: Batcher,
        clock: Clock,
        files: Lane | None = None,
        *,
        named: bool = False,
    ) -> None:
        self._named = named
        self._lane = lane
        self._files = lane if files is None else files
        self._batcher = batcher
        self._clock = clock
        self._writers = {table.name: RowWriter(table, lane, batcher) for table in tables}
        self._there = False
        self._missing_until = float("-inf")

    async def tables(self) -> bool:
        """Whether rows are written: ServiceNow has all the tables.

        Raises:
            ServiceNowError: it could not be asked; BSR-2028 one is not there that the configuration names.

        """
        if self._named and not self._there:
            missing = [name for name, writer in self._writers.items() if not await writer.exists()]
            if missing:
                raise ServiceNowError(2028, ", ".join(missing))
            self._there = True
        if self._there or not self._writers or self._clock.monotonic() < self._missing_until:
            return self._there
        for writer in self._writers.values():
            if not await writer.exists():
                self._missing_until = self._clock.monotonic() + LOOK_FOR_TABLES
                return False
        self._there = True
        return True

    async def find(self, lookups: Sequence[Lookup]) -> Mapping[Link, Place]:
        """The record for each link: that of the first of its look-ups that finds exactly one record. One request.

        A link whose look-up is refused, since a right or a table is missing, is left out, and the log says so.
        """
        links = await find_links(self._lane, self._batcher, lookups)
        for link, error in links.refused.items():
            log.warning("servicenow.link_refused", link=link, code=error.code, error=error.text)
        return links.found

    async def has(self, row: Row) -> bool:
        """Whether there is a row of this key."""
        with self._doubting():
            return await self._writers[row.table].has(row)

    async def upsert(self, row: Row) -> str:
        """Insert the row, or change the one of its key; returns its sys_id."""
        with self._doubting():
            return (await self._writers[row.table].upsert(row)).sys_id

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        """After a refusal the next session asks anew whether the tables are there: somebody may have removed them."""
        try:
            yield
        except ServiceNowError as error:
            if error.number in REFUSALS:
                self._there = False
            raise

    async def insert(self, rows: Sequence[Row]) -> None:
        """Insert those rows of one table that are not there.

        Raises:
            ServiceNowError: not all of them are there; one that may pass by itself before one that does not.

        """
        results = await self._writers[rows[0].table].add(rows) if rows else []
        errors = [one for one in results if isinstance(one, ServiceNowError)]
        if errors:
            with self._doubting():
                raise max(errors, key=lambda error: (error.maybe_sent, error.retryable))

    async def note(self, task: Place, text: str) -> None:
        """Add a work note to a task; never repeat it without `entered`."""
        await journal.write_note(self._lane, task, text)

    async def notes_readable(self) -> bool | None:
        """Whether this account may read work notes; None when it was neither shown one nor refused."""
        return await journal.readable(self._lane)

    async def entry(self, record: Place, text: str, element: str) -> None:
        """Add an entry to another journal of a record, such as `comments` of a configuration item. As `note`."""
        await journal.write_entry(self._lane, record, text, element)

    async def entered(self, record: Place, mark: str, element: str) -> bool | None:
        """Whether an entry of this journal of a record ends in `mark`; None when this account is refused its entries.

        An account that is silently shown none gets False too.
        """
        return await journal.find_mark(self._lane, record, mark, element)

    async def find_file(self, record: Place, name: str, size: int) -> Attached | None:
        """The attachment of a record by name and size, so that what is there need not be fetched again."""
        return await session_files.find_file(self._files, record, name, size)

    async def attach(self, record: Place, name: str, content: Streamed, content_type: str) -> Attached:
        """Attach a file of any size to a record unless it is there."""
        return await session_files.attach(self._files, record, name, content, content_type)
