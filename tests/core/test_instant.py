"""ServiceNow's date-times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.instant import epoch, written


@given(st.integers(0, 4_000_000_000))
def test_a_date_time_is_read_as_utc(seconds: int) -> None:
    """What ServiceNow writes for a moment is read back as that moment."""
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert epoch(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2026-02-30 00:00:00", "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01 25:00:00", "٢٠٢٦-01-01 00:00:00"],
)
def test_anything_else_is_no_date_time(text: str) -> None:
    """A text of another form, of other digits, or of no day of the calendar gives None."""
    assert epoch(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    """Whatever stands in the column, reading it does not raise."""
    epoch(text)


@given(st.integers(0, 253_402_300_799))
def test_a_written_moment_is_read_back(seconds: int) -> None:
    """Every second between 1970 and 9999 has a date-time that means it."""
    assert epoch(written(seconds)) == seconds
