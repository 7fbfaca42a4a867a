"""An operation's own limit over any 60 seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.core.rates import WINDOW, RateWindow


@given(st.integers(1, 5), st.lists(st.floats(0, 100), max_size=40))
def test_never_more_than_the_limit_in_any_minute(limit: int, steps: list[float]) -> None:
    """However calls come, no 60 seconds hold more than the limit, and the wait that is told suffices."""
    window, now, starts = RateWindow(), 0.0, []
    for step in steps:
        now += step
        window, wait = window.take(limit, now)
        if wait:
            assert 0 < wait <= WINDOW + 1e-6
            now += wait + 1e-6
            window, wait = window.take(limit, now)
            assert wait == 0
        starts.append(now)
    assert all(later - earlier >= WINDOW - 1e-6 for earlier, later in zip(starts, starts[limit:], strict=False))


def test_no_limit() -> None:
    """A limit of 0 is none and remembers nothing."""
    assert RateWindow().take(0, 5.0) == (RateWindow(), 0.0)
