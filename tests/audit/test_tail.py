"""The end of the audit log after a crash or a power cut."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.auditlog import entry, failing, opened, read

from relay.audit.log import AuditLog
from relay.audit.segments import FIRST, FOLDER
from relay.audit.verify import verify_folder
from relay.core.errors import StorageError


async def with_end(folder: Path, end: bytes) -> AuditLog:
    """A log of two lines that was stopped with some bytes more at its end."""
    log = await opened(folder)
    await log.append([entry("a"), entry("b")])
    await log.close()
    with (folder / FOLDER / FIRST).open("ab") as file:
        file.write(end)
    return await opened(folder)


@pytest.mark.parametrize(
    "end", [b"{", b'{"attempt":1,"check":"00', b"\0" * 4096, b'{"a\0\n', b"garbage\n", b"x" * 3000]
)
async def test_a_torn_end_is_set_aside_and_recorded(tmp_path: Path, end: bytes) -> None:
    """What a crash left at the end goes to a file beside, a line tells of it, and the chain goes on."""
    log = await with_end(tmp_path, end)
    assert log.head.seq == 3
    await log.append([entry("b"), entry("c")])
    await log.close()
    *_, torn, last = read(tmp_path)
    assert (torn["event"], torn["code"], torn["bytes"]) == ("torn", "BSR-5010", len(end))
    assert torn["file"] == f"{FIRST}.torn-1"
    assert (tmp_path / FOLDER / torn["file"]).read_bytes() == end
    assert (tmp_path / FOLDER / torn["file"]).stat().st_mode & 0o777 == 0o600
    assert last["job"] == "c"


async def test_torn_ends_are_numbered(tmp_path: Path) -> None:
    """A second torn end gets a file of its own."""
    await (await with_end(tmp_path, b"one")).close()
    with (tmp_path / FOLDER / FIRST).open("ab") as file:
        file.write(b"two")
    await (await opened(tmp_path)).close()
    assert [line["file"] for line in read(tmp_path)[2:]] == [f"{FIRST}.torn-1", f"{FIRST}.torn-2"]
    assert (tmp_path / FOLDER / f"{FIRST}.torn-2").read_bytes() == b"two"


async def test_lost_pages_in_the_last_write_are_torn(tmp_path: Path) -> None:
    """Zero bytes in the last write are pages that a power cut took: from there on everything is set aside."""
    log = await opened(tmp_path)
    await log.append([entry("a"), entry("b"), entry("c")])
    await log.close()
    path = tmp_path / FOLDER / FIRST
    one, two, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one + b"\0" * len(two) + three)
    log = await opened(tmp_path)
    await log.append([entry("b")])
    await log.close()
    assert [line["event"] for line in read(tmp_path)] == ["sent", "torn", "sent"]


@given(size=st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_log_cut_anywhere_goes_on(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    """Whatever length a crash leaves of the file, the log opens, verifies, and keeps every whole line."""
    folder = tmp_path_factory.mktemp("cut")

    async def run() -> None:
        log = await opened(folder)
        await log.append([entry(f"{number}") for number in range(4)])
        await log.close()
        path = folder / FOLDER / FIRST
        content = path.read_bytes()
        left = content[: size % (len(content) + 1)]
        path.write_bytes(left)
        log = await opened(folder)
        await log.append([entry("last")])
        await log.close()
        lines = path.read_bytes().splitlines(keepends=True)
        whole = left.count(b"\n")
        assert b"".join(lines[:whole]) == left[: left.rfind(b"\n") + 1]
        assert [line["event"] for line in read(folder)[whole:]] == ["torn", "sent"][left[-1:] in b"\n" :]

    asyncio.run(run())


@pytest.mark.parametrize("call", ["pwrite", "fsync", "fdatasync", "ftruncate"])
async def test_a_torn_end_that_cannot_be_set_aside_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """When the disk fails while a torn end is set aside, opening is refused and the next try does it all."""
    await (await with_end(tmp_path, b"")).close()
    with (tmp_path / FOLDER / FIRST).open("ab") as file:
        file.write(b"torn " * 500)
    with monkeypatch.context() as patch:
        fired = failing(patch, call, errno.ENOSPC, times=9)
        with pytest.raises(StorageError) as error:
            await opened(tmp_path)
    assert fired
    assert error.value.number == (5005 if call in {"fdatasync", "ftruncate"} else 5007)
    await (await opened(tmp_path)).close()
    torn = [tmp_path / FOLDER / line["file"] for line in read(tmp_path) if line["event"] == "torn"]
    assert torn[0].read_bytes() == b"torn " * 500
    assert all(path.exists() for path in torn)


async def test_a_copy_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file beside cannot be made durable nothing is left of it, however often opening is tried."""
    await (await with_end(tmp_path, b"")).close()
    with (tmp_path / FOLDER / FIRST).open("ab") as file:
        file.write(b"torn")
    sync = os.fsync
    for number in (1, 2):
        calls: list[int] = []

        def second(descriptor: int, calls: list[int] = calls, number: int = number) -> None:
            calls.append(1)
            if len(calls) > number:
                raise OSError(errno.ENOSPC, "full")
            sync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", second)
            with pytest.raises(StorageError) as error:
                await opened(tmp_path)
        assert error.value.number == 5007
        assert list((tmp_path / FOLDER).glob("*.torn-*")) == []


async def test_a_log_that_cannot_be_continued_is_refused(tmp_path: Path) -> None:
    """When the last whole lines are no lines of a log the relay does not write behind them: BSR-5011."""
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FIRST).write_bytes(b"not\na\nlog\n")
    with pytest.raises(StorageError) as error:
        await opened(tmp_path)
    assert error.value.number == 5011
    assert (tmp_path / FOLDER / FIRST).read_bytes() == b"not\na\nlog\n"


async def test_a_torn_end_is_not_taken_for_tampering(tmp_path: Path) -> None:
    """Verification of a log that a crash left with half a line tells of the bytes and finds nothing bad."""
    log = await opened(tmp_path)
    await log.append([entry("a")])
    await log.close()
    with (tmp_path / FOLDER / FIRST).open("ab") as file:
        file.write(b'{"att')
    report = verify_folder(tmp_path / FOLDER)
    assert (report.torn, report.verdict.bad, report.verdict.head.seq) == (5, None, 1)
