"""The life of a request: its table, its clocks, and what each outcome leads to."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import approval_job
from relay.core.approval_job import (
    APPROVAL,
    DECIDED,
    DELIVERED,
    RECEIVED,
    SENDING,
    SENT,
    UNDELIVERED,
    UNREADABLE,
    Tried,
    after_send,
    answer_to,
    goes_on,
    handed_down,
    other,
    read_answer,
    time_left,
)
from relay.core.approval_values import Answer, Verdict
from relay.core.errors import ApplianceError, ServiceNowError


def reach(start: str) -> set[str]:
    """Every state that can follow a state."""
    found, waiting = set[str](), [start]
    while waiting:
        for target in APPROVAL.rows[waiting.pop()].values():
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_the_table_is_closed_and_leads_to_an_end() -> None:
    """Every state is reached from the two beginnings, and each leads to a state that nothing leaves."""
    assert {RECEIVED, UNREADABLE} | reach(RECEIVED) | reach(UNREADABLE) == APPROVAL.states
    for state in APPROVAL.states - APPROVAL.final:
        assert reach(state) & APPROVAL.final


def test_what_may_have_arrived_is_never_decided_again() -> None:
    """No way leads from there to a state in which a decision may be replaced."""
    assert reach(SENT).isdisjoint({RECEIVED, "WAITING", DECIDED, SENDING})
    assert reach(UNDELIVERED).isdisjoint({RECEIVED, "WAITING", DECIDED, SENDING})
    assert {event for event, target in APPROVAL.rows[SENDING].items() if target == DECIDED} == {"not sent"}
    assert [event for row in APPROVAL.rows.values() for event, target in row.items() if target == SENDING] == [
        "sending",
        "contradicted",
    ]


@pytest.mark.parametrize(
    ("wall", "steady", "left"),
    [
        (5.0, 5.0, 15.0),
        (5.0, 7.0, 13.0),
        (7.0, 5.0, 13.0),
        (20.0, 5.0, 0.0),
        (5.0, 20.0, 0.0),
        (-0.5, 5.0, 15.0),
        (-1.5, 5.0, 0.0),
        (5.0, -1.0, 0.0),
        (5.0, None, 0.0),
        (0.0, 0.0, 20.0),
        (math.nan, 5.0, 0.0),
        (5.0, math.nan, 0.0),
    ],
)
def test_the_clock_that_leaves_less_counts(wall: float, steady: float | None, left: float) -> None:
    """And neither may say that a request comes from the future, or from another life."""
    assert time_left(20.0, wall=wall, steady=steady) == pytest.approx(left)


@given(st.floats(), st.none() | st.floats())
def test_no_clock_gives_more_than_the_deadline(wall: float, steady: float | None) -> None:
    """Whatever it says."""
    left = time_left(20.0, wall=wall, steady=steady)
    assert 0.0 <= left <= 20.0


@pytest.mark.parametrize(
    ("outcome", "tried"),
    [
        (200, Tried("delivered")),
        (204, Tried("delivered")),
        (302, Tried("not taken")),
        (400, Tried("not taken", other=True)),
        (404, Tried("not taken", other=True)),
        (415, Tried("not taken", other=True)),
        (429, Tried("not taken")),
        (500, Tried("not taken")),
        (199, Tried("not taken")),
        (None, Tried("not taken")),
        (ApplianceError(3001), Tried("not sent")),
        (ApplianceError(3004, maybe_sent=True), Tried("not taken")),
    ],
)
def test_what_a_try_means(outcome: Any, tried: Tried) -> None:
    """Only what surely did not leave did not arrive; only what was rejected is tried otherwise."""
    assert after_send(outcome) == tried
    assert tried.event in APPROVAL.rows[SENDING]


def test_there_are_two_encodings() -> None:
    """Each is the other's other."""
    assert (other("form"), other("json")) == ("json", "form")


@pytest.mark.parametrize(
    ("allow", "left", "wall", "tries", "on"),
    [
        (True, 0.1, 5.0, 100, True),
        (True, 0.0, 5.0, 0, False),
        (False, 0.0, 79.0, 59, True),
        (False, 0.0, 80.0, 1, False),
        (False, 9.0, 5.0, 60, False),
        (False, 0.0, -3000.0, 59, True),
        (False, 0.0, -3000.0, 60, False),
    ],
)
def test_how_long_a_decision_is_tried(allow: bool, left: float, wall: float, tries: int, on: bool) -> None:
    """An allow while it is fresh, a denial for a minute more."""
    assert goes_on(allow=allow, left=left, deadline=20.0, wall=wall, tries=tries) is on


