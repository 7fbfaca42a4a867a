"""The chain of the audit log: any change of its lines is found, and the first bad line is named."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.chain import (
    GENESIS,
    LONGEST_LINE,
    LONGEST_TEXT,
    Head,
    digest_of,
    entry_of,
    head_of,
    key_in,
    key_of,
    next_line,
    verify,
)

TIME = "2026-01-31T23:59:59.123Z"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
FIELDS = st.dictionaries(st.sampled_from(["by", "rule", "size", "a", "z"]), SCALARS, max_size=3)
NEEDED = st.fixed_dictionaries({"event": st.text(), "job": st.text(max_size=8), "attempt": st.integers(0, 3)})
ENTRIES = st.tuples(FIELDS, NEEDED).map(lambda pair: {**pair[0], **pair[1]})
LOGS = st.lists(ENTRIES, min_size=1, max_size=9)


def chain(entries: list[dict[str, Any]]) -> list[bytes]:
    head, lines = Head(), []
    for entry in entries:
        line, head = next_line(head, entry_of(entry), TIME)
        lines.append(line)
    return lines


def sample(count: int) -> list[bytes]:
    return chain([{"event": "sent", "job": f"{number:032}", "attempt": 1, "by": "admin"} for number in range(count)])


@given(entries=LOGS)
def test_a_log_as_it_was_written_is_sound(entries: list[dict[str, Any]]) -> None:
    """Whatever the entries hold, their lines verify, and the verdict ends at the last line."""
    lines = chain(entries)
    verdict = verify(lines)
    assert verdict.bad is None
    assert verdict.head == Head(len(lines), digest_of(lines[-1])) == head_of(lines[-1])
    assert all(b"\n" not in line and b"\0" not in line for line in lines)


def test_a_line_is_canonical_json_with_the_hash_of_the_line_before() -> None:
    """Anybody can follow the chain with a JSON parser and SHA-256 alone."""
    one, two = sample(2)
    assert json.loads(one)["prev"] == GENESIS == hashlib.sha256(b"bseries-relay audit log v1").hexdigest()
    assert json.loads(two)["prev"] == hashlib.sha256(one).hexdigest()
    read = json.loads(two)
    assert json.dumps(read, sort_keys=True, separators=(",", ":")).encode() == two
    assert (read["seq"], read["time"], read["event"], read["attempt"]) == (2, TIME, "sent", 1)


@given(entries=LOGS, data=st.data())
def test_a_changed_byte_is_found_in_its_line(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any other byte anywhere in any line, the last included, is found, and that line is named."""
    lines = chain(entries)
    number = data.draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[number])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    lines[number] = bytes(line)
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == number + 1


@given(entries=LOGS, data=st.data())
def test_a_deleted_line_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any line but the last that is gone is named, the first included."""
    lines = chain([*entries, entries[0]])
    number = data.draw(st.integers(0, len(lines) - 2))
    del lines[number]
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == number + 1


@given(entries=LOGS, data=st.data())
def test_an_inserted_line_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """A line put in, a copy or a new one, is named by the place where it stands."""
    lines = chain(entries)
    number = data.draw(st.integers(0, len(lines)))
    line = data.draw(st.sampled_from(lines) | st.binary(max_size=9) | st.just(b"{}"))
    if number < len(lines) and line == lines[number]:
        number += 1  # a copy before or behind its original is the same log
    lines.insert(number, line)
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == number + 1


@given(entries=LOGS, data=st.data())
def test_swapped_lines_are_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Two lines that changed places are found at the first of the two."""
    lines = chain([*entries, entries[0]])
    first = data.draw(st.integers(0, len(lines) - 2))
    second = data.draw(st.integers(first + 1, len(lines) - 1))
    lines[first], lines[second] = lines[second], lines[first]
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == first + 1


@given(number=st.integers(0, 4))
def test_a_careful_edit_is_found_by_the_next_line(number: int) -> None:
    """A line made anew with a right `check` is disowned by its successor, and it is the one that is named."""
    lines = sample(6)
    prev = Head(number, json.loads(lines[number])["prev"])
    lines[number], _ = next_line(prev, entry_of({"event": "forged", "job": "x", "attempt": 1}), TIME)
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == number + 1


@given(number=st.integers(1, 4))
def test_a_line_with_another_prev_is_named_itself(number: int) -> None:
    """When neither neighbour fits a line, it is that line which was changed."""
    lines = sample(6)
    lines[number], _ = next_line(Head(number, "0" * 64), entry_of({"event": "sent", "job": "x", "attempt": 1}), TIME)
    bad = verify(lines).bad
    assert bad is not None
    assert bad.seq == number + 1


