"""Segments that end, begin and are compressed, and the tree that goes through all of them."""

from __future__ import annotations

import errno
import gzip
import json
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.auditlog import entry, failing, opened, whole, written

from relay.audit import compress as compress_module
from relay.audit.compress import compress, ripe
from relay.audit.growth import FILE, Place, load, save
from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.audit.segments import FIRST, FOLDER, compressed, lines, segments
from relay.audit.verify import verify_folder
from relay.core.chain import Head, next_line
from relay.core.errors import StorageError
from relay.core.merkle import Tree, leaf_hash


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of three lines, compressed as soon as the next one has begun."""
    monkeypatch.setattr("relay.audit.log.LARGEST_SEGMENT", 600)
    monkeypatch.setattr("relay.audit.compress.REMEMBERED", 1)


async def filled(state: Path, count: int = 10) -> AuditLog:
    log = await opened(state)
    for number in range(count):
        await log.append([entry(f"{number}", by="x" * 30)])
    return log


async def signed(log: AuditLog, state: Path) -> None:
    """Sign what is in the log: one line more, the first time, and the tree is remembered."""
    await Notary(log, state.with_name(f"{state.name}-key"), "relay01").sign()


def tree_over(state: Path) -> Tree:
    """The tree over the lines as they lie there."""
    return Tree().with_leaves(leaf_hash(raw[:-1]) for _, lines in whole(state) for raw in lines)


@pytest.mark.usefixtures("_small")
async def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    """The next segment begins after so many bytes; chain, tree and files go on, and a restart finds them."""
    log = await filled(tmp_path)
    folder = tmp_path / FOLDER
    assert len(segments(folder)) > 3
    assert log.place.tree == tree_over(tmp_path)
    await log.close()
    assert {path.stat().st_mode & 0o777 for path in segments(folder)} == {0o600}
    log = await opened(tmp_path)
    await log.append([entry("9"), entry("after")])
    assert log.place.tree == tree_over(tmp_path)
    assert log.head.seq == 11
    await log.close()
    assert verify_folder(folder).sound


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    "spoil",
    ["nothing", "missing", "garbage", "peaks", "other place", "far place", "older", "negative", "list", "hash"],
)
async def test_the_tree_is_found_again(tmp_path: Path, spoil: str) -> None:
    """Whatever is in the file that remembers the tree, the tree is the one over the lines."""
    log = await filled(tmp_path, 4)
    folder = tmp_path / FOLDER
    await signed(log, tmp_path)
    await log.close()
    older = (folder / FILE).read_text()
    log = await opened(tmp_path)
    await log.append([entry(f"more {number}") for number in range(8)])
    expected = log.place.tree
    await signed(log, tmp_path)
    await log.close()
    kept = json.loads((folder / FILE).read_text())
    assert kept["seq"] == 13
    match spoil:
        case "missing":
            (folder / FILE).unlink()
        case "garbage":
            (folder / FILE).write_bytes(b"\xff{")
        case "peaks":
            (folder / FILE).write_text(json.dumps({**kept, "peaks": ["00"]}))
        case "other place":
            (folder / FILE).write_text(json.dumps({**kept, "seq": 3, "peaks": kept["peaks"][:2], "segment": 1}))
        case "far place":
            (folder / FILE).write_text(json.dumps({**kept, "segment": 99}))
        case "older":
            (folder / FILE).write_text(older)
        case "negative":
            (folder / FILE).write_text(json.dumps({**kept, "offset": -1}))
        case "list":
            (folder / FILE).write_text("[" * 10_000)
        case "hash":
            (folder / FILE).write_text(json.dumps({**kept, "hash": "0" * 64}))
    log = await opened(tmp_path)
    assert log.place.tree == expected == tree_over(tmp_path)
    await log.close()


async def test_a_start_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tree remembered a start hashes only the lines since the checkpoint, not the whole log."""
    log = await filled(tmp_path)
    await signed(log, tmp_path)
    hashed: list[bytes] = []
    monkeypatch.setattr("relay.audit.growth.leaf_hash", lambda text: (hashed.append(text), leaf_hash(text))[1])
    for added in range(2):
        await log.append([entry(f"new {number}") for number in range(added)])
        await log.close()
        log = await opened(tmp_path)
        assert len(hashed) == added
    await log.close()


@pytest.mark.parametrize("beyond", ["checkpoint", "none"])
async def test_what_no_checkpoint_proves_is_not_believed(tmp_path: Path, beyond: str) -> None:
    """A remembered tree beyond the newest checkpoint hides no change of the lines that the checkpoint covers."""
    log = await filled(tmp_path)
    await signed(log, tmp_path)
    await log.append([entry("new")])
    await log.close()
    head, made = Head(), list[bytes]()
    for raw in (raw for _, some in whole(tmp_path) for raw in some):
        told = json.loads(raw)
        time = told.pop("time")
        for name in ("seq", "prev", "check"):
            del told[name]
        line, head = next_line(head, {**told, "by": "somebody else"}, time)
        made.append(line)
    (tmp_path / FOLDER / FIRST).write_bytes(b"".join(line + b"\n" for line in made))
    false = Tree().with_leaves([b"\0" * 32] * len(made))
    tree = Tree().with_leaves(map(leaf_hash, made))
    size = sum(len(line) + 1 for line in made)
    if beyond == "checkpoint":
        save(tmp_path / FOLDER, Place(head, tree, 1, size))
        with pytest.raises(StorageError) as error:
            await opened(tmp_path)
        assert error.value.number == 5011
        return
    shutil.rmtree(tmp_path / FOLDER / "checkpoints")
    save(tmp_path / FOLDER, Place(head, false, 1, size))
    log = await opened(tmp_path)
    assert log.place.tree == tree
    await log.close()


