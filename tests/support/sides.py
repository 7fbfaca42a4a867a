"""ServiceNow in memory: an ECC queue with the traps of a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, Done, FoundInput, Inserted, NewInput, Page, Taken
from relay.core.record import Record
from relay.pipeline.rows import ATTACHED
from support.virtual import VirtualClock

AGENT = "mid.server.relay01"
USER = "svc.relay"
LATE = 40.0
"""Seconds that a transaction still runs after its client gave up: less than `settle`."""


def sys_id(number: int) -> str:
    """The sys_id of the output of that number."""
    return f"{number:032x}"


class FakeQueue:
    """An ECC queue.

    Faults are scripted: `faults["insert"].append("lost")` spoils the next insert that way; see the methods. `down`
    spoils everything. Rows are dicts; outputs and inputs live in one table, as they do at ServiceNow.
    """

    def __init__(self, clock: VirtualClock, *, keeps: bool = True, marks: bool = True) -> None:
        self.clock = clock
        self.keeps = keeps
        self.marks = marks
        self.rows: dict[str, dict[str, str]] = {}
        self.attachments: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.too_large: set[str] = set()
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.down = False
        self.blind = False
        self.latency = 0.0
        self.server_now: Callable[[], float | None] = clock.wall
        self.calls: Counter[str] = Counter()
        self.polls: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []
        self.inserted: list[list[str]] = []
        self.size = 100
        self.made = 0

    # -- what ServiceNow does ----------------------------------------------------------------------------------------

    def output(self, number: int, **fields: str) -> str:
        """Write an output; returns its sys_id."""
        one = sys_id(number)
        when = self._date()
        self.rows[one] = {
            "sys_id": one,
            "agent": AGENT,
            "topic": "RESTProbe",
            "name": "get",
            "source": "https://appliance.example",
            "queue": "output",
            "state": "ready",
            "payload": "safe default",
            "priority": "2",
            "agent_correlator": f"correlator {number}",
            "sys_created_on": when,
            "sys_created_by": "caller",
            "sys_updated_on": when,
            "sys_updated_by": "caller",
            **fields,
        }
        return one

    def answers(self, output: str, by: str | None = None) -> list[dict[str, str]]:
        """The inputs that answer an output."""
        return [
            row
            for row in self.rows.values()
            if row["queue"] == "input" and row["response_to"] == output and by in {None, row["sys_created_by"]}
        ]

    def answer_text(self, output: str) -> str:
        """The payload of the one answer."""
        (row,) = self.answers(output)
        return self.attachments[row["sys_id"]] if row["payload"] == ATTACHED else row["payload"]

    def write(self, one: str, by: str = USER, **fields: str) -> None:
        """Change a row as a user would; a change of nothing is no update."""
        row = self.rows[one]
        if any(row.get(name) != value for name, value in fields.items()):
            row |= {**fields, "sys_updated_by": by}
            row["sys_updated_on"] = self._date()

    def _date(self) -> str:
        return datetime.fromtimestamp(self.server_now() or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _add_input(self, answer: NewInput, state: str, response_to: str, payload: str) -> str:
        self.made += 1
        one = answer.sys_id if self.keeps else f"f{self.made:031x}"
        if one in self.rows:
            raise ServiceNowError(2015, "unique key violation")
        if response_to:
            assert response_to in self.rows, "an answer without an output"
        self.output(0, sys_id=one)
        self.rows[one] = self.rows.pop(sys_id(0)) | {
            "sys_id": one,
            "queue": "input",
            "state": state,
            "response_to": response_to,
            "payload": payload,
            "agent_correlator": answer.agent_correlator,
            "sys_created_by": USER,
            "sys_updated_by": USER,
        }
        if response_to:
            self._mark(response_to)
        return one

    def _mark(self, output: str) -> None:
        if self.marks:
            self.write(output, by="system", state="processed")

    # -- faults ------------------------------------------------------------------------------------------------------

    async def _begin(self, name: str) -> str:
        """Count the request, take its time, and tell which scripted fault it meets."""
        self.calls[name] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.down:
            raise ServiceNowError(2001, "down")
        fault = self.faults[name].popleft() if self.faults[name] else ""
        if fault in _PLAIN:
            error = _PLAIN[fault]()
            raise error
        return fault

    def _later(self, effect: Callable[[], Any]) -> None:
        def happen() -> None:
            with contextlib.suppress(ServiceNowError):
                effect()

        asyncio.get_running_loop().call_later(LATE, happen)

    def _spoiled(self, fault: str, effect: Callable[[], Any]) -> Any:
        """Carry out one change the way the fault says."""
        if fault == "late":
            self._later(effect)
            return ServiceNowError(2003, "late", maybe_sent=True)
        if fault == "lost":
            return ServiceNowError(2004, "lost", maybe_sent=True)
        if fault == "500":
            return ServiceNowError(2008, "500", maybe_sent=True)
        try:
            result = effect()
        except ServiceNowError as error:
            return error
        if fault == "500 after":
            return ServiceNowError(2008, "500 after", maybe_sent=True)
        return ServiceNowError(2004, "done", maybe_sent=True) if fault == "done" else result

    # -- the port ----------------------------------------------------------------------------------------------------

    def _outputs(self, state: str, leave_out: Sequence[str]) -> list[dict[str, str]]:
        found = [
            row
            for row in self.rows.values()
            if (row["queue"], row["state"], row["agent"]) == ("output", state, AGENT)
            and row["sys_id"] not in self.hidden
            and row["sys_id"] not in leave_out
        ]
        return sorted(found, key=lambda row: (row["priority"], row["sys_created_on"], row["sys_id"]))

    async def poll(self, limit: int, leave_out: Sequence[str], topics: Sequence[str] = ()) -> Page:
        self.polls.append((limit, tuple(leave_out), tuple(topics)))
        fault = await self._begin("poll")
        found = [row for row in self._outputs("ready", leave_out) if not topics or row["topic"] in topics][:limit]
        bare = [row for row in found if row["sys_id"] in self.too_large]
        return Page(
            tuple(Record(dict(row)) for row in found if row not in bare),
            more=len(found) == limit,
            bare=tuple(Record({**row, "payload": ""}) for row in bare),
            foreign=3 if fault == "foreign" else 0,
        )

    async def claim(self, sys_ids: Sequence[str], *, payload: bool = True) -> list[Claimed | Taken | ServiceNowError]:
        try:
            fault = await self._begin("claim")
        except ServiceNowError as error:
            return [error] * len(sys_ids)
        return [self._spoiled(fault, lambda one=one: self._claim(one, payload)) for one in sys_ids]  # type: ignore[misc]

    def _claim(self, one: str, payload: bool) -> Claimed | Taken:
        row = self.rows.get(one)
        if row is None or one in self.hidden:
            return Taken("gone")
        if row["state"] not in {"ready", "processing"} or row["agent"] != AGENT:
            return Taken("not ours")
        if payload and one in self.too_large:
            raise ServiceNowError(2014)
        self.write(one, state="processing")
        return Claimed(Record({**row} if payload else {**row, "payload": ""}))

    async def read(self, sys_ids: Sequence[str]) -> dict[str, Record]:
        await self._begin("read")
        return {
            one: Record({**self.rows[one], "payload": " " * 9 if one in self.too_large else self.rows[one]["payload"]})
            for one in sys_ids
            if one in self.rows and one not in self.hidden
        }

    async def processing(self, limit: int, leave_out: Sequence[str]) -> list[Record]:
        await self._begin("processing")
        return [Record(dict(row)) for row in self._outputs("processing", leave_out)[:limit]]

    async def find(self, output_sys_ids: Sequence[str]) -> dict[str, FoundInput]:
        await self._begin("find")
        if self.blind:
            return {}
        found = {one: self.answers(one) for one in output_sys_ids}
        return {
            one: FoundInput(rows[0]["sys_id"], one, rows[0]["sys_created_by"], rows[0]["state"])
            for one, rows in found.items()
            if rows
        }

    async def insert(self, inputs: Sequence[NewInput]) -> list[Inserted | ServiceNowError]:
        self.inserted.append([one.output_sys_id for one in inputs])
        try:
            fault = await self._begin("insert")
        except ServiceNowError as error:
            return [error] * len(inputs)
        return [self._spoiled(fault, lambda one=one: self._insert(one)) for one in inputs]  # type: ignore[misc]

    def _insert(self, answer: NewInput) -> Inserted:
        there = self.rows.get(answer.sys_id)
        if there is not None and there["response_to"] == answer.output_sys_id:
            return Inserted(answer.sys_id, kept=True)
        one = self._add_input(answer, "ready", answer.output_sys_id, answer.payload)
        return Inserted(one, kept=one == answer.sys_id, created_by=USER)

    async def begin_large(self, answer: NewInput) -> str:
        fault = await self._begin("begin_large")

        def begin() -> str:
            there = self.rows.get(answer.sys_id)
            if there is not None and there["queue"] == "input":
                return answer.sys_id
            return self._add_input(answer, "processing", "", ATTACHED)

        return self._raised(self._spoiled(fault, begin))

    async def finish_large(self, sys_id: str, answer: NewInput) -> None:
        fault = await self._begin("finish_large")

        def finish() -> None:
            if sys_id not in self.rows:
                raise ServiceNowError(2016)
            self.attachments[sys_id] = answer.payload
            self.rows[sys_id] |= {"response_to": answer.output_sys_id, "state": "ready"}
            self._mark(answer.output_sys_id)

        self._raised(self._spoiled(fault, finish))

    @staticmethod
    def _raised(result: Any) -> Any:
        if isinstance(result, ServiceNowError):
            raise result
        return result

    async def close(self, sys_ids: Sequence[str]) -> list[Done | Taken | ServiceNowError]:
        try:
            fault = await self._begin("close")
        except ServiceNowError as error:
            return [error] * len(sys_ids)
        return [self._spoiled(fault, lambda one=one: self._close(one)) for one in sys_ids]  # type: ignore[misc]

    def _close(self, one: str) -> Done | Taken:
        if one not in self.rows or one in self.hidden:
            return Taken("gone")
        if self.rows[one]["state"] in {"ready", "processing"}:
            self.write(one, state="processed")
        return Done()

    async def fetch_payload(self, record: Record) -> str:
        await self._begin("fetch_payload")
        if record.sys_id not in self.attachments:
            raise ServiceNowError(2016, "the attachment 'payload'")
        return self.attachments[record.sys_id]

    def batch_size(self, *, urgent: bool) -> int:
        return min(self.size, 5) if urgent else self.size

    def now(self) -> float | None:
        return self.server_now()


_PLAIN: dict[str, Callable[[], ServiceNowError]] = {
    "not sent": lambda: ServiceNowError(2001, "not sent"),
    "busy": lambda: ServiceNowError(2007, "busy", after=30.0),
    "forbidden": lambda: ServiceNowError(2006, "forbidden"),
    "refused": lambda: ServiceNowError(2015, "refused"),
    "gone": lambda: ServiceNowError(2016, "gone"),
    "too large": lambda: ServiceNowError(2014, "too large"),
}
