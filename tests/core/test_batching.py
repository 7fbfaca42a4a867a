"""The size of a batch."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core.batching import AIM, START, URGENT, BatchSize

actions = st.lists(
    st.one_of(
        st.just("trouble"),
        st.tuples(st.integers(1, 1000), st.floats(0, 60, allow_nan=False)),
    ),
    max_size=60,
)


def test_start() -> None:
    """A batch begins with 20 changes, or with the most when that is less."""
    assert BatchSize(100).now(urgent=False) == START == 20
    assert BatchSize(7).now(urgent=False) == 7


def test_urgent() -> None:
    """An urgent batch holds few changes."""
    assert BatchSize(100).now(urgent=True) == URGENT
    assert BatchSize(3).now(urgent=True) == 3
    assert BatchSize(100, size=2).now(urgent=True) == 2


def test_halves_on_trouble() -> None:
    """Trouble halves the size, down to one and no further."""
    size = BatchSize(100)
    seen = []
    for _ in range(6):
        size = size.trouble()
        seen.append(size.size)
    assert seen == [10, 5, 2, 1, 1, 1]


def test_grows_while_quick() -> None:
    """Full batches that are served quickly double the size, up to the most."""
    size = BatchSize(100)
    seen = []
    for _ in range(4):
        size = size.served(size.size, 0.1)
        seen.append(size.size)
    assert seen == [40, 80, 100, 100]


def test_grows_no_further_than_the_aim() -> None:
    """A batch that took almost the aimed time grows only by what still fits."""
    assert BatchSize(100).served(20, 4.0).size == 25
    assert BatchSize(100).served(20, AIM).size == 20


def test_slow_is_trouble() -> None:
    """A batch over the aimed time halves the size."""
    assert BatchSize(100).served(20, AIM + 0.1).size == 10


def test_small_batches_prove_nothing() -> None:
    """A batch smaller than the size does not make it grow."""
    assert BatchSize(100).served(19, 0.01).size == 20


def test_no_measured_time() -> None:
    """An instance that measures no time lets the size grow."""
    assert BatchSize(100).served(20, 0.0).size == 40


@given(most=st.integers(1, 1000), steps=actions, urgent=st.booleans())
def test_always_within_bounds(most: int, steps: list[tuple[int, float] | str], urgent: bool) -> None:
    """Whatever happens, the next batch holds at least one change and never more than the most."""
    size = BatchSize(most)
    for step in steps:
        size = size.trouble() if isinstance(step, str) else size.served(*step)
        assert 1 <= size.now(urgent=urgent) <= most
