"""Private files, the folder's lock, and what disk errors mean."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.core.errors import StorageError
from relay.host import files
from relay.host.files import (
    FolderLock,
    disk_error,
    free_bytes,
    open_private,
    private_folder,
    read_private,
    write_at,
    write_private,
)


@pytest.fixture(params=[0o000, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_folders_and_files_are_private_under_any_umask(tmp_path: Path) -> None:
    """New folders are 0700 and new files 0600, whatever the umask says."""
    folder = tmp_path / "a" / "b"
    private_folder(folder)
    private_folder(folder)
    write_private(folder / "file", b"text")
    assert [path.stat().st_mode & 0o777 for path in (folder.parent, folder, folder / "file")] == [0o700, 0o700, 0o600]


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    """Opening an existing file takes the rights of others away."""
    (tmp_path / "file").touch(0o644)
    os.close(open_private(tmp_path / "file"))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of a file of ours is an error, so that nobody leads us elsewhere."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        open_private(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_rights_that_cannot_be_taken_leave_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the mode cannot be set the file is closed again."""
    (tmp_path / "file").touch(0o644)
    closed = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda descriptor: (closed.append(descriptor), close(descriptor)))

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refused)
    with pytest.raises(PermissionError):
        open_private(tmp_path / "file")
    assert len(closed) == 1


def test_writing_replaces_at_once(tmp_path: Path) -> None:
    """A file is replaced by a rename, a leftover of an interrupted attempt does not disturb."""
    (tmp_path / ".file.new").write_bytes(b"half")
    write_private(tmp_path / "file", b"one")
    with (tmp_path / "file").open("rb") as before:
        write_private(tmp_path / "file", b"two")
        assert before.read() == b"one"
    assert (tmp_path / "file").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new content cannot be made durable the old one stays and nothing is left beside it."""
    write_private(tmp_path / "file", b"one")

    def lost(_: int) -> None:
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fsync", lost)
    with pytest.raises(OSError, match="lost"):
        write_private(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was given; the rest follows."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:3], offset))
    descriptor = open_private(tmp_path / "file")
    write_at(descriptor, b"0123456789", 2)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"\0\x000123456789"


def test_free_bytes_are_counted(tmp_path: Path) -> None:
    """Free space is what an ordinary user may still write."""
    facts = os.statvfs(tmp_path)
    assert 0 < free_bytes(tmp_path) <= facts.f_bfree * facts.f_frsize


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 5004), (errno.EDQUOT, 5004), (errno.EFBIG, 5004), (errno.EIO, 5005), (errno.EROFS, 5001)],
)
def test_disk_errors_have_codes(number: int, code: int) -> None:
    """The system's error number decides: full, lost, or not to be opened; the path is told."""
    error = disk_error(OSError(number, os.strerror(number)), Path("/state/file"))
    assert error.number == code
    assert "/state/file" in error.text


def test_one_process_holds_the_folder(tmp_path: Path) -> None:
    """A second lock of a folder, here or in another process, is BSR-5006 and names the holder; freed, it is taken."""
    folder = tmp_path / "state"
    program = (
        "import sys; from pathlib import Path; from relay.host.files import FolderLock as L; L.take(Path(sys.argv[1]))"
    )
    with FolderLock.take(folder):
        with pytest.raises(StorageError) as error:
            FolderLock.take(folder)
        assert error.value.number == 5006
        assert str(os.getpid()) in error.value.detail
        other = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=False)
        assert "BSR-5006" in other.stderr
    lock = FolderLock.take(folder)
    lock.release()
    lock.release()
    assert subprocess.run([sys.executable, "-c", program, folder], check=True).returncode == 0
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600


def test_a_holder_is_seen_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that turned read-only a running relay still holds its folder; without one it cannot be had."""

    def read_only(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "read-only")

    with FolderLock.take(tmp_path):
        monkeypatch.setattr(files, "open_private", read_only)
        with pytest.raises(StorageError) as error:
            FolderLock.take(tmp_path)
        assert error.value.number == 5006
        assert str(os.getpid()) in error.value.detail
    for _ in range(2):
        with pytest.raises(StorageError) as error:
            FolderLock.take(tmp_path)
        assert error.value.number == 5001
        (tmp_path / "lock").unlink(missing_ok=True)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Somebody who can put files into the state folder could have any call made again; nothing is put there."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(StorageError) as error:
        FolderLock.take(folder)
    assert error.value.number == 5001
    assert error.value.detail == f"others can write to {folder} (mode {mode:04o}); run: chmod go-w {folder}"
    assert list(folder.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder belongs to the relay's user or to root; another owner could change what is in it."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if tmp_path.stat().st_uid == 0:
        FolderLock.take(tmp_path).release()
        os.chown(tmp_path, 54321, -1)
    owner = tmp_path.stat().st_uid
    with pytest.raises(StorageError) as error:
        FolderLock.take(tmp_path)
    assert (error.value.number, error.value.detail) == (
        5001,
        f"{tmp_path} belongs to user {owner}, not to the relay's user 12345",
    )


def test_a_link_to_a_folder_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    """The system may put a link in the state folder's place; its target must be private like any."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    link = tmp_path / "state"
    link.symlink_to(folder)
    FolderLock.take(link).release()
    assert (folder / "lock").exists()
    folder.chmod(0o770)
    with pytest.raises(StorageError):
        FolderLock.take(link)


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A holder that is killed leaves no lock behind."""
    program = (
        "import os, signal, sys; from pathlib import Path; from relay.host.files import FolderLock as L\n"
        "L.take(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "lock").read_text().strip().isdigit()
    FolderLock.take(tmp_path).release()


def test_a_folder_that_cannot_be_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock cannot be made or taken the error tells that the store cannot be opened."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as error:
        FolderLock.take(tmp_path / "file")
    assert error.value.number == 5001

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    with pytest.raises(StorageError) as error:
        FolderLock.take(tmp_path)
    assert error.value.number == 5001


def test_a_full_disk_does_not_keep_the_lock_from_being_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process number in the lock is for people; when it cannot be written the lock holds all the same."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with FolderLock.take(tmp_path), pytest.raises(StorageError, match="unknown"):
        FolderLock.take(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_private_file_is_read_only_as_long_as_it_is_private(tmp_path: Path, mode: int) -> None:
    """A file that others can touch is refused with what to do; a missing one is none; of a long one comes the start."""
    path = tmp_path / "key"
    assert read_private(path, 9) is None
    write_private(path, b"0123456789")
    assert read_private(path, 9) == b"012345678"
    path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod it to 0600"):
        read_private(path, 9)


def test_no_link_and_no_pipe_is_a_private_file(tmp_path: Path) -> None:
    """A link is not followed, and a pipe holds up nobody."""
    write_private(tmp_path / "key", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    with pytest.raises(OSError, match="ymbolic"):
        read_private(tmp_path / "link", 9)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert read_private(tmp_path / "pipe", 9) == b""