def test_every_denial_of_ours_says_what_it_is() -> None:
    """In its own words, bounded, printable, and as a denial."""
    denials = [
        approval_job.late(),
        approval_job.unasked(),
        approval_job.unreachable(ServiceNowError(2001, "secret detail")),
        approval_job.restarted(),
        approval_job.overtaken(),
        approval_job.contradicted(),
        approval_job.turned_off(),
        approval_job.faulty(),
    ]
    assert not any(one.allow for one in denials)
    assert len({one.text for one in denials}) == len({one.reason for one in denials}) == len(denials)
    assert all("denied" in one.text and len(one.text) < 200 for one in denials)
    assert "secret" not in str(denials)


def test_an_answer_repeats_the_request() -> None:
    """With the attributes of an allow and the text of a denial."""
    assert answer_to("r", Verdict(allow=False, reason="x", rule="y", text="no")) == Answer("r", "deny", "no")
    allowed = Verdict(allow=True, reason="x", rule="y", attributes={"a": "b"})
    assert answer_to("r", allowed) == Answer("r", "allow", "", {"a": "b"})


def test_a_decision_of_servicenow_is_bounded() -> None:
    """A denial has a text in any case, and no attributes."""
    allow = handed_down(Answer("r", "allow", "yes\x07", {"a": "b"}), "rule")
    assert (allow.allow, allow.text, allow.attributes, allow.rule) == (True, "yes?", {"a": "b"}, "rule")
    deny = handed_down(Answer("r", "deny", "", {"a": "b"}), "rule")
    assert (deny.allow, deny.text, deny.attributes) == (False, "Access is denied by ServiceNow.", {})
    assert len(handed_down(Answer("r", "deny", "x" * 9999), "rule").text) == 500


ALLOW = Answer("r1", "allow", "m", {"snow_task_id": "a"})


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('{"response_id":"r1","response":"allow","message":"m","session.custom.snow_task_id":"a"}', ALLOW),
        ("response_id=r1&response=allow&message=m&session.custom.snow_task_id=a", ALLOW),
        ("response_id=r1&response=allow&message=m&session.custom.snow_task_id=a\r\n", ALLOW),
        ('{"response_id":"r1","response":"deny"}', Answer("r1", "deny", "")),
        ('{"response_id":"r2","response":"allow"}', None),
        ('{"response":"allow"}', None),
        ('{"response_id":"r1","response":"Allow"}', None),
        ('{"response_id":"r1","response":true}', None),
        ('{"response_id":"r1","response":["allow"]}', None),
        ('{"response_id":"r1","response":"deny","response":"allow"}', None),
        ('{"response_id":"r1","response":"allow","message":7}', None),
        ('{"response_id":"r1","response":"allow","session.custom.a":"' + "x" * 1_025 + '"}', None),
        ("response_id=r1&response=allow" + "".join(f"&session.custom.a{n}={'x' * 1000}" for n in range(11)), None),
        ('{"response_id":"r1","response":"allow","session.custom.a b":"x"}', None),
        ('{"response_id":"r1","response":"allow","session.custom.a":7}', Answer("r1", "allow", "")),
        ('[{"response_id":"r1","response":"allow"}]', None),
        ('{"result":{"response_id":"r1","response":"allow"}}', None),
        ("response_id=r1&response=allow&response=deny", None),
        ("response_id=r1&response=allow&x", None),
        ("allow", None),
        ("", None),
        ("{", None),
        ("{" * 5000, None),
        ('{"a":' * 5000, None),
        ("<html>response=allow</html>", None),
        (b"\xff\xfe", None),
    ],
)
def test_only_a_plain_decision_is_one(body: str | bytes, answer: Answer | None) -> None:
    """About this request, in exactly these words, said once."""
    assert read_answer(body if isinstance(body, bytes) else body.encode(), "r1") == answer


@given(st.binary(max_size=60))
def test_whatever_is_answered_is_no_allow_by_chance(body: bytes) -> None:
    """Reading never raises."""
    assert read_answer(body, "r1") is None


def test_final_states_are_those_that_nobody_leaves() -> None:
    """The sweep turns them into tombstones."""
    assert APPROVAL.final == {DELIVERED, "REFUSED", "CLOSED"}
