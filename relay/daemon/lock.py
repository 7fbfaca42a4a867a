"""The state folder's lock for the life of the process: taken at the start, or later by a folder that had to be mended.

Why later, too: a folder that cannot be used is a state that the daemon shows and gets out of by itself, as a store that
cannot be opened is. Only a folder that another relay holds ends the process.
"""

from __future__ import annotations

from pathlib import Path

from relay.host.files import FolderLock

IN_USE = 5006


class StateLock:
    """One folder's lock; whoever needs it takes it, whether it is held already or not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: FolderLock | None = None

    def take(self) -> None:
        """Hold the lock from now on.

        Raises:
            StorageError: BSR-5006 another relay holds it; another number: the folder cannot be used.

        """
        if self._held is None:
            self._held = FolderLock.take(self._folder)

    def release(self) -> None:
        """Give it back. May be called twice."""
        if self._held is not None:
            self._held.release()
            self._held = None
