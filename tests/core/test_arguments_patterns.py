"""Patterns of arguments: the language, and that it cannot be made slow."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.core.patterns import MAX_PATTERN, PatternProblem, check, matches

TOKENS = [
    "a",
    "b",
    "-",
    "[ab]",
    "[^a]",
    "[a-c_]",
    "[\\d-]",
    "[a-]",
    "[]a]",
    "\\d",
    "\\D",
    "\\w",
    "\\s",
    "\\S",
    ".",
    "\\.",
    "\\n",
    "(a|b)",
    "(?:ab|b)",
    "(a*b?)",
    "()",
    "*",
    "+",
    "?",
    "{2}",
    "{1,3}",
    "{0,2}",
    "{2,}",
    "|",
    "1",
]


@given(st.lists(st.sampled_from(TOKENS), max_size=8), st.lists(st.text("aab1.-_ \nX", max_size=8), max_size=5))
def test_agrees_with_re(tokens: list[str], values: list[str]) -> None:
    """What the language accepts means what Python's `re` means by it for the whole value."""
    pattern = "".join(tokens)
    try:
        check(pattern)
    except PatternProblem:
        assume(False)
    expected = re.compile(pattern, re.ASCII)
    for value in values:
        assert matches(pattern, value) == bool(expected.fullmatch(value))


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*", "(a|ab|b)*", "(.*)*x", "a*a*a*a*a*a*a*a*b", "(a?){60}a{60}"])
def test_no_pattern_is_slow(pattern: str) -> None:
    """Patterns that make a backtracking matcher run for ages are answered at once."""
    began = time.perf_counter()
    matches(pattern, "a" * 255 + "!")
    assert time.perf_counter() - began < 2


@given(st.text(max_size=40))
def test_any_text_is_judged(pattern: str) -> None:
    """Any text is a pattern or a `PatternProblem`, never another exception."""
    with contextlib.suppress(PatternProblem):
        check(pattern)
        assert matches(pattern, "abc") in {True, False}


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(", "not closed"),
        ("a)", "unexpected ')'"),
        ("*", "unexpected '*'"),
        ("a**", "repeat of a repeat"),
        ("a+?", "repeat of a repeat"),
        ("(?=a)", "only plain groups"),
        ("(?P<n>a)", "only plain groups"),
        ("a{", "one to four digits"),
        ("a{2", "a count is written"),
        ("a{3,2}", "before its start"),
        ("a{99999}", "one to four digits"),
        ("[z-a]", "a range goes"),
        ("[\\d-z]", "a range goes"),
        ("[a", "ends too early"),
        ("\\", "ends too early"),
        ("\\1", "unknown escape"),
        ("\\b", "unknown escape"),
        ("a^b", "unexpected '^'"),
        ("é", "not ASCII"),
        ("a" * (MAX_PATTERN + 1), "more than 200"),
        ("(a{999}){999}", "too large"),
    ],
)
def test_refused_patterns_say_why(pattern: str, part: str) -> None:
    """A pattern outside the language is refused with what is wrong and where."""
    with pytest.raises(PatternProblem, match=re.escape(part)):
        check(pattern)


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("^INC[0-9]{7}$", "INC0010001", True),
        ("^INC[0-9]{7}$", "INC001000", False),
        ("INC[0-9]{7}", "xINC0010001", False),
        ("[0-9]+", "1\n", False),
        ("[0-9]+", "\u0661٢٣", False),
        (r"\d+", "\uff11\uff12", False),
        (r"a\$", "a$", True),
        (r"a\\$", "a\\", True),
        ("", "", True),
        ("a{0}", "", True),
        ("[^/]+", "a/b", False),
        ("[a-c-]+", "a-c", True),
    ],
)
def test_whole_value(pattern: str, value: str, fits: bool) -> None:
    """A pattern always stands for the whole value, in ASCII."""
    assert matches(pattern, value) is fits
