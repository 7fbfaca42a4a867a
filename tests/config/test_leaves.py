from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from relay.config.leaves import Choice, Duration, FilePath, Flag, Leaf, Number, SecretAt, Size, Text, Whole
from relay.config.values import Plain, SecretRef, parse_duration, parse_size, write_duration, write_size


def refusal(leaf: Leaf, value: Any) -> tuple[int, str]:
    """The code and the text with which a value is refused."""
    with pytest.raises(PydanticCustomError) as caught:
        leaf.parse(value)
    assert caught.value.context is not None
    return caught.value.context["number"], caught.value.context["text"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("15s", 15.0), ("5m", 300.0), ("2h", 7200.0), ("7d", 604800.0), ("0s", 0.0), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number and one of five units."""
    assert Duration().parse(Plain(text)) == seconds
    assert Duration().parse(text) == seconds


@pytest.mark.parametrize("text", ["5", "5 s", "s", "-5s", "5S", "1h30m", "", "5sec", "\u0665s", "1e3s", ".5s"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else names the forms that are right."""
    assert refusal(Duration("1s", "1h"), Plain(text)) == (
        1006,
        "write a duration from 1s to 1h, like 250ms, 15s, 5m, 2h or 7d",
    )


@pytest.mark.parametrize("value", [None, [], {}, True])
def test_a_duration_is_text(value: object) -> None:
    """Lists, maps and nothing are no durations."""
    assert refusal(Duration(), value)[0] == 1006


def test_bounds_of_durations_and_sizes() -> None:
    """Both ends are allowed, nothing beyond them."""
    assert Duration("1s", "1h").parse(Plain("1h")) == 3600
    assert refusal(Duration("1s", "1h"), Plain("61m")) == (1006, "write a duration from 1s to 1h")
    assert Size("1KiB", "1MiB").parse(Plain("1024B")) == 1024
    assert refusal(Size("1KiB", "1MiB"), Plain("1023B")) == (1006, "write a size from 1KiB to 1MiB")


@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_is_read_back(seconds: float) -> None:
    """Writing and reading durations are inverse, to the millisecond."""
    assert parse_duration(write_duration(seconds)) == seconds


@given(st.integers(0, 2**39))
def test_a_written_size_is_read_back(count: int) -> None:
    """Writing and reading sizes are inverse."""
    assert parse_size(write_size(count)) == count


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (512, "512B"), (65536, "64KiB"), (5 * 1024**2, "5MiB"), (1024**3, "1GiB")]
)
def test_sizes(count: int, text: str) -> None:
    """A size is written in the largest unit that leaves a whole number."""
    assert write_size(count) == text
    assert Size().schema()["pattern"]


@pytest.mark.parametrize("text", ["5", "5MB", "5 MiB", "5mib", "1.5MiB", "-1B"])
def test_what_is_no_size(text: str) -> None:
    """Decimal units and bare numbers are refused with the right forms."""
    assert refusal(Size(), Plain(text)) == (1006, "write a size from 1B to 64GiB, like 64KiB, 20MiB or 1GiB")
    assert refusal(Size(), None)[0] == 1006


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Plain("NO"), "write false"),
        (Plain("off"), "write false"),
        (Plain("0"), "write false"),
        (Plain("False"), "write false"),
        ("false", "write false"),
        (Plain("Yes"), "write true"),
        (Plain("TRUE"), "write true"),
        ("true", "write true"),
        (Plain("maybe"), "write true or false"),
        (None, "write true or false"),
        ([], "write true or false"),
    ],
)
def test_only_true_and_false_are_booleans(value: object, text: str) -> None:
    """Every other spelling is refused, and the one that was meant is named."""
    assert refusal(Flag(), value) == (1012, text)


def test_booleans() -> None:
    """The two words without quotes, and Python's own."""
    assert [Flag().parse(value) for value in (Plain("true"), Plain("false"), True, False)] == [True, False, True, False]


def test_a_word_that_a_key_lists_is_right() -> None:
    """`off` is a word like every other where the key takes it, and an error that lists the words elsewhere."""
    assert Choice("amb", "off").parse(Plain("off")) == "off"
    assert Choice("amb", "off").parse("off") == "off"
    assert refusal(Choice("amb", "off"), Plain("no")) == (1012, "write one of amb, off")
    assert refusal(Choice("amb", "off"), Plain("OFF")) == (1012, "write one of amb, off")
    assert refusal(Choice("amb", "off"), "no") == (1006, "write one of amb, off")
    assert refusal(Choice("sqlite"), Plain("postgresql")) == (1006, "write sqlite")
    assert refusal(Choice("sqlite"), None) == (1006, "write sqlite")


