"""A folder in which files appear whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from relay.core.errors import ApplianceError, StorageError
from relay.core.space import KEEPSAKES
from relay.host import shelf as module
from relay.host.shelf import BLOCK, Shelf

PIECE = bytes(range(256)) * 256
PATH = "default/2024-12-03/film.mp4"


def content(size: int) -> bytes:
    return (PIECE * (size // len(PIECE) + 1))[:size]


async def source(
    data: bytes, error: Exception | None = None, ended: list[str] | None = None
) -> AsyncGenerator[bytes, None]:
    try:
        for start in range(0, len(data), len(PIECE)):
            yield data[start : start + len(PIECE)]
        if error is not None:
            raise error
    finally:
        if ended is not None:
            ended.append("ended")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "recordings"
    made.mkdir()
    return made


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [0, 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("told", [True, False])
async def test_a_file_and_its_checksum(folder: Path, size: int, told: bool) -> None:
    """They are there whole, readable for the folder's group, and `sha256sum -c` agrees."""
    data = content(size)
    before = os.umask(0o077)
    try:
        assert await Shelf(folder, "default").put(PATH, size if told else None, source(data))
    finally:
        os.umask(before)
    assert listed(folder) == [PATH, f"{PATH}.sha256"]
    assert (folder / PATH).read_bytes() == data
    check = await asyncio.create_subprocess_exec("sha256sum", "-c", "film.mp4.sha256", cwd=(folder / PATH).parent)
    assert await check.wait() == 0
    assert [(folder / PATH).stat().st_mode & 0o777, (folder / f"{PATH}.sha256").stat().st_mode & 0o777] == [0o640] * 2
    assert (folder / "default").stat().st_mode & 0o777 == 0o750


async def test_folders_hand_their_group_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose files get its group makes such folders, also where the process may set no setgid bit itself."""
    change = os.fchmod

    def restricted(descriptor: int, mode: int) -> None:
        if mode & stat.S_ISGID:
            raise PermissionError(errno.EPERM, "RestrictSUIDSGID")
        change(descriptor, mode)

    await asyncio.to_thread(folder.chmod, 0o2750)
    monkeypatch.setattr(os, "fchmod", restricted)
    before = os.umask(0o077)
    try:
        await Shelf(folder, "default").put(PATH, None, source(b"a"))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert (folder / PATH).parent.stat().st_mode & 0o7777 == 0o2750


async def test_a_file_that_is_there_is_not_read_again(folder: Path) -> None:
    """Name, size and a checksum tell that it is there; its source is let go unread."""
    shelf, ended = Shelf(folder, "default"), list[str]()
    assert await shelf.put(PATH, 5, source(b"first"))
    never = source(b"", ApplianceError(3004))
    assert not await shelf.put(PATH, 5, never)
    with pytest.raises(StopAsyncIteration):
        await anext(never)
    assert not await shelf.put(PATH, None, source(b"first", ended=ended))
    assert ended == ["ended"]
    assert listed(folder) == [PATH, f"{PATH}.sha256"]
    assert (folder / PATH).read_bytes() == b"first"


async def test_another_file_of_the_name_is_left_alone(folder: Path) -> None:
    """Ours goes beside it, under the same name each time; so it does beside one of the same size without a checksum."""
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_bytes(b"other")
    shelf = Shelf(folder, "default")
    assert await shelf.put(PATH, 5, source(b"first"))
    beside = f"default/2024-12-03/film-{hashlib.sha256(b'first').hexdigest()[:12]}.mp4"
    assert not await shelf.put(PATH, 5, source(b"first"))
    assert await shelf.put("plain", None, source(b"a"))
    assert await shelf.put("plain", None, source(b"b"))
    plain = f"plain-{hashlib.sha256(b'b').hexdigest()[:12]}"
    assert listed(folder) == sorted(
        [PATH, beside, f"{beside}.sha256", "plain", "plain.sha256", plain, f"{plain}.sha256"]
    )
    assert (folder / PATH).read_bytes() == b"other"
    assert (folder / beside).read_bytes() == b"first"


async def test_what_its_source_raises_comes_out(folder: Path) -> None:
    """No file is left, hidden or not, and the source is let go."""
    ended: list[str] = []
    with pytest.raises(ApplianceError, match="BSR-3004"):
        await Shelf(folder, "default").put(PATH, None, source(content(BLOCK + 1), ApplianceError(3004), ended))
    assert (listed(folder), ended) == ([], ["ended"])


async def test_a_cancelled_file_is_gone(folder: Path) -> None:
    """Whatever the thread was doing, nothing is left and nothing stays open."""
    begun, descriptors = asyncio.Event(), opened()

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield PIECE
            begun.set()

    shelf = Shelf(folder, "default")
    for _ in range(5):
        begun.clear()
        putting = asyncio.create_task(shelf.put(PATH, None, endless()))
        await begun.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert listed(folder) == []
    assert opened() == descriptors
    assert await shelf.put(PATH, None, source(b"a"))


@pytest.mark.parametrize("told", [True, False])
async def test_a_disk_that_is_nearly_full(folder: Path, told: bool) -> None:
    """The reserve stays free: with its size told a file is not begun, else it ends there; nothing of it is left."""
    left, asked = [KEEPSAKES + 2 * BLOCK], list[int]()

    def free(_: Path) -> int:
        asked.append(left[0])
        left[0] -= 0 if told else BLOCK
        return asked[-1]

    with pytest.raises(StorageError, match="BSR-5004") as caught:
        await Shelf(folder, "default", free).put(PATH, 3 * BLOCK if told else None, source(content(3 * BLOCK)))
    assert str(folder) in caught.value.text
    assert caught.value.retryable
    assert len(asked) == (1 if told else 3)
    assert listed(folder) == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 5004), (errno.EDQUOT, 5004), (errno.EIO, 5014)])
@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace"])
async def test_a_disk_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int
) -> None:
    """A full disk and a failing one have their codes; no part of a file is left under its name."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            await Shelf(folder, "default").put(PATH, None, source(content(BLOCK + 1)))
    assert caught.value.number == code
    assert listed(folder) == []


