"""Work notes: what a template gives, and that nothing typed in a session can make it say something else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.sessionreports import ACCESS, LSID, SUPPORT, document

from relay.appliance.reports import read_sessions
from relay.core.note import (
    DEFAULT_TEMPLATE,
    LONGEST_NOTE,
    LONGEST_TEMPLATE,
    MOST_ITEMS,
    SHORTENED,
    TemplateError,
    information_of,
    mark,
    note_of,
    read_template,
)
from relay.core.note_values import LISTS, SINGLE, note_values
from relay.core.plain import clean
from relay.core.session_report import (
    Actor,
    Category,
    CustomAttribute,
    Event,
    File,
    Moment,
    Named,
    Participant,
    SessionReport,
    ShellRecording,
)

DEFAULT = read_template(DEFAULT_TEMPLATE)
ACCESSED, SUPPORTED = read_sessions(document(ACCESS, SUPPORT))
HOSTILE = st.sampled_from(
    (
        *("[code]", "[/code]", "[co", "de]", "[", "]", "code", "[ / CODE ]", "[session ab]", "[session", " ab]"),
        *("{lsid}", "{{", "}", "{", "%s", "<b>", "x", " "),
        *("\n", "\r", "\u2028", "\x00", "\x1b[2J", "\u202e", "\ud800"),
    )
)
TEXTS = st.lists(HOSTILE, max_size=6).map("".join) | st.text(max_size=20)


def noted(template: str, report: SessionReport = ACCESSED) -> str:
    """The note without its mark."""
    text = note_of(read_template(template), report, "default")
    assert text.endswith(mark(report.lsid))
    return text.removesuffix(mark(report.lsid)).removesuffix("\n")


def test_the_default_note() -> None:
    """The built-in template tells who, where, how long, which files and links, and ends in the mark."""
    assert note_of(DEFAULT, ACCESSED, "default") == (
        "BeyondTrust session 8 on web01\n"
        "Appliance: default\n"
        "Start: 2024-12-03 15:26:05 UTC\n"
        "End: 2024-12-03 15:41:07 UTC\n"
        "Duration: 00:15:02\n"
        "User: Admin (admin)\n"
        "User: guest\n"
        "File: File Upload: C:\\a b.txt (12 bytes)\n"
        "Chat: https://access.example.com/session_download?lsid=l%3D1&view=1\n"
        "Recording: https://access.example.com/view\n"
        "Shell recording: 0: https://access.example.com/v0\n"
        f"[session {LSID}]"
    )


def test_a_note_of_a_support_session() -> None:
    """What a session lacks leaves no line; a survey is told line by line."""
    assert note_of(DEFAULT, SUPPORTED, "rs").splitlines()[3:] == [
        "User: joe",
        "File: File Download: log.txt (77 bytes)",
        "File: Files Shared: a (1 bytes)",
        "File: Files Shared: b",
        "Survey: (customer)",
        "Survey: (representative)",
        "Survey: Solved?: Yes, No",
        "[session 0123456789abcdef0123456789abcdef]",
    ]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{ endpoint }/{hostname}", "web01/web01.example.com"),
        ("a {{endpoint}} }}{{", "a {endpoint} }{"),
        ("plain\n\nend\n\n", "plain\n\nend"),
        ("Site: {public_site}\nfirst", "first"),
        ("{public_site}{endpoint}", "web01"),
        ("- {representatives} on {endpoint}", "- Admin (admin) on web01\n- guest on web01"),
        ("{attributes}", "snow_task_id: " + "ab" * 16 + "\nsite: Lyon"),
        ("{information}", "Disk\nDrive: C:; Size: 100\nDrive: D:"),
        (
            "{representative} {files_transferred}/{files_moved}/{files_deleted} {os}",
            "Admin 2//1 Windows Server 2022 Datacenter (21H2)",
        ),
        ("", ""),
    ],
)
def test_templates(template: str, text: str) -> None:
    """Values, braces, lines that go when empty, lists that repeat their line."""
    assert noted(template) == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a\n{endpiont}", "line 2: there is no value 'endpiont'; did you mean 'endpoint'?"),
        ("{}", "line 1: there is no value ''"),
        ("{a{b}", "line 1: a '{' alone"),
        ("}", "line 1: a '}' alone"),
        ("{endpoint", "line 1: a '{' alone"),
        ("{endpoint.__class__}", "there is no value 'endpoint.__class__'"),
        ("{files} {notes}", "two lists on one line"),
        ("x [ /Code ] y", "a [code] tag"),
        ("x" * (LONGEST_TEMPLATE + 1), "at most"),
    ],
)
def test_a_template_that_cannot_be_read(template: str, problem: str) -> None:
    """The message says where and what, and what was probably meant."""
    with pytest.raises(TemplateError, match=re.escape(problem)):
        read_template(template)


def test_every_name_has_a_value() -> None:
    """The names that are told are the names that there are, each text or list as told."""
    for report in (ACCESSED, SUPPORTED, SessionReport("a")):
        values = note_values(report, "default")
        assert {name for name, value in values.items() if isinstance(value, str)} == set(SINGLE)
        assert {name for name, value in values.items() if isinstance(value, tuple)} == set(LISTS)


def test_values_of_few_sessions() -> None:
    """Further customers, notes, and the names that stand in where nobody joined."""
    report = SessionReport(
        "a",
        customers=(Participant("1", username="one"), Participant("2", username="two")),
        events=(Event(Moment(1), "Session Note Added", body="a\nb"), Event(Moment(1), "Session Note Added", body=" ")),
        shell_recordings=(ShellRecording("0", "https://a/[code]"), ShellRecording("1", "javascript:x")),
        recording_view_url="http://a",
    )
    assert noted("{customers}|\n{notes}|\n{shell_recordings}{recording}", report) == "one|\ntwo|\na b|"
    named = SessionReport("a", primary_rep=Actor("Rep"), primary_customer=Actor("host"))
    assert noted("{representative} {endpoint}", named) == "Rep host"


def test_long_lists_and_long_notes_are_shortened() -> None:
    """A list ends after some items, a value after some characters, a note before its limit; the mark stays."""
    event = Event(Moment(1), "Session Note Added", body="x" * 5000)
    report = replace(ACCESSED, events=(event,) * (MOST_ITEMS + 3))
    assert noted("{notes}", replace(report, events=report.events[:1])) == "x" * 1000 + "..."
    text = note_of(DEFAULT, report, "default")
    assert len(text) <= LONGEST_NOTE
    assert text.splitlines()[-2:] == [SHORTENED, mark(LSID)]
    short = replace(report, events=(replace(event, body="x"),) * (MOST_ITEMS + 3))
    assert noted("{notes}", short).splitlines()[-2:] == ["x", "... and 3 more"]
    assert (
        len(note_of(read_template("{endpoint}" * 900), replace(report, primary_customer=Actor("n" * 5000)), "a"))
        <= LONGEST_NOTE
    )


@pytest.mark.parametrize("lsid", ["", "a b", "[session x]", "é", "\n", "\ud800", "x" * 65])
def test_the_mark_of_an_unusual_session(lsid: str) -> None:
    """An lsid that could make the mark mean something else is replaced by its digest."""
    assert re.fullmatch(r"\[session [0-9a-f]{32}\]", mark(lsid))
    assert mark(lsid) == mark(lsid) != mark(f"{lsid}x")


@given(
    TEXTS,
    TEXTS,
    st.sampled_from(
        [DEFAULT_TEMPLATE, "{endpoint}{hostname}", "[{endpoint}]", "[session {endpoint}]", "[{os}co{os}de]"]
    ),
)
def test_nothing_typed_breaks_out(one: str, two: str, template: str) -> None:
    """Whatever the values: no HTML tag, no mark but the note's own at its end, no line of their own, no template."""
    report = SessionReport(
        LSID,
        primary_customer=Actor(one),
        jump_group=Named(two),
        customers=(Participant("1", username=one, hostname=two, os=two), Participant("2", username=two)),
        representatives=(Participant("3", display_name=two, username=one),),
        attributes=(CustomAttribute(one, two),),
        events=(Event(Moment(1), "Session Note Added", body=one), Event(Moment(1), one, files=(File(two, one),))),
        chat_view_url=one,
        recording_view_url=f"https://{two}",
    )
    text = note_of(read_template(template), report, "default")
    body, _, last = text.rpartition("\n")
    assert last == mark(LSID)
    assert not re.search(r"\[\s*/?\s*code\b", text, re.IGNORECASE)
    assert not re.search(r"\[\s*session\b", body, re.IGNORECASE)
    assert len(text) <= LONGEST_NOTE
    assert all(clean(line) == line for line in text.split("\n"))
    plain = note_of(read_template(template), replace_texts(report), "default")
    assert body.count("\n") <= max(plain.count("\n") - 1, 0)
    assert note_of(read_template(template), report, "default") == text


