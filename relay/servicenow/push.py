"""What is written to the queue: answers, small and large, and the end of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.exchange import Done, Inserted, NewInput, Taken
from relay.servicenow import attachments, leave_out, rows
from relay.servicenow.batch import Part
from relay.servicenow.batcher import Batcher
from relay.servicenow.calls import Call, Row, get_row, get_rows, insert_row, row_of, rows_of, update_row
from relay.servicenow.payload_shapes import SEE_ATTACHMENT
from relay.servicenow.query import build, one_of
from relay.servicenow.session import Lane

IDS: Final = 100  # sys_ids in one query, see `pull`
REFUSED: Final = frozenset({2006, 2015})
"""What an instance answers to an insert whose sys_id is there already, among other things."""


class Push:
    """Writes for one agent."""

    def __init__(self, agent: str, push: Lane, lookup: Lane, batcher: Batcher) -> None:
        self._agent = agent
        self._push = push
        self._lookup = lookup
        self._batcher = batcher

    async def insert(self, inputs: Sequence[NewInput]) -> list[Inserted | ServiceNowError]:
        """Insert small answers, ready to be read."""
        parts = await self._batcher.run(self._push, [self._insert(one) for one in inputs])
        results = [rows.inserted(self._agent, one, part) for one, part in zip(inputs, parts, strict=True)]
        return await self._there_already(inputs, results)

    async def _there_already(
        self, inputs: Sequence[NewInput], results: list[Inserted | ServiceNowError]
    ) -> list[Inserted | ServiceNowError]:
        """A refused insert whose sys_id is there was done before: by a try whose outcome was never learned."""
        doubtful = [
            one
            for one, result in zip(inputs, results, strict=True)
            if isinstance(result, ServiceNowError) and result.number in REFUSED
        ]
        if not doubtful:
            return results
        known = {one.sys_id: one for one in doubtful}
        try:
            there = await self._rows([one.sys_id for one in doubtful])
        except ServiceNowError as error:
            unknown = ServiceNowError(error.number, error.detail, maybe_sent=True, after=error.after)
            return [unknown if one.sys_id in known else result for one, result in zip(inputs, results, strict=True)]
        return [
            Inserted(one.sys_id, kept=True)
            if one.sys_id in known and rows.is_answer(self._agent, one, there.get(one.sys_id))
            else result
            for one, result in zip(inputs, results, strict=True)
        ]

    async def begin_large(self, answer: NewInput) -> str:
        """Insert the record of a large answer, not yet an answer to anybody; returns its sys_id."""
        values = {**self._values(answer), "state": "processing", "response_to": "", "payload": SEE_ATTACHMENT}
        try:
            row = row_of(await self._push.value(insert_row(rows.TABLE, values, rows.STATE_FIELDS)))
        except ServiceNowError as error:
            if error.number not in REFUSED:
                raise
            row = (await self._rows([answer.sys_id])).get(answer.sys_id, {})
            if row.get("agent") != self._agent or row.get("queue") != "input":
                raise
        if not row.get("sys_id"):
            raise ServiceNowError(2011, "an insert's answer without a sys_id", maybe_sent=True)
        return row["sys_id"]

    async def finish_large(self, sys_id: str, answer: NewInput) -> None:
        """Upload the payload unless it is there, then make the record the answer. May be repeated."""
        row = row_of(await self._lookup.value(get_row(rows.TABLE, sys_id, rows.STATE_FIELDS)))
        if rows.is_answer(self._agent, answer, row) and row.get("state") != "processing":
            return
        await self._attach(sys_id, answer.payload.encode())
        values = {"response_to": answer.output_sys_id, "state": "ready", "payload": SEE_ATTACHMENT}
        row = row_of(await self._push.value(update_row(rows.TABLE, sys_id, values, rows.STATE_FIELDS)))
        if not rows.is_answer(self._agent, answer, row) or row.get("state") == "processing":
            raise ServiceNowError(2006, "a write to ecc_queue.response_to or state was dropped")

    async def _attach(self, sys_id: str, data: bytes) -> None:
        there = await attachments.of_row(self._lookup, rows.TABLE, sys_id, attachments.PAYLOAD)
        whole = [one for one in there if one.size == len(data)]
        # Readers take any attachment of that name: what a broken upload left, or a second copy, must go.
        for one in there:
            if one not in whole[:1]:
                await attachments.delete(self._push, one)
        if not whole:
            await attachments.upload(self._push, rows.TABLE, sys_id, attachments.PAYLOAD, data)

    async def close(self, sys_ids: Sequence[str]) -> list[Done | Taken | ServiceNowError]:
        """Set `state=processed` on outputs that are not; usually the instance's own rule did it already."""
        try:
            there = await self._rows(sys_ids)
        except ServiceNowError as error:
            return [error] * len(sys_ids)
        results = {sys_id: self._standing(there.get(sys_id)) for sys_id in sys_ids}
        open_ids = [sys_id for sys_id, result in results.items() if result is None]
        calls = [update_row(rows.TABLE, sys_id, {"state": "processed"}, rows.STATE_FIELDS) for sys_id in open_ids]
        parts: list[Part] = await self._batcher.run(self._push, calls)
        after = dict(zip(open_ids, parts, strict=True))
        return [results[sys_id] or rows.closed(sys_id, after[sys_id]) for sys_id in sys_ids]

    def _standing(self, row: Row | None) -> Done | Taken | None:
        """What is known of an output before it is closed; None when it is to be closed."""
        if row is None:
            return Taken("it is gone or hidden")
        if row.get("agent") != self._agent or row.get("queue") != "output":
            return Taken(rows.OTHER_AGENT)
        return None if row.get("state") in {"ready", "processing"} else Done()

    async def _rows(self, sys_ids: Sequence[str]) -> dict[str, Row]:
        """The state of these rows, by sys_id."""
        found: dict[str, Row] = {}
        for start in range(0, len(sys_ids), IDS):
            asked = sys_ids[start : start + IDS]
            call = get_rows(rows.TABLE, build(one_of("sys_id", asked)), rows.STATE_FIELDS, len(asked))
            kept, _ = rows.matching(rows_of(await self._lookup.value(call)), {"sys_id": asked})
            found |= {row["sys_id"]: row for row in kept}
        return found

    def _insert(self, answer: NewInput) -> Call:
        return insert_row(rows.TABLE, self._values(answer), rows.FOUND_FIELDS)

    def _values(self, answer: NewInput) -> dict[str, str]:
        return {
            "sys_id": answer.sys_id,
            "agent": self._agent,
            "queue": "input",
            "state": "ready",
            "topic": answer.topic,
            "name": answer.name,
            "source": leave_out.url_to_show(answer.source),
            "response_to": answer.output_sys_id,
            "agent_correlator": answer.agent_correlator,
            "payload": answer.payload,
        }
