"""How the store's file is opened, and which files are refused."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from support.store import KEY, NOW, StillClock, new, open_store

from relay.core.errors import StorageError
from relay.core.jobs import Change, Job, Nonce, changed
from relay.storage import schema
from relay.storage.schema import MIGRATIONS, STORE, keys_in_use
from relay.storage.sqlite import SqliteStore

NONCE = Nonce("5f08b46b6cea4fbe8b1d53713123e29e", NOW)
CURRENT = [(number, NOW) for number in range(1, len(MIGRATIONS) + 1)]


async def refusal(folder: Path) -> int:
    with pytest.raises(StorageError) as error:
        await open_store(folder)
    return error.value.number


async def filled(folder: Path, jobs: int = 30) -> list[Job | None]:
    store = await open_store(folder)
    added = await store.add([new(f"{n:032}", data={"n": n}, bodies={"p": b"body %d" % n}) for n in range(jobs)], NOW)
    await store.set_fact("fact", "value")
    first = added[0]
    assert first is not None
    after = changed(first, "SEEN", NOW)
    assert await store.change_once(Change(first, after), NONCE) == "done"
    await store.close()
    return [after, *added[1:]]


async def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """Folder 0700 and files 0600, the write-ahead file included, under a umask that forbids nothing or much."""
    for umask in (0o000, 0o277):
        folder = tmp_path / f"{umask}" / "state"
        before = os.umask(umask)
        try:
            (tmp_path / f"{umask}").mkdir(mode=0o700)
            (tmp_path / f"{umask}").chmod(0o700)
            store = await open_store(folder)
            await store.add([new("a")], NOW)
        finally:
            os.umask(before)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == {STORE: 0o600, f"{STORE}-wal": 0o600}
        await store.close()


async def test_the_store_syncs_every_commit(tmp_path: Path) -> None:
    """The connection runs in write-ahead mode with full synchronisation, foreign keys and incremental vacuum."""
    store = await open_store(tmp_path)

    def pragma(name: str) -> object:
        return store._writer._db.execute(f"PRAGMA {name}").fetchone()[0]

    found = {name: pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "auto_vacuum": 2}
    assert store._writer._db.execute("SELECT version, applied FROM migrations").fetchall() == CURRENT
    await store.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store of a newer version is BSR-5003 and is not touched."""
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / STORE) as file:
        file.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    file.close()
    before = (tmp_path / STORE).read_bytes()
    assert await refusal(tmp_path) == 5003
    assert (tmp_path / STORE).read_bytes() == before


async def test_an_older_schema_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of an older version keeps its jobs and gets the newer tables, once."""
    jobs = await filled(tmp_path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (a)",)))
    for _ in range(2):
        store = await SqliteStore.open(tmp_path, KEY, StillClock(NOW + 9))
        assert await store.get([job.id for job in jobs if job]) == jobs
        versions = store._writer._db.execute("SELECT version, applied FROM migrations").fetchall()
        assert versions == [*CURRENT, (len(MIGRATIONS) + 1, NOW + 9)]
        await store.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is one transaction: when it breaks, the store is as it was."""
    await filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (a)", "CREATE TABLE jobs (a)")))
        assert await refusal(tmp_path) == 5002
    store = await open_store(tmp_path)
    assert await store.counts() == {("queue", "SEEN", ""): 30}
    await store.close()


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 4080])
async def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    """Something else under the store's name is BSR-5002 and stays as it is."""
    (tmp_path / STORE).write_bytes(content)
    assert await refusal(tmp_path) == 5002
    assert (tmp_path / STORE).read_bytes() == content
    with pytest.raises(StorageError):
        keys_in_use(tmp_path)


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A sound SQLite file with other tables is not taken for a store."""
    with sqlite3.connect(tmp_path / STORE) as file:
        file.execute("CREATE TABLE theirs (a)")
    file.close()
    assert await refusal(tmp_path) == 5002


async def test_a_store_that_another_program_holds_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody looks into the file with another program the store answers BSR-5001, which passes."""
    await filled(tmp_path)
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.01)
    other = sqlite3.connect(tmp_path / STORE)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert await refusal(tmp_path) == 5001
    finally:
        other.close()
    await (await open_store(tmp_path)).close()


