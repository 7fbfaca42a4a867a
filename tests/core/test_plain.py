"""Values of a log line: bounded, printable, fit for JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import StorageError
from relay.core.plain import LONGEST_TEXT, MOST_ITEMS, MOST_LEAVES, MOST_TEXT, Plain, clean, describe, trace
from relay.core.redact import Redactor
from relay.core.secret import Secret


def plain() -> Plain:
    """A fresh line."""
    return Plain(Redactor())


class Hostile:
    """Raises wherever it is touched."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class HostileMapping(Mapping[str, int]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


LEFT_OUT = "(its text is left out: it may quote data)"


class QuotingError(RuntimeError):
    """An error of somebody else, whose message may hold anything."""


class HostileError(OSError):
    """An error without a message."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m\x85\x00\x7f", "\\x9b31m\\x85\\x00\\x7f"),
        ("\u202eexe.txt\u2066", "\\u202eexe.txt\\u2066"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\u200b\ufeff\u200d\xad", "\\u200b\\ufeff\\u200d\\xad"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("Grüße, 世界 👍", "Grüße, 世界 👍"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    """What a terminal obeys, or hides, is shown as an escape; what people write stays."""
    assert clean(text) == shown


@given(st.text(st.characters(categories=["Cc", "Zl", "Zp", "Cs", "Lu"])))
def test_clean_leaves_no_control_character(text: str) -> None:
    """No control character, line separator or surrogate is left, and the result is UTF-8."""
    shown = clean(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Zl", "Zp", "Cs"}
    shown.encode()


@pytest.mark.parametrize("value", [None, True, False, 0, -7, 2**62, 1.5, "text", [1, "a"], {"a": {"b": [None]}}])
def test_plain_values_stay(value: object) -> None:
    """What JSON can say is taken over."""
    assert plain().value(value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, "0x8000000000000000"),
        (b"by\xfftes", "by\\xfftes"),
        (bytearray(b"x"), "x"),
        (Path("/a/b"), "/a/b"),
        (Secret("hunter22"), "********"),
        ([Secret("hunter22")], ["********"]),
        ({"password": Secret("hunter22")}, {"password": "********"}),
        ((1, 2), [1, 2]),
        (frozenset({3}), [3]),
        (RuntimeError("bad"), "RuntimeError: bad"),
        (StorageError(5001, "bad"), "StorageError: BSR-5001: the store cannot be opened: bad"),
        (FileNotFoundError(2, "No such file", "/a"), "FileNotFoundError: [Errno 2] No such file: '/a'"),
        (ValueError("may quote"), f"ValueError {LEFT_OUT}"),
        (KeyError("may quote"), f"KeyError {LEFT_OUT}"),
        (QuotingError("may quote"), f"QuotingError {LEFT_OUT}"),
        (ValueError(), "ValueError"),
        (Hostile(), "<Hostile>"),
        (HostileMapping(), "<HostileMapping>"),
        (HostileError(5, "x"), "HostileError: <no message>"),
        (HostileError(), "HostileError: <no message>"),
        ({1: 2}, {"1": 2}),
        ([[[[[1]]]]], [[[["<list>"]]]]),
        (object, "<class 'object'>"),
    ],
)
def test_other_values_become_text(value: object, shown: object) -> None:
    """Everything else becomes short text, a secret its mask, and what cannot be read its type."""
    assert plain().value(value) == shown


def test_huge_integers_are_cut() -> None:
    """An integer of ten thousand digits neither raises, as its decimal form would, nor fills the line."""
    assert len(plain().value(10**10_000)) < LONGEST_TEXT + 100


def test_long_text_is_cut_and_says_so() -> None:
    """A cut text names its whole length."""
    assert plain().value("x" * 5000) == "x" * LONGEST_TEXT + "... [5000 characters]"


def test_long_collections_are_cut() -> None:
    """Lists and mappings keep their first items and say that there are more."""
    assert plain().value(list(range(1000))) == [*range(MOST_ITEMS), "..."]
    shown = plain().value(dict.fromkeys(range(1000), 0))
    assert len(shown) == MOST_ITEMS + 1
    assert shown["..."] == 1000


def test_a_line_is_bounded_as_a_whole() -> None:
    """Many values in many lists end in three dots, and many long texts in stubs."""
    wide = [[list(range(30)) for _ in range(30)] for _ in range(30)]
    line = plain()
    assert json.dumps(line.value(wide)).count(",") < MOST_LEAVES * 2
    assert line.value(1) == "..."
    long = plain()
    assert sum(len(long.text("x" * LONGEST_TEXT)) for _ in range(100)) < MOST_TEXT + 100 * 80


def test_a_wide_mapping_ends_with_the_line() -> None:
    """A mapping stops where the line has no leaves left."""
    line = plain()
    line.leaves = 3
    assert line.value({"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2, "...": 3}


def test_names_are_plain() -> None:
    """A field's name holds letters, digits and `_.-` and is never empty."""
    assert plain().name("a b\nc=d") == "a_b_nc_d"
    assert plain().name("") == "_"
    assert len(plain().name("n" * 100)) == 64


