"""Whether ServiceNow has the tables and columns that the configuration names, and what a wrong name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from relay.core.doctor import Result

Way = Literal["sys_dictionary", "a record", ""]
LACKING = 2029


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table that the configuration needs.

    Attributes:
        table: its name.
        key: the key of the configuration that names it.
        columns: the key that names each column that is needed, by the column.
        needed: those columns without which nothing works; what the others would hold is only lost.
        optional: without the table the relay does what the configuration says, and less than with it.
        number: the code of a table that is not there.

    """

    table: str
    key: str
    columns: Mapping[str, str]
    needed: frozenset[str] = frozenset()
    optional: bool = False
    number: int = LACKING


@dataclass(frozen=True, slots=True)
class Shape:
    """What was found out about a table.

    Attributes:
        exists: None: nobody says.
        columns: all of them, or those of `Wanted` that are there; None: nobody says.
        way: how the columns were learned.
        alike: names of other tables that may have been meant.
        refused: why the table cannot be read, "" when it can.
        number: the code of that.

    """

    exists: bool | None
    columns: frozenset[str] | None = None
    way: Way = ""
    alike: tuple[str, ...] = ()
    refused: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be said of a table. `number` is 0 where nothing is wrong."""

    result: Result
    detail: str
    number: int = 0


def judge(wanted: Wanted, shape: Shape) -> list[Judged]:
    """What a table's shape means for what the configuration wants of it; one thing at least."""
    if shape.exists is False:
        if wanted.optional:
            return [Judged("ok", "not there: notes and attachments only")]
        detail = f"{wanted.key}: there is no table '{wanted.table}'{near(wanted.table, shape.alike)}"
        return [Judged("error", detail, wanted.number)]
    if shape.number:
        return [Judged("error", f"{wanted.key}: {shape.refused}", shape.number)]
    if shape.columns is None:
        return [Judged("skipped", "it is there; its columns cannot be seen: no record, and sys_dictionary is closed")]
    lacking = [column for column in wanted.columns if column not in shape.columns]
    if not lacking:
        return [Judged("ok", f"{len(wanted.columns)} columns are there, by {shape.way}")]
    return list(_lacking(wanted, shape.columns, lacking, shape.way))


def _lacking(wanted: Wanted, columns: frozenset[str], lacking: Collection[str], way: Way) -> Iterator[Judged]:
    spare = columns - wanted.columns.keys()
    for column in lacking:
        grave = column in wanted.needed
        lost = "" if grave else "; what it would hold is lost"
        hint = near(column, spare) if way == "sys_dictionary" else ""
        detail = f"{wanted.columns[column]}: there is no column '{column}' by {way}{hint}{lost}"
        yield Judged("error" if grave else "warning", detail, LACKING)


def near(word: str, names: Collection[str]) -> str:
    """`; did you mean 'NAME'?` when a name is near, else nothing."""
    found = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0.7)
    return f"; did you mean '{found[0]}'?" if found else ""


def merged(wanted: Collection[Wanted]) -> list[Wanted]:
    """One for each table: what several parts of the configuration want of it together, each under its first key."""
    found: dict[str, Wanted] = {}
    for one in wanted:
        known = found.get(one.table)
        found[one.table] = one if known is None else _both(known, one)
    return list(found.values())


def _both(first: Wanted, second: Wanted) -> Wanted:
    named = second if first.optional else first
    return Wanted(
        first.table,
        named.key,
        {**second.columns, **first.columns},
        first.needed | second.needed,
        optional=first.optional and second.optional,
        number=named.number,
    )
