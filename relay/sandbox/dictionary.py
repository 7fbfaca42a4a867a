"""The instance's own description of its tables: `sys_db_object`, `sys_dictionary`, made anew for each look."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from relay.sandbox.schema import Table, table

TABLES = "sys_db_object"
DICTIONARY = "sys_dictionary"
NAMES = frozenset({TABLES, DICTIONARY})
DESCRIBED = (
    table(TABLES, "name label super_class", references={"super_class": TABLES}),
    table(DICTIONARY, "name element internal_type active", display="element"),
)
_SPACE = uuid.UUID("6d6f7574-6820-6f66-2074-61626c657321")


def rows(name: str, tables: Mapping[str, Table]) -> Iterator[dict[str, str]]:
    """The rows of one of the two. A column stands with the table that it was made in, not with those that extend it."""
    for one in list(tables.values()):
        if name == TABLES:
            parent = "" if one.extends is None else _sys_id(TABLES, one.extends)
            yield _row(tables[name], _sys_id(TABLES, one.name), name=one.name, label=one.name, super_class=parent)
            continue
        above = tables.get(one.extends or "")
        inherited = above.columns if above is not None else frozenset()
        for element in ("", *sorted(one.columns - inherited)):
            sys_id = _sys_id(DICTIONARY, f"{one.name}.{element}")
            kind = "string" if element else "collection"
            yield _row(tables[name], sys_id, name=one.name, element=element, internal_type=kind, active="true")


def _row(description: Table, sys_id: str, **values: str) -> dict[str, str]:
    return {**dict.fromkeys(sorted(description.columns), ""), "sys_id": sys_id, **values}


def _sys_id(kind: str, name: str) -> str:
    return uuid.uuid5(_SPACE, f"{kind} {name}").hex