async def test_a_tree_with_false_peaks_is_made_anew(tmp_path: Path) -> None:
    """A remembered tree that does not give the root of a signed checkpoint is not believed."""
    state = tmp_path / "state"
    await written(state)
    path = state / FOLDER / FILE
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "peaks": ["00" * 32 for _ in kept["peaks"]]}))
    log = await opened(state)
    assert log.place.tree == tree_over(state)
    await log.close()


@pytest.mark.parametrize("how", ["end", "middle", "change"])
async def test_a_log_that_lost_lines_is_not_continued(tmp_path: Path, how: str) -> None:
    """Where lines that a checkpoint covers are missing or others, the relay does not sign over it: BSR-5011."""
    state = tmp_path / "state"
    await written(state)
    content = whole(state)
    last, raw = content[-1]
    (state / FOLDER / FILE).unlink()
    match how:
        case "end":
            last.write_bytes(b"".join(raw[:-1]))
        case "middle":
            last.write_bytes(b"".join([*raw[:-2], raw[-1]]))
        case _:
            last.write_bytes(b"".join([*raw[:-2], raw[-2].replace(b"admin", b"other"), raw[-1]]))
    with pytest.raises(StorageError) as error:
        await opened(state)
    assert error.value.number == 5011


@pytest.mark.usefixtures("_small")
async def test_closed_segments_are_compressed(tmp_path: Path) -> None:
    """Closed segments become private gzip files of the same bytes, the same each time; the log goes on."""
    log = await filled(tmp_path)
    folder = tmp_path / FOLDER
    before = {path.name: path.read_bytes() for path in segments(folder)}
    notary = Notary(log, tmp_path / "key", "relay01")
    await notary.tidy()
    *closed, last = segments(folder)
    assert {path.suffix for path in closed} == {".gz"}
    assert last.suffix == ".jsonl"
    for path in closed:
        data = path.read_bytes()
        assert gzip.decompress(data) == before[path.name.removesuffix(".gz")]
        assert path.stat().st_mode & 0o777 == 0o600
        assert data[4:8] == bytes(4)  # no time in it
        plain = folder / "again" / path.name.removesuffix(".gz")
        plain.parent.mkdir(exist_ok=True)
        plain.write_bytes(before[plain.name])
        assert compress(plain)
        assert compressed(plain).read_bytes() == data
    await log.append([entry("after")])
    await log.close()
    assert verify_folder(folder).sound
    log = await opened(tmp_path)
    assert log.place.tree == tree_over(tmp_path)
    await log.close()


@pytest.mark.usefixtures("_small")
async def test_a_round_compresses_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many segments are ripe, a round takes a bounded number, so that no loop is held up by them."""
    monkeypatch.setattr("relay.audit.notary.AT_ONCE", 2)
    log = await filled(tmp_path)
    notary = Notary(log, tmp_path / "key", "relay01")
    for number in (2, 3, 3):
        await notary.tidy()
        assert sum(path.suffix == ".gz" for path in segments(tmp_path / FOLDER)) == number
    await log.close()


async def test_the_end_of_the_log_stays_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a start reads is not compressed: the last segment, and the one before while the last is small."""
    monkeypatch.setattr("relay.audit.log.LARGEST_SEGMENT", 600)
    log = await filled(tmp_path)
    await log.close()
    found = segments(tmp_path / FOLDER)
    assert ripe(found) == found[:-2]
    monkeypatch.setattr("relay.audit.compress.REMEMBERED", found[-1].stat().st_size)
    assert ripe(found) == found[:-1]
    assert ripe(found[:1]) == []
    assert ripe([]) == []


