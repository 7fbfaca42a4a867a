"""Since when an appliance is asked which sessions ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.core.session_cursor import FARTHEST_BACK, OVERLAP, SHORTEST, cursor_after, narrower, start_of

NOW = 1_800_000_000.0
DAY = 86_400.0
moments = st.floats(0, 4_000_000_000)


def test_it_moves_with_the_appliances_clock() -> None:
    """An hour before it the next look begins; without its time the cursor stays."""
    assert cursor_after(NOW - 300, NOW + 7, NOW) == NOW + 7
    assert cursor_after(NOW - 300, NOW - 7_200, NOW) == NOW - 7_200
    assert cursor_after(NOW - 300, None, NOW) == NOW - 300
    assert start_of(NOW + 0.7) == NOW - OVERLAP
    assert start_of(60.0) == 0


@given(moments, moments)
def test_one_wrong_clock_leads_it_nowhere(date: float, wall: float) -> None:
    """While either clock is right, the next look neither begins after now nor more than a day before the last one."""
    since = NOW - 300
    for after in (cursor_after(since, date, NOW), cursor_after(since, NOW, wall)):
        assert since - FARTHEST_BACK <= after
        assert start_of(after) <= NOW


def test_a_cursor_that_both_clocks_contradict_is_wrong() -> None:
    """This machine's clock was years ahead when the first cursor was stored."""
    assert cursor_after(NOW + 900 * DAY, NOW + 5, NOW) == NOW + 5
    assert cursor_after(NOW + 900 * DAY, 0.0, NOW) == NOW


def test_pieces_of_time_are_halved_and_never_tiny() -> None:
    """Half of a piece, until it would be shorter than a minute."""
    assert narrower(DAY) == DAY // 2
    assert narrower(2 * SHORTEST) == SHORTEST
    assert narrower(2 * SHORTEST - 1) == 0
    assert narrower(-5.0) == 0
