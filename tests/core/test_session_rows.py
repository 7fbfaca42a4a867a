"""Sessions as rows: the same ones each time, unlike keys for like events, and nothing lost."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sessionreports import ACCESS, LSID, SUPPORT, document, sessions

from relay.appliance.reports import read_sessions
from relay.core.session_report import Actor, CustomAttribute, Event, File, Moment, Participant, SessionReport
from relay.core.session_rows import (
    EVENT_COLUMNS,
    LINKS,
    SESSION_COLUMNS,
    Lookup,
    RowSettings,
    Table,
    event_keys,
    event_rows,
    lookups,
    session_row,
    started_outside,
)

SETTINGS = RowSettings("default", user_fields=("user_name", "u_beyondtrust_username"))
SYS_ID = "ab" * 16
ACCESSED, SUPPORTED = read_sessions(document(ACCESS, SUPPORT))

EVENTS = st.builds(
    Event,
    at=st.builds(Moment, st.none() | st.integers(0, 3), st.sampled_from(["", "soon"])),
    type=st.sampled_from(["Chat Message", "File Upload", ""]),
    performed_by=st.none() | st.builds(Actor, st.sampled_from(["A", "B"]), number=st.sampled_from(["", "1"])),
    body=st.sampled_from(["", "hello"]) | st.text(max_size=3),
    files=st.lists(st.builds(File, st.sampled_from(["a", "b"])), max_size=2).map(tuple),
    data=st.lists(st.tuples(st.sampled_from(["a", "view_url"]), st.sampled_from(["1", "2"])), max_size=2).map(tuple),
)
REPORTS = st.builds(SessionReport, st.just(LSID), events=st.lists(EVENTS, max_size=12).map(tuple))


def test_the_row_of_a_session() -> None:
    """Each part of an access session is in its column."""
    row = session_row(ACCESSED, SETTINGS, {"task": SYS_ID})
    assert (row.table, row.sys_id, row.values["key"]) == ("x_bsr_relay_session", row.key[:32], row.key)
    assert set(row.values) == {*SESSION_COLUMNS, "task"}
    told = {
        "lsid": LSID,
        "appliance": "default",
        "session_type": "support",
        "sequence": "8",
        "start_time": "2024-12-03 15:26:05",
        "end_time": "2024-12-03 15:41:07",
        "duration": "902",
        "external_key": "INC0010001",
        "jump_group": "Servers",
        "jumpoint": "Lyon",
        "endpoint_name": "web01",
        "endpoint_public_ip": "192.0.2.19",
        "endpoint_private_ip": "10.0.0.4",
        "endpoint_hostname": "web01.example.com",
        "primary_representative": "Admin (admin)",
        "representatives": "Admin (admin)\nguest",
        "file_transfer_count": "2",
        "file_move_count": "0",
        "recording_view_url": "https://access.example.com/view",
        "command_shell_recordings": "0: https://access.example.com/v0",
        "custom_attributes": f"snow_task_id: {SYS_ID}\nsite:  Lyon ",
        "chat_transcript": "2024-12-03 15:26:41 Admin: bell\ufffd à toi",
        "system_information": "Disk\n  Drive: C:; Size: 100\n  Drive: D:",
        "task": SYS_ID,
    }
    assert {name: row.values[name] for name in told} == told
    details = json.loads(row.values["details"])
    assert details["representatives"][0]["public_display_name"] == "A."
    assert details["jump_group"] == {"name": "Servers", "id": "1", "kind": "shared"}


def test_the_row_of_a_running_session() -> None:
    """What a running session lacks is empty, and written nevertheless; surveys are lines."""
    values = session_row(SUPPORTED, SETTINGS).values
    assert (values["end_time"], values["duration"], values["file_move_count"]) == ("", "", "")
    assert values["surveys"] == "(customer)\n(representative)\n  Solved?: Yes, No"
    assert set(values) == set(SESSION_COLUMNS)
    assert session_row(SessionReport("a", ended=Moment(0)), SETTINGS).values["end_time"] == ""


def test_a_session_that_nobody_joined() -> None:
    """Without people the names that the report itself gives are used, or none."""
    named = SessionReport("a", primary_rep=Actor("Rep"), primary_customer=Actor("host"))
    assert session_row(named, SETTINGS).values["primary_representative"] == "Rep"
    assert session_row(named, SETTINGS).values["endpoint_name"] == "host"
    values = session_row(SessionReport("a"), SETTINGS).values
    assert (values["primary_representative"], values["endpoint_name"], values["duration"]) == ("", "", "")


def test_the_rows_of_events() -> None:
    """Selected events become rows that name the session, their place in the report, and all that they hold."""
    settings = replace(SETTINGS, events=frozenset({"File Upload", "System Information Retrieved", "Something New"}))
    upload, information, new = event_rows(ACCESSED, settings)
    assert set(upload.values) == set(EVENT_COLUMNS)
    assert upload.values["session"] == session_row(ACCESSED, SETTINGS).sys_id
    told = ("3", "File Upload", "2024-12-03 15:26:40", "Admin", "web01", "C:\\a b.txt", "12")
    columns = ("sequence", "event_type", "event_time", "performed_by", "destination", "filename", "filesize")
    assert tuple(upload.values[name] for name in columns) == told
    assert json.loads(upload.values["data"]) == [["filename", "C:\\a b.txt"], ["filesize", "12"]]
    assert json.loads(information.values["details"])["system_information"][0]["name"] == "Disk"
    assert json.loads(new.values["details"])["extra"] == [["novel@kind", "n"], ["novel", "thing"]]
    assert (new.values["event_time"], json.loads(new.values["details"])["at"]) == ("", {"text": "soon"})


def test_tables_and_columns_can_be_others() -> None:
    """A mapping gives the table and the columns that it names; the rest keep the relay's names."""
    settings = RowSettings(
        "default", Table("u_session", {"lsid": "u_lsid", "task": "u_task"}), Table("u_event", {"session": "parent"})
    )
    row = session_row(ACCESSED, settings, {"task": SYS_ID})
    assert (row.table, row.values["u_lsid"], row.values["u_task"]) == ("u_session", LSID, SYS_ID)
    assert "lsid" not in row.values
    first = next(event_rows(ACCESSED, settings, "cd" * 16))
    assert (first.table, first.values["parent"], first.sys_id) == ("u_event", "cd" * 16, first.key[:32])


