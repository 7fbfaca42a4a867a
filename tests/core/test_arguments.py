"""The grammar of arguments: one canonical text for a value, or a refusal."""

from __future__ import annotations

import datetime as dt
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.arguments import MAX_INTEGER, MAX_LENGTH, Argument, canonical, fits_segment, grammar
from relay.core.refusal import Refusal

STRING = Argument("s")
INTEGER = Argument("i", type="integer", minimum=-5, maximum=1000)
DATE = Argument("d", type="date")
ENUM = Argument("e", type="enum", values=("rep", "team"))
ID = Argument("lsid", type="id")
IDS = Argument("lsids", type="list", of="id", max_items=3)
NAMES = Argument("names", type="list", of="string", max_length=5)
PATH = Argument("p", place="path", required=True)
ALL = (STRING, INTEGER, DATE, ENUM, ID, IDS, NAMES, PATH)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def judged(argument: Argument, value: Any) -> str | Refusal:
    try:
        return canonical(argument, value)
    except Refusal as refusal:
        return refusal


def refused(argument: Argument, value: Any) -> str:
    with pytest.raises(Refusal) as caught:
        canonical(argument, value)
    assert caught.value.number == 4004
    return caught.value.detail


@given(st.sampled_from(ALL), json_values)
def test_any_value_is_judged(argument: Argument, value: Any) -> None:
    """Any value gets a canonical text or a refusal; the canonical text stands for itself and holds no control."""
    text = judged(argument, value)
    if isinstance(text, Refusal):
        assert text.detail.isprintable()
        return
    assert canonical(argument, text) == text
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.text(min_size=1), st.sampled_from("\x00\r\n\t\x1b\x7f\x85\u2028\u2029\u202e\u2066\ud800"), st.integers(0, 20))
def test_control_characters_pass_nowhere(text: str, bad: str, at: int) -> None:
    """No grammar takes a control character, a line separator, a direction override or a lone surrogate."""
    for argument in ALL:
        refused(argument, text[:at] + bad + text[at:])


@pytest.mark.parametrize(
    "digits",
    ["\uff11\uff12", "\u0661٢", "१२", "²", "Ⅻ", "1\u0662", "+5", "05", "-0", " 5", "5 ", "5.0", "5e1", "0x5", "", "-"],
)
def test_an_integer_has_one_form(digits: str) -> None:
    """Look-alike digits, signs, blanks, leading zeros and other notations are no integer."""
    refused(INTEGER, digits)


@given(st.integers(-(10**20), 10**20))
def test_integer_bounds(number: int) -> None:
    """An integer passes within its bounds, as text and as JSON, and only there."""
    fits = -5 <= number <= 1000
    for value in (number, str(number)):
        if fits:
            assert canonical(INTEGER, value) == str(number)
        else:
            refused(INTEGER, value)


def test_integer_without_bounds() -> None:
    """Without bounds an integer is what every JSON reader keeps exactly."""
    free = Argument("i", type="integer")
    assert canonical(free, MAX_INTEGER) == str(MAX_INTEGER)
    assert canonical(free, str(-MAX_INTEGER)) == str(-MAX_INTEGER)
    refused(free, str(MAX_INTEGER + 1))
    refused(free, MAX_INTEGER + 1)


@given(st.dates())
def test_every_day_is_a_date(day: dt.date) -> None:
    """Every day of the calendar passes in its one form."""
    assert canonical(DATE, day.isoformat()) == day.isoformat()


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-13-01",
        "0000-01-01",
        "2026-1-1",
        "20260101",
        "2026-01-01T00",
        "\uff12\uff10\uff12\uff16-01-01",
        "",
    ],
)
def test_no_other_date(text: str) -> None:
    """Days that do not exist and other forms are no date."""
    refused(DATE, text)


@pytest.mark.parametrize("text", ["REP", "rep ", "\uff52ep", "r\u0435p", "", "rep,team"])
def test_enum_is_exact(text: str) -> None:
    """An enum's value is compared exactly: no case, blank or look-alike passes."""
    refused(ENUM, text)


@pytest.mark.parametrize("text", ["a" * 31, "a" * 33, "g" * 32, "\uff41" + "a" * 31, "a" * 32 + "\n", "\u0660" * 32])
def test_id_is_32_hexadecimal_digits(text: str) -> None:
    """An id is 32 ASCII hexadecimal digits and nothing else."""
    refused(ID, text)


