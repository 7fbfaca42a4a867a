"""A file system that forgets, like a disk whose power is cut: `python -m support.powercut MOUNT CUTS`.

Everything written lives in memory. At each fsync two states are saved into CUTS:

    CUTS/<n>/       what a cut just after the n-th sync leaves: only what was synced
    CUTS/<n>-torn/  what a cut just before it may leave: the same, and a random part of the sectors written since

Names follow their folder: a file is found after a cut once it was itself synced, a rename or deletion once its folder
was. Each write to a file called `acks` is noted in CUTS/acks as `<number of syncs so far> <text>`, and so tells what
had been acknowledged at which moment.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import mfusepy

SECTOR = 512
ACKS = "acks"


class Node:
    """A file: what a reader sees, what the disk holds, and where the two may differ."""

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.live = bytearray()
        self.durable = b""
        self.dirty: set[int] = set()

    def resize(self, length: int) -> None:
        self.touch(min(length, len(self.live)), max(length, len(self.live)))
        del self.live[length:]
        self.live.extend(bytes(length - len(self.live)))

    def write(self, data: bytes, offset: int) -> None:
        if offset > len(self.live):
            self.resize(offset)
        self.live[offset : offset + len(data)] = data
        self.touch(offset, offset + len(data))

    def touch(self, start: int, end: int) -> None:
        self.dirty.update(range(start // SECTOR, (end + SECTOR - 1) // SECTOR))

    def sync(self) -> None:
        self.durable = bytes(self.live)
        self.dirty.clear()

    def torn(self) -> bytes:
        """The durable content with some of the dirty sectors."""
        left = bytearray(self.durable)
        for sector in sorted(self.dirty):
            if random.random() < 0.5:
                start = sector * SECTOR
                data = self.live[start : start + SECTOR]
                left.extend(bytes(max(0, start + len(data) - len(left))))
                left[start : start + len(data)] = data
        return bytes(left)


class PowerCut(mfusepy.Operations):  # type: ignore[misc]  # it ships no types
    """The file system. Run without threads, so that one call follows the other."""

    use_ns = True

    def __init__(self, cuts: Path) -> None:
        self.cuts = cuts
        self.files: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.folders: dict[str, int] = {"/": 0o40700}
        self.syncs = 0

    def _node(self, path: str) -> Node:
        if path not in self.files:
            raise mfusepy.FuseOSError(errno.EISDIR if path in self.folders else errno.ENOENT)
        return self.files[path]

    def _save(self, name: str, *, torn: bool) -> None:
        for path, node in self.durable.items():
            copy = self.cuts / name / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(node.torn() if torn else node.durable)
            copy.chmod(0o600)

    def _synced(self, path: str, *, folder: bool) -> None:
        self._save(f"{self.syncs + 1}-torn", torn=True)
        if folder:
            inside = PurePosixPath(path)
            kept = {name: node for name, node in self.durable.items() if PurePosixPath(name).parent != inside}
            now = {name: node for name, node in self.files.items() if PurePosixPath(name).parent == inside}
            self.durable = {**kept, **now}
        else:
            self._node(path).sync()
            self.durable[path] = self.files[path]
        self.syncs += 1
        self._save(f"{self.syncs}", torn=False)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:  # noqa: ARG002  # its signature
        if path in self.folders:
            return {"st_mode": self.folders[path], "st_nlink": 2, "st_uid": os.getuid(), "st_gid": os.getgid()}
        node = self._node(path)
        return {
            "st_mode": stat.S_IFREG | node.mode & 0o777,
            "st_nlink": 1,
            "st_size": len(node.live),
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
        }

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002  # its signature
        inside = PurePosixPath(path)
        names = [PurePosixPath(name) for name in (*self.files, *self.folders) if name != "/"]
        return [".", "..", *(name.name for name in names if name.parent == inside)]

    def mkdir(self, path: str, mode: int) -> int:
        self.folders[path] = stat.S_IFDIR | mode & 0o777
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:  # noqa: ARG002  # its signature
        self.files[path] = Node(mode)
        return 0

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002  # its signature
        self._node(path)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        if path in self.folders:
            self.folders[path] = stat.S_IFDIR | mode & 0o777
        else:
            self._node(path).mode = mode
        return 0

    def utimens(self, path: str, times: Any = None) -> int:  # noqa: ARG002  # its signature
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002  # its signature
        return bytes(self._node(path).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002  # its signature
        if PurePosixPath(path).name == ACKS:
            with (self.cuts / ACKS).open("ab") as acks:
                acks.write(b"%d %s" % (self.syncs, data))
        self._node(path).write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:  # noqa: ARG002  # its signature
        self._node(path).resize(length)
        return 0

    def unlink(self, path: str) -> int:
        self._node(path)
        del self.files[path]
        return 0

    def rename(self, old: str, new: str) -> int:
        self.files[new] = self._node(old)
        del self.files[old]
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:  # noqa: ARG002  # its signature
        self._synced(path, folder=False)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:  # noqa: ARG002  # its signature
        self._synced(path, folder=True)
        return 0


if __name__ == "__main__":
    random.seed(20260131)
    mfusepy.FUSE(PowerCut(Path(sys.argv[2])), sys.argv[1], foreground=True, nothreads=True, direct_io=True)
