"""A session as it would be written now: asked of both sides, and nothing of it stored or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from relay.core.errors import ApplianceError, ServiceNowError
from relay.core.session_entries import JOURNALS, due, text_of
from relay.core.session_report import SessionReport, without_recordings
from relay.core.session_rows import (
    LINKS,
    Link,
    Lookup,
    Place,
    Row,
    RowSettings,
    Table,
    event_rows,
    lookups,
    session_row,
    started_outside,
)
from relay.core.session_surveys import surveyed, with_surveys
from relay.sessions.by_hand import Asked
from relay.sessions.parts import Parts, report_on, survey_on
from relay.sessions.ports import Recordings

log = structlog.get_logger("relay.sessions")

MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link of the session leads to. `asked`: what ServiceNow is asked for, in order; none when nothing is."""

    place: Place | None
    asked: tuple[Lookup, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would write.

    Attributes:
        report: the session.
        left_out: it was started outside ServiceNow, and such sessions are left out, unless somebody names them.
        links: by link; what they lead to is not known where `trouble` says so.
        tables: whether ServiceNow has the tables for rows; None: not known.
        row: the session's own row.
        events: the rows of the first selected events, by the relay's names of columns.
        selected: how many events are selected.
        entries: the texts of journal entries by the journal's name: those that are due.
        recordings: what is done with them.
        trouble: ServiceNow could not be asked.

    """

    report: SessionReport
    left_out: bool
    links: Mapping[Link, Linked]
    tables: bool | None
    row: Row
    events: tuple[Row, ...]
    selected: int
    entries: Mapping[str, str]
    recordings: Recordings
    trouble: ServiceNowError | None


@dataclass(slots=True)
class _There:
    """What ServiceNow says."""

    places: Mapping[Link, Place] = field(default_factory=dict)
    tables: bool | None = None
    trouble: ServiceNowError | None = None


async def preview(parts: Parts, asked: Asked) -> Preview | None:
    """What an import of this session would write; None when the appliance does not have it.

    Raises:
        ApplianceError: the appliance could not be asked, or its report cannot be read.

    """
    report = await _report(parts, asked)
    if report is None:
        return None
    site = parts.sites[asked.appliance]
    looked_for = lookups(report, site.rows)
    there = await _ask(parts, asked.appliance, looked_for)
    links: dict[Link, str] = {link: place.sys_id for link, place in there.places.items()}
    row, events, selected = await asyncio.to_thread(_rows, report, site.rows, links)
    entries = {
        name: text_of(JOURNALS[name], report, asked.appliance, site.template) for name in due(report, links, site.rows)
    }
    return Preview(
        report=report,
        left_out=started_outside(report) and not site.import_external,
        links={
            link: Linked(there.places.get(link), tuple(one for one in looked_for if one.link == link)) for link in LINKS
        },
        tables=there.tables,
        row=row,
        events=events,
        selected=selected,
        entries=entries,
        recordings=site.recordings,
        trouble=there.trouble,
    )


def _rows(report: SessionReport, settings: RowSettings, links: Mapping[Link, str]) -> tuple[Row, tuple[Row, ...], int]:
    """The session's row, the first events' by the relay's names of columns, and how many events there are."""
    first: list[Row] = []
    number = 0
    for row in event_rows(report, replace(settings, event=Table(settings.event.name))):
        number += 1
        if number <= MOST_EVENTS:
            first.append(row)
    return session_row(report, settings, links), tuple(first), number


async def _report(parts: Parts, asked: Asked) -> SessionReport | None:
    """The report as an import would take it; an exit survey that cannot be had is left out."""
    document = await report_on(parts, asked.appliance, asked.lsid)
    report = await parts.reader.session(document, asked.lsid)
    if report is None:
        return None
    site = parts.sites[asked.appliance]
    for by in surveyed(report) if site.product == "rs" and not report.running else ():
        try:
            document = await survey_on(parts, asked.appliance, report.lsid, by)
            report = with_surveys(report, by, await parts.reader.surveys(document, by))
        except ApplianceError as error:
            log.warning(
                "sessions.not_surveyed", appliance=asked.appliance, survey=by, code=error.code, error=error.text
            )
    return without_recordings(report) if site.recordings == "none" else report


async def _ask(parts: Parts, appliance: str, looked_for: tuple[Lookup, ...]) -> _There:
    records, there = parts.records[appliance], _There()
    try:
        there.tables = await records.tables()
        there.places = await records.find(looked_for)
    except ServiceNowError as error:
        there.trouble = error
    return there
