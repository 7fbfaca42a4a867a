"""Notice that files of a folder have other contents, or another mode, than before.

Why folders and contents: editors, configuration management and orchestrators replace files by renaming and by switching
links, which a watch on a file does not survive; and they touch files without changing them, which is no news.
Why also a look each minute: the kernel may refuse a watch, a folder may appear later, a link may point elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import structlog
from watchdog.events import (
    DirDeletedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

log = structlog.get_logger("relay.watch")

_SETTLE: Final = 0.3  # seconds without a further event; a save is several events
_LONGEST_SETTLE: Final = 10  # times as long: a file that never rests is looked at all the same
_LOOK: Final = 60.0  # seconds between looks without any event
_MOST_BYTES: Final = 4 * 1024 * 1024  # of one file; a configuration is at most 1 MiB
# Opening and closing without writing are left out: looking at the files is just that.
_EVENTS: Final = [
    DirDeletedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]

Changed = Callable[[frozenset[Path]], Awaitable[None]]


class FolderWatch:
    """Calls back when files of some folders changed, appeared or vanished.

    Args:
        folders: folders to look in, not below them. Those that do not exist may appear later.
        wanted: which files count.
        changed: called in the event loop with the files, one call at a time. What it raises is logged.
        settle: seconds of rest before the files are looked at.
        look: seconds between looks when nothing was heard.

    """

    def __init__(
        self,
        folders: Iterable[Path],
        wanted: Callable[[Path], bool],
        changed: Changed,
        *,
        settle: float = _SETTLE,
        look: float = _LOOK,
    ) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._wanted = wanted
        self._changed = changed
        self._settle = settle
        self._look = look
        self._heard = asyncio.Event()
        self._observer = Observer()
        self._known: dict[Path, str] = {}

    async def start(self) -> None:
        """Begin to listen. What the files hold now is no change: start before reading them, and none is missed."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, the thread not yet
                loop.call_soon_threadsafe(self._heard.set)

        try:
            self._observer.start()
            for folder in self._folders:
                self._listen(folder, _Listener(heard))
        except OSError as error:
            log.warning("watch.unavailable", error=error)
        self._known = await asyncio.to_thread(self._contents)

    async def aclose(self) -> None:
        """Give the kernel's watches back; to be called after `run` was cancelled."""
        if self._observer.is_alive():
            self._observer.stop()
            await asyncio.to_thread(self._observer.join)

    def _listen(self, folder: Path, listener: FileSystemEventHandler) -> None:
        if not folder.is_dir():  # as most installations have no conf.d
            log.debug("watch.folder_unavailable", folder=folder)
            return
        try:
            self._observer.schedule(listener, str(folder), recursive=False, event_filter=_EVENTS)
        except OSError as error:
            log.info("watch.folder_unavailable", folder=folder, error=error)

    async def run(self) -> None:
        """Call back about changes since `start`, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await self._heard.wait()
            await self._rest()
            found = await asyncio.to_thread(self._contents)
            other = {path for path in found.keys() | self._known.keys() if found.get(path) != self._known.get(path)}
            self._known = found
            if other:
                try:
                    await self._changed(frozenset(other))
                except Exception:
                    log.exception("watch.failed", files=sorted(other))

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settle * _LONGEST_SETTLE):
                while self._heard.is_set():
                    self._heard.clear()
                    await asyncio.sleep(self._settle)
        self._heard.clear()

    def _contents(self) -> dict[Path, str]:
        return {path: _digest(path) for folder in self._folders for path in _files(folder) if self._wanted(path)}


class _Listener(FileSystemEventHandler):
    """Runs in watchdog's thread; which file an event names does not matter."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002  # any event is a reason to look
        self._heard()


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError:
        return []


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"{path.stat().st_mode:o} {hashlib.sha256(file.read(_MOST_BYTES)).hexdigest()}"
    except OSError as error:
        return f"unreadable: {error.errno}"
