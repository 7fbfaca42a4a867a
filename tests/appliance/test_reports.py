"""Session reports: every element of every product, nothing lost, faults as codes, memory flat."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from support.mutations import mutated
from support.peak import peak
from support.sessionreports import ACCESS, LSID, NAMESPACES, SRA, SUPPORT, document, long_session, sessions

from relay.appliance import reports
from relay.appliance.repair import CHUNK
from relay.appliance.reports import read_listing, read_session, read_sessions, read_surveys
from relay.core.errors import ApplianceError, RelayError
from relay.core.session_report import Actor, Category, CustomAttribute, Event, File, Named, SessionReport


def only(*parts: str, namespace: str = SRA) -> SessionReport:
    """The one session of a report."""
    (report,) = read_sessions(document(*parts, namespace=namespace))
    return report


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_an_access_session_is_read_whole(namespace: str) -> None:
    """Every element of a PRA session arrives, in three namespaces and none."""
    report = only(ACCESS, namespace=namespace)
    assert (report.lsid, report.type, report.sequence, report.duration_seconds) == (LSID, "support", "8", 902)
    assert report.started is not None
    assert report.ended is not None
    assert (report.started.seconds, report.ended.text) == (1733239565, "2024-12-03T15:41:07+00:00")
    assert report.external_key == "INC0010001"
    assert report.attribute("SNOW_Task_ID") == "ab" * 16
    assert report.attributes[1] == CustomAttribute("site", " Lyon ", "Site")
    assert report.jump_group == Named("Servers", "1", "shared")
    assert report.jumpoint == Named("Lyon", "3")
    assert report.chat_view_url.endswith("&view=1")
    assert (report.recording_view_url, report.recording_download_url) == (
        "https://access.example.com/view",
        "https://access.example.com/get",
    )
    assert [one.view_url for one in report.shell_recordings] == ["https://access.example.com/v0"]
    assert (report.file_transfer_count, report.file_move_count, report.file_delete_count) == (2, 0, 1)
    assert report.endpoint is not None
    assert report.endpoint.hostname == "web01.example.com"
    assert report.lead is not None
    assert (report.lead.name, report.lead.owner, report.lead.seconds_involved) == ("Admin", True, 901)
    assert [one.invited for one in report.representatives] == [False, True]
    assert report.extra == ()


def test_the_events_of_an_access_session() -> None:
    """Events keep who, to whom, data, files given as data, base64 bodies, system information and unknown elements."""
    start, owner, upload, chat, information, new = only(ACCESS).events
    assert start == Event(start.at, "Session Start")
    assert owner.destination == Actor("Pre-start Conference", "system", "0")
    assert owner.data == (("owner", "Pre-start Conference"),)
    assert upload.files == (File("C:\\a b.txt", "12"),)
    assert upload.performed_by == Actor("Admin", "representative", "21")
    assert (chat.body, chat.encoded_body != "") == ("bell\ufffd à toi", True)
    assert information.system_information == (
        Category("Disk", (("Drive", ""), ("Size", "bytes")), ((("Drive", "C:"), ("Size", "100")), (("Drive", "D:"),))),
    )
    assert (new.type, new.at.seconds, new.at.text) == ("Something New", None, "soon")
    assert new.extra == (("novel@kind", "n"), ("novel", "thing"))


def test_a_running_support_session() -> None:
    """An RS session without end: teams, what a customer wrote, surveys, files as children; odd values kept as text."""
    report = only(SUPPORT)
    assert report.ended is None
    assert report.duration_seconds is None
    assert report.teams == (Named("Desk", "4"), Named("Field", "5"))
    assert report.public_site == Named("Default", "1")
    (customer,), (rep,) = report.customers, report.representatives
    assert dict(customer.info)["issue"] == "printer"
    assert customer.primary
    assert report.endpoint == customer
    assert report.lead == rep
    assert (rep.owner, rep.seconds_involved) == (False, None)
    assert rep.extra == (("session_owner", "perhaps"), ("seconds_involved", "many"))
    assert [(one.by, one.number) for one in report.surveys] == [("customer", "2"), ("representative", "1")]
    (question,) = report.surveys[1].questions
    assert (question.label, question.header, question.answers) == ("Solved?", "Solved", ("Yes", "No"))
    download, shared = report.events
    assert download.files == (File("log.txt", "77"),)
    assert (shared.files, shared.body) == ((File("a", "1"), File("b")), "two files")
    assert dict(report.extra)["rep_join_time"] == "2024-12-03T15:26:10+00:00"


def test_surveys_and_listings() -> None:
    """Survey reports and listings are read as streams too, by the same rules."""
    (survey,) = read_surveys(
        b'<exit_survey_list><exit_survey lsid="ab" ts="1733239565"><submitted_by type="customer">Jane</submitted_by>'
        b"<question_list><question id='1'><name>n</name><x>y</x></question></question_list></exit_survey>"
        b"</exit_survey_list>",
        "customer",
    )
    assert (survey.lsid, survey.at and survey.at.seconds, survey.submitter) == (
        "ab",
        1733239565,
        Actor("Jane", "customer"),
    )
    assert survey.questions[0].extra == (("x", "y"),)
    lines = b'<session_summary lsid="a" has_recording="0"/><session_summary lsid="b" has_recording="1"/>'
    listing = b"<session_summary_list>" + lines + b"</session_summary_list>"
    assert [(one.lsid, one.has_recording) for one in read_listing(listing)] == [("a", False), ("b", True)]


NOTHING = (
    "No Support report information matching your chosen criteria is available.",
    "Aucune information de rapport de support correspondant à vos critères n\u2019est disponible.",
    "Es sind keine Support-Berichtsdaten verfügbar, die Ihren Kriterien entsprechen.",
)


@pytest.mark.parametrize("text", NOTHING)
@pytest.mark.parametrize("within", ["{}", "<session_list>{}</session_list>"])
def test_nothing_found_is_no_error(text: str, within: str) -> None:
    """The appliance's error for "nothing found", in each language and within a list too, gives no session."""
    answer = within.format(f"<error >{text}</error>").encode()
    assert list(read_sessions(answer)) == []
    assert read_session(answer, LSID) is None
    assert read_session(b"<session_list/>", LSID) is None


