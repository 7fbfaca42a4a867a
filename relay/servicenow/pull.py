"""What is read of the queue: ready outputs, claims, rows as they are now, answers that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, FoundInput, Page, Taken
from relay.core.record import RECORD_FIELDS, Record
from relay.servicenow import attachments, rows
from relay.servicenow.batcher import Batcher
from relay.servicenow.calls import Row, get_rows, is_sys_id, rows_of, update_row
from relay.servicenow.payload_shapes import MAX_PAYLOAD
from relay.servicenow.query import Term, UnmatchableError, build, equals, none_of, one_of
from relay.servicenow.session import Lane

PAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest page that is read: a hundred ordinary rows are some 300 KB, and one row may hold 1 MiB, escaped."""
IDS: Final = 100  # in one query: with their commas 3.3 KB of a URL that should stay under 8 KB
LEFT_OUT: Final = 150  # sys_ids in one NOT IN, for the same reason
ROWS_AT_ONCE: Final = 25  # complete rows that are read back in one request
FOUND_AT_ONCE: Final = 1000  # an output has one answer; ten of each would be another poller's doing
TOO_LARGE: Final = 2014
ORDER: Final = ("priority", "sys_created_on", "sequence", "sys_id")
"""Records of one second are told apart by the order key that the instance gives them."""
OVERSIZE: Final = " " * (MAX_PAYLOAD + 1)
DEEPER_EVERY: Final = 12
"""Empty polls after which one looks past the first page: rows that access rules hide count within the limit, and a
page full of them would hide all others for good."""
DEEPEST: Final = 10  # pages


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as they came. `limit`: how many were asked for in the end; `bare`: without their payload."""

    rows: list[Row]
    limit: int
    bare: bool


class Pull:
    """Reads the queue of one agent."""

    def __init__(self, agent: str, poll: Lane, claim: Lane, lookup: Lane, batcher: Batcher) -> None:
        self._agent = agent
        self._poll = poll
        self._claim = claim
        self._lookup = lookup
        self._batcher = batcher
        self._empty = 0
        self._depth = 0

    async def poll(self, limit: int, leave_out: Sequence[str], topics: Sequence[str] = ()) -> Page:
        """Up to `limit` ready outputs of our agent, by priority, then oldest, without `leave_out`."""
        wanted = {"agent": [self._agent], "queue": ["output"], "state": ["ready"]}
        if topics:
            wanted["topic"] = list(topics)
        query = self._query("ready", leave_out, topics, order=ORDER)
        found = await _page(self._poll, query, limit)
        deep = False
        if not found.rows:
            self._empty += 1
            if self._empty % DEEPER_EVERY == 0:
                deep = True
                found = await self._look_deeper(query, limit)
        if found.rows and not deep:
            self._empty = 0
        kept, foreign = rows.matching(found.rows, wanted)
        left_out = set(leave_out)
        records = tuple(rows.record_of(row) for row in kept if row["sys_id"] not in left_out)
        more = len(found.rows) >= found.limit
        if found.bare:
            return Page((), more, tuple(Record({**record.fields, "payload": ""}) for record in records), foreign)
        return Page(records, more, (), foreign)

    async def _look_deeper(self, query: str, limit: int) -> _Rows:
        self._depth = self._depth % DEEPEST + 1
        found = await _page(self._poll, query, limit, offset=self._depth * limit)
        if found.rows:
            # There is work behind hidden rows: the next empty page looks at the same place again.
            self._depth -= 1
            self._empty -= 1
        return found

    async def claim(self, sys_ids: Sequence[str], *, payload: bool = True) -> list[Claimed | Taken | ServiceNowError]:
        """Set `state=processing` on each."""
        fields = RECORD_FIELDS if payload else rows.BARE_FIELDS
        calls = [update_row(rows.TABLE, sys_id, {"state": "processing"}, fields) for sys_id in sys_ids]
        parts = await self._batcher.run(self._claim, calls)
        return [rows.claimed(self._agent, sys_id, part) for sys_id, part in zip(sys_ids, parts, strict=True)]

    async def read(self, sys_ids: Sequence[str]) -> dict[str, Record]:
        """The rows of these ids as they are now, complete; absent ones are gone or hidden."""
        found: dict[str, Record] = {}
        for start in range(0, len(sys_ids), ROWS_AT_ONCE):
            for row in await self._read(sys_ids[start : start + ROWS_AT_ONCE]):
                found[row["sys_id"]] = rows.record_of(row)
        return found

    async def _read(self, sys_ids: Sequence[str]) -> list[Row]:
        query = build(one_of("sys_id", sys_ids))
        try:
            value = await self._lookup.value(get_rows(rows.TABLE, query, RECORD_FIELDS, len(sys_ids)), PAGE_BYTES)
            found = rows_of(value)
        except ServiceNowError as error:
            if error.number != TOO_LARGE:
                raise
            if len(sys_ids) > 1:
                half = len(sys_ids) // 2
                return await self._read(sys_ids[:half]) + await self._read(sys_ids[half:])
            value = await self._lookup.value(get_rows(rows.TABLE, query, rows.BARE_FIELDS, 1))
            found = [{**row, "payload": rows.UNREADABLE} for row in rows_of(value)]
        return rows.matching(found, {"sys_id": sys_ids})[0]

    async def processing(self, limit: int, leave_out: Sequence[str] = ()) -> list[Record]:
        """Outputs of our agent in `processing`, oldest first, complete, without `leave_out`."""
        wanted = {"agent": [self._agent], "queue": ["output"], "state": ["processing"]}
        found = await _page(self._lookup, self._query("processing", leave_out, (), ("sys_created_on", "sys_id")), limit)
        kept = [row for row in rows.matching(found.rows, wanted)[0] if row["sys_id"] not in set(leave_out)]
        return [rows.record_of({**row, "payload": rows.UNREADABLE} if found.bare else row) for row in kept]

    async def find(self, output_sys_ids: Sequence[str]) -> dict[str, FoundInput]:
        """The answers that ServiceNow holds for these outputs, by the output's sys_id; the oldest of several."""
        found: dict[str, FoundInput] = {}
        for start in range(0, len(output_sys_ids), IDS):
            for row in await self._find(output_sys_ids[start : start + IDS]):
                found.setdefault(row["response_to"], rows.found_input(row))
        return found

    async def _find(self, outputs: Sequence[str]) -> list[Row]:
        # Neither agent nor queue is a term: the fewer terms, the fewer that could hide an answer.
        query = build(one_of("response_to", outputs), order=("sys_created_on", "sys_id"))
        value = await self._lookup.value(get_rows(rows.TABLE, query, rows.FOUND_FIELDS, FOUND_AT_ONCE))
        found = rows_of(value)
        if len(found) >= FOUND_AT_ONCE and len(outputs) > 1:
            half = len(outputs) // 2
            return await self._find(outputs[:half]) + await self._find(outputs[half:])
        kept, _ = rows.matching(found, {"response_to": outputs})
        return [row for row in kept if row.get("agent") == self._agent and row.get("queue") == "input"]

    async def fetch_payload(self, record: Record) -> str:
        """The payload of an output that says `<see_attachment/>`.

        One that is larger than a payload may be is not read: what comes back is too large as well, and refused as that.
        """
        for found in await attachments.of_row(self._lookup, rows.TABLE, record.sys_id, attachments.PAYLOAD):
            if found.size > MAX_PAYLOAD:
                return OVERSIZE
            try:
                content = await attachments.content(self._lookup, found, MAX_PAYLOAD)
            except ServiceNowError as error:
                if error.number != TOO_LARGE:
                    raise
                return OVERSIZE
            return content.decode("utf-8-sig", "replace")
        raise ServiceNowError(2016, "the attachment 'payload'")

    def _query(self, state: str, leave_out: Sequence[str], topics: Sequence[str], order: Sequence[str]) -> str:
        terms: list[Term] = [equals("agent", self._agent), equals("queue", "output"), equals("state", state)]
        if topics:
            terms.append(one_of("topic", topics))
        if ids := [sys_id for sys_id in leave_out if is_sys_id(sys_id)][:LEFT_OUT]:
            terms.append(none_of("sys_id", ids))
        try:
            return build(*terms, order=order)
        except UnmatchableError as error:
            raise ServiceNowError(2015, str(error)) from None


async def _page(lane: Lane, query: str, limit: int, offset: int = 0) -> _Rows:
    """A page of complete rows.

    One that is too large is asked for again with half the limit; a single row that is too large by itself comes
    without its payload.
    """
    while True:
        try:
            value = await lane.value(get_rows(rows.TABLE, query, RECORD_FIELDS, limit, offset), PAGE_BYTES)
            return _Rows(rows_of(value), limit, bare=False)
        except ServiceNowError as error:
            if error.number != TOO_LARGE:
                raise
        if limit <= 1:
            value = await lane.value(get_rows(rows.TABLE, query, rows.BARE_FIELDS, 1, offset))
            return _Rows(rows_of(value), 1, bare=True)
        limit //= 2
