"""A store to test with: a key, a clock that stands still, jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relay.core.jobs import Json, NewJob
from relay.core.secret import Secret
from relay.host.clock import Clock
from relay.storage.key import StorageKey
from relay.storage.sqlite import SqliteStore

KEY = StorageKey.of(Secret("0123456789abcdef0123456789abcdef"))
OTHER_KEY = StorageKey.of(Secret("another key of thirty-two letters"))
NOW = 1_800_000_000.0


class StillClock(Clock):
    """Time stands at `NOW` until `at` is changed."""

    __slots__ = ("at",)

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


async def open_store(folder: Path, key: StorageKey = KEY) -> SqliteStore:
    """The store of a state folder."""
    return await SqliteStore.open(folder, key, StillClock())


def new(
    name: str,
    state: str = "SEEN",
    *,
    kind: str = "queue",
    priority: int = 2,
    lane: str = "",
    not_before: float = 0.0,
    data: Mapping[str, Json] | None = None,
    bodies: Mapping[str, bytes] | None = None,
) -> NewJob:
    """A job to be stored."""
    return NewJob(name, kind, state, priority, lane, not_before=not_before, data=data or {}, bodies=bodies or {})
