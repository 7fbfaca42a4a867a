"""Whether the disk has room for what appliances tell: what is at hand is brought home in what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from relay.core.errors import StorageError
from relay.core.space import may_claim, may_keep
from relay.host.files import free_bytes
from relay.jobs.conditions import Conditions

REPORTS = "disk for reports"
"""The condition that no report is fetched any more."""


class Space:
    """The room on the state folder's file system.

    Why reports stop before posts: reports are large and can be fetched later, an event that is refused holds up all
    later ones of its appliance.

    Args:
        folder: the state folder.
        conditions: hear that reports wait.
        free: bytes that may still be written to a folder's file system.

    """

    def __init__(self, folder: Path, conditions: Conditions, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder = folder
        self._conditions = conditions
        self._free = free

    def posts(self) -> bool:
        """Whether a post may be stored."""
        return may_claim(self._bytes())

    def reports(self) -> bool:
        """Whether a report may be fetched; health says so when not."""
        free = self._bytes()
        if may_keep(free, 0):
            self._conditions.clear(REPORTS)
            return True
        self._conditions.fail(REPORTS, StorageError(5004, f"{self._folder}: {free} bytes left, no report is fetched"))
        return False

    def _bytes(self) -> int:
        """0 where nobody can tell."""
        try:
            return self._free(self._folder)
        except OSError:
            return 0
