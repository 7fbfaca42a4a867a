"""Parts of a session as lines for people: chat, system information, surveys, recordings of shells, custom fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relay.core.instant import written
from relay.core.session_report import Category, Moment, SessionReport

CHAT: Final = "Chat Message"
NOTE: Final = "Session Note Added"
INFORMATION: Final = "System Information Retrieved"


def chat_lines(report: SessionReport) -> Iterator[str]:
    """`2026-01-31 12:00:00 Admin: hello`; further lines of a message are indented."""
    for event in report.events:
        if event.type == CHAT:
            name = event.performed_by.name if event.performed_by else ""
            yield f"{shown_time(event.at)} {name}: {_indented(event.body)}"


def information_lines(report: SessionReport) -> Iterator[str]:
    """Each category of the endpoint's system information: its name, and a line for each of its rows."""
    for event in report.events:
        for category in event.system_information:
            yield from category_lines(category)


def has_information(report: SessionReport) -> bool:
    """Whether the session holds system information of its endpoint."""
    return any(event.system_information for event in report.events)


def category_lines(category: Category) -> Iterator[str]:
    """`Disk`, then `  Drive: C:; Size: 100` for each row."""
    yield category.name
    for row in category.rows:
        yield "  " + "; ".join(f"{name}: {_indented(value)}" if name else _indented(value) for name, value in row)


def survey_lines(report: SessionReport) -> Iterator[str]:
    """Who gave a survey, and a line for each question with its answers."""
    for survey in report.surveys:
        yield f"{survey.submitter.name if survey.submitter else ''} ({survey.by})".strip()
        for question in survey.questions:
            asked = question.label or question.header or question.name
            yield f"  {_indented(asked)}: {', '.join(_indented(answer) for answer in question.answers)}"


def shell_lines(report: SessionReport) -> Iterator[str]:
    """`0: https://...` for each recording of a command shell."""
    for recording in report.shell_recordings:
        yield f"{recording.instance}: {recording.view_url or recording.download_url}"


def attribute_lines(report: SessionReport) -> Iterator[str]:
    """`snow_task_id: ...` for each custom field."""
    for one in report.attributes:
        yield f"{one.code_name}: {_indented(one.value)}"


def shown_time(moment: Moment | None) -> str:
    """The date and time in UTC, else what the report says."""
    if moment is None:
        return ""
    return moment.text if moment.seconds is None else written(moment.seconds)


def _indented(text: str) -> str:
    return "\n    ".join(text.splitlines())
