"""Jobs as rows. Each row carries a checksum of its columns, since SQLite does not notice a changed bit in a value."""

from __future__ import annotations

import json
import zlib
from typing import Any

from relay.core.errors import StorageError
from relay.core.jobs import Job, Json

COLUMNS = "id, kind, state, version, priority, lane, not_before, attempts, created, updated, data, crc"
INSERT = f"INSERT OR IGNORE INTO jobs ({COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608  # both parts are literals
BY_ID = f"SELECT {COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608  # both parts are literals
BY_ROW = f"SELECT {COLUMNS} FROM jobs WHERE row = ?"  # noqa: S608  # both parts are literals
Row = tuple[Any, ...]


def row_of(job: Job) -> Row:
    """The columns of a job, in the order of `COLUMNS`."""
    columns = (
        job.id,
        job.kind,
        job.state,
        int(job.version),
        int(job.priority),
        job.lane,
        _time(job.not_before),
        int(job.attempts),
        _time(job.created),
        _time(job.updated),
        text_of(dict(job.data)),
    )
    return (*columns, checksum(columns))


def job_of(row: Row | None) -> Job:
    """The job of a row.

    Raises:
        StorageError: BSR-5002, the row is not what was written.

    """
    *columns, data = checked(row, "a job's row")
    values = [*columns, json.loads(data)]
    return Job(*values)


def text_of(value: Json) -> str:
    """JSON as it is stored: ASCII, so that text which is not valid Unicode survives too.

    Raises:
        ValueError: a number that JSON does not have.

    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _time(value: float) -> float:
    return float(value) + 0.0  # the file does not keep the sign of a negative zero


def checksum(columns: Row) -> int:
    """CRC-32 of a row's other columns."""
    return zlib.crc32(repr(columns).encode("utf-8", "surrogatepass"))


def checked(row: Row | None, what: str) -> Row:
    """A row that must be there, without its checksum, which is the last column.

    Raises:
        StorageError: BSR-5002, it is gone or not what was written.

    """
    if row is None or row[-1] != checksum(row[:-1]):
        raise StorageError(5002, f"{what} was changed on the disk")
    return row[:-1]


def bytes_of(value: object) -> bytes:
    """A sealed body's bytes; what they hold is checked when it is opened.

    Raises:
        StorageError: BSR-5002, it is something else.

    """
    if not isinstance(value, bytes):
        raise StorageError(5002, "a body was changed on the disk")
    return value
