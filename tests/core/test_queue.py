"""Decisions along a queue record's life."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ServiceNowError
from relay.core.queue import (
    FORBIDDEN_TRIES,
    QUEUE,
    after_crash,
    after_insert,
    after_look,
    after_unknown,
    at_start,
    expired,
    may_be,
    verify_after,
)
from relay.core.record import Record

AGENT = "mid.server.relay01"


def row(state: str = "processing", agent: str = AGENT, by: str = "svc.relay") -> Record:
    return Record({"agent": agent, "state": state, "sys_updated_by": by})


def begin(state: str, record: Record | None, *, user: str = "svc.relay", answered: bool = False) -> str | None:
    return at_start(state, record, agent=AGENT, user=user, answered=answered)


@given(st.booleans(), st.integers(1, 10))
def test_an_unsafe_call_of_unknown_outcome_is_never_repeated(safe: bool, times: int) -> None:
    """Unknown means BSR-3010 for what is not safe, at once; a safe call gets there at the third time."""
    alive, crashed = after_unknown(safe=safe, times=times), after_crash(safe=safe, times=times)
    if not safe:
        assert (alive.event, alive.code) == (crashed.event, crashed.code) == ("outcome unknown", 3010)
    elif times < 3:
        assert (alive.event, alive.code, crashed.event, crashed.code) == ("maybe sent, safe", 0, "repeated", 0)
    else:
        assert (alive.code, crashed.code) == (3010, 9002)
    assert alive.event in QUEUE.rows["FORWARDING"]
    assert crashed.event in QUEUE.rows["UNCERTAIN"]


@pytest.mark.parametrize("state", ["SEEN", "CLAIMED", "UNCERTAIN"])
def test_at_start_an_answer_ends_the_work(state: str) -> None:
    """A record that has an answer is done, whatever its row says."""
    assert begin(state, row("ready"), answered=True) == "answered there"


@pytest.mark.parametrize("state", ["SEEN", "CLAIMED"])
@pytest.mark.parametrize("record", [None, row("processed"), row("error"), row(agent="mid.server.other")])
def test_at_start_what_is_not_ours_any_more_is_dropped(state: str, record: Record | None) -> None:
    """A row that is gone, finished or another agent's is nobody's work here."""
    assert begin(state, record) == "taken"


@pytest.mark.parametrize("state", ["CLAIMED", "UNCERTAIN"])
@pytest.mark.parametrize("record", [row(), row("ready"), row(by="somebody")])
def test_at_start_what_is_ours_stays(state: str, record: Record) -> None:
    """A claimed row that still waits for its answer goes on."""
    assert begin(state, record) is None


@pytest.mark.parametrize(
    ("record", "user", "event"),
    [
        (row("ready"), "svc.relay", None),
        (row(), "svc.relay", "claimed"),
        (row(by="other"), "svc.relay", "taken"),
        (row(by="other"), "", "claimed"),
        (row(by=""), "svc.relay", "claimed"),
    ],
)
def test_at_start_a_claim_whose_answer_was_lost_is_found(record: Record, user: str, event: str | None) -> None:
    """A seen row in `processing` is ours when our user, or nobody known, wrote it last."""
    assert begin("SEEN", record, user=user) == event


@pytest.mark.parametrize(
    ("error", "tries", "before", "event"),
    [
        (ServiceNowError(2003, maybe_sent=True), 1, False, "insert unknown"),
        (ServiceNowError(2015, maybe_sent=True), 1, True, "insert unknown"),
        (ServiceNowError(2001), 99, False, "put off"),
        (ServiceNowError(2006), FORBIDDEN_TRIES - 1, False, "put off"),
        (ServiceNowError(2006), FORBIDDEN_TRIES, False, "answer refused"),
        (ServiceNowError(2015), 1, False, "answer refused"),
        (ServiceNowError(2015), 1, True, "answer refused again"),
    ],
)
def test_a_failed_insert_is_unknown_put_off_or_refused(
    error: ServiceNowError, tries: int, before: bool, event: str
) -> None:
    """What may have happened is asked for, what may succeed later waits, the rest was refused."""
    assert after_insert(error, tries=tries, refused_before=before) == event
    assert event in QUEUE.rows["ANSWERED"]


@pytest.mark.parametrize(("number", "wait"), [(2008, 0.0), (2003, 65.0), (2004, 65.0)])
def test_a_lost_insert_is_asked_for_when_it_cannot_run_any_more(number: int, wait: float) -> None:
    """A received 5xx is over; a time-out or a reset settles first."""
    assert verify_after(ServiceNowError(number, maybe_sent=True), settle=65.0) == wait


@pytest.mark.parametrize(("looks", "event"), [(5, "put off"), (6, "absent")])
def test_a_relay_that_never_delivered_looks_longer(looks: int, event: str) -> None:
    """Without an own answer to read back, seeing the output itself stands in for sight after six looks."""
    assert after_look(found=False, kept=False, looks=looks, sight=False, sees_output=True) == event


@given(st.booleans(), st.booleans(), st.integers(1, 20), st.booleans())
def test_absent_means_something_only_to_who_can_see(found: bool, kept: bool, looks: int, sight: bool) -> None:
    """An answer counts as absent after two looks by an account that has seen one of its own, or where ids are kept."""
    event = after_look(found=found, kept=kept, looks=looks, sight=sight)
    assert event in QUEUE.rows["VERIFYING"]
    if found:
        assert event == "found"
    else:
        assert (event == "absent") == (kept or (sight and looks >= 2))


@given(st.floats(0, 1e6), st.booleans())
def test_a_record_expires_by_its_kind(age: float, safe: bool) -> None:
    """Unsafe work has its own limit, and a record exactly that old is not too old."""
    assert expired(age, safe=safe, unsafe_limit=120.0, safe_limit=3600.0) == (age > (3600.0 if safe else 120.0))


def test_at_start_a_call_that_may_have_been_made_is_not_forgotten_for_a_hidden_row() -> None:
    """A row that cannot be seen may come back, so a job that may have called keeps its memory."""
    assert begin("UNCERTAIN", None) is None
    assert begin("UNCERTAIN", row("processed")) == "taken"


@pytest.mark.parametrize("name", ["svc.relay", "SVC.Relay", ""])
def test_a_user_is_the_same_in_any_case(name: str) -> None:
    """ServiceNow lets a user log in in any case, and shows the name as it is stored."""
    assert may_be("svc.relay", name)
    assert may_be("", name)
    assert not may_be("svc.other", name) or not name
