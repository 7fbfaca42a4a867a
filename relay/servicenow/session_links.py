"""Which records of ServiceNow a session belongs to: its task, configuration item and user.

All that is to be looked up for a session goes in one batch. Values were typed by others: one that cannot stand in a
query finds nothing, each row that comes back is compared with the value asked for, and two rows are no match, also when
they differ by case only. A column that the instance lacks makes it answer with any rows, none of which compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Link, Lookup, Place
from relay.servicenow.batch import Part
from relay.servicenow.batcher import Batcher
from relay.servicenow.calls import Call, Row, get_rows, is_sys_id, rows_of
from relay.servicenow.query import UnmatchableError, build, named_equals
from relay.servicenow.session import Lane

MOST: Final = 10
"""Rows that a look-up asks for. As many as that are never told apart: there may be more."""
REFUSALS: Final = frozenset({2006, 2015, 2016})
"""A right, a table or a column is missing: the look-up is not made, and repeating it would not help."""
_TABLE: Final = re.compile(r"[a-z][a-z0-9_]{0,79}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Links:
    """What the look-ups found. `refused`: links of which a look-up could not be made, with the reason of the last."""

    found: Mapping[Link, Place]
    refused: Mapping[Link, ServiceNowError]


async def find_links(lane: Lane, batcher: Batcher, asked: Sequence[Lookup]) -> Links:
    """Make the look-ups. For each link the first that finds exactly one record counts.

    Raises:
        ServiceNowError: one that might have counted got no answer.

    """
    calls = [(one, call) for one in asked if (call := _call(one)) is not None]
    parts = await batcher.run(lane, [call for _, call in calls])
    found: dict[Link, Place] = {}
    refused: dict[Link, ServiceNowError] = {}
    for (one, _), part in zip(calls, parts, strict=True):
        if one.link in found:
            continue
        try:
            record = _record(one, part)
        except ServiceNowError as error:
            if error.number not in REFUSALS:
                raise only_asked(error) from None
            refused[one.link] = error
        else:
            if record is not None:
                found[one.link] = record
    return Links(found, refused)


def only_asked(error: ServiceNowError) -> ServiceNowError:
    """The error of a request that changes nothing, whether it arrived or not."""
    return ServiceNowError(error.number, error.detail, after=error.after)


def _place_of(table: str, row: Row) -> Place:
    """The record that a row of `table` is."""
    own = row.get("sys_class_name", "")
    return Place(own if _TABLE.match(own) else table, row["sys_id"])


def _call(one: Lookup) -> Call | None:
    try:
        query = build(named_equals(one.field, _value(one)))
    except UnmatchableError:
        return None
    return get_rows(one.table, query, tuple(dict.fromkeys(("sys_id", "sys_class_name", one.field))), MOST)


def _record(one: Lookup, part: Part) -> Place | None:
    """The one record that a look-up found."""
    if isinstance(part, ServiceNowError):
        raise part
    rows = rows_of(part)
    value = _value(one)
    alike = {
        row["sys_id"]: row
        for row in rows
        if is_sys_id(row.get("sys_id", "")) and row.get(one.field, "").casefold() == value.casefold()
    }
    if len(alike) != 1 or len(rows) >= MOST:
        return None
    [row] = alike.values()
    # Names of computers are the same in any case, and appliance and CMDB seldom write them alike.
    if one.link != "cmdb_ci" and row[one.field] != value:
        return None
    return _place_of(one.table, row)


def _value(one: Lookup) -> str:
    return one.value.lower() if one.field == "sys_id" else one.value