def replace_texts(report: SessionReport) -> SessionReport:
    """The same session with every typed text an `x`: it has as many lines as a session can make of it."""
    return replace(
        report,
        primary_customer=Actor("x"),
        customers=tuple(replace(each, username="x", hostname="x", os="x") for each in report.customers),
        representatives=(Participant("3", display_name="x"),),
        events=(Event(Moment(1), "Session Note Added", body="x"), Event(Moment(1), "x", files=(File("x"),))),
        chat_view_url="https://x",
        recording_view_url="https://x",
    )


def test_system_information_for_the_configuration_item() -> None:
    """It is told category by category, ends in the mark, and is nothing where the session has none."""
    assert information_of(ACCESSED) == f"Disk\n  Drive: C:; Size: 100\n  Drive: D:\n[session {LSID}]"
    assert information_of(SUPPORTED) == ""


@given(TEXTS, TEXTS)
@example("[\n[", "[codecodecode")
def test_system_information_breaks_out_of_nothing(one: str, two: str) -> None:
    """An endpoint that lies about itself makes no tag and no mark, and no entry longer than there may be."""
    event = Event(Moment(1), "", system_information=(Category(one, (), (((two, one), (one, two)),) * 400),))
    text = information_of(SessionReport(LSID, events=(event,)))
    body, _, last = text.rpartition("\n")
    assert last == mark(LSID)
    assert not re.search(r"\[\s*/?\s*code\b|\[\s*session\b", body, re.IGNORECASE)
    assert all(clean(line) == line for line in text.split("\n"))
    assert len(text) <= LONGEST_NOTE
