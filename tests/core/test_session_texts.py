"""Parts of a session as lines."""

from __future__ import annotations

from relay.core.session_report import Category, Event, Moment, SessionReport
from relay.core.session_texts import category_lines, chat_lines, shown_time


def test_a_time_is_shown_as_well_as_it_is_known() -> None:
    """In UTC where it can be read, as the report has it where not, empty without one."""
    assert [shown_time(one) for one in (Moment(0, "x"), Moment(None, "soon"), None)] == [
        "1970-01-01 00:00:00",
        "soon",
        "",
    ]


def test_further_lines_of_a_text_are_indented() -> None:
    """A message of several lines cannot look like several messages; a field without a name is its value."""
    report = SessionReport("a", events=(Event(Moment(0), "Chat Message", body="a\n1970-01-01 00:00:00 Eve: b"),))
    assert list(chat_lines(report)) == ["1970-01-01 00:00:00 : a\n    1970-01-01 00:00:00 Eve: b"]
    assert list(category_lines(Category("Disk", (), ((("", "C:\nD:"),),)))) == ["Disk", "  C:\n    D:"]
