"""Which entries the log holds already, in bounded memory."""

from __future__ import annotations

import hashlib
import threading

MOST_JOBS = 20_000
"""Jobs remembered, the latest written to. A step is repeated after a crash, so what it repeats is near the log's end;
at about 200 bytes a job this is some 4 MB at most, and far less while finished jobs are forgotten."""
_SIZE = 8
_NO_JOB = (b"", b'""')  # none, and the empty text as it stands in a line


class Memory:
    """Remembers (event, attempt) of jobs as hashes. Safe to use from several threads."""

    def __init__(self, most: int = MOST_JOBS) -> None:
        self._most = most
        self._jobs: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: tuple[bytes, bytes]) -> bool:
        job, step = _hashes(key)
        steps = self._jobs.get(job, b"")
        return any(steps.startswith(step, at) for at in range(0, len(steps), _SIZE))

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, key: tuple[bytes, bytes]) -> None:
        """Remember an entry, unless it belongs to no job."""
        if key[0] in _NO_JOB:
            return
        job, step = _hashes(key)
        with self._lock:
            self._jobs[job] = self._jobs.pop(job, b"") + step
            if len(self._jobs) > self._most:
                del self._jobs[next(iter(self._jobs))]


def _hashes(key: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return (
        hashlib.blake2b(key[0], digest_size=2 * _SIZE).digest(),
        hashlib.blake2b(key[1], digest_size=_SIZE).digest(),
    )
