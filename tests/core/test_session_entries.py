"""The entries that a session leaves in journals: which are due, and that each is done with once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sessionreports import ACCESS, SUPPORT, document

from relay.appliance.reports import read_sessions
from relay.core.note import DEFAULT_TEMPLATE, information_of, note_of, read_template
from relay.core.session_entries import JOURNALS, NOTE, SYSTEM, due, outstanding, progress, text_of
from relay.core.session_job import SESSION
from relay.core.session_report import SessionReport
from relay.core.session_rows import RowSettings

ALL = RowSettings("default")
TEMPLATE = read_template(DEFAULT_TEMPLATE)
INFORMED, PLAIN = read_sessions(document(ACCESS, SUPPORT))


@pytest.mark.parametrize(
    ("report", "links", "events", "names"),
    [
        (INFORMED, ("task", "cmdb_ci", "user"), None, ["note", "information"]),
        (INFORMED, ("cmdb_ci",), frozenset({"System Information Retrieved"}), ["information"]),
        (INFORMED, ("task", "cmdb_ci"), frozenset({"File Upload"}), ["note"]),
        (INFORMED, ("user",), None, []),
        (PLAIN, ("task", "cmdb_ci"), None, ["note"]),
    ],
)
def test_what_is_due(
    report: SessionReport, links: tuple[str, ...], events: frozenset[str] | None, names: list[str]
) -> None:
    """A note on a task; system information on a configuration item, where there is some and its event is selected."""
    assert due(report, links, RowSettings("default", events=events)) == names


def test_what_the_entries_say() -> None:
    """The note is the template's, the other one the endpoint's system information."""
    assert text_of(NOTE, INFORMED, "a", TEMPLATE) == note_of(TEMPLATE, INFORMED, "a")
    assert text_of(SYSTEM, INFORMED, "a", TEMPLATE) == information_of(INFORMED)


def test_a_job_without_entries() -> None:
    """Nothing is outstanding, and no event is about an entry."""
    assert outstanding({}) is None
    assert progress({}, "noted") == {}


@given(st.lists(st.sampled_from(list(JOURNALS)), unique=True), st.data())
def test_each_entry_is_sent_until_it_is_there(names: list[str], data: st.DataObject) -> None:
    """Whatever happens along the table, entries go in order, and one is sent again only when it is surely not there."""
    job: dict[str, Any] = {"due": names}
    state, there, sent = "WRITTEN", Counter[str](), []
    for _ in range(60):
        if state not in {"WRITTEN", "NOTING", "ASKING"}:
            break
        journal = outstanding(job)
        choices = sorted(
            set(SESSION.rows[state]) - ({"all noted"} if journal else {"noting", "noted before", "put off"})
        )
        event = data.draw(st.sampled_from(choices))
        if event in {"noted", "note unknown", "found at start"}:
            there[journal.name] += 1  # type: ignore[union-attr]
        if event == "absent":
            there[journal.name] -= 1  # type: ignore[union-attr]
        if event == "noting":
            sent.append(journal.name)  # type: ignore[union-attr]
        job |= progress(job, event)
        state = SESSION.advance(state, event)
    assert all(count <= 1 for count in there.values())
    assert list(dict.fromkeys(sent)) == [name for name in names if name in sent]
    assert state != "NOTED" or sorted([*job.get("noted", []), *job.get("left", [])]) == sorted(names)
    assert not any(there[name] for name in job.get("left", []))
