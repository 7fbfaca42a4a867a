"""The store: an asynchronous face over one thread that has the database to itself.

Why one thread for reads too: the reads are short walks along an index, and one owner of the connection needs no locks.
Bodies are sealed and opened outside of it, in two worker threads when they are large.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from relay.core.errors import InternalError, StorageError
from relay.core.jobs import Change, Job, Json, NewJob, Nonce, Once, Tombstone
from relay.host.clock import Clock
from relay.host.groups import GroupThread
from relay.storage import due, nonces, queries
from relay.storage.due import Where
from relay.storage.key import StorageKey
from relay.storage.queries import Addition, Exchange, Sweeping
from relay.storage.rows import row_of, text_of
from relay.storage.schema import open_database
from relay.storage.sealing import Sealed, seal, unseal
from relay.storage.writer import Operation, Writer

T = TypeVar("T")
LARGE = 256 * 1024
"""Bytes of bodies in one call from which a worker thread seals or opens them; below, the hop costs more."""


class SqliteStore:
    """The durable queue in `<folder>/store.db`. The caller holds the folder's lock.

    Every method returns after what it did is on disk, and raises `StorageError`: BSR-5002 damaged, 5004 disk full (the
    store goes on), 5005 a write was lost (every later call fails the same way), 5008 a body's key is not here.
    """

    def __init__(self, writer: Writer, key: StorageKey) -> None:
        self._writer = writer
        self._key = key
        self._thread: GroupThread[Operation, Any] = GroupThread("store", writer.serve, writer.rest)
        self._workers = ThreadPoolExecutor(2, "bodies")

    @classmethod
    async def open(cls, folder: Path, key: StorageKey, clock: Clock) -> Self:
        """Open the store of a state folder; it is made when it is missing.

        Raises:
            StorageError: BSR-5001 it cannot be opened, 5002 damaged, 5003 written by a newer version, 5004 disk full,
                5005 a write failed.

        """
        connection = await asyncio.to_thread(open_database, folder, clock.wall())
        return cls(Writer(connection), key)

    async def close(self) -> None:
        """Finish what was asked, then close the file. May be called twice."""
        if not self._thread.closed:
            await self._thread.close()
            await asyncio.to_thread(self._writer.close)
            self._workers.shutdown(wait=False)

    @property
    def failure(self) -> StorageError | None:
        """Why every call fails from now on; None while the store works."""
        return self._writer.failure

    async def add(self, jobs: Sequence[NewJob], now: float) -> list[Job | None]:
        """Store new jobs; None where a job or a tombstone of that id exists."""
        values = [
            Job(
                new.id, new.kind, new.state, 1, new.priority, new.lane, new.not_before, new.attempts, now, now, new.data
            )
            for new in jobs
        ]
        rows = [row_of(job) for job in values]
        sealed = await self._seal([(new.id, new.bodies) for new in jobs])
        additions = [Addition(*each) for each in zip(values, rows, sealed, strict=True)]
        return await self._ask(partial(queries.add, additions=additions))

    async def change(self, changes: Sequence[Change]) -> list[bool]:
        """Compare-and-set each by (id, state, version); False where the job is no longer what `before` says."""
        return await self._ask(partial(queries.change, exchanges=await self._exchanges(changes)))

    async def change_once(self, change: Change, nonce: Nonce) -> Once:
        """Compare-and-set a job and make a nonce its own, unless another job has it; see `relay.storage.nonces`."""
        (exchange,) = await self._exchanges([change])
        return await self._ask(partial(nonces.change_once, exchange=exchange, nonce=nonce))

    async def forget_nonces(self, before: float, limit: int) -> int:
        """Forget nonces of times before `before`; returns how many, at most `limit`."""
        return await self._ask(partial(nonces.forget, before=before, limit=limit))

    async def forget(self, jobs: Sequence[Job]) -> list[bool]:
        """Delete jobs without a tombstone; False where the job is no longer what the caller saw."""
        return await self._ask(partial(queries.forget, jobs=jobs))

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        """The jobs of these ids, in order."""
        return await self._ask(partial(queries.get, ids=ids))

    async def due(self, kind: str, states: Sequence[str], lane: str | None, now: float, limit: int) -> list[Job]:
        """Due jobs, up to `limit` of each priority; by priority, then oldest first. See `relay.storage.due`."""
        return await self._ask(partial(due.due, where=Where(kind, states, lane), now=now, limit=limit))

    async def next_due(self, kind: str, states: Sequence[str], lane: str | None, now: float) -> float | None:
        """The earliest `not_before` that lies in the future, None when nothing waits."""
        return await self._ask(partial(due.next_due, where=Where(kind, states, lane), now=now))

    async def select(self, kind: str | None, states: Sequence[str] | None, limit: int) -> list[Job]:
        """Jobs of some states, oldest first. None means any."""
        return await self._ask(partial(queries.select, kind=kind, states=states, limit=limit))

    async def newest(self, kind: str, lane: str | None, limit: int) -> list[Job]:
        """Jobs of a kind, newest first. `lane` None means all lanes."""
        return await self._ask(partial(queries.newest, kind=kind, lane=lane, limit=limit))

    async def counts(self) -> dict[tuple[str, str, str], int]:
        """Number of jobs by (kind, state, lane)."""
        return await self._ask(queries.counts)

    async def known(self, ids: Sequence[str]) -> dict[str, str]:
        """A job's state, or `tombstone`, for each id that is remembered."""
        return await self._ask(partial(queries.known, ids=ids))

    async def bodies(self, ids: Sequence[str], name: str) -> list[bytes | None]:
        """One named body of each job, decrypted; None where there is none."""
        found: list[Sealed | None] = await self._ask(partial(queries.bodies, ids=ids, name=name))
        key = self._key

        def opened() -> list[bytes | None]:
            return [
                None if sealed is None else unseal(key, job, name, sealed)
                for job, sealed in zip(ids, found, strict=True)
            ]

        return await self._work(opened, sum(sealed.size for sealed in found if sealed is not None))

    async def sweep(self, kind: str, states: Sequence[str], before: float, tombstones_before: float, limit: int) -> int:
        """Turn finished jobs last changed before `before` into tombstones, delete tombstones closed before the other.

        A tombstone's outcome and digest are the texts `outcome` and `digest` of the job's data; without them the
        job's state and "". Returns how many jobs were swept, at most `limit`.
        """
        what = Sweeping(kind, states, before, tombstones_before, limit)

        def operation(db: sqlite3.Connection) -> int:
            self._writer.tidy_soon()
            return queries.sweep(db, what)

        return await self._ask(operation)

    async def forget_bodies(self, kind: str, states: Sequence[str], before: float, limit: int) -> int:
        """Delete the bodies of jobs last changed before `before`, of at most `limit` jobs; returns of how many."""

        def operation(db: sqlite3.Connection) -> int:
            self._writer.tidy_soon()
            return queries.forget_bodies(db, kind, states, before, limit)

        return await self._ask(operation)

    async def tombstones(self, ids: Sequence[str]) -> list[Tombstone | None]:
        """The tombstones of these ids, in order."""
        return await self._ask(partial(queries.tombstones, ids=ids))

    async def unbury(self, ids: Sequence[str]) -> int:
        """Forget the tombstones of these ids, so that their jobs may be stored again; returns how many there were."""
        return await self._ask(partial(queries.unbury, ids=ids))

    async def fact(self, name: str) -> Json:
        """A durable fact about the whole relay; None when unset."""
        return await self._ask(partial(queries.fact, name=name))

    async def set_fact(self, name: str, value: Json) -> None:
        """Set a durable fact; None deletes it."""
        await self._ask(partial(queries.set_fact, name=name, text=None if value is None else text_of(value)))

    async def _exchanges(self, changes: Sequence[Change]) -> list[Exchange]:
        for one in changes:
            if (one.after.id, one.after.kind, one.after.version) != (
                one.before.id,
                one.before.kind,
                one.before.version + 1,
            ):
                raise InternalError(9001, "a change must keep id and kind and take the next version")
        rows = [row_of(one.after) for one in changes]
        sealed = await self._seal([(one.before.id, one.bodies) for one in changes])
        return [Exchange(one.before, row, parts) for one, row, parts in zip(changes, rows, sealed, strict=True)]

    async def _ask(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._thread.ask(operation)
        return result

    async def _seal(self, jobs: Sequence[tuple[str, Mapping[str, bytes | None]]]) -> list[dict[str, Sealed | None]]:
        key = self._key

        def sealed() -> list[dict[str, Sealed | None]]:
            return [
                {name: None if body is None else seal(key, job, name, body) for name, body in bodies.items()}
                for job, bodies in jobs
            ]

        size = sum(len(body) for _, bodies in jobs for body in bodies.values() if body is not None)
        self._writer.wrote(size)
        return await self._work(sealed, size)

    async def _work(self, work: Callable[[], T], size: int) -> T:
        if size < LARGE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)
