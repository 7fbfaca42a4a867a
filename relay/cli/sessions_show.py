"""A session as `bseries-relay sessions show` prints it."""

from __future__ import annotations

from typing import Final

from relay.cli.output import data, plain
from relay.core.jobs import Json

LONGEST: Final = 600
"""Characters of a column that are shown; --json has more."""
MOST_EVENTS: Final = 50
LEFT_OUT_COLUMNS: Final = frozenset({"details", "key", "session", "lsid", "appliance", "sequence"})
"""Columns that tell a person nothing, or the same in each event."""
LINKS: Final = {"task": "task", "cmdb_ci": "configuration item", "user": "user"}
ENTRIES: Final = {"note": "work note on the task", "information": "comment on the configuration item"}


def print_session(found: Json) -> None:
    """Print the document of the running relay."""
    _print_standing(found)
    data("links")
    for name, link in found["links"].items():
        data(plain(f"  {LINKS.get(name, name)}: {_link(link)}"))
    row = found["row"]
    _title(f"row in {row['table']}{_written(found)} (times in UTC)")
    for name, text in row["values"].items():
        if name not in LEFT_OUT_COLUMNS:
            _print_text(f"  {name}: ", text)
    _print_events(found["events"])
    for name, text in found["entries"].items():
        _title(ENTRIES.get(name, name))
        _print_text("  ", text, whole=True)
    if "note" not in found["entries"]:
        _title("no work note: the session leads to no task")
    _print_recordings(found["recordings"])


def _print_standing(found: Json) -> None:
    code = f", {found['code']}: {found['cause']}" if found["code"] else ""
    data(plain(f"session {found['lsid']} of {found['appliance']}: {_standing(found['standing'])}{code}"))
    if found["running"]:
        data("it has no end yet: nothing is written before")
    if found["left_out"]:
        data("it was started outside ServiceNow, and such sessions are left out, unless an LSID is named by hand")
    if found["trouble"] is not None:
        data(plain(f"ServiceNow could not be asked: {found['trouble']['error']}"))
        data(plain(f"  fix: {found['trouble']['fix']}"))


def _standing(standing: str) -> str:
    return {
        "unknown": "not imported by this relay",
        "home": "imported",
        "under way": "being imported",
        "running": "waits for its end",
        "failed": "could not be imported",
        "left out": "left out",
        "discarded": "given up",
    }.get(standing, standing)


def _written(found: Json) -> str:
    if found["tables"] is None:
        return ", when ServiceNow has the table"
    return "" if found["tables"] else ": not written, ServiceNow has no such table or it is not configured"


def _link(link: Json) -> str:
    asked = "; ".join(f"{one['table']}.{one['field']} = {one['value']!r}" for one in link["asked"])
    if link["sys_id"]:
        return f"{link['table']} {link['sys_id']}"
    if not asked:
        return "none: the session names none, or the configuration does not ask for it"
    return (
        f"none: not exactly one record that the relay's user can read has {asked}"
        if link["known"]
        else f"not known; asked is for {asked}"
    )


def _print_events(events: Json) -> None:
    rows = events["rows"]
    _title(f"events: {events['selected']} of {events['total']} are selected" + (", as rows" if rows else ""))
    types = ", ".join(f"{name or '(no type)'} {count}" for name, count in events["types"].items())
    if types:
        _print_text("  types: ", types)
    for row in rows[:MOST_EVENTS]:
        values = dict(row["values"])
        told = " ".join(values.pop(name, "-") for name in ("event_time", "event_type", "performed_by"))
        more = [f"{name}={text}" for name, text in values.items() if name not in LEFT_OUT_COLUMNS]
        data(plain(" ".join((f"  {told}: {'; '.join(more)}" if more else f"  {told}").split("\n"))))
    if events["selected"] > min(len(rows), MOST_EVENTS):
        data(f"  ... and {events['selected'] - min(len(rows), MOST_EVENTS)} more")


def _print_recordings(recordings: Json) -> None:
    _title(f"recordings: {recordings['mode']}" if recordings["links"] else "no recordings")
    for one in recordings["links"]:
        _print_text(f"  {one['name']}: ", one["link"])


def _title(text: str) -> None:
    data(plain(text))


def _print_text(name: str, text: str, *, whole: bool = False) -> None:
    """A text under its name, its further lines indented; never cut within the note, which is short."""
    if not whole and len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    first, *others = plain(text).split("\n")
    data(f"{plain(name)}{first}")
    indent = " " * (len(name) - len(name.lstrip()) + (0 if whole else 2))
    for line in others:
        data(f"{indent}{line}")
