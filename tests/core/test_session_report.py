"""What a session report's texts mean."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.report_answers import says_expired, says_nothing_found
from relay.core.session_report import (
    LATEST,
    Actor,
    CustomAttribute,
    Moment,
    Participant,
    SessionReport,
    address_of,
    clock_seconds,
    decoded,
    read_moment,
    read_seconds,
    writable,
)

ONE, TWO = Participant("1", username="a"), Participant("2", hostname="h", primary=True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:61606", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("[2001:db8::1]:56722", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("Unknown", ""),
        ("Inconnu", ""),
        ("", ""),
        ("192.0.2.7:", ""),
        ("192.0.2.999:1", ""),
        ("[::1]:x", ""),
    ],
)
def test_addresses(text: str, address: str) -> None:
    """IPv4 and IPv6 are found with a port and without; what is no address is none."""
    assert address_of(text) == address


@pytest.mark.parametrize(
    ("stamp", "text", "moment"),
    [
        ("1733239565", "2024-12-03T15:26:05+00:00", Moment(1733239565, "2024-12-03T15:26:05+00:00")),
        ("", "2024-12-03T16:26:05+01:00", Moment(1733239565, "2024-12-03T16:26:05+01:00")),
        ("x", "2024-12-03T15:26:05", Moment(1733239565, "2024-12-03T15:26:05")),
        ("1733239565.75", "", Moment(1733239565, "1733239565.75")),
        ("", "yesterday", Moment(None, "yesterday")),
        ("", "0001-01-01T00:00:00+14:00", Moment(None, "0001-01-01T00:00:00+14:00")),
        ("٣", "", Moment(None, "٣")),
        (" ", "\n", None),
    ],
)
def test_times(stamp: str, text: str, moment: Moment | None) -> None:
    """The timestamp counts, else the text; one that cannot be read is still a time, two empty ones are none."""
    assert read_moment(stamp, text) == moment


@given(st.text(max_size=20), st.text(max_size=30) | st.datetimes().map(str))
def test_any_time_is_within_what_a_date_can_be(stamp: str, text: str) -> None:
    """Whatever the texts, seconds are None or between 1970 and the end of 9999."""
    moment = read_moment(stamp, text)
    assert moment is None or moment.seconds is None or 0 <= moment.seconds <= LATEST


def test_a_timestamp_ends_with_the_year_9999() -> None:
    """A larger one is no time."""
    assert read_seconds(str(LATEST)) == LATEST
    assert read_seconds(str(LATEST + 1)) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:15:02", 902), ("49:00:00", 176400), ("", None), ("1:60:00", None), ("PT1H", None)]
)
def test_durations(text: str, seconds: int | None) -> None:
    """Hours may exceed a day."""
    assert clock_seconds(text) == seconds


@pytest.mark.parametrize(
    ("report", "seconds"),
    [
        (SessionReport("a", started=Moment(5), ended=Moment(9), duration="00:00:03"), 3),
        (SessionReport("a", started=Moment(5), ended=Moment(9)), 4),
        (SessionReport("a", started=Moment(9), ended=Moment(5)), 0),
        (SessionReport("a", started=Moment(9), ended=Moment(0)), None),
        (SessionReport("a", started=Moment(5)), None),
        (SessionReport("a", ended=Moment(5)), None),
        (SessionReport("a", started=Moment(None), ended=Moment(5)), None),
        (SessionReport("a", started=Moment(5), ended=Moment(None)), None),
    ],
)
def test_how_long_a_session_was(report: SessionReport, seconds: int | None) -> None:
    """The report's own duration counts, else end less start."""
    assert report.duration_seconds == seconds


@pytest.mark.parametrize(
    ("people", "named", "found"),
    [
        ((ONE, TWO), Actor("a", number="1"), ONE),
        ((ONE, TWO), Actor("x", number="9"), TWO),
        ((ONE, TWO), Actor("x"), TWO),
        ((ONE,), None, ONE),
        ((), Actor("a", number="1"), None),
    ],
)
def test_who_comes_first(people: tuple[Participant, ...], named: Actor | None, found: Participant | None) -> None:
    """Who is named by number, else who is marked, else the first one."""
    assert SessionReport("a", customers=people, primary_customer=named).endpoint == found
    assert SessionReport("a", representatives=people, primary_rep=named).lead == found


def test_the_name_to_show() -> None:
    """Display name, user name, host name, in this order."""
    assert [Participant("1", display_name="D", username="u").name, ONE.name, TWO.name] == ["D", "a", "h"]


def test_custom_attributes_are_found_in_any_case() -> None:
    """A code name is the same in any case; a value comes without spaces around it."""
    report = SessionReport("a", attributes=(CustomAttribute("Snow_Task_ID", " x "),))
    assert (report.attribute("snow_task_id"), report.attribute("other")) == ("x", "")


def test_bodies_in_base64() -> None:
    """Text comes back with what no field can show replaced; what is no base64 gives nothing."""
    assert decoded(base64.b64encode("à\0b\r\n".encode()).decode() + "\n ") == "à\ufffdb\r\n"
    assert decoded("!") == decoded("\u00e9") == decoded("YQ") == ""


@given(st.text())
def test_written_text_is_what_xml_allows(text: str) -> None:
    """Allowed text is unchanged, forbidden characters become U+FFFD one by one."""
    shown = writable(text)
    assert len(shown) == len(text)
    assert writable(shown) == shown
    assert all(b in {a, "\ufffd"} for a, b in zip(text, shown, strict=True))


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("No Access report information MATCHING your  chosen criteria is available.", True),
        ("No archives found for the given search criteria.", True),
        ("Aucune information correspondant a\u0300 vos crite\u0300res n\u2019est disponible.", True),
        ("No se encontró información que coincida con sus criterios.", True),
        ("Invalid lsid.", False),
        ("Login failed", False),
        ("Missing criteria", False),
        ("Ingen rapport", False),
        ("", False),
    ],
)
def test_errors_that_mean_nothing_found(text: str, nothing: bool) -> None:
    """Known phrases mean "nothing found", in any case and spelling of accents; every other error is one."""
    assert says_nothing_found(text) == nothing
    assert says_nothing_found(text, [f" {text.upper()} "]) == bool(text)
    assert says_nothing_found(text, ["", "something else"]) == nothing


@pytest.mark.parametrize(
    ("text", "expired"),
    [
        ("This recording has expired and can no longer be viewed or downloaded.", True),
        ("Cet enregistrement a  EXPIRÉ et ne peut plus être visionné ni téléchargé.", True),
        ("Diese Aufzeichnung ist abgelaufen und kann nicht mehr angezeigt oder heruntergeladen werden.", True),
        ("Esta grabación ha caducado.", True),
        ("Questa registrazione è scaduta.", True),
        ("Esta gravação expirou.", True),
        ("Deze opname is verlopen.", True),
        ("Invalid lsid.", False),
        ("The recording expires soon.", False),
        ("Your session has expired. Please log in.", False),
        ("", False),
    ],
)
def test_a_recording_that_is_no_longer_kept(text: str, expired: bool) -> None:
    """The appliance's words for it in seven languages, and words for something else."""
    assert says_expired(text) == expired
