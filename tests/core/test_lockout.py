"""When a refused account is tried again, and how many tokens it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.core.lockout import (
    CHANCES,
    CHANCES_IN,
    MOST_TOKENS,
    PAUSES,
    Refusals,
    chance,
    issued,
    refused,
    renew_at,
    wait_for_token,
)


@given(st.floats(0, 1e6), st.lists(st.floats(0, 100), max_size=30))
def test_a_refused_account_is_tried_at_most_six_times_in_a_quarter_of_an_hour(
    start: float, pauses: list[float]
) -> None:
    """However eagerly somebody asks, six tries fit into the first 15 minutes, later one into each."""
    refusals, now, tries = Refusals(), start, [start]
    refusals = refused(refusals, now)
    for pause in pauses:
        now += wait_for_token(refusals, (), now) + pause
        refusals = refused(refusals, now)
        tries.append(now)
    assert sum(1 for time in tries if time < start + 900 - 1e-6) <= 6
    for index in range(len(PAUSES), len(tries) - 1):
        assert tries[index + 1] - tries[index] >= 900 - 1e-6


@given(st.floats(0, 1e6), st.lists(st.floats(0, 400), max_size=30))
def test_changed_secrets_end_few_pauses(start: float, pauses: list[float]) -> None:
    """However often a secret changes, three of its contents in any quarter of an hour are tried without a pause."""
    now, had = start, tuple[float, ...]()
    tries = []
    for pause in pauses:
        now += pause
        chances = chance(had, now)
        if chances is not None:
            had = chances
            tries.append(now)
    for first, fourth in zip(tries, tries[CHANCES:], strict=False):
        assert fourth - first >= CHANCES_IN
    assert len(tries) >= min(CHANCES, len(pauses))


def test_pauses_grow() -> None:
    """15 s, 30 s, then minutes that double up to a quarter of an hour; three in a row are several."""
    refusals = Refusals()
    waits = []
    for count in range(9):
        assert refusals.several == (count >= 3)
        refusals = refused(refusals, 1000.0)
        waits.append(wait_for_token(refusals, (), 1000.0))
    assert waits == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    assert wait_for_token(Refusals(), (), 1000.0) == 0


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(1, 7200)), max_size=120))
def test_never_more_live_tokens_than_our_share(steps: list[tuple[float, float]]) -> None:
    """However short or long tokens live, no more than our share of them lives at once."""
    live: tuple[float, ...] = ()
    now = 0.0
    for pause, life in steps:
        now += pause
        wait = wait_for_token(Refusals(), live, now)
        if wait:
            assert sum(time > now for time in live) == MOST_TOKENS
            now += wait
            assert wait_for_token(Refusals(), live, now) == 0
        live = issued(live, now, now + life)
        assert sum(time > now for time in live) <= MOST_TOKENS
        assert len(live) <= MOST_TOKENS


@given(st.floats(0, 1e6), st.floats(0.1, 86400))
def test_a_token_is_renewed_before_its_end(start: float, life: float) -> None:
    """Renewal is due within the token's life: five minutes early, or a sixth of a short life."""
    due = renew_at(start, life)
    assert start < due < start + life
    if life >= 1800:
        assert abs(start + life - due - 300) < 1e-6
