"""What a session leaves in journals of ServiceNow: which entries are due, and how far they came.

A journal takes every write as a further entry, the same text again too. So each entry is written by one job, one after
the other, and which of them are done with is on disk: a job's data has the names that are `due`, those `noted`, which
never come again, and those `left` out, which come again when the session is imported anew. Every entry ends in the
session's mark, by which it is looked for when nobody knows whether it was written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from relay.core.jobs import Json
from relay.core.note import Template, information_of, note_of
from relay.core.session_report import SessionReport
from relay.core.session_rows import Link, RowSettings
from relay.core.session_texts import INFORMATION, has_information


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal that sessions are told in, one entry each.

    Attributes:
        name: the entry's, as a job remembers it.
        link: which of a session's records has the journal.
        element: the journal's name in ServiceNow.
        subject: what health calls it.
        needed: without this entry a session is not home; one that is refused waits for an administrator. What another
            holds is in the session's row as well.

    """

    name: str
    link: Link
    element: str
    subject: str
    needed: bool


NOTE: Final = Journal("note", "task", "work_notes", "work notes", needed=True)
SYSTEM: Final = Journal("information", "cmdb_ci", "comments", "comments of configuration items", needed=False)
JOURNALS: Final[Mapping[str, Journal]] = {journal.name: journal for journal in (NOTE, SYSTEM)}
"""In the order in which they are written: first what people wait for."""

SETTLED: Final = frozenset({"noted", "noted before", "found", "cannot be asked"})
"""Events after which an entry is done with: it is never sent again."""
LEFT_OUT: Final = "left out"
"""The event after which an entry is surely not there, and not sent again by this import."""


def due(report: SessionReport, links: Collection[str], settings: RowSettings) -> list[str]:
    """The names of the entries that a session calls for, given which of its links lead to a record."""
    informs = settings.selects(INFORMATION) and has_information(report)
    return [name for name, journal in JOURNALS.items() if journal.link in links and (journal is NOTE or informs)]


def outstanding(data: Mapping[str, Json]) -> Journal | None:
    """The journal whose entry is next; None when all are done with."""
    done = {*data.get("noted", ()), *data.get("left", ())}
    return next((JOURNALS[name] for name in data.get("due", ()) if name not in done), None)


def progress(data: Mapping[str, Json], event: str) -> dict[str, Json]:
    """How an event changes the data of a job whose next entry it is about."""
    journal = outstanding(data)
    if journal is None or event not in SETTLED | {LEFT_OUT}:
        return {}
    name = "left" if event == LEFT_OUT else "noted"
    return {name: [*data.get(name, ()), journal.name]}


def text_of(journal: Journal, report: SessionReport, appliance: str, template: Template) -> str:
    """The entry: bounded, harmless, ended by the session's mark."""
    return note_of(template, report, appliance) if journal is NOTE else information_of(report)