def test_what_is_looked_up() -> None:
    """Task by the custom field, then by the external key; item by host name, then name; user by each column."""
    assert lookups(ACCESSED, SETTINGS) == (
        Lookup("task", "task", "sys_id", SYS_ID),
        Lookup("task", "task", "number", "INC0010001"),
        Lookup("cmdb_ci", "cmdb_ci", "host_name", "web01.example.com"),
        Lookup("cmdb_ci", "cmdb_ci", "fqdn", "web01.example.com"),
        Lookup("cmdb_ci", "cmdb_ci", "name", "web01.example.com"),
        Lookup("cmdb_ci", "cmdb_ci", "name", "web01"),
        Lookup("user", "sys_user", "user_name", "admin"),
        Lookup("user", "sys_user", "u_beyondtrust_username", "admin"),
    )


@pytest.mark.parametrize(
    ("report", "found"),
    [
        (SessionReport("a", attributes=(CustomAttribute("snow_cmdb_ci_id", SYS_ID),)), [("sys_id", SYS_ID)]),
        (SessionReport("a", attributes=(CustomAttribute("snow_cmdb_ci_id", "web01"),)), [("name", "web01")]),
        (SessionReport("a", external_key=SYS_ID), [("sys_id", SYS_ID)]),
        (SessionReport("a", customers=(Participant("1", hostname="h"),)), []),
        (SessionReport("a"), []),
    ],
)
def test_without_association_only_what_the_session_names_is_looked_up(
    report: SessionReport, found: list[tuple[str, str]]
) -> None:
    """Where neither user nor item is associated, the session's own keys are still followed."""
    settings = replace(SETTINGS, associate_user=False, associate_ci=False)
    assert [(one.field, one.value) for one in lookups(report, settings)] == found
    assert {one.link for one in lookups(report, SETTINGS)} <= set(LINKS)


