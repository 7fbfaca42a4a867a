"""Groups of operations on one connection: what shares a commit, what an error takes with it, what is kept short."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.store import NOW, new, open_store

from relay.core.errors import InternalError, StorageError
from relay.core.jobs import Change, changed
from relay.storage import writer as module
from relay.storage.faults import meaning
from relay.storage.schema import LARGEST_WAL, STORE, open_database
from relay.storage.sqlite import SqliteStore
from relay.storage.writer import Writer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path, NOW)
    yield opened
    opened.close()


def put(name: str, size: int = 1) -> Any:
    def operation(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO facts VALUES (?, ?, 0)", (name, "x" * size))
        return name

    return operation


def fail(db: sqlite3.Connection) -> None:
    put("half")(db)
    raise ValueError("a fault")


def names(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM facts ORDER BY name")]


async def test_what_is_asked_in_one_turn_shares_a_commit(store: SqliteStore) -> None:
    """Twenty calls made at once are served as one group, and so by one commit."""
    groups = []
    serve = store._thread._serve
    store._thread._serve = lambda group: (groups.append(len(group)), serve(group))[1]
    await asyncio.gather(*(store.add([new(f"{number}")], NOW) for number in range(20)))
    assert groups == [20]


def test_one_failing_operation_does_not_spoil_the_others(database: sqlite3.Connection) -> None:
    """An operation that raises is undone alone; the others of its group are committed."""
    one, error, two = Writer(database).serve([put("a"), fail, put("b")])
    assert (one, two) == ("a", "b")
    assert isinstance(error, ValueError)
    assert names(database) == ["a", "b"]


def test_an_operation_that_the_database_refuses_does_not_spoil_the_others(database: sqlite3.Connection) -> None:
    """A refused row is a fault of ours (BSR-9001) for its own operation alone."""
    one, error, two = Writer(database).serve([put("a"), put("a"), put("b")])
    assert (one, two) == ("a", "b")
    assert isinstance(error, InternalError)
    assert names(database) == ["a", "b"]


def test_an_operation_alone_that_fails_is_undone(database: sqlite3.Connection) -> None:
    """Run one by one after a failed group, an operation that raises leaves nothing."""
    results = Writer(database).serve([put("a"), fail, put("a")])
    assert results[0] == "a"
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], InternalError)
    assert names(database) == ["a"]


def test_a_full_store_refuses_what_does_not_fit_and_goes_on(database: sqlite3.Connection) -> None:
    """Of a group the operations that fit are stored; the others are BSR-5004, and fit when there is room again."""
    served = Writer(database)
    ((pages,),) = database.execute("PRAGMA page_count").fetchall()
    database.execute(f"PRAGMA max_page_count={pages + 3}")
    one, error, two = served.serve([put("a"), put("b", 100_000), put("c")])
    assert (one, two) == ("a", "c")
    assert isinstance(error, StorageError)
    assert error.number == 5004
    assert served.failure is None
    assert names(database) == ["a", "c"]
    database.execute("PRAGMA max_page_count=10000")
    assert served.serve([put("b", 100_000)]) == ["b"]


class Broken:
    """A connection on which one statement fails the way a disk does."""

    def __init__(self, database: sqlite3.Connection, statement: str, code: int) -> None:
        self._database, self._statement, self._code = database, statement, code
        self.fired = 0

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement.startswith(self._statement):
            self.fired += 1
            error = sqlite3.OperationalError("as the disk says")
            error.sqlite_errorcode, error.sqlite_errorname = self._code, "SQLITE_IOERR_FSYNC"
            raise error
        return self._database.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT", "ROLLBACK", "INSERT"])
def test_after_a_lost_write_nothing_is_done(database: sqlite3.Connection, statement: str) -> None:
    """From a failed write on every operation is BSR-5005, without touching the file."""
    broken = Broken(database, statement, 1034)
    served = Writer(broken)  # type: ignore[arg-type]  # it does what a connection does
    served.serve([put("a"), put("a")])
    assert served.failure is not None
    fired = broken.fired
    assert fired == 1
    for error in served.serve([put("b"), put("c")]):
        assert error is served.failure
        assert error.number == 5005
    served.tidy_soon()
    served.rest()
    served.rest()
    assert broken.fired == fired
    broken._statement = "none"
    assert "b" not in names(database)


@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint", "PRAGMA freelist_count"])
def test_a_write_lost_while_tidying_ends_the_store(database: sqlite3.Connection, statement: str) -> None:
    """A checkpoint or vacuum that fails is not hidden: the next call is BSR-5005."""
    broken = Broken(database, statement, 1034)
    served = Writer(broken)  # type: ignore[arg-type]  # it does what a connection does
    served.tidy_soon()
    served.rest()
    assert broken.fired == 1
    (error,) = served.serve([put("a")])
    assert error.number == 5005


def test_a_checkpoint_without_room_is_tried_again(database: sqlite3.Connection) -> None:
    """A disk too full for a checkpoint stops nothing by itself."""
    broken = Broken(database, "PRAGMA wal_checkpoint", 13)
    served = Writer(broken)  # type: ignore[arg-type]  # it does what a connection does
    served.wrote(module.CHECKPOINT_PAGES * 4096)
    served.rest()
    served.rest()
    assert broken.fired == 2
    assert served.serve([put("a")]) == ["a"]


@pytest.mark.parametrize(
    ("code", "number"), [(10, 5005), (1034, 5005), (778, 5005), (522, 5002), (8458, 5002), (11, 5002), (779, 5002),
        (26, 5002), (13, 5004), (14, 5001), (8, 5001), (776, 5001), (5, 5001), (1, 5002), (19, 9001), (21, 9001)],
)  # fmt: skip
def test_errors_are_told_by_number(code: int, number: int) -> None:
    """SQLite's error number, extended or not, decides the code; its text does not."""
    error = sqlite3.OperationalError("disk I/O error database disk image is malformed")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    assert meaning(error).number == number


