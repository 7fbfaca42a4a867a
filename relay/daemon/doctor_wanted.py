"""Which tables and columns of ServiceNow a configuration names, each with its key."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config.flows import SessionTables, TableMapping
from relay.config.model import Settings
from relay.core.approval_values import ALWAYS_READ, PLANNED
from relay.core.doctor_tables import Wanted, merged
from relay.core.session_rows import EVENT_COLUMNS, LINKS, SESSION_COLUMNS

TASK = "task"
CHANGES = "change_request"
SESSION_TABLE = 2028


def wanted_of(settings: Settings) -> list[Wanted]:
    """What the sections on sessions, approvals and the audit log want, one for each table."""
    return merged([*_sessions(settings), *_approvals(settings), *_anchor(settings)])


def _sessions(settings: Settings) -> Iterator[Wanted]:
    for name, appliance in settings.appliances.items():
        if not appliance.enabled or not settings.imports(name):
            continue
        tables = settings.sessions_of(name).tables
        if tables == "none":
            continue
        key = f"{'' if appliance.sessions is None else f'appliances.{name}.'}sessions.tables"
        mapped = isinstance(tables, SessionTables)
        known = tables if isinstance(tables, SessionTables) else SessionTables()
        parts = (("session", known.session, (*SESSION_COLUMNS, *LINKS)), ("event", known.event, EVENT_COLUMNS))
        for part, mapping, columns in parts:
            yield _mapped(mapping, columns, f"{key}.{part}" if mapped else key, optional=not mapped)


def _mapped(mapping: TableMapping, columns: tuple[str, ...], key: str, *, optional: bool) -> Wanted:
    """A table of sessions: what the map names must be there, and the key; the rest may be left out."""
    names = {mapping.fields.get(one, one): one for one in columns}
    keys = {column: f"{key}.fields.{one}" if one in mapping.fields else key for column, one in names.items()}
    needed = frozenset(column for column, one in names.items() if one == "key" or one in mapping.fields)
    return Wanted(mapping.table, key if optional else f"{key}.table", keys, needed, optional, SESSION_TABLE)


def _approvals(settings: Settings) -> Iterator[Wanted]:
    for name, appliance in settings.appliances.items():
        approvals = settings.approvals_of(name)
        if settings.listener is None or not appliance.enabled or approvals.mode != "evaluate":
            continue
        key = f"{'' if appliance.approvals is None else f'appliances.{name}.'}approvals"
        yield _needed(TASK, key, dict.fromkeys(ALWAYS_READ, key))
        checked = {_first(one.field): f"{key}.overrides[{nth}].field" for nth, one in enumerate(approvals.overrides)}
        yield _needed(TASK, key, checked)
        for nth, rule in enumerate(approvals.rules):
            at = f"{key}.rules[{nth}]"
            own = {_first(one.field): f"{at}.overrides[{nr}].field" for nr, one in enumerate(rule.overrides)}
            for table in rule.tables or (TASK,):
                yield _needed(table, f"{at}.tables" if rule.tables else at, own or checked)
            dated = [one for one in rule.tables if one != TASK] or [CHANGES]
            for table in dated if rule.window else ():
                yield _needed(table, f"{at}.window", dict.fromkeys(PLANNED, f"{at}.window"))


def _anchor(settings: Settings) -> Iterator[Wanted]:
    anchor = settings.audit.anchor
    if anchor is not None:
        yield _needed(anchor.table, "audit.anchor.table", {anchor.field: "audit.anchor.field"})


def _needed(table: str, key: str, columns: dict[str, str]) -> Wanted:
    return Wanted(table, key, columns, frozenset(columns))


def _first(dotted: str) -> str:
    """The column of the task itself: what follows the dot belongs to the record that it refers to."""
    return dotted.partition(".")[0]
