"""Changes of files are noticed by their contents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.host import watch as module
from relay.host.watch import FolderWatch


class Heard:
    """Collects callbacks."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[set[str]] = asyncio.Queue()
        self.failing = False

    async def __call__(self, files: frozenset[Path]) -> None:
        """Keep the files' names."""
        self.calls.put_nowait({file.name for file in files})
        if self.failing:
            raise RuntimeError("the new configuration is bad")

    async def next(self) -> set[str]:
        """The next call's files."""
        async with asyncio.timeout(20):
            return await self.calls.get()


def wanted(path: Path) -> bool:
    """Only YAML."""
    return path.suffix == ".yaml"


@pytest.fixture
def heard() -> Heard:
    """Callbacks of one watch."""
    return Heard()


@contextlib.asynccontextmanager
async def watching(*folders: Path, heard: Heard, look: float = 60, settle: float = 0.02) -> AsyncIterator[FolderWatch]:
    """A running watch."""
    watch = FolderWatch(folders, wanted, heard, settle=settle, look=look)
    await watch.start()
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watch.aclose()


async def test_changes_of_every_kind_are_heard(tmp_path: Path, heard: Heard) -> None:
    """Writing, replacing by renaming, appearing and vanishing each call back with the file."""
    file = tmp_path / "relay.yaml"
    file.write_text("a")
    async with watching(tmp_path, heard=heard):
        file.write_text("b")
        assert await heard.next() == {"relay.yaml"}
        (tmp_path / "new").write_text("c")
        (tmp_path / "new").rename(file)
        assert await heard.next() == {"relay.yaml"}
        (tmp_path / "more.yaml").write_text("d")
        assert await heard.next() == {"more.yaml"}
        file.unlink()
        assert await heard.next() == {"relay.yaml"}


async def test_switched_links_are_heard(tmp_path: Path, heard: Heard) -> None:
    """A link in the folder that is switched to another file, as orchestrators do it, is a change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "relay.yaml").write_text(name)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "relay.yaml").symlink_to("data/relay.yaml")
    async with watching(tmp_path, heard=heard):
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "data")
        assert await heard.next() == {"relay.yaml"}


async def test_only_contents_count(tmp_path: Path, heard: Heard) -> None:
    """Touching a file, saving the same contents, and files that are not wanted call nobody back."""
    file = tmp_path / "relay.yaml"
    file.write_text("a")
    async with watching(tmp_path, heard=heard, look=0.02):
        file.touch()
        file.write_text("a")
        (tmp_path / "relay.yaml~").write_text("b")
        (tmp_path / "sub.yaml").mkdir()
        await asyncio.sleep(0.2)
        (tmp_path / "last.yaml").write_text("c")
        assert await heard.next() == {"last.yaml"}
        assert heard.calls.empty()


async def test_a_burst_is_one_change(tmp_path: Path, heard: Heard) -> None:
    """Many writes in a row call back once they rest, with every file."""
    async with watching(tmp_path, heard=heard, settle=0.3):
        for number in range(50):
            (tmp_path / f"{number % 3}.yaml").write_text(str(number))
        assert await heard.next() == {"0.yaml", "1.yaml", "2.yaml"}
        assert heard.calls.empty()


async def test_a_file_that_never_rests_is_looked_at(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events without end delay the look by a bounded time only."""
    monkeypatch.setattr(module, "_LONGEST_SETTLE", 2)
    async with watching(tmp_path, heard=heard, settle=0.2) as watch:
        (tmp_path / "relay.yaml").write_text("a")

        async def restless() -> None:
            while True:
                watch._heard.set()
                await asyncio.sleep(0.01)

        noise = asyncio.create_task(restless())
        assert await heard.next() == {"relay.yaml"}
        noise.cancel()


async def test_a_failing_callback_does_not_end_the_watch(tmp_path: Path, heard: Heard) -> None:
    """What the callback raises is logged, and the next change is heard."""
    heard.failing = True
    with capture_logs() as lines:
        async with watching(tmp_path, heard=heard):
            (tmp_path / "relay.yaml").write_text("a")
            await heard.next()
            (tmp_path / "relay.yaml").write_text("b")
            await heard.next()
    assert [line["event"] for line in lines] == ["watch.failed"] * 2


async def test_without_the_kernels_help_a_look_from_time_to_time_does(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel refuses every watch, the change is found by the next look."""
    watch_limit = OSError(28, "inotify watch limit reached")

    def refuse(_self: object, *_args: object, **_more: object) -> None:
        raise watch_limit

    monkeypatch.setattr(module.Observer, "start", refuse)
    with capture_logs() as lines:
        async with watching(tmp_path, heard=heard, look=0.05):
            (tmp_path / "relay.yaml").write_text("a")
            assert await heard.next() == {"relay.yaml"}
    assert [line["event"] for line in lines] == ["watch.unavailable"]


async def test_a_folder_may_appear_later(tmp_path: Path, heard: Heard) -> None:
    """A folder that does not exist yet is no news, and its files are found by a later look."""
    late = tmp_path / "conf.d"
    with capture_logs() as lines:
        async with watching(tmp_path, late, tmp_path, heard=heard, look=0.05):
            late.mkdir()
            (late / "10.yaml").write_text("a")
            assert await heard.next() == {"10.yaml"}
    assert lines == [{"event": "watch.folder_unavailable", "log_level": "debug", "folder": late}]


async def test_a_folder_that_cannot_be_watched_is_said(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel refuses the watch of one folder the reason is logged, and its files are found by a look."""
    no_watches = OSError(28, "no watches left")

    def refuse(*_: object, **__: object) -> None:
        raise no_watches

    monkeypatch.setattr(module.Observer, "schedule", refuse)
    with capture_logs() as lines:
        async with watching(tmp_path, heard=heard, look=0.05):
            (tmp_path / "relay.yaml").write_text("a")
            assert await heard.next() == {"relay.yaml"}
    assert [(line["event"], line["log_level"], str(line["error"])) for line in lines] == [
        ("watch.folder_unavailable", "info", "[Errno 28] no watches left")
    ]


async def test_an_unreadable_file_is_a_state_of_its_own(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that can no longer be read is a change, and raises nothing."""
    file = tmp_path / "relay.yaml"
    file.write_text("a")
    real = Path.open

    def refuse(self: Path, mode: str = "r") -> object:
        if self == file:
            raise PermissionError(13, "Permission denied")
        return real(self, mode)

    async with watching(tmp_path, heard=heard, look=0.05):
        monkeypatch.setattr(Path, "open", refuse)
        assert await heard.next() == {"relay.yaml"}


async def test_a_late_event_of_the_thread_is_harmless(tmp_path: Path) -> None:
    """An event that arrives after the loop has ended is dropped."""
    listeners: list[module.FileSystemEventHandler] = []

    def within() -> None:
        async def short() -> None:
            watch = FolderWatch([tmp_path], wanted, Heard())
            watch._listen = lambda _folder, listener: listeners.append(listener)  # type: ignore[method-assign]
            await watch.start()
            await watch.aclose()
            await watch.aclose()

        asyncio.run(short())

    await asyncio.to_thread(within)
    listeners[0].on_any_event(module.FileDeletedEvent("x"))
