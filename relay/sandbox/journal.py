"""Journal fields such as `work_notes`: they hold nothing, what is written to them becomes a row of `sys_journal_field`.

Every write adds an entry, the same text a second time too: that is what makes a repeated note visible to people.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.sandbox.rows import Row, Tables

TABLE = "sys_journal_field"


def take(tables: Tables, table: str, values: Mapping[str, str]) -> tuple[Row, Row]:
    """What is written to a table's columns, and what to its journals; an empty entry is none."""
    journals = tables.tables[table].journals
    plain = {name: value for name, value in values.items() if name not in journals}
    return plain, {name: str(value) for name, value in values.items() if name in journals and value}


def write(tables: Tables, table: str, row: Row, entries: Mapping[str, str], user: str) -> None:
    """Add entries to the journals of a row."""
    name = row.get("sys_class_name") or table
    for element, value in entries.items():
        tables.insert(TABLE, {"name": name, "element": element, "element_id": row["sys_id"], "value": value}, user)


def shown(tables: Tables, row: Row, element: str) -> str:
    """What a person sees in a journal field: its entries, the newest first."""
    entries = tables.find(TABLE, f"element_id={row['sys_id']}^element={element}")
    title = element.replace("_", " ").capitalize()
    return "".join(
        f"{entry['sys_created_on']} - {entry['sys_created_by']} ({title})\n{entry['value']}\n\n"
        for entry in reversed(entries)
    )
