"""The audit log: what stands in it after appends, failures and restarts."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest
from support.auditlog import entry, failing, opened, read
from support.store import NOW

from relay.audit import memory as memory_module
from relay.audit.digest import Digester
from relay.audit.memory import Memory
from relay.audit.moments import timestamp
from relay.audit.segments import FIRST, FOLDER
from relay.audit.verify import verify_folder
from relay.core.chain import LONGEST_LINE, Head
from relay.core.errors import InternalError, StorageError


async def test_entries_become_lines(tmp_path: Path) -> None:
    """Entries stand in order, with number, time and link; the files are private."""
    log = await opened(tmp_path)
    await log.append([entry("a", by="admin", size=5, by_verified=False), entry("b")])
    await log.append([entry("c")])
    assert log.head.seq == 3
    await log.close()
    one, two, three = read(tmp_path)
    own = {"seq", "time", "prev", "check"}
    assert {name: value for name, value in one.items() if name not in own} == entry(
        "a", by="admin", size=5, by_verified=False
    )
    assert [line["seq"] for line in (one, two, three)] == [1, 2, 3]
    assert {line["time"] for line in (one, two, three)} == {timestamp(NOW)} == {"2027-01-15T08:00:00.000Z"}
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / FOLDER / FIRST).stat().st_mode & 0o777 == 0o600


async def test_a_step_is_written_once(tmp_path: Path) -> None:
    """The same job, event and attempt is one line: in a call, in a group, later, and after a restart."""
    log = await opened(tmp_path)
    await log.append([entry(), entry(by="other")])
    await asyncio.gather(*(log.append([entry("b"), entry()]) for _ in range(5)))
    await log.close()
    log = await opened(tmp_path)
    await log.append([entry(), entry("b"), entry(attempt=2), entry(event="answered")])
    await log.close()
    assert [(line["job"], line["event"], line["attempt"]) for line in read(tmp_path)] == [
        ("a", "sent", 1),
        ("b", "sent", 1),
        ("a", "sent", 2),
        ("a", "answered", 1),
    ]


async def test_an_entry_of_no_job_is_always_written(tmp_path: Path) -> None:
    """What the relay itself did (start, pause) is no step of a job and stands as often as it happened."""
    for _ in range(2):
        log = await opened(tmp_path)
        await log.append([entry("", "started", 0), entry("", "started", 0)])
        await log.close()
    assert len(read(tmp_path)) == 4


async def test_appends_at_once_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty appends of one turn cost one fsync."""
    log = await opened(tmp_path)
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (syncs.append(1), sync(descriptor)))
    await asyncio.gather(*(log.append([entry(f"{number}")]) for number in range(50)))
    await log.append([])
    assert len(syncs) == 1
    await log.close()
    assert len(read(tmp_path)) == 50


async def test_a_large_group_is_written_in_parts(tmp_path: Path) -> None:
    """A group larger than one write is whole and in order all the same."""
    log = await opened(tmp_path)
    big = {f"f{number}": "x" * 500 for number in range(100)}
    await asyncio.gather(*(log.append([entry(f"{number}", **big)]) for number in range(60)))
    await log.close()
    assert [line["job"] for line in read(tmp_path)] == [f"{number}" for number in range(60)]