def test_a_log_with_another_beginning_is_found() -> None:
    """A log whose first line does not begin the chain is bad at seq 1."""
    line, _ = next_line(Head(0, "0" * 64), entry_of({"event": "sent", "job": "x", "attempt": 1}), TIME)
    bad = verify([line]).bad
    assert bad is not None
    assert bad.seq == 1


def test_an_empty_log_is_sound() -> None:
    """Nothing to read is nothing bad; that the end is missing a chain cannot see."""
    assert verify([]).head == Head()
    assert verify([]).bad is None
    assert verify(sample(5)[:3]).bad is None


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b"{}", b'{"seq":true,"prev":""}', b'{"seq":1}', b"[" * 5000, b'{"seq":1,"prev":"\xff"}',
     b'{"prev":"","seq":1,"x":"' + b"x" * LONGEST_LINE + b'"}', b'{"prev":"","seq":1,"x":1e999}'],
)  # fmt: skip
def test_what_is_no_line_is_bad_and_never_raises(line: bytes) -> None:
    """Any other bytes in the place of a line are a bad line."""
    bad = verify([line]).bad
    assert bad is not None
    assert bad.seq == 1
    lines = sample(3)
    assert verify([lines[0], lines[1], line]).bad is not None


@given(entry=ENTRIES)
def test_an_entry_is_known_by_the_bytes_of_its_line(entry: dict[str, Any]) -> None:
    """The key found in a line is the key of the entry it was made of, whatever the texts hold."""
    fit = entry_of(entry)
    line, _ = next_line(Head(), fit, TIME)
    assert key_in(line) == key_of(fit)


@given(line=st.binary(max_size=60))
def test_a_key_is_looked_for_in_any_bytes(line: bytes) -> None:
    """Looking for a key in bytes that are no line does not raise."""
    assert len(key_in(line)) == 2


@given(text=st.text(alphabet=st.characters(categories=("Cc", "Cs", "Zl", "Zp"))))
def test_texts_are_cleaned_and_cut(text: str) -> None:
    """Control characters, line separators and lone surrogates do not reach the log, nor do long texts."""
    entry = entry_of({"event": text, "job": "x" * 9999, "attempt": 1})
    assert entry["event"] == entry["event"].encode().decode()
    assert str(entry["event"]).isprintable()
    assert len(str(entry["event"])) <= LONGEST_TEXT == len(str(entry["job"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "a", "job": "b"},
        {"event": "a", "job": "b", "attempt": 1, "seq": 5},
        {"event": "a", "job": "b", "attempt": 1, "x": [1]},
        {"event": "a", "job": "b", "attempt": 1, "x": b"body"},
        {"event": "a", "job": "b", "attempt": float("nan")},
        {"event": "a", "job": "b", "attempt": 1, **{f"{n}": "x" * 512 for n in range(200)}},
    ],
)
def test_what_is_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    """An entry without its key, with a field of the log's own, with more than scalars, or too long is a fault."""
    with pytest.raises(ValueError, match="audit"):
        entry_of(wrong)


def test_a_job_that_comes_back_is_another() -> None:
    """Entries of two jobs of one id, seen at different times, are two; without `seen` they would be one."""
    intent = {"event": "intent", "job": "a1", "attempt": 1}
    former, latter = entry_of({**intent, "seen": 1.5}), entry_of({**intent, "seen": 2.5})
    assert key_of(former) != key_of(latter)
    assert key_of(former) == key_of(entry_of({**intent, "seen": 1.5, "by": "somebody"}))
    for entry in (former, latter):
        line, _ = next_line(Head(), entry, TIME)
        assert key_in(line) == key_of(entry)


def test_another_call_of_the_same_record_is_another() -> None:
    """An intent whose call was not made does not stand for that of another operation, or at another appliance."""
    intent = {"event": "intent", "job": "a1", "attempt": 1, "seen": 1.5}
    calls = [{"operation": "join"}, {"appliance": "join"}, {"operation": "join", "appliance": "a"}, {"operation": "b"}]
    entries = [entry_of({**intent, **call}) for call in calls]
    assert len({key_of(entry) for entry in entries}) == len(calls)
    for entry in entries:
        line, _ = next_line(Head(), entry, TIME)
        assert key_in(line) == key_of(entry)
