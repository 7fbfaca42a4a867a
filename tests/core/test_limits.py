"""The rate limit, as its windows see it and as the appliance tells it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.limits import (
    DEFAULT_HOLD,
    LONGEST_HOLD,
    Limits,
    Urgency,
    Usage,
    Wait,
    Window,
    hold,
    limits_of,
    observe,
    retry_after,
    take,
)

SHIPPED = limits_of(20, 15_000)
STARTS = st.floats(0, 1e7)


def named(reserved: bool) -> Urgency:
    return "urgent" if reserved else "ordinary"


def run(limits: Limits, calls: list[tuple[float, bool]], start: float, *, patient: bool) -> list[tuple[float, bool]]:
    """The calls that started, with their times. `patient` ones come back when they are told to."""
    usage, now, started = Usage(), start, []
    for pause, reserved in calls:
        now += pause
        usage, wait = take(limits, usage, now, urgency=named(reserved))
        if wait.seconds and patient:
            now += wait.seconds
            usage, again = take(limits, usage, now, urgency=named(reserved))
            assert not again.seconds, "a wait is long enough"
            started.append((now, reserved))
        elif not wait.seconds:
            started.append((now, reserved))
    return started


def most_in(times: list[float], span: float) -> int:
    """The largest number of times in any span."""
    return max((sum(1 for other in times if 0 <= other - time < span - 1e-5) for time in times), default=0)


def crowd(started: list[tuple[float, bool]], index: int, span: float) -> int:
    """How many calls, this one included, had started within the span that ends with it."""
    time = started[index][0]
    return sum(1 for other, _ in started[: index + 1] if time - other < span - 1e-5)


CALLS = st.lists(st.tuples(st.floats(0, 0.3), st.booleans()), min_size=1, max_size=120)


@given(STARTS, CALLS, st.booleans())
def test_never_more_than_the_limit_in_any_second(start: float, calls: list[tuple[float, bool]], patient: bool) -> None:
    """However calls come, at most 20 of them start within any second."""
    started = run(SHIPPED, calls, start, patient=patient)
    assert most_in([time for time, _ in started], 1.0) <= 20


@given(STARTS, st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=150), st.integers(1, 40), st.booleans())
def test_never_more_than_the_budget_in_any_hour(
    start: float,
    calls: list[tuple[float, bool]],
    per_hour: int,
    patient: bool,
) -> None:
    """However calls come, no hour holds more of them than its budget, and ordinary ones keep off the reserve."""
    limits = limits_of(1000, per_hour)
    started = run(limits, [(pause, reserved or per_hour < 2) for pause, reserved in calls], start, patient=patient)
    assert most_in([time for time, _ in started], 3600.0) <= per_hour
    reserve = math.floor(per_hour * 0.2)
    for index, (_, reserved) in enumerate(started):
        assert reserved or crowd(started, index, 3600.0) <= per_hour - reserve


@given(STARTS, CALLS)
def test_ordinary_calls_never_take_the_reserve_of_a_second(start: float, calls: list[tuple[float, bool]]) -> None:
    """An ordinary call starts only as one of the first 15 of its second."""
    started = run(SHIPPED, calls, start, patient=True)
    for index, (_, reserved) in enumerate(started):
        assert reserved or crowd(started, index, 1.0) <= 15


@given(STARTS)
def test_urgent_calls_find_their_reserve(start: float) -> None:
    """After a second's worth of ordinary calls exactly five urgent ones start at once."""
    usage = Usage()
    counts = []
    for reserved in (False, True):
        count = 0
        while True:
            usage, wait = take(SHIPPED, usage, start, urgency=named(reserved))
            if wait.seconds:
                break
            count += 1
        counts.append(count)
        assert wait.why == "second"
        assert 0 < wait.seconds <= 1.06
    assert counts == [15, 5]


def test_patient_calls_leave_half_of_everything_to_others() -> None:
    """Of a second, an hour and the account's own budget patient calls start only within the first half."""
    usage, count = Usage(), 0
    while True:
        usage, wait = take(SHIPPED, usage, 100.0, urgency="patient")
        if wait.seconds:
            break
        count += 1
    assert (count, wait.why) == (10, "second")
    for told, why in (("7501", ""), ("7500", "account")):
        _, wait = take(SHIPPED, observe(Usage(), 100.0, "15000", told, 0), 100.0, urgency="patient")
        assert wait.why == why
    assert limits_of(1, 1).hour.kept("patient") == 0  # who may call once may call


def test_ordinary_calls_wait_for_as_many_urgent_ones_as_it_takes() -> None:
    """Urgent calls may use the whole second; an ordinary one waits until enough of them are over."""
    usage = Usage()
    for now, calls in ((100.0, 3), (100.5, 17)):
        for _ in range(calls):
            usage, wait = take(SHIPPED, usage, now, urgency="urgent")
            assert wait == Wait()
    _, wait = take(SHIPPED, usage, 100.9, urgency="ordinary")
    assert 0.6 < wait.seconds < 0.7


