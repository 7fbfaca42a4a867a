"""Waits between tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.retry import LONGEST, Backoff, spread

JITTER = st.floats(0, 1, exclude_max=True)


def test_waits_double_up_to_the_longest() -> None:
    """Without jitter's help the waits are half of 1, 2, 4, 8 and then of the longest."""
    waits = [Backoff(1.0, 5.0).delay(tries, 0.0) for tries in range(1, 6)]
    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5]


@given(st.integers(1, 10**9), JITTER)
def test_a_wait_lies_in_the_upper_half_of_its_step(tries: int, jitter: float) -> None:
    """A wait is never shorter than half its step and never longer than the longest, however many tries."""
    backoff = Backoff(2.0, 60.0)
    step = min(60.0, 2.0 * 2.0 ** min(tries - 1, 32))
    assert step / 2 <= backoff.delay(tries, jitter) <= step


@pytest.mark.parametrize(("asked", "wait"), [(None, 0.5), (0.0, 0.5), (0.1, 0.5), (7.0, 7.0), (9999.0, LONGEST)])
def test_what_the_other_side_asks_for_is_obeyed_within_bounds(asked: float | None, wait: float) -> None:
    """A wait that the other side asks for counts when it is longer, up to the longest that the relay accepts."""
    assert Backoff(1.0, 60.0).delay(1, 0.0, asked) == wait


@given(JITTER)
def test_an_interval_varies_by_a_tenth(jitter: float) -> None:
    """Two relays with one interval do not stay in step, and neither is off by more than a tenth."""
    assert 9.0 <= spread(10.0, jitter) <= 11.0
