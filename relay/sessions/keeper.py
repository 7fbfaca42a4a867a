"""Keeps recordings: as attachments at ServiceNow, or as files in a folder; fetched from the appliance as they are sent.

Why the bytes flow straight through and nothing is spooled: ServiceNow wants to be told the size before the first byte,
and the appliance tells it in most cases. Then gigabytes need neither room on this disk, nor keys for what lies there,
nor tidying up after a crash. Where the appliance does not tell it, the recording is fetched twice: once to count its
bytes, which costs the house's own network and nobody's disk, and then to send it. A recording does not change any more,
and if it did, an upload of another size than announced is never taken for whole.

A crash leaves no second copy: ServiceNow is asked for name and size first, a file appears under its name when it is
whole. A recording whose size is told and that is there already is not fetched beyond its beginning.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import structlog

from relay.core.errors import ApplianceError
from relay.core.recordings import Film, Kind, attachment_name, path_of
from relay.core.session_rows import Place
from relay.host.http import Streamed
from relay.sessions.ports import Recording

log = structlog.get_logger("relay.sessions")

LONGEST = 12 * 3600.0


class Fetched(Protocol):
    """A recording that the appliance has begun to send. `size`: its bytes, None when the appliance does not tell."""

    @property
    def size(self) -> int | None: ...  # noqa: D102 - the class says it

    @property
    def kind(self) -> Kind: ...  # noqa: D102 - its name says it

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes, once. Raises nothing but `ApplianceError`."""
        ...


class Source(Protocol):
    """The appliances' recordings."""

    def open(self, appliance: str, lsid: str, name: str) -> AbstractAsyncContextManager[Fetched]:
        """Ask for a recording. Raises nothing but `ApplianceError`."""
        ...


class Files(Protocol):
    """ServiceNow's attachments."""

    async def attach(self, record: Place, name: str, content: Streamed, content_type: str) -> Attached:
        """Attach a file unless one of its name and size is there. Raises `ServiceNowError` and what its source does."""
        ...


class Attached(Protocol):
    """A file is attached. `before`: it was there before this call."""

    @property
    def before(self) -> bool: ...  # noqa: D102 - the class says it


class Shelf(Protocol):
    """A folder of files."""

    async def put(self, path: str, size: int | None, pieces: AsyncGenerator[bytes, None]) -> bool:
        """Put a file there; False: it was there before. Raises `StorageError`, and what its source does."""
        ...


class Way(Protocol):
    """A way to keep recordings."""

    async def keep(self, recording: Recording, fetch: Fetch) -> bool | None:
        """Keep one; False: it was there before, None: there is no place for it."""
        ...


Fetch = Callable[[], AbstractAsyncContextManager[Fetched]]


class RecordingKeeper:
    """Implements `Keeper`.

    Args:
        source: the appliances' recordings.
        ways: how each appliance's are kept, by its name.
        clock: seconds that only go on.
        longest: seconds that one recording may take: an appliance that sends very little all the time must not keep
            its other recordings from being fetched.

    """

    def __init__(
        self,
        source: Source,
        ways: Mapping[str, Way],
        clock: Callable[[], float] = time.monotonic,
        longest: float = LONGEST,
    ) -> None:
        self._longest = longest
        self._source = source
        self._ways = ways
        self._clock = clock
        self._under_way: set[asyncio.Task[object]] = set()
        self._stopped = False

    async def keep(self, recording: Recording) -> None:
        """Fetch a recording and keep it.

        Raises:
            ApplianceError: it could not be fetched.
            ServiceNowError: it could not be attached.
            StorageError: it could not be stored.

        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: coroutines run in tasks
        self._under_way.add(task)
        if self._stopped:  # it was on its way here when the relay was told to stop
            task.cancel()
        started = self._clock()
        try:
            async with asyncio.timeout(self._longest):
                new = await self._ways[recording.appliance].keep(
                    recording, lambda: self._source.open(recording.appliance, recording.lsid, recording.name)
                )
        except TimeoutError:
            detail = f"{recording.appliance}: a recording took more than {self._longest:g} s"
            raise ApplianceError(3003, detail, maybe_sent=True) from None
        finally:
            self._under_way.discard(task)
        named = {"appliance": recording.appliance, "lsid": recording.lsid, "name": recording.name}
        if new is None:
            log.warning("sessions.recording_without_record", **named)
        else:
            log.info("sessions.recording_kept", **named, new=new, seconds=round(self._clock() - started, 1))

    def stop(self) -> None:
        """End what is under way. Why: gigabytes would keep the relay from stopping; they are fetched anew later."""
        self._stopped = True
        for task in self._under_way:
            task.cancel()


class Attach:
    """Attaches recordings to the session's row, to its task where there are no rows.

    Args:
        files: ServiceNow's attachments.
        table: that of sessions.

    """

    def __init__(self, files: Files, table: str) -> None:
        self._files = files
        self._table = table

    async def keep(self, recording: Recording, fetch: Fetch) -> bool | None:
        """As `Way`."""
        record = Place(self._table, recording.row) if recording.row else recording.task
        if record is None:
            return None
        async with fetch() as fetched:
            name = attachment_name(_film(recording, fetched.kind))
            content_type = fetched.kind.content_type
            if fetched.size is not None:
                content = Streamed(fetched.size, fetched.pieces)
                return not (await self._files.attach(record, name, content, content_type)).before
            size = 0
            async with aclosing(fetched.pieces()) as pieces:
                async for piece in pieces:
                    size += len(piece)

        async def again() -> AsyncGenerator[bytes, None]:
            async with fetch() as anew, aclosing(anew.pieces()) as pieces:
                async for piece in pieces:
                    yield piece

        return not (await self._files.attach(record, name, Streamed(size, again), content_type)).before


class Store:
    """Stores recordings in a folder.

    Args:
        shelf: the folder.
        pattern: of the files' names, see `relay.core.recordings`.

    """

    def __init__(self, shelf: Shelf, pattern: str) -> None:
        self._shelf = shelf
        self._pattern = pattern

    async def keep(self, recording: Recording, fetch: Fetch) -> bool | None:
        """As `Way`."""
        async with fetch() as fetched:
            path = path_of(self._pattern, _film(recording, fetched.kind))
            return await self._shelf.put(path, fetched.size, fetched.pieces())


def _film(recording: Recording, kind: Kind) -> Film:
    return Film(recording.appliance, recording.lsid, recording.name, recording.ended, kind.ext)
