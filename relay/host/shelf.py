"""A folder for people, in which files of any size appear whole or not at all, each with its checksum beside it.

A file grows under a hidden name in the folder itself, then gets its own; `sha256sum -c` reads what stands beside it. A
file that is there already is left alone: one that is equal is this one, another one keeps its name, and ours goes
beside it under a name that holds a part of its digest.

Why the folder is never made: an absent one is most likely a share that is not mounted. Below it, links are not
followed. Files are 0640 and folders 0750, since others than the relay are to read them: the folder's group says who.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from relay.core.errors import StorageError
from relay.core.space import may_keep
from relay.host.files import disk_error, free_bytes, write_at

T = TypeVar("T")

FULL: Final = 5004
BLOCK: Final = 1024 * 1024
"""Bytes that are hashed and written at once, in a thread."""
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
CHECK: Final = ".sha256"
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER: Final = _READ | os.O_DIRECTORY
_SUM: Final = re.compile(rb"([0-9a-f]{64})  [^\n]+\n")
_LONGEST_CHECK: Final = 4096
_UMASK: Final = threading.Lock()
"""Held while the process's umask is another one."""


class Shelf:
    """Puts files into one folder, one at a time.

    Args:
        folder: it must be there.
        owner: names the one hidden file in which a file grows: another process of the same owner is refused meanwhile.
        free: bytes that may still be written to a folder's file system.

    """

    def __init__(self, folder: Path, owner: str, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder = folder
        self._growing = f".{owner}.part"
        self._free = free
        self._worker = ThreadPoolExecutor(1, "recordings")
        self._turn = asyncio.Lock()

    async def put(self, path: str, size: int | None, pieces: AsyncGenerator[bytes, None]) -> bool:
        """Put a file on the shelf; False: it was there already.

        Args:
            path: where, below the folder: parts of letters, digits and the like, none beginning with a dot.
            size: its bytes, None when they are not known. A file of that size with its checksum is there already.
            pieces: its bytes. What they raise comes out, and no file is left.

        Raises:
            StorageError: BSR-5004 there is no room for it, BSR-5014 the folder cannot be used.

        """
        async with self._turn, contextlib.aclosing(pieces):
            if size is not None and await self._do(lambda: self._there(path, size)):
                return False
            growing = _Growing(self._folder, self._growing)
            try:
                await self._do(growing.open)
                await self._do(lambda: self._make_sure(size or 0))
                await self._fill(growing, pieces)
                return await self._do(lambda: growing.finish(path))
            finally:
                # In the same thread after whatever is still being done there, even when this call was cancelled.
                closing = self._worker.submit(growing.close)
                await asyncio.shield(asyncio.wrap_future(closing))

    async def _fill(self, growing: _Growing, pieces: AsyncGenerator[bytes, None]) -> None:
        block = bytearray()
        async for piece in pieces:
            block += piece
            if len(block) >= BLOCK:
                await self._add(growing, bytes(block))
                block.clear()
        if block:
            await self._add(growing, bytes(block))

    async def _add(self, growing: _Growing, block: bytes) -> None:
        def add() -> None:
            self._make_sure(len(block))
            growing.add(block)

        await self._do(add)

    def _make_sure(self, size: int) -> None:
        free = self._free(self._folder)
        if not may_keep(free, size):
            raise StorageError(5004, f"{self._folder}: {free} bytes are free, a recording needs {size}")

    def _there(self, path: str, size: int) -> bool:
        folders, name = _parts(path)
        with contextlib.suppress(FileNotFoundError), _opened(self._folder, folders) as folder:
            return _size(folder, name) == size and _checksum(folder, name) is not None
        return False

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except OSError as error:
            full = disk_error(error, self._folder)
            raise (full if full.number == FULL else StorageError(5014, full.detail)) from error


class _Growing:
    """A file that is being written, under its hidden name. All of this runs in the shelf's thread."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name
        self._folder = -1
        self._file = -1
        self._ours = False
        self._hash = hashlib.sha256()
        self._size = 0

    def open(self) -> None:
        """Begin an empty file; what a crash left of another one is overwritten."""
        self._folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._name, flags, FILE_MODE, dir_fd=self._folder)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        if there.st_ino != os.fstat(self._file).st_ino:  # who held the lock until now has given it its name
            raise BlockingIOError(errno.EWOULDBLOCK, "another process writes there")
        self._ours = True
        os.ftruncate(self._file, 0)
        os.fchmod(self._file, FILE_MODE)

    def add(self, block: bytes) -> None:
        write_at(self._file, block, self._size)
        self._hash.update(block)
        self._size += len(block)

    def finish(self, path: str) -> bool:
        """Give the file its name; False: it was there already."""
        os.fsync(self._file)
        digest = self._hash.hexdigest()
        folders, name = _parts(path)
        with _opened(self._root, folders, make=True) as folder:
            if _size(folder, name) is not None and not self._same(folder, name, digest):
                stem, dot, ext = name.rpartition(".")
                name = f"{stem}-{digest[:12]}.{ext}" if dot else f"{name}-{digest[:12]}"
            if self._same(folder, name, digest):
                return False
            self._write_check(folder, name, digest)
            os.replace(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)
            self._ours = False
            os.fsync(folder)
        return True

    def close(self) -> None:
        """Let go of the file; remove it if it has no name of its own. May be called at any time, raises nothing."""
        if self._ours:
            for name in (self._name, f"{self._name}{CHECK}"):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._folder)
        for descriptor in (self._file, self._folder):
            if descriptor >= 0:
                with contextlib.suppress(OSError):  # of a share, whose last write failed: the file is gone anyway
                    os.close(descriptor)

    def _same(self, folder: int, name: str, digest: str) -> bool:
        """Whether the file of that name is this one. One without a checksum was put there by others and is not."""
        return _size(folder, name) == self._size and _checksum(folder, name) == digest

    def _write_check(self, folder: int, name: str, digest: str) -> None:
        """Before the file has its name: a file that is there has its checksum."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._name}{CHECK}", flags, FILE_MODE, dir_fd=self._folder)
        try:
            os.fchmod(descriptor, FILE_MODE)
            write_at(descriptor, f"{digest}  {name}\n".encode(), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(f"{self._name}{CHECK}", f"{name}{CHECK}", src_dir_fd=self._folder, dst_dir_fd=folder)


def _parts(path: str) -> tuple[list[str], str]:
    *folders, name = path.split("/")
    if any(not part or part.startswith(".") or "\0" in part for part in (*folders, name)):
        raise StorageError(5014, "a path that leads elsewhere")
    return folders, name


@contextlib.contextmanager
def _opened(root: Path, folders: list[str], *, make: bool = False) -> Iterator[int]:
    """A descriptor of a folder below the root, which is made when it is missing and `make` says so."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folders:
            if make:
                _make(descriptor, name)
            below = os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _make(parent: int, name: str) -> None:
    # Not by fchmod afterwards: a group that the parent hands down goes on being handed down by the setgid bit. The
    # kernel sets that by itself; a service under RestrictSUIDSGID= may not even keep it. The umask is the whole
    # process's: what others make meanwhile lies in folders of mode 0700.
    with _UMASK:
        before = os.umask(0o777 & ~FOLDER_MODE)
        try:
            os.mkdir(name, FOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            return
        finally:
            os.umask(before)
    os.fsync(parent)


def _size(folder: int, name: str) -> int | None:
    """The size of a file; None where nothing has that name, -1 of something that is no file."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _checksum(folder: int, name: str) -> str | None:
    """The checksum beside a file; None when there is none that can be read."""
    try:
        descriptor = os.open(f"{name}{CHECK}", _READ | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    try:
        found = _SUM.fullmatch(os.read(descriptor, _LONGEST_CHECK))
    finally:
        os.close(descriptor)
    return found[1].decode() if found else None