async def test_an_absent_folder_is_not_made(tmp_path: Path) -> None:
    """A share that is not mounted must not be replaced by a folder on this disk."""
    with pytest.raises(StorageError, match="BSR-5014") as caught:
        await Shelf(tmp_path / "absent", "default").put(PATH, 1, source(b"a"))
    assert caught.value.retryable
    assert not (tmp_path / "absent").exists()


async def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """A link below the folder, in a folder's place or a file's, leads nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "default").symlink_to(elsewhere)
    shelf = Shelf(folder, "default")
    with pytest.raises(StorageError, match="BSR-5014"):
        await shelf.put(PATH, None, source(b"a"))
    (folder / ".default.part").symlink_to(elsewhere / "file")
    with pytest.raises(StorageError, match="BSR-5014"):
        await shelf.put("film", None, source(b"a"))
    (folder / ".default.part").unlink()
    (folder / "film").symlink_to(elsewhere / "file")
    assert await shelf.put("film", None, source(b"a"))
    assert list(elsewhere.iterdir()) == []
    assert (folder / "film").is_symlink()


@pytest.mark.parametrize("path", ["../film", "/film", "a/../film", "a//film", ".film", "a/", "", "a/.b/c", "a\0b"])
async def test_paths_that_lead_elsewhere(folder: Path, path: str) -> None:
    """Whatever names are made of, this is the last place that refuses them."""
    with pytest.raises(StorageError, match="leads elsewhere"):
        await Shelf(folder, "default").put(path, 1, source(b"a"))
    with pytest.raises(StorageError, match="leads elsewhere"):
        await Shelf(folder, "default").put(path, None, source(b"a"))
    assert listed(folder) == []


async def test_two_processes_do_not_mix(folder: Path) -> None:
    """While another process writes as the same owner, this one waits its turn; what a crash left is overwritten."""
    part = folder / ".default.part"
    part.write_bytes(b"left by a crash, and longer")
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="BSR-5014"):
            await Shelf(folder, "default").put(PATH, None, source(b"a"))
        assert part.exists()
    assert await Shelf(folder, "default").put(PATH, None, source(b"a"))
    assert (folder / PATH).read_bytes() == b"a"
    assert listed(folder) == [PATH, f"{PATH}.sha256"]


async def test_a_name_that_was_given_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file whose lock was just let go may be another process's finished one by now: it is not touched."""
    part, real = folder / ".default.part", fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        part.write_bytes(b"finished")
        part.rename(folder / "finished")
        part.write_bytes(b"the next")
        real(descriptor, operation)

    part.write_bytes(b"")
    monkeypatch.setattr(module.fcntl, "flock", late)
    with pytest.raises(StorageError, match="BSR-5014"):
        await Shelf(folder, "default").put(PATH, None, source(b"a"))
    assert (folder / "finished").read_bytes() == b"finished"
    assert part.read_bytes() == b"the next"


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from relay.host.shelf import Shelf

calls = int(sys.argv[2])
def gate(name):
    real = getattr(os, name)
    def call(*args, **named):
        global calls
        calls -= 1
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **named)
    setattr(os, name, call)
for name in ("open", "pwrite", "fsync", "replace", "mkdir", "ftruncate"):
    gate(name)

async def pieces():
    for _ in range(20):
        yield bytes(100_000)

asyncio.run(Shelf(Path(sys.argv[1]), "default").put("a/film.mp4", int(sys.argv[3]) or None, pieces()))
"""


@pytest.mark.parametrize("told", [2_000_000, 0])
def test_a_kill_at_any_step(folder: Path, told: int) -> None:
    """Killed before each step, the next life ends with one whole file and one checksum, and nothing else."""
    for step in range(1, 100):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(step), str(told)], check=False)
        film = folder / "a" / "film.mp4"
        if film.exists():
            assert film.stat().st_size == 2_000_000
            assert (folder / "a" / "film.mp4.sha256").exists()
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
    assert step > 5
    assert listed(folder) == ["a/film.mp4", "a/film.mp4.sha256"]
    assert (folder / "a" / "film.mp4.sha256").read_text().split()[0] == hashlib.sha256(bytes(2_000_000)).hexdigest()