def test_an_error_is_an_error() -> None:
    """Any other error is BSR-3019 with the appliance's words, unless these are known to mean nothing."""
    answer = '<error xmlns="x">Ingen \x85 <b>rapport</b></error>'.encode()
    with pytest.raises(ApplianceError, match=r"BSR-3019.*Ingen rapport"):
        read_session(answer, LSID)
    assert read_session(answer, LSID, {"ingen  RAPPORT"}) is None
    for empty in (b"<error/>", b"<session_list><error/></session_list>"):
        with pytest.raises(ApplianceError, match="BSR-3019"):
            list(read_sessions(empty))
    with pytest.raises(ApplianceError) as caught:
        list(read_sessions(b"<error>" + b"x" * 5000 + b"</error>"))
    assert len(caught.value.detail) < 300


def test_what_came_before_an_error_is_given() -> None:
    """Sessions before a fault of the document are read."""
    reading = read_sessions(document(ACCESS, "<error>broken</error>"))
    assert next(reading).lsid == LSID
    with pytest.raises(ApplianceError, match="BSR-3019"):
        next(reading)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"a\x0bb&#x0;&#31;c", "abc"),
        (b"R&D &amp; &#233; &nbsp; &#xD800;x&", "R&D & é &nbsp; x&"),
        (b"caf\xe9", "caf\ufffd"),
        (b"\xff\xfe\x00\xef\xbf\xbfz", "\ufffd\ufffdz"),
    ],
)
def test_an_ill_formed_report_is_read_at_the_second_try(said: bytes, body: str) -> None:
    """Characters that XML forbids, bare ampersands and bytes that are no UTF-8 cost no session and no event."""
    raw = document(ACCESS, SUPPORT).replace(b"two files", said)
    first, second = read_sessions(raw)
    assert first == only(ACCESS)
    assert second.events[1].body == body
    assert len(second.events) == 2


def test_other_encodings_are_read() -> None:
    """A report that says it is in another encoding is read in it; repaired, what is no UTF-8 in it is replaced."""
    raw = document(SUPPORT).replace(b"UTF-8", b"ISO-8859-1").replace(b"two files", b"caf\xe9")
    assert next(read_sessions(raw)).events[1].body == "café"
    assert next(read_sessions(raw.replace(b"caf", b"c\x01af"))).events[1].body == "caf\ufffd"
    assert next(read_sessions(document(SUPPORT).decode().replace("UTF-8", "UTF-16").encode("utf-16"))).sequence == "9"


def test_the_second_try_gives_no_session_twice() -> None:
    """Sessions that were read before the fault are not given again, however far the fault lies behind them."""
    many = [long_session(number, 50) for number in range(40)]
    raw = document(*many).replace(b"line 49", b"line \x01 49")
    broken_late = (
        document(*many[:-1]).removesuffix(b"</session_list>")
        + document(long_session(99, 9))
        .replace(b"line 8", b"&\x01")
        .partition(b"<session_list" + SRA.encode() + b">")[2]
    )
    assert [report.lsid for report in read_sessions(raw)] == [f"{number:032x}" for number in range(40)]
    assert [int(report.lsid, 16) for report in read_sessions(broken_late)] == [*range(39), 99]


def test_a_repair_across_pieces() -> None:
    """References that lie across the pieces of a file are kept, wherever the pieces end."""
    text = "&amp;&#233;&\x01R&D&#x1F600;"
    before = document(SUPPORT).index(b"two files")
    for shift in range(len(text) + 1):
        padding = "x" * (CHUNK - before - shift)
        raw = document(SUPPORT).replace(b"two files", (padding + text).encode())
        assert raw[CHUNK - shift :].startswith(text.encode())
        (report,) = read_sessions(raw)
        assert report.events[1].body == padding + "&é&R&D\U0001f600"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no xml",
        b"<html><p>down</p></html>",
        b"<session_list><session lsid='a'></session_list>",
        b"<session_list><session lsid='a'>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><session_list/>',
        b"<session_list>" + b"<a>" * 70 + b"</a>" * 70 + b"</session_list>",
        "<session_list/>".encode("utf-16")[:-3],
    ],
)
def test_what_is_no_report_is_one_code(raw: bytes) -> None:
    """What cannot be read, or is something else, is BSR-3009."""
    with pytest.raises(ApplianceError, match="BSR-3009"):
        list(read_sessions(raw))


