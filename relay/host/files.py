"""Private files that survive a power cut: atomic writes, synced folders, the folder's lock, free space.

Everything raises `OSError`; what it means is decided by the caller (`disk_error` for what a write to disk meant).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from relay.core.errors import StorageError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
LOCK = "lock"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LONGEST_PID = 32


def private_folder(folder: Path) -> None:
    """Make a folder of mode 0700 and its missing parents, durably. An existing folder is left as it is."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        private_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=PRIVATE_FOLDER)
        folder.chmod(PRIVATE_FOLDER)  # whatever the umask took away
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT, *, folder: int | None = None) -> int:
    """A descriptor of a file that only its owner can read, whatever the umask; the caller closes it.

    With `folder`, a descriptor of one, the path is taken from there.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE, dir_fd=folder)
    try:
        if os.fstat(descriptor).st_mode & 0o777 != PRIVATE_FILE:
            os.fchmod(descriptor, PRIVATE_FILE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`. When it raises, a part may have been written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def write_private(path: Path, data: bytes) -> None:
    """Replace or create a file of mode 0600: after a crash it holds the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_at(descriptor, data, 0)
        os.fsync(descriptor)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    beside.replace(path)
    sync_folder(path.parent)


def read_private(path: Path, largest: int) -> bytes | None:
    """The first `largest` bytes of a file that its owner alone may touch; None when there is none.

    Raises:
        OSError: it cannot be read, or others can read or change it.

    """
    try:
        # Not blocking: a pipe at this place must not stop the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PermissionError(errno.EPERM, "others can read or change it; chmod it to 0600")
        return os.read(descriptor, largest)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the folder's file system."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def disk_error(error: OSError, where: Path) -> StorageError:
    """What a failed use of the disk means: BSR-5004 no room, BSR-5005 a write that was lost, BSR-5001 the rest."""
    detail = f"{where}: {error.strerror or type(error).__name__}"
    if error.errno in _FULL:
        return StorageError(5004, detail)
    if error.errno == errno.EIO:
        return StorageError(5005, detail)
    return StorageError(5001, detail)


def _refuse_foreign(folder: Path, found: os.stat_result) -> None:
    """Refuse a state folder that somebody else could fill: what lies in it decides what the relay does.

    root is no somebody else: it can change every folder. A link in the folder's place is judged by where it leads.
    """
    if found.st_uid not in {os.geteuid(), 0}:
        raise StorageError(5001, f"{folder} belongs to user {found.st_uid}, not to the relay's user {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise StorageError(5001, f"others can write to {folder} (mode {mode:04o}); run: chmod go-w {folder}")


def _open_lock(folder: int) -> int:
    """The lock file of an open folder.

    Raises:
        OSError: it cannot be written, and nobody holds it.

    """
    try:
        return open_private(Path(LOCK), folder=folder)
    except OSError:
        # A file system that turned read-only under a running relay: it is that relay which matters to a second one.
        with contextlib.suppress(FileNotFoundError):
            readable = os.open(LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            try:
                fcntl.flock(readable, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return readable  # the caller finds it locked, and by whom
            except BaseException:
                os.close(readable)
                raise
            os.close(readable)
        raise


class FolderLock:
    """The lock of a state folder: held by one process, gone with it however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Lock the folder, which is made when it is missing.

        Raises:
            StorageError: BSR-5006 another process holds it; BSR-5001 others can change it; BSR-5001, 5004 or 5005 it
                cannot be made.

        """
        path = folder / LOCK
        try:
            private_folder(folder)
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _refuse_foreign(folder, os.fstat(opened))
                descriptor = _open_lock(opened)
            finally:
                os.close(opened)
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _LONGEST_PID, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StorageError(5006, f"{folder}: process {holder or 'unknown'}") from error
        except OSError as error:
            os.close(descriptor)
            raise disk_error(error, path) from error
        # the number is for people: a full disk must not keep the relay from starting
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            write_at(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
