"""The store's file: how it is opened, checked and brought to the current schema.

Why exclusive locking: one relay has the folder anyway, and without a shared-memory file a full disk cannot break a
commit in a way that looks like a failing one.

Why the whole check at start and not the quick one: it also compares each index with its table, so that no job is
missed because a bit changed in an index. It takes about 0.1 s for 30,000 jobs.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from relay.core.errors import RelayError, StorageError
from relay.host.files import disk_error, open_private, private_folder, sync_folder
from relay.storage.faults import ERRORS, meaning
from relay.storage.rows import checked

STORE = "store.db"
APPLICATION_ID = 0x42535231  # "BSR1"
LARGEST_WAL = 16 * 1024 * 1024
"""Bytes. The write-ahead file is cut back to this when it starts anew after a burst."""
_SMALLEST = 512  # bytes of the smallest database
BUSY_SECONDS = 2.0
"""How long another program may hold the file (a backup, a look at it) before the relay gives up."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE migrations (
            version INTEGER PRIMARY KEY,
            applied REAL NOT NULL
        )""",
        """CREATE TABLE jobs (
            row INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            version INTEGER NOT NULL,
            priority INTEGER NOT NULL,
            lane TEXT NOT NULL,
            not_before REAL NOT NULL,
            attempts INTEGER NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            data TEXT NOT NULL,
            crc INTEGER NOT NULL
        )""",
        "CREATE INDEX jobs_due ON jobs (kind, state, lane, priority, not_before, created)",
        "CREATE INDEX jobs_done ON jobs (kind, state, updated)",
        """CREATE TABLE bodies (
            job INTEGER NOT NULL REFERENCES jobs (row) ON DELETE CASCADE,
            name TEXT NOT NULL,
            key TEXT NOT NULL,
            packing INTEGER NOT NULL,
            size INTEGER NOT NULL,
            blob BLOB NOT NULL,
            crc INTEGER NOT NULL,
            UNIQUE (job, name)
        )""",
        """CREATE TABLE tombstones (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            outcome TEXT NOT NULL,
            digest TEXT NOT NULL,
            closed REAL NOT NULL,
            crc INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX tombstones_closed ON tombstones (kind, closed)",
        """CREATE TABLE facts (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            crc INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE nonces (
            nonce TEXT PRIMARY KEY,
            job TEXT NOT NULL,
            time REAL NOT NULL,
            crc INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX nonces_time ON nonces (time)",
    ),
)
"""Each entry brings the schema from its index to the next number. An entry that was released never changes."""


def open_database(folder: Path, now: float) -> sqlite3.Connection:
    """The store's connection, checked and at the current schema.

    Raises:
        StorageError: BSR-5001 it cannot be opened, 5002 damaged, 5003 of a newer version, 5004 no room, 5005 a write
            failed.

    """
    path = folder / STORE
    try:
        private_folder(folder)
        os.close(open_private(path))
        sync_folder(folder)
        lost = path.stat().st_size == 0 and _size(path.with_name(f"{STORE}-wal")) > 0
    except OSError as error:
        raise disk_error(error, path) from error
    if lost:
        raise StorageError(5002, f"{path} is empty but has a write-ahead file")
    connection = connect(path)
    try:
        _check(connection, path)
        _migrate(connection, now)
        for row in connection.execute("SELECT name, value, crc FROM facts"):
            checked(row, "a fact")  # one whose name was changed would not be missed by who asks for it
    except ERRORS as error:
        connection.close()
        raise _at(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A bare connection to an existing file; transactions are ours to begin and end."""
    try:
        return sqlite3.connect(
            path.absolute().as_uri() + "?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except ERRORS as error:
        raise _at(path, error) from error


def keys_in_use(folder: Path) -> frozenset[str]:
    """Ids of the keys that sealed the bodies in a folder's store; none when there is no store.

    Raises:
        StorageError: as `open_database`.

    """
    path = folder / STORE
    if _size(path) == 0:
        return frozenset()
    connection = connect(path)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        return frozenset(key for (key,) in connection.execute("SELECT DISTINCT key FROM bodies"))
    except ERRORS as error:
        raise _at(path, error) from error
    finally:
        connection.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Set what every connection needs, and refuse a file that is not a sound store of this version or an older one."""
    _value(connection, "PRAGMA locking_mode=EXCLUSIVE")
    version = int(_value(connection, "PRAGMA user_version"))
    application = int(_value(connection, "PRAGMA application_id"))
    empty = _value(connection, "SELECT count(*) FROM sqlite_master") == 0
    if version > len(MIGRATIONS):
        raise StorageError(5003, f"schema {version}, this version knows {len(MIGRATIONS)}")
    if empty and 0 < _size(path) < _SMALLEST:
        raise StorageError(5002, "the file is cut")  # SQLite would take it for a new one
    ours = empty if (version, application) == (0, 0) else application == APPLICATION_ID and version > 0
    if not ours:
        raise StorageError(5002, "the file is not a store of the relay")
    if empty:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # takes effect only before the first table
    if _value(connection, "PRAGMA journal_mode=WAL") != "wal":
        raise StorageError(5001, "the file system does not support write-ahead logging")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")  # checkpoints are ours: SQLite's own would hide their errors
    connection.execute(f"PRAGMA journal_size_limit={LARGEST_WAL}")
    if _value(connection, "PRAGMA integrity_check(1)") != "ok":
        raise StorageError(5002, "the check at start found damage")


def _migrate(connection: sqlite3.Connection, now: float) -> None:
    version = int(_value(connection, "PRAGMA user_version"))
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute("INSERT INTO migrations (version, applied) VALUES (?, ?)", (number, now))
        connection.execute(f"PRAGMA user_version={number}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")


def _value(connection: sqlite3.Connection, statement: str) -> Any:  # noqa: ANN401  # a column of SQLite
    (row,) = connection.execute(statement).fetchall()
    return row[0]


def _at(path: Path, error: Exception) -> RelayError:
    found = meaning(error)
    return type(found)(found.number, f"{path}: {found.detail}")
