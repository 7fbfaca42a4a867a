"""Which due jobs go first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.core.jobs import Job
from relay.core.schedule import NO_CREDIT, choose


def job(number: int, priority: int) -> Job:
    return Job(f"{number}", "queue", "SEEN", 1, priority, "", 0.0, 0, 0.0, 0.0)


def waiting(*numbers: int) -> list[Job]:
    """So many jobs of each priority."""
    return [job(100 * priority + n, priority) for priority, count in enumerate(numbers) for n in range(count)]


def test_of_21_waiting_jobs_16_4_and_1_go() -> None:
    """Interactive, expedited and standard work share 16 to 4 to 1."""
    chosen, credit = choose(waiting(50, 50, 50), 21, NO_CREDIT)
    assert Counter(one.priority for one in chosen) == {0: 16, 1: 4, 2: 1}
    assert credit == NO_CREDIT


def test_the_share_holds_when_jobs_are_taken_one_by_one() -> None:
    """The credit carried along makes single choices add up to the same share."""
    queues = waiting(50, 50, 50)
    credit, taken = NO_CREDIT, Counter[int]()
    for _ in range(42):
        (one,), credit = choose(queues, 1, credit)
        queues.remove(one)
        taken[one.priority] += 1
    assert taken == {0: 32, 1: 8, 2: 2}


def test_an_idle_priority_saves_nothing() -> None:
    """After a long time alone the standard work has not been paid for by an interactive class that was idle."""
    _, credit = choose(waiting(0, 0, 500), 500, NO_CREDIT)
    chosen, _ = choose(waiting(50, 50, 50), 21, credit)
    assert Counter(one.priority for one in chosen) == {0: 16, 1: 4, 2: 1}


@given(st.tuples(*[st.integers(0, 30)] * 3), st.integers(0, 100), st.tuples(*[st.integers(-21, 21)] * 3))
def test_as_many_as_can_be_are_chosen_each_once_in_order(
    numbers: tuple[int, int, int], limit: int, credit: tuple[int, int, int]
) -> None:
    """A choice is full while work is there, takes no job twice, and keeps the order within a priority."""
    due = waiting(*numbers)
    chosen, _ = choose(due, limit, credit)
    assert len(chosen) == min(limit, len(due))
    for priority in range(3):
        of_it = [one for one in chosen if one.priority == priority]
        assert of_it == [one for one in due if one.priority == priority][: len(of_it)]


@given(st.tuples(*[st.integers(1, 30)] * 3))
def test_nobody_starves(numbers: tuple[int, int, int]) -> None:
    """Of 21 choices among waiting classes each class gets one or more."""
    chosen, _ = choose(waiting(*(number + 21 for number in numbers)), 21, NO_CREDIT)
    assert {one.priority for one in chosen} == {0, 1, 2}