async def test_an_entry_that_is_not_fit_is_a_fault(tmp_path: Path) -> None:
    """An entry with more than scalars is BSR-9001, and nothing of its call is written."""
    log = await opened(tmp_path)
    with pytest.raises(InternalError):
        await log.append([entry(), entry("b", body=b"bytes")])
    await log.close()
    await log.close()
    assert read(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
async def test_a_failed_write_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A write that fails half way is BSR-5007 for each call of its group, is cut off, and the next one works."""
    log = await opened(tmp_path)
    await log.append([entry("a")])
    size = (tmp_path / FOLDER / FIRST).stat().st_size
    fired = failing(monkeypatch, "pwrite", number, part=20)
    results = await asyncio.gather(log.append([entry("b")]), log.append([entry("c")]), return_exceptions=True)
    assert [error.number for error in results if isinstance(error, StorageError)] == [5007, 5007]
    assert fired == [1]
    assert (tmp_path / FOLDER / FIRST).stat().st_size == size
    assert log.failure is None
    await log.append([entry("b")])
    await log.close()
    assert [line["job"] for line in read(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("broken", ["fdatasync", "ftruncate"])
async def test_a_lost_write_ends_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """After a failed fsync, or a half line that cannot be cut off, every append is BSR-5005."""
    log = await opened(tmp_path)
    await log.append([entry("a")])
    if broken == "ftruncate":
        failing(monkeypatch, "pwrite", errno.ENOSPC, part=20)
    fired = failing(monkeypatch, broken, errno.EIO)
    for job in ("b", "c"):
        with pytest.raises(StorageError) as error:
            await log.append([entry(job)])
        assert error.value.number == 5005
    assert fired == [1]
    assert log.failure is not None
    await log.close()
    log = await opened(tmp_path)
    await log.append([entry("d")])
    await log.close()
    assert read(tmp_path)[-1]["job"] == "d"


async def test_an_edit_before_the_end_is_not_repaired(tmp_path: Path) -> None:
    """A changed line stays in the log after a restart, and verification names it."""
    log = await opened(tmp_path)
    await log.append([entry("a"), entry("b"), entry("c")])
    await log.close()
    path = tmp_path / FOLDER / FIRST
    path.write_bytes(path.read_bytes().replace(b'"job":"b"', b'"job":"x"'))
    log = await opened(tmp_path)
    await log.append([entry("d")])
    await log.close()
    bad = verify_folder(tmp_path / FOLDER).verdict.bad
    assert bad is not None
    assert bad.seq == 2


async def test_the_chain_goes_through_all_segments(tmp_path: Path) -> None:
    """A log of several files is one chain: it is continued in the last file and read in the files' order."""
    log = await opened(tmp_path)
    await log.append([entry(f"{number}") for number in range(4)])
    await log.close()
    folder = tmp_path / FOLDER
    lines = (folder / FIRST).read_bytes().splitlines(keepends=True)
    (folder / FIRST).write_bytes(b"".join(lines[:2]))
    (folder / "000002.jsonl").write_bytes(b"".join(lines[2:]))
    (folder / "000010.jsonl").write_bytes(b"")
    (folder / "notes.txt").write_text("not a segment")
    log = await opened(tmp_path)
    await log.append([entry("3"), entry("0"), entry("new")])
    await log.close()
    report = verify_folder(folder)
    assert (report.files, report.verdict.bad, report.verdict.head.seq) == (3, None, 5)
    assert json.loads((folder / "000010.jsonl").read_bytes())["job"] == "new"
    (folder / "000002.jsonl").unlink()
    bad = verify_folder(folder).verdict.bad
    assert bad is not None
    assert bad.seq == 3


async def test_only_the_end_of_a_long_log_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a long log reads its last part: the chain goes on rightly, old steps are not remembered."""
    monkeypatch.setattr("relay.audit.tail.REMEMBERED", 700)
    log = await opened(tmp_path)
    await log.append([entry(f"{number}") for number in range(20)])
    await log.close()
    log = await opened(tmp_path)
    await log.append([entry("0"), entry("19")])
    await log.close()
    assert [line["job"] for line in read(tmp_path)][20:] == ["0"]


async def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Where the log's folder cannot be made the error is BSR-5007."""
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(StorageError) as error:
        await opened(tmp_path)
    assert error.value.number == 5007


async def test_an_overlong_line_is_read_in_pieces(tmp_path: Path) -> None:
    """A line longer than any of the log's takes no more memory than one, and is bad."""
    log = await opened(tmp_path)
    await log.append([entry("a")])
    await log.close()
    path = tmp_path / FOLDER / FIRST
    path.write_bytes(path.read_bytes() + b"x" * (3 * LONGEST_LINE) + b"\n")
    bad = verify_folder(tmp_path / FOLDER).verdict.bad
    assert bad is not None
    assert bad.seq == 2
    with pytest.raises(StorageError):
        await opened(tmp_path)


def test_memory_is_bounded() -> None:
    """Only the jobs written to last are remembered; a new step of an old job makes it young again."""
    assert memory_module.MOST_JOBS == 20_000
    memory = Memory(2)
    memory.add((b"a", b"1"))
    memory.add((b"b", b"1"))
    memory.add((b"a", b"2"))
    memory.add((b"c", b"1"))
    assert len(memory) == 2
    assert [(job, step) for job in (b"a", b"b", b"c") for step in (b"1", b"2") if (job, step) in memory] == [
        (b"a", b"1"),
        (b"a", b"2"),
        (b"c", b"1"),
    ]


def test_digests_need_the_key() -> None:
    """Equal bodies have equal digests under one key, different ones under another, and the key is not shown."""
    one, two = Digester(b"k" * 32), Digester(b"l" * 32)
    assert one.of(b"body") == one.of(b"body")
    assert len({one.of(b"body"), two.of(b"body"), one.of(b"bodz")}) == 3
    assert len(one.of(b"")) == 64
    assert repr(one) == "Digester()"


def test_the_chain_begins_at_nothing() -> None:
    """A new log's end is seq 0."""
    assert Head().seq == 0