def test_the_whole_rate_is_there_for_use() -> None:
    """Patient urgent callers get nearly 20 calls a second, minute after minute, ordinary ones nearly 15."""
    for reserved, least in ((True, 18.5), (False, 14)):
        started = run(SHIPPED, [(0.0, reserved)] * 2000, 12345.678, patient=True)
        assert 2000 / (started[-1][0] - started[0][0]) > least


def test_the_hours_budget_is_told_apart() -> None:
    """When the hour is used up, the wait says so and is long."""
    limits = limits_of(1000, 10)
    usage = Usage()
    for _ in range(8):
        usage, wait = take(limits, usage, 100.0, urgency="ordinary")
        assert wait == Wait()
    usage, wait = take(limits, usage, 100.0, urgency="ordinary")
    assert wait.why == "hour"
    assert 3500 < wait.seconds < 3700


@pytest.mark.parametrize(
    ("per_second", "window"),
    [
        (20, Window(20, 1.0, 20, 5)),
        (2.5, Window(2, 1.0, 20, 0)),
        (4, Window(4, 1.0, 20, 1)),
        (0.1, Window(1, 10.0, 20, 0)),
        (100_000, Window(100_000, 1.0, 20, 5)),
    ],
)
def test_limits_of_a_configuration(per_second: float, window: Window) -> None:
    """Below one call a second the window grows; the reserve is five calls, or a quarter of fewer than twenty."""
    assert limits_of(per_second, 100).second == window


@settings(max_examples=25)
@given(st.integers(0, 6000), st.integers(0, 20), st.booleans(), st.floats(0, 100))
def test_the_appliances_word_is_obeyed(remaining: int, under_way: int, reserved: bool, later: float) -> None:
    """Never more calls than the account has left, as the appliance counts and the time since fills up."""
    usage = observe(Usage(), 50.0, "15000", str(remaining), under_way)
    limits = limits_of(100_000, 100_000_000)
    started = 0
    while True:
        usage, wait = take(limits, usage, 50.0 + later, urgency=named(reserved))
        if wait.seconds or started > 20_000:
            break
        started += 1
    kept = 0 if reserved else 3000
    expected = min(15_000, remaining - under_way + later * 15_000 / 3600) - kept
    assert max(0, expected - 1.001) <= started <= max(0, expected + 0.001)
    assert wait.why == "account"
    _, after = take(limits, usage, 50.0 + later + wait.seconds + 1e-6, urgency=named(reserved))
    assert not after.seconds


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [(None, None), ("15000", None), (None, "3"), ("0", "0"), ("x", "1"), ("10", "-1"), ("10", "²"), ("1" * 13, "1")],
)
def test_nonsense_in_the_headers_is_ignored(limit: str | None, remaining: str | None) -> None:
    """A header that is absent or no plain number changes nothing."""
    assert observe(Usage(), 0.0, limit, remaining, 0) == Usage()


@given(st.floats(0, 1e6), st.one_of(st.none(), st.floats(-10, 1e9)))
def test_a_429_stops_everything_for_a_while(now: float, seconds: float | None) -> None:
    """Until its time is over nothing starts, urgent or not; the longest stop is an hour."""
    usage = hold(Usage(), now, seconds)
    pause = DEFAULT_HOLD if seconds is None else min(max(seconds, 0), LONGEST_HOLD)
    _, wait = take(SHIPPED, usage, now, urgency="urgent")
    assert wait.seconds == pytest.approx(pause, abs=1e-6)
    assert wait.why == ("held" if wait.seconds else "")
    assert not take(SHIPPED, usage, now + pause + 1e-6, urgency="urgent")[1].seconds
    assert hold(usage, now, 0.0).held_until == usage.held_until


WALL = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        (" 0 ", 0.0),
        (format_datetime(WALL.replace(second=42), usegmt=True), 42.0),
        (format_datetime(WALL.replace(hour=9), usegmt=True), 0.0),
        ("Sun, 22 Nov 2026 10:00:42 -0000", None),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """`Retry-After` is seconds or a date; what is neither is as if it were absent."""
    assert retry_after(text, WALL.timestamp()) == seconds


def test_usage_stays_small() -> None:
    """What is remembered does not grow with the calls."""
    usage = replace(Usage(), held_until=0.0)
    for step in range(3000):
        usage, _ = take(SHIPPED, usage, 10 + step * 7.3, urgency="urgent")
    assert len(usage.second) <= 21
    assert len(usage.hour) <= 61


def test_a_date_that_no_calendar_holds_says_nothing() -> None:
    """A hostile Retry-After is as good as none; it raises nothing, since a 429 surely was not executed."""
    assert retry_after("Mon, 01 Jan 2024 00:00:00 +99999999999999", 0.0) is None
    assert retry_after("Mon, 01 Jan 2024 00:00:00 +" + "9" * 10_000, 0.0) is None