def test_booleans_among_words() -> None:
    """`false | unsafe | true`: the booleans without quotes, the word with or without."""
    choice = Choice("false", "unsafe", "true")
    assert [choice.parse(value) for value in (Plain("false"), Plain("true"), True, "unsafe", Plain("unsafe"))] == [
        False,
        True,
        True,
        "unsafe",
        "unsafe",
    ]
    assert refusal(choice, "false") == (1006, "write one of false, unsafe, true")
    assert choice.schema() == {"enum": [False, "unsafe", True]}
    assert refusal(Choice("a", "b"), False) == (1012, "write one of a, b")


@pytest.mark.parametrize("word", ["NO", "on", "Off", "yes", "true", "FALSE"])
def test_a_boolean_word_is_no_text(word: str) -> None:
    """Where text is wanted, a word that is a boolean elsewhere must be quoted; quoted it is text."""
    number, text = refusal(Text(), Plain(word))
    assert number == 1012
    assert f'"{word}"' in text
    assert Text().parse(word) == word


@pytest.mark.parametrize("text", ["123", "0x1F", "1e3", "2026-01-01", "010", "1_000", "12:30"])
def test_text_stays_as_it_is_written(text: str) -> None:
    """What looks like a number or a date to other readers is the text that stands there."""
    assert Text().parse(Plain(text)) == text


@pytest.mark.parametrize("value", ["", "a\nb", "a\x1b[0m", "x" * 1025, "\u202e", None, ["a"], {"a": "b"}])
def test_text_is_one_printable_line(value: object) -> None:
    """Nothing that could steer a terminal or forge a line gets into the settings."""
    assert refusal(Text(), value)[0] == 1006


def test_a_grammar_matches_the_whole_text() -> None:
    """A pattern is not satisfied by a part, nor by a line feed at the end."""
    name = Text("a name", r"[a-z]+", "abc")
    assert name.parse("abc") == "abc"
    assert refusal(name, "abc1") == (1006, "write a name, like abc")
    assert name.schema() == {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^(?:[a-z]+)$"}


@pytest.mark.parametrize("value", [Plain("1.5"), Plain("010"), Plain("0x1"), Plain("1_0"), "5", Plain("x"), None, True])
def test_whole_numbers(value: object) -> None:
    """Only decimal digits without quotes are a whole number: no octal, hexadecimal, underscore or text."""
    assert refusal(Whole(1, 9), value) == (1006, "write a whole number from 1 to 9")
    assert (Whole(-1, 9).parse(Plain("-1")), Whole(1, 9).parse(9)) == (-1, 9)


def test_whole_numbers_have_bounds() -> None:
    """Both ends are allowed."""
    assert refusal(Whole(1, 9), Plain("10"))[0] == 1006
    assert refusal(Whole(1, 1), Plain("2")) == (1006, "write 1")


def test_numbers() -> None:
    """A number may have a fraction; it is written back whole when it is whole."""
    number = Number(0.1, 100)
    assert (number.parse(Plain("0.5")), number.parse(20)) == (0.5, 20.0)
    assert (number.write(20.0), number.write(0.5)) == (20, 0.5)
    for value in (Plain("0"), Plain("1e1"), "5", False, None, Plain("nan"), Plain(".inf")):
        assert refusal(number, value) == (1006, "write a number from 0.1 to 100")


def test_paths_are_absolute() -> None:
    """A path means the same whatever folder the relay is started in."""
    assert FilePath().parse(Plain("/etc/x.pem")) == FilePath().parse(Path("/etc/x.pem")) == Path("/etc/x.pem")
    for value in (Plain("x.pem"), Plain("~/x.pem"), "", "/a\0b", None):
        assert refusal(FilePath(), value)[0] == 1006


def test_references_to_secrets() -> None:
    """A secret is a credential's name or a file's path."""
    assert SecretAt().parse({"credential": Plain("a.b-c")}) == SecretRef("credential", "a.b-c")
    assert SecretAt().parse({"file": "/run/x"}) == SecretRef("file", "/run/x")
    assert SecretAt().parse(SecretRef("file", "/x")) == SecretRef("file", "/x")
    assert SecretAt().write(SecretRef("file", "/x")) == {"file": "/x"}
    assert str(SecretRef("credential", "x")) == "{credential: x}"


@pytest.mark.parametrize("value", ["hunter2", Plain("hunter2"), Plain("5"), ["hunter2"], None])
def test_a_literal_is_no_secret(value: object) -> None:
    """What stands where a secret belongs is refused with its own code and never repeated."""
    number, text = refusal(SecretAt(), value)
    assert number == 1008
    assert "hunter2" not in text


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"credential": "a", "file": "/b"},
        {"hunter2": None},
        {"credential": "../x"},
        {"credential": ".."},
        {"credential": None},
        {"file": "relative"},
        {"file": ["/x"]},
        {"value": "hunter2"},
    ],
)
def test_other_maps_are_no_secret(value: object) -> None:
    """Only one of the two keys, with a name or an absolute path; what else stands there is never repeated."""
    number, text = refusal(SecretAt(), value)
    assert number == 1006
    assert "hunter2" not in text