def test_a_session_without_a_name_costs_no_other() -> None:
    """A session that has no usable lsid is told of after the others were given."""
    reading = read_sessions(document("<session/>", ACCESS, f"<session lsid='{'a' * 256}'/>"))
    assert next(reading).lsid == LSID
    with pytest.raises(ApplianceError, match="2 sessions"):
        next(reading)


def test_a_report_of_another_session_is_not_believed() -> None:
    """Asked for one session, a report of others is a fault; the one is found among others, in any case."""
    with pytest.raises(ApplianceError, match="another session"):
        read_session(document(SUPPORT), LSID)
    found = read_session(document(SUPPORT, ACCESS), LSID.upper())
    assert found is not None
    assert found.lsid == LSID


def test_a_session_of_too_many_elements_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One session may have so many elements, a document any number."""
    monkeypatch.setattr(reports, "MOST_NODES", 500)
    assert len(list(read_sessions(document(*(long_session(number, 40) for number in range(9)))))) == 9
    with pytest.raises(ApplianceError, match="more than 500"):
        list(read_sessions(document(long_session(1, 60))))


@pytest.mark.parametrize(("count", "damage"), [(400, b""), (60, b"\x01")])
def test_many_sessions_need_no_more_memory_than_one(tmp_path: Path, count: int, damage: bytes) -> None:
    """Hundreds of sessions of 200 events, 24 MB and more, are read within 12 MiB; repaired ones too."""
    session = long_session(7, 200).encode()
    file = tmp_path / "report.xml"
    with file.open("wb") as out:
        out.write(b"<session_list>")
        for number in range(count):
            out.write(session.replace(b"%032x" % 7, b"%032x" % number))
        out.write(damage + b"</session_list>")
    assert file.stat().st_size > count * 60_000
    before = peak(anew=True)
    with file.open("rb") as source:
        assert Counter(len(report.events) for report in read_sessions(source)) == {200: count}
    assert peak() - before < 12 * 1024 * 1024


def texts_of(value: object) -> Iterator[str]:
    """Every text and number in a value."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, int):
        yield str(int(value))
    elif isinstance(value, tuple):
        for one in value:
            yield from texts_of(one)
    elif value is not None:
        assert dataclasses.is_dataclass(value)
        for one in dataclasses.fields(value):
            yield from texts_of(getattr(value, one.name))


@given(sessions())
def test_nothing_of_a_session_is_lost(session: str) -> None:
    """Each text and each attribute of any session, known or not, is in the report as often as in the XML."""
    raw = document(session)
    there: Counter[str] = Counter()
    for element in etree.fromstring(raw).iter():
        there.update(text for text in [element.text, *element.attrib.values()] if text)
    (report,) = read_sessions(raw)
    assert there - Counter(texts_of(report)) - Counter({"\n": 1}) == Counter()
    assert len(report.events) == len(etree.fromstring(raw).findall("{*}session/{*}session_details/{*}event"))


@given(
    mutated(
        document(ACCESS, SUPPORT),
        document(SUPPORT, namespace=""),
        *(f"<error>{text}</error>".encode() for text in NOTHING),
    )
)
def test_any_answer_is_reports_or_a_code(raw: bytes) -> None:
    """Whatever the appliance sends gives reports, or one kind of error with a code; reading it again gives the same."""

    def read() -> list[object]:
        found: list[object] = []
        try:
            found += read_sessions(io.BytesIO(raw))
        except RelayError as error:
            found.append(error.text)
        return found

    found = read()
    assert all(isinstance(one, SessionReport) for one in found[:-1])
    assert read() == found


@given(st.binary(max_size=80), st.sampled_from([read_surveys, read_sessions, read_listing]))
def test_any_bytes_are_no_other_error(raw: bytes, read: object) -> None:
    """Bytes by chance are BSR-3009 for every kind of report."""
    with pytest.raises(ApplianceError, match="BSR-3009"):
        list(read(raw, "customer") if read is read_surveys else read(raw))  # type: ignore[operator]


def test_text_between_elements_is_kept() -> None:
    """Text where none belongs, between events and in their list, and unknown elements beside events, are kept."""
    details = '<session_details a="b">one<event/>two<x>three</x>four<event/>five</session_details>'
    report = only(f"<odd/><session lsid='{LSID}'>{details}</session>", "six")
    assert len(report.events) == 2
    kept = " ".join(text for _, text in report.extra)
    assert sorted(kept.replace("onefive", "one five").split()) == ["b", "five", "four", "one", "three", "two"]
