"""What the store asks of its database: functions over a connection, each run inside the writer's transaction.

A function may be run a second time when its group's transaction failed, so it keeps nothing between runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from relay.core.jobs import Job, Json, Tombstone
from relay.storage.rows import BY_ID, BY_ROW, INSERT, Row, bytes_of, checked, checksum, job_of
from relay.storage.sealing import Sealed

Bodies = Mapping[str, Sealed | None]
TOMBSTONE = "tombstone"

_SELECT = """
    SELECT row FROM jobs
    WHERE (:kind IS NULL OR kind = :kind) AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
    ORDER BY created, row LIMIT :limit"""
_NEWEST = """
    SELECT row FROM jobs WHERE kind = :kind AND (:lane IS NULL OR lane = :lane)
    ORDER BY created DESC, row DESC LIMIT :limit"""
_DONE = "SELECT row FROM jobs WHERE kind = ? AND state = ? AND updated < ? ORDER BY updated LIMIT ?"
_LADEN = """
    SELECT row FROM jobs
    WHERE kind = ? AND state = ? AND updated < ? AND EXISTS (SELECT 1 FROM bodies WHERE bodies.job = jobs.row)
    ORDER BY updated LIMIT ?"""
_BURY = "INSERT OR REPLACE INTO tombstones (id, kind, outcome, digest, closed, crc) VALUES (?, ?, ?, ?, ?, ?)"
_DECAY = """
    DELETE FROM tombstones
    WHERE id IN (SELECT id FROM tombstones WHERE kind = ? AND closed < ? ORDER BY closed LIMIT ?)"""


@dataclass(frozen=True, slots=True)
class Addition:
    """A job to be stored, as row, with its sealed bodies."""

    job: Job
    row: Row
    bodies: Bodies


@dataclass(frozen=True, slots=True)
class Exchange:
    """A compare-and-set, as row, with its sealed bodies."""

    before: Job
    row: Row
    bodies: Bodies


def add(db: Connection, additions: Sequence[Addition]) -> list[Job | None]:
    """Store each job unless its id is known."""
    stored: list[Job | None] = []
    for new in additions:
        if db.execute("SELECT 1 FROM tombstones WHERE id = ?", (new.job.id,)).fetchone():
            stored.append(None)
            continue
        done = db.execute(INSERT, new.row)
        if done.rowcount == 1:
            _put_bodies(db, done.lastrowid, new.bodies)
        stored.append(new.job if done.rowcount == 1 else None)
    return stored


def change(db: Connection, exchanges: Sequence[Exchange]) -> list[bool]:
    """Set each job that still is what `before` says."""
    done = []
    for one in exchanges:
        row = _row_number(db, one.before)
        if row is not None:
            _, _, state, version, priority, lane, not_before, attempts, _, updated, data, crc = one.row
            db.execute(
                "UPDATE jobs SET state = ?, version = ?, priority = ?, lane = ?, not_before = ?, attempts = ?,"
                " updated = ?, data = ?, crc = ? WHERE row = ?",
                (state, version, priority, lane, not_before, attempts, updated, data, crc, row),
            )
            _put_bodies(db, row, one.bodies)
        done.append(row is not None)
    return done


def forget(db: Connection, jobs: Sequence[Job]) -> list[bool]:
    """Delete each job that still is what the caller saw."""
    gone = []
    for job in jobs:
        row = _row_number(db, job)
        if row is not None:
            db.execute("DELETE FROM jobs WHERE row = ?", (row,))
        gone.append(row is not None)
    return gone


def get(db: Connection, ids: Sequence[str]) -> list[Job | None]:
    """The jobs of these ids."""
    rows = (db.execute(BY_ID, (one,)).fetchone() for one in ids)
    return [None if row is None else job_of(row) for row in rows]


def select(db: Connection, kind: str | None, states: Sequence[str] | None, limit: int) -> list[Job]:
    """Jobs of a kind and some states, oldest first."""
    rows = db.execute(_SELECT, {"kind": kind, "states": None if states is None else json.dumps(states), "limit": limit})
    return [job_of(db.execute(BY_ROW, row).fetchone()) for row in rows.fetchall()]


def newest(db: Connection, kind: str, lane: str | None, limit: int) -> list[Job]:
    """Jobs of a kind, newest first."""
    rows = db.execute(_NEWEST, {"kind": kind, "lane": lane, "limit": limit})
    return [job_of(db.execute(BY_ROW, row).fetchone()) for row in rows.fetchall()]


def counts(db: Connection) -> dict[tuple[str, str, str], int]:
    """Number of jobs by kind, state and lane."""
    rows = db.execute("SELECT kind, state, lane, count(*) FROM jobs GROUP BY kind, state, lane")
    return {(kind, state, lane): number for kind, state, lane, number in rows}


def known(db: Connection, ids: Sequence[str]) -> dict[str, str]:
    """The state of each id's job, or that it has a tombstone."""
    found: dict[str, str] = {}
    for one in ids:
        row = db.execute("SELECT state FROM jobs WHERE id = ?", (one,)).fetchone()
        if row is not None:
            found[one] = row[0]
        elif db.execute("SELECT 1 FROM tombstones WHERE id = ?", (one,)).fetchone():
            found[one] = TOMBSTONE
    return found