def test_errors_without_a_number() -> None:
    """Text that is not UTF-8 is damage; a wrong use of the module is a fault of ours."""
    assert meaning(sqlite3.OperationalError("Could not decode")).number == 5002
    assert meaning(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")).number == 5002
    assert meaning(sqlite3.ProgrammingError("binding")).number == 9001


async def test_the_write_ahead_file_stays_short(tmp_path: Path) -> None:
    """Any number of commits and of large bodies leaves a write-ahead file of bounded size."""
    store = await open_store(tmp_path)
    (job,) = await store.add([new("a")], NOW)
    assert job is not None
    sizes = []
    for _ in range(30):
        after = changed(job, "CLAIMED", NOW)
        assert await store.change([Change(job, after, {"p": os.urandom(900_000)})]) == [True]
        job = after
        sizes.append((tmp_path / f"{STORE}-wal").stat().st_size)
    for _ in range(200):
        after = changed(job, "CLAIMED", NOW)
        await store.change([Change(job, after)])
        job = after
        sizes.append((tmp_path / f"{STORE}-wal").stat().st_size)
    assert max(sizes) < LARGEST_WAL
    await store.close()


async def test_space_is_given_back(tmp_path: Path) -> None:
    """After the jobs of a burst are swept, the file shrinks and the write-ahead file is empty."""
    store = await open_store(tmp_path)
    await store.add([new(f"{number}", "CLOSED", bodies={"p": os.urandom(10_000)}) for number in range(800)], NOW)
    await store.sweep("queue", ["CLOSED"], 0, 0, 10)
    await store.counts()
    full = (tmp_path / STORE).stat().st_size
    for _ in range(8):
        await store.sweep("queue", ["CLOSED"], NOW + 1, NOW + 1, 200)
        await store.counts()
    assert (tmp_path / f"{STORE}-wal").stat().st_size == 0
    assert (tmp_path / STORE).stat().st_size < full / 3
    await store.close()
