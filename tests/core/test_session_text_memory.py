"""A long chat is not held twice on its way to a row."""

from __future__ import annotations

import tracemalloc

from relay.core.session_report import Event, Moment, SessionReport
from relay.core.session_rows import RowSettings, session_row
from relay.core.session_texts import CHAT, chat_lines


def test_a_transcript_of_rare_characters_takes_little_more_than_itself() -> None:
    """Five million characters that take four bytes each, 20 MB, make a transcript within 32 MB."""
    report = SessionReport(
        "a", events=tuple(Event(Moment(0), CHAT, body="x" * 99_999 + "\U0001f600") for _ in range(50))
    )
    tracemalloc.start()
    try:
        row = session_row(report, RowSettings("default"))
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()
    assert row.values["chat_transcript"] == "\n".join(chat_lines(report))
    assert session_row(SessionReport("a"), RowSettings("default")).values["chat_transcript"] == ""