@pytest.mark.usefixtures("_small")
async def test_a_log_whose_last_segment_is_compressed_goes_on_in_a_new_one(tmp_path: Path) -> None:
    """However it came about, a compressed segment is never written to."""
    log = await filled(tmp_path, 5)
    await log.close()
    last = segments(tmp_path / FOLDER)[-1]
    assert compress(last)
    assert verify_folder(tmp_path / FOLDER).sound
    log = await opened(tmp_path)
    await log.append([entry("4"), entry("after")])
    await log.close()
    assert segments(tmp_path / FOLDER)[-1].name > compressed(last).name
    assert verify_folder(tmp_path / FOLDER).verdict.head.seq == 6


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("left", ["half", "whole", "other", "broken", "longer"])
async def test_what_a_crash_left_of_compressing_is_seen_to(tmp_path: Path, left: str) -> None:
    """Half a file beside is made anew, both forms of one content become one, two contents stay both and are told."""
    log = await filled(tmp_path)
    folder = tmp_path / FOLDER
    first = segments(folder)[0]
    whole_form = gzip.compress(first.read_bytes(), mtime=0)
    match left:
        case "half":
            (folder / f".{FIRST}.gz.new").write_bytes(whole_form[:20])
        case "whole":
            compressed(first).write_bytes(whole_form)
        case "broken":
            compressed(first).write_bytes(whole_form[:-20])
        case "longer":
            compressed(first).write_bytes(gzip.compress(first.read_bytes() + b"more"))
        case _:
            compressed(first).write_bytes(gzip.compress(b"something else"))
    kept = left in {"half", "whole"}
    with capture_logs() as told:
        await Notary(log, tmp_path / "key", "relay01").tidy()
    await log.close()
    assert first.exists() is not kept
    assert compressed(first).exists()
    assert ("audit.not_compressed" in {line["event"] for line in told}) is not kept
    assert verify_folder(folder).sound
    assert not (folder / f".{FIRST}.gz.new").exists()


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("call", ["fsync", "replace", "room"])
async def test_compressing_that_fails_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Without room, or on a failing disk, segments stay plain, the log works, and the next round compresses."""
    log = await filled(tmp_path)
    folder = tmp_path / FOLDER
    notary = Notary(log, tmp_path / "key", "relay01")
    with monkeypatch.context() as patch, capture_logs() as told:
        if call == "room":
            patch.setattr(compress_module, "free_bytes", lambda _: 1000)
        elif call == "fsync":
            assert failing(patch, "fsync", errno.ENOSPC) == []
        else:
            patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        await notary.tidy()
    assert ("audit.not_compressed" in {line["event"] for line in told}) is (call != "room")
    assert not any(path.suffix == ".gz" for path in segments(folder))
    assert not list(folder.glob(".*.gz.new")) or call == "replace"
    await log.append([entry("after")])
    await notary.tidy()
    assert segments(folder)[0].suffix == ".gz"
    await log.close()
    assert verify_folder(folder).sound


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("call", "number"), [("open", 5007), ("fsync", 5005), ("in the way", 5007)])
async def test_a_next_segment_that_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Without a next segment an append is refused and nothing is written; a folder that was not synced ends the log."""
    log = await filled(tmp_path, 3)
    folder = tmp_path / FOLDER
    following = folder / "000002.jsonl"
    head = log.head
    with monkeypatch.context() as patch:
        if call == "in the way":
            following.write_text("foreign")
        else:
            assert failing(patch, call, errno.EIO) == []
        with pytest.raises(StorageError) as error:
            await log.append([entry("next")])
    assert error.value.number == number
    assert log.head == head
    if number == 5007:
        following.unlink(missing_ok=True)
        await log.append([entry("next")])
    else:
        with pytest.raises(StorageError):
            await log.append([entry("next")])
        assert log.failure is not None
    await log.close()
    log = await opened(tmp_path)
    await log.append([entry("next")])
    await log.close()
    assert verify_folder(folder).verdict.head.seq == 4


async def test_a_tree_that_cannot_be_remembered_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file cannot be written that is logged, and the next start reads the lines."""
    log = await filled(tmp_path)
    with monkeypatch.context() as patch, capture_logs() as told:
        assert failing(patch, "fsync", errno.ENOSPC) == []
        log.keep(log.place)
    await log.close()
    assert [line["event"] for line in told] == ["audit.tree_not_kept"]
    assert load(tmp_path / FOLDER) is None
    log = await opened(tmp_path)
    assert log.place.tree == tree_over(tmp_path)
    await log.close()


async def test_a_log_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A checkpoint folder that cannot be read is BSR-5007, as any other part of the log."""
    state = tmp_path / "state"
    await written(state)
    note = max((state / FOLDER / "checkpoints").iterdir())
    note.unlink()
    note.mkdir()
    with pytest.raises(StorageError) as error:
        await opened(state)
    assert error.value.number == 5007


async def test_keys_that_cannot_be_read_do_not_keep_the_log_closed(tmp_path: Path) -> None:
    """With a spoilt file of public keys the log opens; the checkpoints say what is wrong."""
    state = tmp_path / "state"
    await written(state)
    (state / FOLDER / "keys.vkey").write_text("nonsense")
    log = await opened(state)
    with pytest.raises(StorageError) as error:
        await Notary(log, state.with_name("state-key"), "relay01").sign()
    assert error.value.number == 5012
    await log.close()


async def test_a_compressed_segment_that_is_gone_is_missed(tmp_path: Path) -> None:
    """A segment that is there in neither form is an error of the reader, not an empty one."""
    with pytest.raises(FileNotFoundError):
        list(lines(tmp_path / f"{FIRST}.gz"))
    with pytest.raises(FileNotFoundError):
        list(lines(tmp_path / FIRST))
