"""Decisions around one call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ApplianceError
from relay.core.forwarding import GiveUp, Wait, after_not_executed, age_of, trying_since
from relay.core.record import Reply


def decide(error: ApplianceError, *, trying_for: float = 0.0, retry_for: float = 20.0, tries: int = 1) -> Wait | GiveUp:
    return after_not_executed(error, trying_for=trying_for, retry_for=retry_for, tries=tries, jitter=0.0)


@pytest.mark.parametrize(
    ("created", "now", "age"), [(100.0, 160.0, 60.0), (100.0, None, None), (None, None, 7.0), (None, 160.0, 7.0)]
)
def test_a_records_age_is_told_by_the_instances_clock(
    created: float | None, now: float | None, age: float | None
) -> None:
    """Age is the instance's time of day less the record's; unknown without it; counted from sight where no date is."""
    assert age_of(created, now, 7.0) == age


def test_a_call_that_may_be_repeated_waits_longer_each_time() -> None:
    """The waits between tries grow to five seconds."""
    waits = [decide(ApplianceError(3001), tries=tries) for tries in (1, 2, 3, 4, 5, 50)]
    assert waits == [Wait(0.25), Wait(0.5), Wait(1.0), Wait(2.0), Wait(2.5), Wait(2.5)]


def test_a_call_is_given_up_when_its_time_is_over() -> None:
    """A wait that would end after `retry_for` is not begun."""
    assert decide(ApplianceError(3001), trying_for=19.75) == Wait(0.25)
    assert decide(ApplianceError(3001), trying_for=19.76) == GiveUp()
    assert decide(ApplianceError(3007, after=30.0, reply=Reply(429))) == GiveUp()


def test_what_cannot_get_better_is_given_up_at_once() -> None:
    """An error that is not retryable is answered with at once."""
    assert decide(ApplianceError(3012)) == GiveUp()


@pytest.mark.parametrize("number", [3007, 3011])
def test_the_relays_own_limits_are_waited_for(number: int) -> None:
    """The relay's own account keeping delays a call for as long as it takes, a reply of the appliance does not."""
    assert decide(ApplianceError(number, after=100.0), trying_for=9999.0) == Wait(100.0)
    assert decide(ApplianceError(number, reply=Reply(429)), trying_for=9999.0) == GiveUp()


@given(st.none() | st.floats(0, 1e10), st.floats(0, 1e10))
def test_the_first_try_never_lies_in_the_future(stored: float | None, now: float) -> None:
    """A stored moment later than now is a clock's fault and means now."""
    since = trying_since({} if stored is None else {"trying_since": stored}, now)
    assert since == (now if stored is None or stored > now else stored)
