"""Verification of a log of several segments with signed checkpoints: whatever was changed is found and named."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.auditlog import entry, opened, rewrite, whole, written

from relay.audit import checkpoints
from relay.audit.keys import KNOWN_FILE, SigningKey, known_keys
from relay.audit.notary import Notary
from relay.audit.segments import FOLDER, is_compressed
from relay.audit.verify import Report, verify_folder
from relay.core.chain import Head, next_line
from relay.core.checkpoint import Checkpoint, Note, parse_note

LINES = 22
"""What `written` leaves: twenty entries and two lines about keys."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A log, and its checkpoints as somebody else noted them."""
    folder = tmp_path_factory.mktemp("log") / "state"
    return folder, asyncio.run(written(folder))


@pytest.fixture
def state(made: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the log to change."""
    return copied(made, tmp_path_factory)


def copied(made: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "state"
    shutil.copytree(made[0], folder)
    return folder


def verified(state: Path, *notes: str) -> Report:
    """Verify with these checkpoints, in place of those in the folder."""
    shutil.rmtree(state / FOLDER / checkpoints.FOLDER)
    given = {f"{number}": parse_note(text) for number, text in enumerate(notes)}
    return verify_folder(state / FOLDER, given=given)


def test_a_log_of_several_segments_is_sound(made: tuple[Path, list[str]]) -> None:
    """The log as it was written verifies, over compressed and plain segments, with the checkpoints of both keys."""
    content = whole(made[0])
    forms = [is_compressed(path) for path, _ in content]
    assert forms[0]
    assert not forms[-1]
    assert len(forms) > 3
    report = verify_folder(made[0] / FOLDER)
    assert report.sound
    assert report.verdict.head.seq == sum(len(raw) for _, raw in content) == LINES
    assert [note.size for note in report.judgement.verified] == [parse_note(text).size for text in made[1]]
    assert len(report.judgement.keys) == 2


@given(data=st.data())
@settings(max_examples=60)
def test_any_change_is_found(
    made: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """An edit, deletion, insertion or swap in any segment is found, and the first bad line is named."""
    state = copied(made, tmp_path_factory)
    content = whole(state)
    flat = [(segment, place) for segment, (_, raw) in enumerate(content) for place in range(len(raw))]
    number = data.draw(st.integers(0, len(flat) - 2), "line")  # the last one's end is a truncation, see below
    segment, place = flat[number]
    raw = content[segment][1]
    match data.draw(st.sampled_from(["edit", "delete", "insert", "swap", "empty"])):
        case "edit":
            line = bytearray(raw[place])
            at = data.draw(st.integers(0, len(line) - 2))
            line[at] = data.draw(st.integers(1, 255).filter(lambda byte: byte not in {line[at], 10}))
            raw[place] = bytes(line)
        case "delete":
            del raw[place]
        case "insert":
            raw.insert(place, data.draw(st.sampled_from([b"{}\n", b"\n", content[-1][1][-1]])))
        case "empty":
            number = next(index for index, where in enumerate(flat) if where[0] == segment)
            if segment == len(content) - 1:
                return
            raw.clear()
        case _:
            other_segment, other_place = flat[data.draw(st.integers(number + 1, len(flat) - 1), "other")]
            other = content[other_segment][1]
            raw[place], other[other_place] = other[other_place], raw[place]
    rewrite(content)
    for path in (state / FOLDER / checkpoints.FOLDER).iterdir():
        if data.draw(st.booleans()):
            path.unlink()
    report = verify_folder(state / FOLDER)
    assert report.bad is not None
    assert report.bad.seq == number + 1


@given(kept=st.integers(0, LINES - 1), older=st.integers(0, 4))
@settings(max_examples=30)
def test_a_truncation_past_an_old_checkpoint_is_found(
    made: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory, kept: int, older: int
) -> None:
    """With a checkpoint from elsewhere the missing end is named, without one nobody can see it."""
    state = copied(made, tmp_path_factory)
    note = made[1][older]
    size = parse_note(note).size
    content, left = whole(state), kept
    for _, raw in content:
        del raw[left:]
        left -= len(raw)
    rewrite(content)
    bad = verified(state, note).bad
    if kept < size:
        assert bad is not None
        assert bad.seq == kept + 1
    else:
        assert bad is None


@given(number=st.integers(0, LINES - 1), older=st.integers(0, 4))
@settings(max_examples=30)
def test_a_chain_made_anew_is_found_by_a_checkpoint(
    made: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory, number: int, older: int
) -> None:
    """Whoever changes a line and makes all hashes after it anew satisfies the chain, and no checkpoint over it."""
    state = copied(made, tmp_path_factory)
    content, head, index = whole(state), Head(), 0
    for _, raw in content:
        for place, line in enumerate(raw):
            entry = {name: value for name, value in json.loads(line).items()
                     if name not in {"seq", "time", "prev", "check"}}  # fmt: skip
            if index == number:
                entry["by"] = "somebody else"
            made_anew, head = next_line(head, entry, json.loads(line)["time"])
            raw[place] = made_anew + b"\n"
            index += 1
    rewrite(content)
    notes = made[1][: older + 1]
    report = verified(state, *notes)
    assert report.verdict.bad is None
    covering = [parse_note(text).size for text in notes if parse_note(text).size > number]
    if not covering:
        assert report.sound
        return
    assert report.bad is not None
    assert report.bad.seq <= number + 1
    assert str(covering[0]) in report.bad.reason


def test_a_missing_segment_is_found(state: Path) -> None:
    """A segment that is gone is missed at its first line."""
    content = whole(state)
    content[1][0].unlink()
    bad = verify_folder(state / FOLDER).bad
    assert bad is not None
    assert bad.seq == len(content[0][1]) + 1


@pytest.mark.parametrize("end", ["half", "trailer", "more", "none"])
def test_a_damaged_compressed_segment_is_found(state: Path, end: str) -> None:
    """Compressed bytes that cannot be read on are a bad line, never an error of the reader."""
    (path, raw), *_ = whole(state)
    data = path.read_bytes()
    path.write_bytes(
        {"half": data[: len(data) // 2], "trailer": data[:-5] + b"\0" + data[-4:], "more": data + b"x", "none": b"x"}[
            end
        ]
    )
    bad = verify_folder(state / FOLDER).bad
    assert bad is not None
    assert 1 <= bad.seq <= len(raw) + 1


def test_what_is_no_checkpoint_is_a_problem(state: Path) -> None:
    """A file that is none, one that a stranger signed, and one with a false signature are told; others are left."""
    folder = state / FOLDER / checkpoints.FOLDER
    newest = checkpoints.read(checkpoints.paths(state / FOLDER)[-1])
    (folder / "000000000001.note").write_text("nonsense")
    stranger = SigningKey.make(newest.checkpoint.origin)
    foreign = Checkpoint(newest.checkpoint.origin, 2, newest.root)
    (folder / "000000000002.note").write_text(Note(foreign, (stranger.sign(foreign),)).text)
    (folder / "000000000003.note").write_text(Note(foreign, newest.signatures).text)
    (folder / "README").write_text("not a checkpoint")
    report = verify_folder(state / FOLDER)
    assert dict(report.judgement.problems) == {
        "000000000001.note": "no signed note",
        "000000000002.note": "no known key signed it",
        "000000000003.note": "a signature is false",
    }
    assert report.bad is None
    assert not report.sound


@pytest.mark.parametrize("which", [0, 1])
def test_one_noted_key_is_enough(state: Path, which: int) -> None:
    """With the first or the last key alone, from elsewhere, every checkpoint verifies, whatever the folder says."""
    key = known_keys(state / FOLDER)[which]
    (state / FOLDER / KNOWN_FILE).unlink()
    assert verify_folder(state / FOLDER, [key]).sound
    assert not verify_folder(state / FOLDER).sound
    (state / FOLDER / KNOWN_FILE).write_text("nonsense")
    assert "keys.vkey" in dict(verify_folder(state / FOLDER).judgement.problems)


def test_a_checkpoint_that_is_dropped_meanwhile_is_no_problem(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running relay may drop an old checkpoint between its being listed and read."""
    read = checkpoints.read

    def gone(path: Path) -> Note:
        path.unlink()
        return read(path)

    monkeypatch.setattr(checkpoints, "read", gone)
    assert verify_folder(state / FOLDER).sound


def test_a_segment_that_is_compressed_meanwhile_is_read(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running relay may compress a segment between its being listed and read, the last one listed included."""
    content = whole(state)
    last, raw = content[-1]
    last.rename(last.with_name("away"))
    rewrite([(last.with_name(f"{last.name}.gz"), raw)])
    monkeypatch.setattr("relay.audit.verify.segments", lambda _: [
        path.with_name(path.name.removesuffix(".gz")) for path, _ in content])  # fmt: skip
    assert verify_folder(state / FOLDER).sound


@pytest.mark.parametrize("line", [b'{"event":"key",', b'["event":"key"]', b'{"x":{"event":"key"}}', b'{"event":"key"}'])
def test_what_only_looks_like_a_key_line_is_none(state: Path, line: bytes) -> None:
    """A line that tells of no key is judged as any other line."""
    content = whole(state)
    content[0][1][0] = line + b"\n"
    rewrite(content)
    bad = verify_folder(state / FOLDER).bad
    assert bad is not None
    assert bad.seq == 1


async def test_a_log_that_is_written_to_verifies_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While lines, segments, checkpoints and keys come and files are compressed, no look at it finds anything wrong."""
    monkeypatch.setattr("relay.audit.log.LARGEST_SEGMENT", 3000)
    monkeypatch.setattr("relay.audit.compress.REMEMBERED", 1)
    monkeypatch.setattr(checkpoints, "KEPT", 5)
    log = await opened(tmp_path)
    notary = Notary(log, tmp_path / "keys", "relay01")
    await log.append([entry("first")])
    await notary.sign()
    (first,) = known_keys(tmp_path / FOLDER)
    found: list[Report] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            found.append(verify_folder(tmp_path / FOLDER, [first]))

    looking = asyncio.create_task(asyncio.to_thread(look))
    for number in range(60):
        await log.append([entry(f"{number}-{one}") for one in range(number % 5 + 1)])
        if number % 3 == 0:
            await notary.sign()
        if number % 20 == 10:
            await notary.rotate("admin")
        await notary.tidy()
    ended.set()
    await looking
    await log.close()
    assert len(found) > 3
    assert [report for report in found if not report.sound] == []
    assert verify_folder(tmp_path / FOLDER, [first]).sound