async def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where the state folder is a file, or the store's file a folder or a link, the store cannot be opened."""
    (tmp_path / "file").write_text("")
    assert await refusal(tmp_path / "file") == 5001
    (tmp_path / "a" / STORE).mkdir(parents=True)
    assert await refusal(tmp_path / "a") == 5001
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / STORE).symlink_to(tmp_path / "elsewhere")
    assert await refusal(tmp_path / "b") == 5001


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A file that was created and then lost its power before the first commit is a new store."""
    (tmp_path / STORE).write_bytes(b"")
    assert keys_in_use(tmp_path) == frozenset()
    store = await open_store(tmp_path)
    assert await store.counts() == {}
    await store.close()


async def test_a_store_that_lost_all_but_its_write_ahead_file_is_refused(tmp_path: Path) -> None:
    """An empty file beside a write-ahead file is damage and not a new store: nothing is thrown away."""
    (tmp_path / STORE).write_bytes(b"")
    (tmp_path / f"{STORE}-wal").write_bytes(b"frames")
    assert await refusal(tmp_path) == 5002
    assert (tmp_path / f"{STORE}-wal").read_bytes() == b"frames"


async def outcome(folder: Path, jobs: list[Job | None]) -> str:
    """`intact`, or the code of the error that opening or reading the whole store ends in."""
    ids = [job.id for job in jobs if job]
    try:
        store = await open_store(folder)
    except StorageError as error:
        return error.code
    try:
        assert await store.get(ids) == jobs
        assert await store.select(None, None, 100) == jobs
        assert await store.due("queue", ["SEEN"], None, NOW, 100) == jobs
        assert await store.known(ids) == dict.fromkeys(ids, "SEEN")
        assert await store.bodies(ids, "p") == [b"body %d" % number for number in range(len(ids))]
        assert await store.fact("fact") == "value"
        last = jobs[-1]
        assert last is not None
        assert await store.change_once(Change(last, changed(last, "SEEN", NOW)), NONCE) == "used"
    except StorageError as error:
        return error.code
    finally:
        await store.close()
    return "intact"


async def test_a_file_system_without_write_ahead_logging_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the journal mode does not become `wal` the store is BSR-5001."""
    value = schema._value

    def answer(connection: sqlite3.Connection, statement: str) -> object:
        return "delete" if "journal_mode" in statement else value(connection, statement)

    monkeypatch.setattr(schema, "_value", answer)
    assert await refusal(tmp_path) == 5001


async def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """SQLite's own refusal to open a path is BSR-5001."""
    with pytest.raises(StorageError) as error:
        schema.connect(tmp_path / "missing" / STORE)
    assert error.value.number == 5001


async def test_a_body_that_is_no_body_is_damage(tmp_path: Path) -> None:
    """A value of another type in a body's place is BSR-5002."""
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / STORE) as file:
        file.execute("UPDATE bodies SET blob = 'text'")
    file.close()
    store = await open_store(tmp_path)
    with pytest.raises(StorageError) as error:
        await store.bodies([f"{0:032}"], "p")
    assert error.value.number == 5002
    await store.close()


async def test_a_fact_under_another_name_is_damage(tmp_path: Path) -> None:
    """A fact whose name was changed on the disk is found at the next start, though nobody asks for it."""
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / STORE) as file:
        file.execute("UPDATE facts SET name = 'fbct'")
    file.close()
    assert await refusal(tmp_path) == 5002


async def test_a_changed_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """After a changed bit anywhere in the file the store is refused, or a call is, or everything reads as before."""
    jobs = await filled(tmp_path / "sound")
    content = (tmp_path / "sound" / STORE).read_bytes()
    folder = tmp_path / "damaged"
    found = set()
    for _ in range(150):
        damaged = bytearray(content)
        bit = random.randrange(len(content) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        folder.mkdir()
        (folder / STORE).write_bytes(damaged)
        found.add(await outcome(folder, jobs))
        shutil.rmtree(folder)
    # a bit of the version in the file's header makes it a newer one, of its format one that cannot be written
    assert found <= {"intact", "BSR-5002", "BSR-5003", "BSR-5001"}
    assert "BSR-5002" in found


async def test_a_cut_file_is_found(tmp_path: Path) -> None:
    """A store that lost its end, at any page or in one, is refused or answers BSR-5002."""
    jobs = await filled(tmp_path / "sound")
    content = (tmp_path / "sound" / STORE).read_bytes()
    for size in [*range(4096, len(content), 4096), 1, 50, 4095, len(content) - 1, len(content) - 4000]:
        folder = tmp_path / f"{size}"
        folder.mkdir()
        (folder / STORE).write_bytes(content[:size])
        assert await outcome(folder, jobs) == "BSR-5002"


async def test_damage_met_at_work_stops_the_store(tmp_path: Path) -> None:
    """When the file is destroyed under the open store, every call ends in BSR-5002 from the first one that sees it."""
    await filled(tmp_path, 300)
    store = await open_store(tmp_path)
    store._writer._db.execute("PRAGMA cache_size=0")
    size = (tmp_path / STORE).stat().st_size
    with (tmp_path / STORE).open("r+b") as file:
        file.write(b"\xa5" * size)
    for _ in range(2):
        with pytest.raises(StorageError) as error:
            await store.select(None, None, 1000)
        assert error.value.number == 5002
    assert store.failure is not None
    with pytest.raises(StorageError):
        await store.set_fact("f", 1)
    await store.close()
