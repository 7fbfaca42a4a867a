"""ServiceNow's encoded queries, with their habit of ignoring what they do not understand.

Grammar: groups joined by `^NQ` (any may match), conditions joined by `^` (all must), alternatives by `^OR` to the
condition before them, `ORDERBYfield` and `ORDERBYDESCfield`. Text compares without regard to case, as the instance's
database does; numbers compare as numbers when both sides are. A condition on an unknown column, or one with an unknown
operator, is dropped, so that the query matches more than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

Row = dict[str, str]
Get = Callable[[Row, str], str]

_OPERATORS = (
    "NOT IN",
    "NOT LIKE",
    "IN",
    "STARTSWITH",
    "ENDSWITH",
    "LIKE",
    "ISEMPTY",
    "ISNOTEMPTY",
    "!=",
    "<=",
    ">=",
    "=",
    "<",
    ">",
)
_TERM = re.compile(r"([a-z_][a-z0-9_.]*)(" + "|".join(_OPERATORS) + r")(.*)", re.DOTALL)
_ORDER = re.compile(r"ORDERBY(DESC)?([a-z_][a-z0-9_.]*)")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `value` and `values` (for `IN`) are case-folded."""

    field: str
    operator: str
    value: str
    values: frozenset[str]

    def matches(self, row: Row, get: Get) -> bool:
        """Whether a row fulfils the condition."""
        return _COMPARE[self.operator](get(row, self.field).casefold(), self)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: groups of conditions, each a tuple of alternatives; the order; what was not understood."""

    groups: tuple[tuple[tuple[Term, ...], ...], ...]
    order: tuple[tuple[str, bool], ...]
    ignored: tuple[str, ...]

    def select(self, rows: Iterable[Row], get: Get) -> list[Row]:
        """Those of the rows that are asked for, in their own order.

        Condition by condition rather than row by row: a poll looks at thousands of rows.
        """
        rows = list(rows)
        found = [_narrow(rows, group, get) for group in self.groups]
        if len(found) == 1:
            return found[0]
        wanted = {id(row) for group in found for row in group}
        return [row for row in rows if id(row) in wanted]

    def single(self, field: str) -> frozenset[str] | None:
        """The only values that `field` can have in a match, when the query says so: lets a table use its index."""
        if len(self.groups) == 1:
            for terms in self.groups[0]:
                if len(terms) == 1 and terms[0].field == field and terms[0].operator in {"=", "IN"}:
                    return terms[0].values
        return None

    def sort(self, rows: list[Row], get: Get) -> None:
        """Put rows into the order asked for; without one they stay as they were inserted."""
        for field, descending in reversed(self.order):
            rows.sort(key=partial(_key, field, get), reverse=descending)


def _key(field: str, get: Get, row: Row) -> tuple[int, float, str]:
    return _sortable(get(row, field))


def _narrow(rows: list[Row], group: tuple[tuple[Term, ...], ...], get: Get) -> list[Row]:
    for terms in group:
        if len(terms) == 1:
            term, compare = terms[0], _COMPARE[terms[0].operator]
            rows = [row for row in rows if compare(get(row, term.field).casefold(), term)]
        else:
            rows = [row for row in rows if any(term.matches(row, get) for term in terms)]
    return rows


def parse(text: str, known: Callable[[str], bool]) -> Query:
    """Read an encoded query; `known` tells which columns the table has."""
    groups: list[tuple[tuple[Term, ...], ...]] = []
    order: list[tuple[str, bool]] = []
    ignored: list[str] = []
    for part in text.split("^NQ"):
        conditions: list[tuple[Term, ...]] = []
        for piece in part.split("^"):
            alternative = bool(conditions) and piece.startswith("OR") and not piece.startswith("ORDERBY")
            word = piece[2:] if alternative else piece
            ordering = _ORDER.fullmatch(word)
            if ordering:
                order.append((ordering[2], ordering[1] is not None))
                continue
            term = _term(word)
            if term is None or not known(term.field):
                if word not in {"", "EQ"}:
                    ignored.append(word)
            elif alternative:
                conditions[-1] += (term,)
            else:
                conditions.append((term,))
        groups.append(tuple(conditions))
    return Query(tuple(groups), tuple(pair for pair in order if known(pair[0])), tuple(ignored))


def _term(text: str) -> Term | None:
    match = _TERM.fullmatch(text)
    if match is None:
        return None
    value = match[3].casefold()
    values = frozenset(value.split(",")) if match[2] in {"IN", "NOT IN"} else frozenset({value})
    return Term(match[1], match[2], value, values)


def _sortable(value: str) -> tuple[int, float, str]:
    return (0, float(value), "") if value.isascii() and value.isdecimal() else (1, 0.0, value.casefold())


def _less(value: str, bound: str) -> bool:
    return _sortable(value) < _sortable(bound)


_COMPARE: dict[str, Callable[[str, Term], bool]] = {
    "=": lambda value, term: value == term.value,
    "!=": lambda value, term: value != term.value,
    "IN": lambda value, term: value in term.values,
    "NOT IN": lambda value, term: value not in term.values,
    "STARTSWITH": lambda value, term: value.startswith(term.value),
    "ENDSWITH": lambda value, term: value.endswith(term.value),
    "LIKE": lambda value, term: term.value in value,
    "NOT LIKE": lambda value, term: term.value not in value,
    "ISEMPTY": lambda value, _: not value,
    "ISNOTEMPTY": lambda value, _: bool(value),
    "<": lambda value, term: _less(value, term.value),
    ">": lambda value, term: _less(term.value, value),
    "<=": lambda value, term: not _less(term.value, value),
    ">=": lambda value, term: not _less(value, term.value),
}


def fields_of(text: str) -> Iterable[str]:
    """The names of a comma-separated list, without the empty ones."""
    return [name.strip() for name in text.split(",") if name.strip()]
