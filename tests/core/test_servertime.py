"""The instance's clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.servertime import FRESH, STEP, ServerClock, http_date

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EPOCH = 784111777.0


def test_unknown_before_the_first_answer() -> None:
    """Before the first answer there is no time."""
    assert ServerClock().now(5.0, 5.0) is None


def test_reading_goes_on() -> None:
    """A reading is carried on by the monotonic clock."""
    assert ServerClock().heard(DATE, 100.0, 900.0).now(107.5, 907.5) == EPOCH + 7.5


def test_old_reading_is_none() -> None:
    """A reading of more than five minutes ago tells nothing, nor does one of the future."""
    clock = ServerClock().heard(DATE, 100.0, 900.0)
    assert clock.now(100.0 + FRESH, 900.0 + FRESH) == EPOCH + FRESH
    assert clock.now(100.1 + FRESH, 900.1 + FRESH) is None
    assert clock.now(99.0, 899.0) is None


@pytest.mark.parametrize("step", [-7200.0, -STEP - 1, STEP + 1, 7200.0])
def test_a_machine_that_slept_knows_no_time(step: float) -> None:
    """A step of the wall clock against the monotonic one, as after sleep, makes the reading an old one; drift does not.

    Or a call that was too old two hours ago would be made at the wake-up.
    """
    clock = ServerClock().heard(DATE, 100.0, 900.0)
    assert clock.now(101.0, 901.0 + step) is None
    assert clock.now(101.0, 901.0 + STEP / 2) == EPOCH + 1
    assert clock.heard(DATE, 101.0, 901.0 + step).now(101.0, 901.0 + step) == EPOCH


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "yesterday",
        "06 Nov 1994 08:49:37",
        "x" * 500,
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
def test_no_date_changes_nothing(date: str | None) -> None:
    """A header that is absent or no date leaves the last reading."""
    clock = ServerClock().heard(DATE, 100.0, 900.0)
    assert clock.heard(date, 200.0, 1000.0) is clock


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """No text makes it raise."""
    assert http_date(text) is None or isinstance(http_date(text), float)