@pytest.mark.parametrize(
    ("report", "outside"),
    [
        (ACCESSED, False),
        (SUPPORTED, True),
        (SessionReport("a", external_key="INC1"), False),
        (SessionReport("a", attributes=(CustomAttribute("SNOW_CMDB_CI_ID", "x"),)), False),
        (SessionReport("a", attributes=(CustomAttribute("snow_task_id", " "),)), True),
    ],
)
def test_which_sessions_were_started_outside(report: SessionReport, outside: bool) -> None:
    """A session without external key, task or item was not started from ServiceNow."""
    assert started_outside(report) == outside


@given(REPORTS)
def test_every_event_has_a_key_of_its_own(report: SessionReport) -> None:
    """Equal events have different keys, and the same ones each time."""
    keys = list(event_keys(report, "default"))
    assert len(set(keys)) == len(keys) == len(report.events)
    assert list(event_keys(report, "default")) == keys
    elsewhere = {*event_keys(report, "other"), *event_keys(replace(report, lsid="b"), "default")}
    assert not elsewhere & set(keys)


@given(REPORTS, st.lists(EVENTS, max_size=4), st.integers(0, 12))
def test_keys_stay_when_a_report_grows(report: SessionReport, more: list[Event], at: int) -> None:
    """Each key of a report is a key of the same report with further events, wherever these stand."""
    grown = replace(report, events=(*report.events[:at], *more, *report.events[at:]))
    assert set(event_keys(report, "a")) <= set(event_keys(grown, "a"))


@given(REPORTS, st.frozensets(st.sampled_from(["Chat Message", "File Upload", ""])))
def test_a_selection_changes_no_row(report: SessionReport, chosen: frozenset[str]) -> None:
    """The rows of selected events are those that they have among all events."""
    everything = list(event_rows(report, SETTINGS))
    some = list(event_rows(report, replace(SETTINGS, events=chosen)))
    assert some == [row for row in everything if row.values["event_type"] in chosen]


def test_links_and_display_names_are_no_part_of_a_key() -> None:
    """A link that is signed anew, or a person of another display name, leaves the event what it was."""
    one = Event(Moment(1), "Screen Recording", Actor("Admin", "representative", "1"), data=(("view_url", "https://a"),))
    two = replace(one, performed_by=Actor("Chef", "representative", "1"), data=(("view_url", "https://b"),))
    three = replace(one, performed_by=Actor("Admin", "representative", "2"))
    keys = [next(event_keys(SessionReport("a", events=(event,)), "x")) for event in (one, two, three)]
    assert keys[0] == keys[1] != keys[2]


@given(sessions())
def test_nothing_of_a_report_is_missing_in_the_rows(session: str) -> None:
    """Every text of every event is in that event's row, every other text in the session's."""
    (report,) = read_sessions(document(session))
    whole = session_row(report, SETTINGS).values
    assert not missing(replace(report, events=()), " ".join([*whole.values(), whole["details"]]))
    rows = list(event_rows(report, SETTINGS))
    assert len(rows) == len(report.events)
    for event, row in zip(report.events, rows, strict=True):
        assert not missing(event, " ".join(row.values.values()))
    assert rows == list(event_rows(report, SETTINGS))


def missing(value: object, written: str) -> list[str]:
    """Texts of a value that stand nowhere in what is written."""
    return [
        text
        for text in Counter(_texts(value))
        if text not in written and json.dumps(text, ensure_ascii=False)[1:-1] not in written
    ]


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for one in value for text in _texts(one)]
    if dataclasses.is_dataclass(value):
        return [text for one in dataclasses.fields(value) for text in _texts(getattr(value, one.name))]
    return [] if value is None or isinstance(value, bool) else [str(value)]