def bodies(db: Connection, ids: Sequence[str], name: str) -> list[Sealed | None]:
    """The sealed body of this name of each job."""
    found: list[Sealed | None] = []
    for one in ids:
        row = db.execute(
            "SELECT b.blob, b.key, b.packing, b.size, b.crc FROM jobs j JOIN bodies b ON b.job = j.row"
            " WHERE j.id = ? AND b.name = ?",
            (one, name),
        ).fetchone()
        if row is None:
            found.append(None)
        else:
            key, packing, size = checked(row[1:], "a body's row")
            found.append(Sealed(key, packing, size, bytes_of(row[0])))
    return found


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Jobs of a kind in final states last changed before `before`, tombstones closed before `tombstones_before`."""

    kind: str
    states: Sequence[str]
    before: float
    tombstones_before: float
    limit: int


def sweep(db: Connection, what: Sweeping) -> int:
    """Turn finished jobs into tombstones; delete old tombstones, at most as many."""
    swept = 0
    for state in what.states:
        rows = db.execute(_DONE, (what.kind, state, what.before, what.limit - swept)).fetchall()
        for row in rows:
            stone = tombstone_of(job_of(db.execute(BY_ROW, row).fetchone()))
            columns = (stone.id, stone.kind, stone.outcome, stone.digest, stone.closed)
            db.execute(_BURY, (*columns, checksum(columns)))
            db.execute("DELETE FROM jobs WHERE row = ?", row)
        swept += len(rows)
    db.execute(_DECAY, (what.kind, what.tombstones_before, what.limit))
    return swept


def forget_bodies(db: Connection, kind: str, states: Sequence[str], before: float, limit: int) -> int:
    """Delete the bodies of jobs that have not changed for long."""
    forgotten = 0
    for state in states:
        rows = db.execute(_LADEN, (kind, state, before, limit - forgotten)).fetchall()
        for row in rows:
            db.execute("DELETE FROM bodies WHERE job = ?", row)
        forgotten += len(rows)
    return forgotten


def tombstone_of(job: Job) -> Tombstone:
    """What is remembered of a finished job: its data's `outcome` (else its state) and `digest`."""
    outcome, digest = job.data.get("outcome"), job.data.get("digest")
    return Tombstone(
        job.id,
        job.kind,
        outcome if isinstance(outcome, str) else job.state,
        digest if isinstance(digest, str) else "",
        job.updated,
    )


def tombstones(db: Connection, ids: Sequence[str]) -> list[Tombstone | None]:
    """The tombstones of these ids."""
    rows = (
        db.execute("SELECT id, kind, outcome, digest, closed, crc FROM tombstones WHERE id = ?", (one,)).fetchone()
        for one in ids
    )
    return [None if row is None else Tombstone(*checked(row, "a tombstone")) for row in rows]


def unbury(db: Connection, ids: Sequence[str]) -> int:
    """Forget the tombstones of these ids."""
    return sum(db.execute("DELETE FROM tombstones WHERE id = ?", (one,)).rowcount for one in ids)


def fact(db: Connection, name: str) -> Json:
    """A fact, None when it is not set."""
    row = db.execute("SELECT name, value, crc FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(checked(row, "a fact")[1])


def set_fact(db: Connection, name: str, text: str | None) -> None:
    """Set a fact to JSON text, or delete it."""
    if text is None:
        db.execute("DELETE FROM facts WHERE name = ?", (name,))
    else:
        columns = (name, text)
        db.execute("INSERT OR REPLACE INTO facts (name, value, crc) VALUES (?, ?, ?)", (*columns, checksum(columns)))


def _row_number(db: Connection, job: Job) -> int | None:
    row = db.execute(
        "SELECT row FROM jobs WHERE id = ? AND state = ? AND version = ?", (job.id, job.state, job.version)
    ).fetchone()
    return None if row is None else int(row[0])


def _put_bodies(db: Connection, row: int | None, changed: Bodies) -> None:
    for name, sealed in changed.items():
        if sealed is None:
            db.execute("DELETE FROM bodies WHERE job = ? AND name = ?", (row, name))
        else:
            columns = (sealed.key_id, sealed.packing, sealed.size)
            db.execute(
                "INSERT OR REPLACE INTO bodies (job, name, key, packing, size, blob, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row, name, *columns, sealed.blob, checksum(columns)),
            )
