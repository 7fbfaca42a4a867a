"""What an import would write, as a document of bounded size: a report may hold gigabytes of chat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from relay.core.jobs import Json
from relay.core.session_report import SessionReport
from relay.core.session_rows import Lookup, Row
from relay.core.session_surveys import is_told
from relay.sessions.preview import Linked, Preview

LONGEST: Final = 2_000
"""Characters of a column's text."""
LONGEST_OF_EVENT: Final = 300
"""Characters of a column's text in an event's row."""
MOST_TYPES: Final = 200
MOST_RECORDINGS: Final = 50


def page(found: Preview) -> dict[str, Json]:
    """The document."""
    events = found.report.events
    types = Counter(event.type for event in events)
    return {
        "running": found.report.running,
        "left_out": found.left_out,
        "tables": found.tables,
        "trouble": None if found.trouble is None else {"error": found.trouble.text, "fix": found.trouble.hint},
        "links": {link: _linked(one, known=found.trouble is None) for link, one in found.links.items()},
        "row": _row(found.row, LONGEST),
        "events": {
            "total": len(events) + sum(is_told(survey) for survey in found.report.surveys),
            "selected": found.selected,
            "types": dict(types.most_common(MOST_TYPES)),
            "rows": [_row(row, LONGEST_OF_EVENT) for row in found.events],
        },
        "entries": dict(found.entries),
        "recordings": {"mode": found.recordings, "links": _recordings(found.report)},
    }


def _linked(one: Linked, *, known: bool) -> dict[str, Json]:
    return {
        "table": one.place.table if one.place else None,
        "sys_id": one.place.sys_id if one.place else None,
        "known": known,
        "asked": [_lookup(each) for each in one.asked],
    }


def _lookup(one: Lookup) -> dict[str, Json]:
    return {"table": one.table, "field": one.field, "value": _short(one.value, LONGEST_OF_EVENT)}


def _row(row: Row, longest: int) -> dict[str, Json]:
    return {"table": row.table, "sys_id": row.sys_id, "values": _texts(row.values, longest)}


def _texts(values: Mapping[str, str], longest: int) -> dict[str, Json]:
    return {name: _short(text, longest) for name, text in values.items() if text}


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _recordings(report: SessionReport) -> list[Json]:
    screen = report.recording_view_url or report.recording_download_url
    shells = [(f"shell {one.instance}", one.view_url or one.download_url) for one in report.shell_recordings]
    found = [("screen", screen)] * bool(screen) + shells[:MOST_RECORDINGS]
    return [{"name": name, "link": _short(link, LONGEST)} for name, link in found]
