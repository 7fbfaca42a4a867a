"""Session reports that are small on the wire and large in memory: refused early, honest ones of any shape read."""

from __future__ import annotations

import pytest
from support.peak import peak

from relay.appliance.elements import LONGEST_UNKNOWN, MOST_UNKNOWN
from relay.appliance.reports import (
    LONGEST_OUTSIDE,
    MOST_OF_A_DETAIL,
    MOST_OUTSIDE,
    read_session,
    read_surveys,
)
from relay.core.errors import ApplianceError
from relay.core.session_report import SessionReport

MEBIBYTE = 1024 * 1024
LSID = "a" * 32
SMALL = b"<b>1</b>" * 590_000
UP, DOWN = (b"".join(b"<%sa%s>" % (mark, b"n" * 1000) for _ in range(50)) for mark in (b"", b"/"))
FIELDS = b"<row>" + b"<field name='ab'>12</field>" * 10 + b"</row>"
SYSTEM = b"<event><system_information><category><data>%s</data></category></system_information></event>"
EVENT = (
    b"<event timestamp='16094592%02d' event_type='Chat Message'><performed_by type='representative' gsnumber='21'>Admin"
    b"</performed_by><destination type='customer' gsnumber='1'>web01</destination><body>%d</body>"
    b"<data><value name='one' value='1'/><value name='two' value='2'/><value name='three' value='3'/></data></event>"
)


def read(details: bytes, outside: bytes = b"") -> SessionReport:
    """The session of a report with something in its details, and something outside of them."""
    raw = b"<session_list><session lsid='%s'>%s<session_details>%s</session_details></session></session_list>"
    report = read_session(raw % (LSID.encode(), outside, details), LSID)
    assert report is not None
    return report


HOSTILE = {
    "outside": (b"", SMALL, f"without its events, has more than {MOST_OUTSIDE} "),
    "in one event": (
        b"<event>" + SMALL + b"</event>",
        b"",
        f"one event of the report has more than {MOST_OF_A_DETAIL} ",
    ),
    "in an unknown detail": (b"<new>" + SMALL + b"</new>", b"", f"more than {MOST_OF_A_DETAIL} "),
    "as details": (SMALL, b"", f"more than {MOST_UNKNOWN} texts and attributes"),
    "one in each event": (b"<event><b>1</b></event>" * 190_000, b"", f"more than {MOST_UNKNOWN} texts"),
    "attributes": (b"<event a='1' b='2' c='3' d='4'/>" * 110_000, b"", f"more than {MOST_UNKNOWN} texts"),
    "texts between": (b"<b/>x" * 290_000, b"", f"more than {MOST_UNKNOWN} texts"),
    "long paths": (UP + b"<b>1</b>" * 19_000 + DOWN, b"", f"more than {LONGEST_UNKNOWN} characters"),
    "long paths outside": (b"", UP + b"<b>1</b>" * 19_000 + DOWN, f"more than {LONGEST_UNKNOWN} characters"),
    "a long text": (
        b"<event><b>" + b"x" * (LONGEST_UNKNOWN + 1) + b"</b></event>",
        b"",
        f"{LONGEST_UNKNOWN} characters",
    ),
    "long texts outside": (b"", b"<lseq>" + b"x" * LONGEST_OUTSIDE + b"</lseq>", f"more than {LONGEST_OUTSIDE} char"),
    "a long attribute": (b"", b"<lseq a='" + b"x" * LONGEST_OUTSIDE + b"'/>", f"more than {LONGEST_OUTSIDE} char"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_report_is_refused_before_it_takes_the_memory(name: str) -> None:
    """Whatever it has too much of, the fault says so, at a cost of less than 48 MiB."""
    details, outside, text = HOSTILE[name]
    before = peak(anew=True)
    with pytest.raises(ApplianceError, match=text) as caught:
        read(details, outside)
    assert caught.value.code == "BSR-3009"
    assert peak() - before < 48 * MEBIBYTE


def test_a_long_session_is_read_whole() -> None:
    """Twenty thousand events of twenty elements and attributes each pass, and take less than 32 MiB."""
    details = b"".join(EVENT % (number % 100, number) for number in range(20_000))
    before = peak(anew=True)
    report = read(details)
    assert peak() - before < 32 * MEBIBYTE
    assert [event.body for event in report.events] == [str(number) for number in range(20_000)]
    assert all(len(event.data) == 3 for event in report.events)


def test_system_information_of_many_programs_is_read_whole() -> None:
    """Six times that of an endpoint with some 4,600 rows passes, and takes less than 96 MiB."""
    before = peak(anew=True)
    report = read(SYSTEM % (FIELDS * 4_650) * 6)
    assert peak() - before < 96 * MEBIBYTE
    assert [len(event.system_information[0].rows) for event in report.events] == [4_650] * 6


def test_what_nobody_knows_is_kept_up_to_its_limit() -> None:
    """As many unknown texts as are allowed are kept, in events and outside of them; they count together."""
    each = MOST_UNKNOWN // 2
    details, outside = b"<event><b>1</b></event>" * each, b"<b>2</b>" * each
    report = read(details, outside)
    assert report.extra == (("b", "2"),) * each
    assert all(event.extra == (("b", "1"),) for event in report.events)
    with pytest.raises(ApplianceError, match="not known"):
        read(details, outside + b"<b>3</b>")


def test_each_session_has_limits_of_its_own() -> None:
    """What one session has is not counted against the next one."""
    session = b"<session lsid='%d'>" + b"<b>1</b>" * (MOST_UNKNOWN - 1) + b"</session>"
    raw = b"<session_list>" + b"".join(session % number for number in range(3)) + b"</session_list>"
    report = read_session(raw, "2")
    assert report is not None
    assert len(report.extra) == MOST_UNKNOWN - 1


def test_surveys_are_counted_together() -> None:
    """Whoever reads surveys keeps all of them: many small ones are as bad as a large one."""
    one = b"<exit_survey gsnumber='1'/>"
    most = (MOST_OUTSIDE - 1) // 2
    assert len(list(read_surveys(b"<exit_survey_list>" + one * most + b"</exit_survey_list>", "customer"))) == most
    before = peak(anew=True)
    with pytest.raises(ApplianceError, match=f"more than {MOST_OUTSIDE} "):
        list(read_surveys(b"<exit_survey_list>" + one * 700_000 + b"</exit_survey_list>", "customer"))
    assert peak() - before < 64 * MEBIBYTE
