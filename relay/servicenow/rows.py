"""Which rows of `ecc_queue` are what was asked for, and what the answers to changes mean. Decisions only.

Why every row is compared: an unknown term in a query is silently ignored, a write to a column that access rules protect
is silently dropped, and comparisons in a query ignore case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, Done, FoundInput, Inserted, NewInput, Taken
from relay.core.record import RECORD_FIELDS, Record
from relay.servicenow.batch import Part
from relay.servicenow.calls import Row, is_sys_id, row_of

TABLE: Final = "ecc_queue"
BARE_FIELDS: Final = tuple(name for name in RECORD_FIELDS if name != "payload")
STATE_FIELDS: Final = ("sys_id", "agent", "queue", "state", "response_to")
FOUND_FIELDS: Final = (*STATE_FIELDS, "sys_created_by", "sys_created_on")

UNREADABLE: Final = "(too large to be read)"
"""Stands for the payload of a single row that is larger than an answer may be; it is no XML, so the row is refused."""

GONE: Final = 2016
OTHER_AGENT: Final = "it is addressed to another agent"


def matching(rows: Iterable[Row], wanted: Mapping[str, Sequence[str]]) -> tuple[list[Row], int]:
    """The rows whose columns have one of the wanted values, each sys_id once, and how many had not.

    Raises:
        ServiceNowError: BSR-2019, there are rows but none is what was asked for.

    """
    kept: dict[str, Row] = {}
    foreign = 0
    for row in rows:
        fits = is_sys_id(row.get("sys_id", "")) and all(row.get(name) in values for name, values in wanted.items())
        if fits:
            kept.setdefault(row["sys_id"], row)
        else:
            foreign += 1
    if foreign and not kept:
        raise ServiceNowError(2019, f"{foreign} rows, none with the {', '.join(wanted)} asked for")
    return list(kept.values()), foreign


def record_of(row: Row) -> Record:
    """A row as a record: the columns that are known."""
    return Record({name: row[name] for name in RECORD_FIELDS if name in row})


def claimed(agent: str, sys_id: str, part: Part) -> Claimed | Taken | ServiceNowError:
    """What the answer to a claim says."""
    row = _changed_row(sys_id, part)
    if isinstance(row, ServiceNowError):
        return Taken("it is gone or hidden") if row.number == GONE else row
    if row.get("agent") != agent or row.get("queue") != "output":
        return Taken(OTHER_AGENT)
    match row.get("state"):
        case "processing":
            return Claimed(record_of(row))
        case "ready":
            return ServiceNowError(2006, "a write to ecc_queue.state was dropped")
        case state:
            return Taken(f"its state is {(state or 'unknown')[:40]!r}")


def inserted(agent: str, wished: NewInput, part: Part) -> Inserted | ServiceNowError:
    """What the answer to an insert says."""
    if isinstance(part, ServiceNowError):
        return part
    try:
        row = row_of(part)
    except ServiceNowError as error:
        return error
    if not is_sys_id(row.get("sys_id", "")):
        return ServiceNowError(2011, "an insert's answer without a sys_id", maybe_sent=True)
    if row.get("response_to") != wished.output_sys_id or row.get("agent") != agent:
        return ServiceNowError(2015, "ecc_queue.response_to or agent was not stored as written")
    return Inserted(row["sys_id"], kept=row["sys_id"] == wished.sys_id, created_by=row.get("sys_created_by", ""))


def is_answer(agent: str, wished: NewInput, row: Row | None) -> bool:
    """Whether a row is the answer that was to be inserted."""
    return (
        row is not None
        and row.get("agent") == agent
        and row.get("queue") == "input"
        and row.get("response_to") == wished.output_sys_id
    )


def closed(sys_id: str, part: Part) -> Done | Taken | ServiceNowError:
    """What the answer to closing an output says."""
    row = _changed_row(sys_id, part)
    if isinstance(row, ServiceNowError):
        return Taken("it is gone or hidden") if row.number == GONE else row
    if row.get("state") in {"ready", "processing"}:
        return ServiceNowError(2006, "a write to ecc_queue.state was dropped")
    return Done()


def found_input(row: Row) -> FoundInput:
    """An answer as it was found."""
    return FoundInput(row["sys_id"], row["response_to"], row.get("sys_created_by", ""), row.get("state", ""))


def _changed_row(sys_id: str, part: Part) -> Row | ServiceNowError:
    """The row in the answer to a change of one row."""
    if isinstance(part, ServiceNowError):
        return part
    try:
        row = row_of(part)
    except ServiceNowError as error:
        return error
    if row.get("sys_id") != sys_id:
        return ServiceNowError(2019, "another row than the one that was changed", maybe_sent=True)
    return row
