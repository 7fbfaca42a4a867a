"""The only place where `sysparm_query` is put together: from field, operator and value.

Why so strict: an encoded query is text without any quoting. `^` ends a term, `javascript:` runs, `NULL` means empty,
and a term that the instance does not understand is silently ignored, which returns everybody's rows. So fields,
operators and the characters of a value are checked here, and whoever asks compares the rows that come back as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

FIELDS: Final = frozenset(
    {
        "agent",
        "element",
        "element_id",
        "file_name",
        "name",
        "queue",
        "response_to",
        "state",
        "sequence",
        "sys_created_on",
        "sys_id",
        "table_name",
        "table_sys_id",
        "topic",
        "value",
        "priority",
    }
)
"""Columns that the relay asks by, beside those that the configuration names."""

Operator = Literal["=", "IN", "NOT IN", "LIKE"]
_OPERATORS: Final = frozenset({"=", "IN", "NOT IN", "LIKE"})
_SINGLE: Final = frozenset({"=", "LIKE"})
_NAMED: Final = re.compile(r"[a-z][a-z0-9_]{0,79}\Z", re.ASCII)

LONGEST: Final = 1000  # characters of one value; no column that is asked by is longer

_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
_LEADING: Final = re.compile(r"[=!<>*%@|&^]")
_WORDS: Final = frozenset({"null", "emptystring", "empty", "anything"})
_SCRIPT: Final = re.compile(r"javascript\s*:|\bgs\s*\.", re.IGNORECASE)


class UnmatchableError(ValueError):
    """The value cannot stand in a query, so nothing matches it. The message never quotes it."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `values` holds one value for `=` and `LIKE`, one or more for `IN` and `NOT IN`.

    `named`: the field is no column that the relay knows, but one that the configuration or the mapping names.
    """

    field: str
    operator: Operator
    values: tuple[str, ...]
    named: bool = False

    def encode(self) -> str:
        """The term as an encoded query writes it.

        Raises:
            UnmatchableError: a value that would mean something else than itself.
            ValueError: a field or operator that the relay does not ask by; a fault of the caller.

        """
        known = _NAMED.match(self.field) is not None if self.named else self.field in FIELDS
        if not known or self.operator not in _OPERATORS:
            msg = f"no query by {self.field!r} {self.operator!r}"
            raise ValueError(msg)
        if not self.values or (self.operator in _SINGLE and len(self.values) > 1):
            msg = f"{self.operator!r} with {len(self.values)} values"
            raise ValueError(msg)
        listed = self.operator not in _SINGLE
        return self.field + self.operator + ",".join(_checked(value, listed=listed) for value in self.values)


def equals(field: str, value: str) -> Term:
    """`field=value`."""
    return Term(field, "=", (value,))


def one_of(field: str, values: Sequence[str]) -> Term:
    """`fieldINa,b`."""
    return Term(field, "IN", tuple(values))


def named_equals(field: str, value: str) -> Term:
    """`field=value`, of a column that the configuration names."""
    return Term(field, "=", (value,), named=True)


def named_one_of(field: str, values: Sequence[str]) -> Term:
    """`fieldINa,b`, of a column that the configuration names."""
    return Term(field, "IN", tuple(values), named=True)


def contains(field: str, value: str) -> Term:
    """`fieldLIKEvalue`: the value stands somewhere in the column."""
    return Term(field, "LIKE", (value,))


def none_of(field: str, values: Sequence[str]) -> Term:
    """`fieldNOT INa,b`."""
    return Term(field, "NOT IN", tuple(values))


def build(*terms: Term, order: Sequence[str] = ()) -> str:
    """The encoded query of all terms together, ordered by the fields of `order`, ascending.

    Raises:
        UnmatchableError: one of the values can match nothing.

    """
    if unknown := [field for field in order if field not in FIELDS]:
        msg = f"no order by {unknown}"
        raise ValueError(msg)
    return "^".join([*(term.encode() for term in terms), *(f"ORDERBY{field}" for field in order)])


def _checked(value: str, *, listed: bool) -> str:
    if not value or len(value) > LONGEST or value != value.strip():
        raise UnmatchableError("empty, too long, or with spaces around it")
    if "^" in value or (listed and "," in value):
        raise UnmatchableError("a character that separates terms or values")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise UnmatchableError("a character that cannot be seen")
    if _LEADING.match(value) or value.casefold() in _WORDS or _SCRIPT.search(unicodedata.normalize("NFKC", value)):
        raise UnmatchableError("a word or sign that means something to the instance")
    return value
