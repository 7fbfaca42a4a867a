"""Lines to a file descriptor whose reader may be slow, gone or stuck."""

from __future__ import annotations

import os
import select
import threading
from typing import Final

_PATIENCE: Final = 100  # milliseconds that one line may wait for a reader, once; less than any loop's deadline
_PIECE: Final = select.PIPE_BUF  # a pipe that is ready takes this much without blocking


class Stream:
    """Writes lines and loses them rather than waits.

    Why not a queue and a thread: the lines just before a crash are the ones that matter, and a queue loses those.
    """

    __slots__ = ("_fd", "_lock", "_patience", "_poll", "_torn")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._patience = _PATIENCE
        self._torn = False

    def write(self, line: str) -> bool:
        """Write one line and its end; False when it was lost, whole or in part. Never raises, never waits long."""
        with self._lock:
            rest = memoryview((("\n" if self._torn else "") + line + "\n").encode("utf-8", "backslashreplace"))
            begun = False
            try:
                while rest and self._poll.poll(self._patience):
                    rest = rest[os.write(self._fd, rest[:_PIECE]) :]
                    begun = True
            except OSError:
                pass
            # While nobody reads, no further line waits.
            self._patience = 0 if rest else _PATIENCE
            self._torn = bool(rest) and (begun or self._torn)
            return not rest
