"""Decisions along a session's import."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.codes import REGISTRY
from relay.core.errors import ApplianceError, RelayError, ServiceNowError, StorageError
from relay.core.queue import FORBIDDEN_TRIES
from relay.core.retry import LONGEST
from relay.core.session_entries import LEFT_OUT, SETTLED
from relay.core.session_job import (
    LOOK,
    MISSING_LIMIT,
    RECORDING_TRIES,
    REFUSED_TRIES,
    RUNNING_LIMIT,
    SESSION,
    TRANSFER_TRIES,
    UNREADABLE_TRIES,
    after_fetch_error,
    after_look,
    after_note_error,
    after_recording_error,
    after_report,
    after_rows_error,
    before_note,
)
from relay.core.session_report import Moment, SessionReport

ENDED = SessionReport("a", ended=Moment(None, "whenever"))
OURS = SessionReport("a", ended=Moment(9), external_key="INC1")
RUNNING = SessionReport("a")

APPLIANCE = st.sampled_from([number for number in REGISTRY if number // 1000 == 3]).map(ApplianceError)
SERVICENOW = st.builds(
    lambda number, sent: ServiceNowError(number, maybe_sent=sent),
    st.sampled_from([number for number in REGISTRY if number // 1000 == 2]),
    st.booleans(),
)
TRIES = st.integers(1, 40)


def reachable(*states: str) -> set[str]:
    """These states and every one that they lead to."""
    found = set(states)
    while more := {target for state in found for target in SESSION.rows[state].values()} - found:
        found |= more
    return found


def test_the_table_is_closed_and_leads_to_an_end() -> None:
    """Every target is a state, every state is reached from the start, and an end is reached from every state."""
    assert reachable("NOTICED") == SESSION.states
    assert SESSION.final == set()  # an administrator may have any session imported again
    assert all(reachable(state) & {"DONE", "LEFT"} for state in SESSION.states)
    assert [dict(SESSION.rows[state]) for state in ("DONE", "LEFT")] == [{"asked again": "NOTICED"}] * 2


def test_no_way_leads_back_to_the_notes() -> None:
    """A session that has all its entries is not noted again before it came to its end; only NOTING sends one."""
    after = {target for state in ("NOTED", "UNKEPT") for target in SESSION.rows[state].values()}
    assert after == {"NOTED", "UNKEPT", "DONE"}
    assert [state for state, row in SESSION.rows.items() if "NOTING" in row.values()] == ["WRITTEN"]


def test_which_events_leave_an_entry_to_be_sent() -> None:
    """An entry is at hand again only after it was surely not written: refused unsent, or looked for and absent."""
    again = {
        event
        for state in ("WRITTEN", "NOTING", "ASKING")
        for event, target in SESSION.rows[state].items()
        if target == "WRITTEN" and event not in SETTLED
    }
    assert again == {"put off", "not noted", "absent", LEFT_OUT}
    assert {event for row in SESSION.rows.values() for event in row} >= SETTLED


@pytest.mark.parametrize(
    ("report", "waited", "external", "event", "code"),
    [
        (OURS, 0, True, "fetched", 0),
        (OURS, 1e9, False, "fetched", 0),
        (ENDED, 0, True, "fetched", 0),
        (ENDED, 0, False, "started outside", 0),
        (RUNNING, 0, False, "still running", 0),
        (RUNNING, RUNNING_LIMIT - 1, True, "still running", 0),
        (RUNNING, RUNNING_LIMIT, True, "given up", 3020),
        (SessionReport("a", ended=Moment(0)), 0, True, "still running", 0),
        (None, MISSING_LIMIT - 1, True, "not there yet", 0),
        (None, MISSING_LIMIT, True, "given up", 3020),
    ],
)
def test_a_report_without_end_is_fetched_again(
    report: SessionReport | None, waited: float, external: bool, event: str, code: int
) -> None:
    """A session that runs, or is not known yet, waits up to a limit; where it came from counts at its end."""
    verdict = after_report(report, waited=waited, import_external=external)
    assert (verdict.event, verdict.code) == (event, code)
    assert event in SESSION.rows["NOTICED"]


def test_a_session_that_another_appliance_has_is_let_go() -> None:
    """However long it was waited for; but not one that this appliance has as well."""
    for waited in (0.0, MISSING_LIMIT):
        verdict = after_report(None, waited=waited, import_external=True, elsewhere=True)
        assert SESSION.advance("NOTICED", verdict.event) == "LEFT"
    assert after_report(OURS, waited=0.0, import_external=True, elsewhere=True).event == "fetched"


@pytest.mark.parametrize(
    ("number", "tries", "event"),
    [
        (3001, 999, "put off"),
        (3005, 999, "put off"),
        (3012, 999, "put off"),
        (3009, UNREADABLE_TRIES - 1, "put off"),
        (3009, UNREADABLE_TRIES, "unreadable"),
        (3019, REFUSED_TRIES - 1, "put off"),
        (3019, REFUSED_TRIES, "report refused"),
        (3008, 1, "report refused"),
    ],
)
def test_a_report_that_cannot_be_had_waits_or_is_kept(number: int, tries: int, event: str) -> None:
    """An appliance that is down is waited for without end; what stays unreadable or refused goes to a person."""
    verdict = after_fetch_error(ApplianceError(number), tries=tries)
    assert (verdict.event, verdict.code) == (event, 0 if event == "put off" else number)


@pytest.mark.parametrize(
    ("error", "tries", "rows", "note"),
    [
        (ServiceNowError(2003, maybe_sent=True), 99, "put off", "note unknown"),
        (ServiceNowError(2015, maybe_sent=True), 99, "put off", "note unknown"),
        (ServiceNowError(2001), 99, "put off", "not noted"),
        (ServiceNowError(2006), FORBIDDEN_TRIES - 1, "put off", "not noted"),
        (ServiceNowError(2006), FORBIDDEN_TRIES, "rows refused", "note refused"),
        (ServiceNowError(2015), 1, "rows refused", "note refused"),
    ],
)
def test_what_may_have_been_written(error: ServiceNowError, tries: int, rows: str, note: str) -> None:
    """Rows are simply written again; a note that may be there is asked for; a refusal goes to a person."""
    assert (after_rows_error(error, tries=tries).event, after_note_error(error, tries=tries).event) == (rows, note)


@pytest.mark.parametrize(
    ("known", "found", "event"),
    [
        (False, None, "noting"),
        (True, False, "noting"),
        (True, True, "noted before"),
        (True, None, "noted before"),
    ],
)
def test_a_session_is_noted_once(known: bool, found: bool | None, event: str) -> None:
    """A session that ServiceNow knew before is noted only where the mark can be looked for and is not there."""
    assert before_note(known=known, found=found) == event
    assert event in SESSION.rows["WRITTEN"]


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ServiceNowError(2006, maybe_sent=True), "note unknown"),
        (ServiceNowError(2001), "not noted"),
        (ServiceNowError(2006), "left out"),
        (ServiceNowError(2015), "left out"),
    ],
)
def test_an_entry_that_is_not_needed_holds_up_nothing(error: ServiceNowError, event: str) -> None:
    """What passes is waited for, what is unknown is asked for; a refusal or a missing right leaves it out at once."""
    verdict = after_note_error(error, tries=1, needed=False)
    assert (verdict.event, verdict.code) == (event, 0)
    assert event in SESSION.rows["NOTING"]


@given(st.none() | st.booleans(), st.integers(1, 9), st.booleans())
def test_a_note_counts_as_absent_only_to_who_can_see(found: bool | None, looks: int, sight: bool) -> None:
    """It is written again only after two looks by an account that can see notes; blind, it is never written again."""
    event = after_look(found=found, looks=looks, sight=sight)
    assert event in SESSION.rows["ASKING"]
    assert (event == "absent") == (found is False and sight and looks >= 2)
    assert (event == "found") == (found is True)
    assert (event == "cannot be asked") == (found is None or (found is False and not sight and looks >= 6))


@pytest.mark.parametrize(
    ("error", "tries", "event"),
    [
        (ApplianceError(3001), 99, "put off"),
        (StorageError(5004), 99, "put off"),
        (StorageError(5014), 99, "put off"),
        (ApplianceError(3013), RECORDING_TRIES - 1, "put off"),
        (ApplianceError(3013), RECORDING_TRIES, "part refused"),
        (ApplianceError(3019), REFUSED_TRIES - 1, "put off"),
        (ApplianceError(3019), REFUSED_TRIES, "part refused"),
        (ApplianceError(3021), 1, "part refused"),
        (ApplianceError(3022), 1, "part refused"),
        (ServiceNowError(2015), RECORDING_TRIES, "part refused"),
    ],
)
def test_a_recording_that_cannot_be_kept(error: RelayError, tries: int, event: str) -> None:
    """What passes is waited for; an expired or refused recording goes to a person, with everything else written."""
    for transfers in (0, TRANSFER_TRIES - 1):
        assert after_recording_error(error, tries=tries, transfers=transfers).event == event
    assert after_recording_error(error, tries=tries, transfers=TRANSFER_TRIES).event == "part refused"


@given(APPLIANCE, SERVICENOW, TRIES)
def test_every_decision_is_in_the_table(appliance: ApplianceError, servicenow: ServiceNowError, tries: int) -> None:
    """Whatever the error, its state has the event, and what ends in DEAD, or a recording's refusal, has a code."""
    for state, verdict in (
        ("NOTICED", after_fetch_error(appliance, tries=tries)),
        ("FETCHED", after_rows_error(servicenow, tries=tries)),
        ("NOTING", after_note_error(servicenow, tries=tries)),
        ("NOTED", after_recording_error(appliance, tries=tries, transfers=0)),
        ("NOTED", after_recording_error(servicenow, tries=tries, transfers=tries)),
    ):
        target = SESSION.advance(state, verdict.event)
        assert (verdict.code in REGISTRY) == (target == "DEAD" or verdict.event == "part refused")


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_looks_grow_apart_to_a_limit(tries: int, jitter: float) -> None:
    """The first look comes within seconds, later ones within minutes, and none is later than any wait may be."""
    assert 2.5 <= LOOK.delay(tries, jitter) <= LONGEST
    assert LOOK.delay(1, jitter) <= 5
