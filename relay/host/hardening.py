"""What the daemon's process keeps from others on this machine: its memory, and the files that it makes.

Why not dumpable as well as no core file: a core handler that is a program (`|` in core_pattern) is called whatever the
limit, and another process of the same user could read the memory of one that can be dumped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from typing import Final

_SET_DUMPABLE: Final = 4
_GET_DUMPABLE: Final = 3
PRIVATE: Final = 0o077
AS_ROOT: Final = "it runs as root, which it never needs"


def harden() -> None:
    """Make this process and what it writes private. Never raises: `exposures` tells what did not succeed."""
    os.umask(PRIVATE)
    with contextlib.suppress(OSError, ValueError):  # a system call filter may forbid it; the unit has LimitCORE=0
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_SET_DUMPABLE, 0)


def exposures() -> list[str]:
    """What others on this machine could do to this process, each in a few words; none when it is well guarded."""
    found = []
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        found.append("a crash may leave its memory in a core file")
    if _prctl(_GET_DUMPABLE) != 0:
        found.append("its memory can be dumped and read by other processes of its user")
    if os.geteuid() == 0:
        found.append(AS_ROOT)
    return found


def _prctl(option: int, argument: int = 0) -> int:
    """prctl(2): a number from 0 up, or -1."""
    return int(ctypes.CDLL(None).prctl(option, argument, 0, 0, 0))