def test_escapes_do_not_hide_a_secret() -> None:
    """A secret that appears only once control characters are escaped is blanked as well."""
    redactor = Redactor()
    redactor.add(Secret("line\\nbreak"))
    assert Plain(redactor).text("line\nbreak") == "********"


def fail(depth: int) -> None:
    """Raise from some frames down."""
    if depth:
        fail(depth - 1)
    raise KeyError("inner")


def caught(cause: bool) -> BaseException:
    """An error with a cause or a context."""
    try:
        try:
            fail(2)
        except KeyError as error:
            if cause:
                raise ValueError("outer") from error
            raise ValueError("outer")  # noqa: B904  # the context is what is tested
    except ValueError as error:
        return error


@pytest.mark.parametrize("cause", [True, False])
def test_trace_tells_places_and_causes(cause: bool) -> None:
    """A trace names file, line and function of each frame and what came before; no locals, no source."""
    told = trace(caught(cause), describe)
    assert told.startswith("at core/test_plain.py:")
    assert f"; from KeyError {LEFT_OUT} at core/test_plain.py:" in told
    assert told.count(" fail") == 3
    assert "depth" not in told


def test_trace_ends() -> None:
    """Deep stacks, causes in a circle, hidden contexts and errors that were never raised have an end."""
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert trace(first, describe) == f"at nowhere; from ValueError {LEFT_OUT} at nowhere"
    with pytest.raises(KeyError) as deep:
        fail(100)
    assert trace(deep.value, describe).count(" fail") == 12


def test_trace_leaves_out_what_was_hidden() -> None:
    """`raise ... from None` hides the context here as everywhere."""
    error = ValueError("alone")
    error.__context__ = RuntimeError("hidden")
    assert "hidden" in trace(error, describe)
    error.__suppress_context__ = True
    assert "hidden" not in trace(error, describe)


def test_trace_of_a_group_tells_its_members() -> None:
    """The errors of a task group are told one by one."""
    told = trace(ExceptionGroup("two", [TypeError("a"), KeyError("b")]), describe)
    assert "TypeError: a at nowhere" in told
    assert f"KeyError {LEFT_OUT} at nowhere" in told
    deep = ExceptionGroup("a", [ExceptionGroup("b", [ExceptionGroup("c", [OSError("deep")])]), TypeError("beside")])
    assert trace(deep, describe) == "at nowhere; from OSError: deep at nowhere; from TypeError: beside at nowhere"
    wide = ExceptionGroup("a", [ExceptionGroup("b", [OSError(str(number)) for number in range(100)])])
    assert trace(wide, describe).count("OSError") == 5


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(anything)
def test_every_value_is_json(value: object) -> None:
    """Whatever is logged becomes JSON on one line, without control characters."""
    text = json.dumps(plain().value(value), ensure_ascii=False, allow_nan=False)
    assert text == clean(text)