def test_id_is_lower_case() -> None:
    """An id's canonical text is lower case, so that one session has one id."""
    assert canonical(ID, "AB" * 16) == "ab" * 16


def test_list() -> None:
    """A list's items are judged one by one, from text or from a JSON array, and joined by commas."""
    one, two = "a" * 32, "b" * 32
    assert canonical(IDS, f"{one},{two}") == f"{one},{two}"
    assert canonical(IDS, [one, two.upper()]) == f"{one},{two}"
    for bad in ("", f"{one},", [], [one] * 4, [one, None], [f"{one},{two}"], {"a": 1}, [[one]]):
        refused(IDS, bad)
    assert canonical(NAMES, ["a", 7]) == "a,7"
    assert "comma" in refused(NAMES, ["a,b"])
    assert "comma" in refused(NAMES, ["a", ""])


def test_string() -> None:
    """A string keeps every printable character as it is, up to its length and its patterns."""
    assert canonical(STRING, "Jo\u0308rg Müller ✓") == "Jo\u0308rg Müller ✓"
    assert canonical(STRING, "") == ""
    refused(STRING, "x" * 256)
    two = Argument("s", patterns=("[a-z]+", "a.*"))
    assert canonical(two, "abc") == "abc"
    refused(two, "bcd")
    refused(two, "abc1")


def test_nothing_is_longer_than_the_limit() -> None:
    """No value of any grammar is longer than the limit, so that judging stays cheap."""
    assert "more than 4096" in refused(Argument("s", max_length=10**9), "x" * (MAX_LENGTH + 1))


@pytest.mark.parametrize("value", [True, False, None, 1.0, {"a": "b"}, ["x"]])
def test_json_kinds_without_a_text(value: Any) -> None:
    """A boolean, null, a fraction, an object and an array have no text of a single value."""
    refused(STRING, value)


@given(st.text(max_size=12))
def test_a_segment_holds_nothing_that_separates(text: str) -> None:
    """What fits into a path is printable ASCII without separators, escapes or dots alone."""
    if fits_segment(text):
        assert text.isascii()
        assert text not in {"", ".", ".."}
        assert not set("/\\%?#;") & set(text)


@pytest.mark.parametrize(
    "text", ["a/b", "..", ".", "a\\b", "%2e", "a;b", "a?b", "a#b", "\u2215", "\uff0f", "\u2024\u2024", ""]
)
def test_path_arguments_stay_one_segment(text: str) -> None:
    """A value that some server could take for more than one segment never stands in a path."""
    assert "cannot stand in a path" in refused(PATH, text)


def test_family_takes_its_members() -> None:
    """A family takes its prefix and a code name of ASCII letters, digits and underscores."""
    family = Argument("session.custom.", family=True)
    assert family.takes("session.custom.external_key")
    assert family.label == "session.custom.*"
    for name in (
        "session.custom.",
        "session.custom.a.b",
        "session.custom.ä",
        "Session.custom.a",
        "a",
        "session.custom.a\n",
    ):
        assert not family.takes(name)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (Argument("a", type="integer"), "a whole number"),
        (Argument("a", type="integer", minimum=1), "a whole number from 1"),
        (Argument("a", type="integer", maximum=9), "a whole number up to 9"),
        (Argument("a", type="integer", minimum=1, maximum=9), "a whole number from 1 to 9"),
        (DATE, "a date YYYY-MM-DD"),
        (ENUM, "one of rep, team"),
        (ID, "32 hexadecimal digits"),
        (IDS, "1 to 3 items, each 32 hexadecimal digits"),
        (Argument("a", type="list"), "1 to 100 items, each text of at most 255 characters"),
        (Argument("a", patterns=("[a-z]+",)), "text of at most 255 characters like [a-z]+"),
    ],
)
def test_grammar_in_words(argument: Argument, words: str) -> None:
    """Every grammar has words for people."""
    assert grammar(argument) == words


def test_messages_do_not_carry_a_load() -> None:
    """A refusal repeats at most 80 characters of a hostile value, and no unprintable one."""
    detail = refused(ENUM, "é" * 500)
    assert "?" * 80 + "..." in detail
    assert len(detail) < 140
