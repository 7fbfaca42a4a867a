from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relay.core.canonical import DEEPEST, MAX_INTEGER, NotCanonical, canonical

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NAMES = st.one_of(TEXT, st.text(st.sampled_from("a\ud7ff\ue000\uffff\U00010000\U0010ffff"), max_size=3))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)

SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def by_hand(value: Any) -> str:
    """The standard's text once more, written from its rules and not from Python's JSON."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int):
        return f"{value:d}"
    if isinstance(value, str):
        return '"' + "".join(SHORT.get(ord(c)) or (f"\\u{ord(c):04x}" if ord(c) < 32 else c) for c in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(by_hand, value)) + "]"
    return "{" + ",".join(f"{by_hand(name)}:{by_hand(value[name])}" for name in sorted(value, key=units)) + "}"


def units(text: str) -> list[int]:
    """UTF-16 code units by the arithmetic of the Unicode standard."""
    found = []
    for point in map(ord, text):
        high, low = divmod(point - 0x10000, 0x400)
        found += [point] if point < 0x10000 else [0xD800 + high, 0xDC00 + low]
    return found


@given(VALUES)
def test_the_canonical_text_is_what_two_others_write(value: Any) -> None:
    """A second and a third implementation give the same bytes, and reading these gives the value back."""
    text = canonical(value)
    assert text == by_hand(value).encode()
    assert text == rfc8785.dumps(value)
    assert json.loads(text) == value


@given(st.dictionaries(NAMES, st.integers(0, 9), max_size=8), st.randoms())
def test_the_order_in_which_names_came_does_not_matter(value: dict[str, int], chance: Any) -> None:
    """The same members in another order have the same text."""
    other = list(value.items())
    chance.shuffle(other)
    assert canonical(value) == canonical(dict(other))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        (  # RFC 8785, section 3.2.3: names are sorted by their code units
            (
                '{"\\u20ac": "Euro Sign", "\\r": "Carriage Return", "\\ufb33": "Hebrew Letter Dalet With Dagesh", '
                '"1": "One", "\\ud83d\\ude00": "Emoji: Grinning Face", "\\u0080": "Control", '
                '"\\u00f6": "Latin Small Letter O With Diaeresis"}'
            ),
            (
                '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",'
                '"\u20ac":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
            ),
        ),
        (  # RFC 8785, section 3.2.2, its strings and literals
            '{"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}',
            '{"literals":[null,true,false],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
        ),
        (  # the authors' test data "french": no locale plays a part in the order
            (
                '{"peach": "This sorting order", "p\\u00e9ch\\u00e9": "is wrong according to French", '
                '"p\\u00eache": "but canonicalization MUST", "sin": "ignore locale"}'
            ),
            (
                '{"peach":"This sorting order","p\u00e9ch\u00e9":"is wrong according to French","p\u00eache":"but'
                ' canonicalization MUST","sin":"ignore locale"}'
            ),
        ),
        (  # "unicode": nothing is normalised
            '{"Unnormalized Unicode": "A\\u030a"}',
            '{"Unnormalized Unicode":"A\u030a"}',
        ),
        (  # "structures"
            (
                '{"1": {"f": {"f": "hi", "F": 5}, "\\n": 56}, "10": {}, "": "empty", "a": {}, "111": [{"e": "yes", '
                '"E": "no"}], "A": {}}'
            ),
            '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}',
        ),
    ],
)
def test_published_vectors(given_text: str, expected: str) -> None:
    """The examples of the standard and of its authors, as far as they hold no fraction."""
    assert canonical(json.loads(given_text)).decode() == expected


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": [0.5]},
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        "\ud800",
        {"\udfff": 1},
        {1: "a"},
        b"bytes",
        object(),
        {"a": {1, 2}},
    ],
)
def test_what_has_no_exact_text_is_refused(value: Any) -> None:
    """Fractions, large numbers, halves of surrogate pairs and what is no JSON have no canonical text."""
    with pytest.raises(NotCanonical):
        canonical(value)


def test_depth_is_bounded() -> None:
    """A value that is nested too deep is refused before Python's stack is."""
    value: Any = "leaf"
    for _ in range(DEEPEST):
        value = [value]
    assert canonical(value) == b"[" * DEEPEST + b'"leaf"' + b"]" * DEEPEST
    for deeper in ([value], {"a": value}):
        with pytest.raises(NotCanonical):
            canonical(deeper)
