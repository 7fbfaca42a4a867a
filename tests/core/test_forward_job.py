"""Decisions along an event that is posted on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.codes import REGISTRY
from relay.core.errors import ConfigError, RelayError, ServiceNowError
from relay.core.forward_job import (
    CLOSED_TRIES,
    FORWARD,
    NOT_TAKEN,
    PATIENCE,
    POSTING,
    REJECTED_TRIES,
    Next,
    Past,
    after_failure,
    after_stop,
    forward_of,
)
from relay.core.retry import LONGEST

SETTLE = 65.0
NOTHING = Past()
ERRORS = st.builds(
    lambda number, sent, after: ServiceNowError(number, maybe_sent=sent, after=after),
    st.sampled_from([number for number in REGISTRY if number // 1000 == 2]),
    st.booleans(),
    st.none() | st.floats(0.1, 4000),
) | st.just(ConfigError(1009))
PASTS = st.builds(Past, st.integers(0, 30), st.integers(0, 30), st.integers(0, 2000))


def reachable(*states: str) -> set[str]:
    """These states and every one that they lead to."""
    found = set(states)
    while more := {target for state in found for target in FORWARD.rows[state].values()} - found:
        found |= more
    return found


def decided(error: RelayError, past: Past = NOTHING, jitter: float = 0.5) -> Next:
    """What becomes of an event."""
    return after_failure(error, past, settle=SETTLE, jitter=jitter)


def test_the_table_is_closed_and_leads_to_an_end() -> None:
    """Every target is a state, every state is reached from the start, and the end from every state."""
    assert reachable(FORWARD.initial) == FORWARD.states
    assert FORWARD.final == {"DONE"}
    assert all("DONE" in reachable(state) for state in FORWARD.states)


def test_an_event_is_done_only_when_taken_or_discarded() -> None:
    """No other way ends it, and none but an answer of success ends one that is on its way."""
    ends = {(state, event) for state, row in FORWARD.rows.items() for event, target in row.items() if target == "DONE"}
    assert {event for _, event in ends} == {"delivered", "discarded"}
    assert {state for state, event in ends if event == "delivered"} == {"POSTING"}


def test_what_may_be_at_servicenow_is_told_apart() -> None:
    """So that nobody has it posted again before its time, by a command or by a restart."""
    into = {(state, event) for state, row in FORWARD.rows.items() for event, to in row.items() if to == "UNSURE"}
    assert into == {("POSTING", "delivery unknown"), ("POSTING", "found at start"), ("UNSURE", "put off")}


@pytest.mark.parametrize(
    ("error", "past", "expected"),
    [
        # Away: every event of the appliance waits with growing delay, for any time; it is nothing about this one.
        (ServiceNowError(2001), Past(), ("not delivered", 0, 1.5, 1.5)),
        (ServiceNowError(2001), Past(failures=5), ("not delivered", 0, 48.0, 48.0)),
        (ServiceNowError(2001), Past(failures=999), ("not delivered", 0, 225.0, 225.0)),
        (ServiceNowError(2007, after=40.0), Past(), ("not delivered", 0, 40.0, 40.0)),
        (ConfigError(1009), Past(failures=999), ("not delivered", 0, 225.0, 225.0)),
        # Unknown: not before the former post is over.
        (ServiceNowError(2003, maybe_sent=True), Past(), ("delivery unknown", 0, SETTLE, SETTLE)),
        (ServiceNowError(2008, maybe_sent=True), Past(failures=9), ("delivery unknown", 0, 225.0, 225.0)),
        (ServiceNowError(2003, maybe_sent=True), Past(tries=PATIENCE - 1), ("delivery unknown", 0, 130.0, SETTLE)),
        (ServiceNowError(2003, maybe_sent=True), Past(tries=99), ("delivery unknown", 0, 225.0, SETTLE)),
        # Closed: waits as if away, then lets others pass, then is dead.
        (ServiceNowError(NOT_TAKEN), Past(), ("not delivered", 0, 1.5, 1.5)),
        (ServiceNowError(NOT_TAKEN), Past(PATIENCE - 1, PATIENCE - 1), ("not delivered", 0, 6.0, 1.5)),
        (ServiceNowError(NOT_TAKEN), Past(CLOSED_TRIES - 1, CLOSED_TRIES - 1, 9), ("rejected", NOT_TAKEN, 0.0, 225.0)),
        # Rejected: the others hear nothing of it.
        (ServiceNowError(2015), Past(), ("not delivered", 0, 1.5, 0.0)),
        (ServiceNowError(2015), Past(9, 4, 7), ("not delivered", 0, 24.0, 0.0)),
        (ServiceNowError(2015), Past(REJECTED_TRIES, REJECTED_TRIES - 1), ("rejected", 2015, 0.0, 0.0)),
    ],
)
def test_what_becomes_of_an_event_that_failed(
    error: RelayError, past: Past, expected: tuple[str, int, float, float]
) -> None:
    """Away and unknown wait for any time; refusals get a number of tries and hold up the others little."""
    then = decided(error, past)
    assert (then.event, then.code, then.wait, then.rest) == expected


@pytest.mark.parametrize(
    ("error", "past"),
    [
        (ServiceNowError(2001), Past(3, 2, 5)),
        (ServiceNowError(2003, maybe_sent=True), Past(4, 2, 5)),
        (ServiceNowError(NOT_TAKEN), Past(4, 3, 5)),
        (ServiceNowError(2015), Past(4, 3, 4)),
    ],
)
def test_what_is_counted(error: ServiceNowError, past: Past) -> None:
    """An outage is no try of the event; a refusal that is about the event alone is no failure of its appliance."""
    assert decided(error, Past(3, 2, 4)).past == past


@given(ERRORS, PASTS, st.floats(0, 1, exclude_max=True))
def test_every_decision_is_in_the_table_and_bounded(error: RelayError, past: Past, jitter: float) -> None:
    """What failed is dead with a code or comes again, no earlier than it may and within the store's longest wait."""
    then = decided(error, past, jitter)
    target = FORWARD.advance(POSTING, then.event)
    assert (target == "DEAD") == (then.code in REGISTRY) == (then.wait == 0)
    assert 0 <= then.rest <= max(LONGEST, SETTLE)
    assert then.wait <= 2 * max(LONGEST, SETTLE)
    if target != "DEAD":
        assert then.wait >= max(then.rest, 1.0)
    if error.maybe_sent:
        assert then.event == "delivery unknown"
        assert then.rest >= SETTLE


@given(PASTS, st.floats(0, 1, exclude_max=True))
def test_what_stopped_the_relay_lets_the_others_pass_in_the_end(past: Past, jitter: float) -> None:
    """It waits as an unknown outcome does, and counts as a try that came to the application."""
    then = after_stop(past, settle=SETTLE, jitter=jitter)
    assert FORWARD.advance(POSTING, then.event) == "UNSURE"
    assert then.past == Past(past.tries + 1, past.refusals, past.failures)
    assert then.rest == SETTLE
    assert (then.wait > then.rest) == (then.past.tries >= PATIENCE)


def test_the_job_of_a_post_has_an_id_of_its_own() -> None:
    """It is not the post's, which other jobs made of it may have, and the same each time."""
    assert forward_of("a") == forward_of("a") != forward_of("b")
    assert len(forward_of("a")) == 64
