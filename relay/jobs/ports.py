"""What the runner and the flows need of the store and the audit log; the adapters are wired in by the daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from relay.core.jobs import Change, Job, Json, NewJob, Nonce, Once, Tombstone


class Clock(Protocol):
    """This machine's clocks, seconds."""

    def wall(self) -> float:
        """Since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Since some moment; never jumps."""
        ...


class Store(Protocol):
    """The durable queue. Every method returns after what it did is on disk; every failure is a `StorageError`."""

    async def add(self, jobs: Sequence[NewJob], now: float) -> list[Job | None]:
        """Store new jobs; None where a job or a tombstone of that id exists. One commit."""
        ...

    async def change(self, changes: Sequence[Change]) -> list[bool]:
        """Compare-and-set each by (id, state, version); False where the job is no longer what `before` says."""
        ...

    async def change_once(self, change: Change, nonce: Nonce) -> Once:
        """Compare-and-set a job and make a nonce its own, in one commit, unless another job has the nonce already.

        A job may do so again with its own nonce.
        """
        ...

    async def forget_nonces(self, before: float, limit: int) -> int:
        """Forget nonces of times before `before`; returns how many, at most `limit`.

        From then on `change_once` refuses every nonce of such a time that it does not know.
        """
        ...

    async def forget(self, jobs: Sequence[Job]) -> list[bool]:
        """Delete jobs without a tombstone (compare-and-set as well): what was never ours may come back."""
        ...

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        """The jobs of these ids, in order."""
        ...

    async def due(self, kind: str, states: Sequence[str], lane: str | None, now: float, limit: int) -> list[Job]:
        """Due jobs (`not_before <= now`, or absurdly far away), up to `limit` of each priority, oldest first.

        `lane` None means all lanes.
        """
        ...

    async def next_due(self, kind: str, states: Sequence[str], lane: str | None, now: float) -> float | None:
        """The earliest `not_before` that lies in the future, None when nothing waits."""
        ...

    async def select(self, kind: str | None, states: Sequence[str] | None, limit: int) -> list[Job]:
        """Jobs of some states, oldest first; for recovery and for people. None means any."""
        ...

    async def newest(self, kind: str, lane: str | None, limit: int) -> list[Job]:
        """Jobs of a kind, newest first; `lane` None means all lanes."""
        ...

    async def counts(self) -> dict[tuple[str, str, str], int]:
        """Number of jobs by (kind, state, lane)."""
        ...

    async def known(self, ids: Sequence[str]) -> dict[str, str]:
        """What is remembered of these ids: a job's state, or `tombstone`. Unknown ids are absent."""
        ...

    async def bodies(self, ids: Sequence[str], name: str) -> list[bytes | None]:
        """One named body of each job, decrypted; None where there is none."""
        ...

    async def sweep(self, kind: str, states: Sequence[str], before: float, tombstones_before: float, limit: int) -> int:
        """Turn finished jobs last changed before `before` into tombstones, delete tombstones closed before the other.

        Returns how many jobs were swept, at most `limit`.
        """
        ...

    async def forget_bodies(self, kind: str, states: Sequence[str], before: float, limit: int) -> int:
        """Delete the bodies of jobs last changed before `before`, of at most `limit` jobs; returns of how many."""
        ...

    async def tombstones(self, ids: Sequence[str]) -> list[Tombstone | None]:
        """The tombstones of these ids, in order."""
        ...

    async def unbury(self, ids: Sequence[str]) -> int:
        """Forget the tombstones of these ids, so that their jobs may be stored again; returns how many there were."""
        ...

    async def fact(self, name: str) -> Json:
        """A durable fact about the whole relay (holds, what was learned of the instance); None when unset."""
        ...

    async def set_fact(self, name: str, value: Json) -> None:
        """Set a durable fact; None deletes it."""
        ...


class Audit(Protocol):
    """The tamper-evident log."""

    async def append(self, entries: Iterable[Mapping[str, Json]]) -> None:
        """Append entries and return when they are on disk.

        An entry holds at least `event`, `job` and `attempt`; one that is already in the log by these three, and by
        `seen` where it has that, is skipped, so that a step repeated after a crash leaves one line. `seq`, `time` and
        `prev` are added by the log.

        Raises:
            StorageError: BSR-5007 or BSR-5005; the effect that was to follow must not happen.

        """
        ...
