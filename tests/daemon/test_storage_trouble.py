"""The daemon with a store, a disk or an audit log that fails: it says so, loses nothing, and recovers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from support.living import Living, connected, living, make, write_drop_in

from relay.config.values import SecretRef
from relay.core.errors import ConfigError, StorageError
from relay.core.secret import Secret
from relay.daemon import app
from relay.daemon.client import DaemonError
from relay.daemon.lock import StateLock
from relay.daemon.supervisor import _lost_write
from relay.host.secrets import SecretReader
from relay.sandbox.box import Sandbox
from relay.storage.sqlite import SqliteStore

SELF_MADE = "storage: {key: null}\n"
"""Takes the sandbox's key away, so that the relay makes one."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a store again at once."""
    monkeypatch.setattr(app, "STORE_AGAIN", 0.05)


async def again(made: Living) -> Living:
    """The next life of the daemon, which does not open its store."""
    other = make(made.box)
    other.start()
    await other.until(lambda: "store" in other.codes())
    return other


async def test_a_damaged_store_is_a_clear_state(tmp_path: Path) -> None:
    """With a damaged store the daemon is ready, says BSR-5002, does no work and touches nothing of the store."""
    async with living(tmp_path) as made:
        made.put(2, ["typed health"])
        await made.answered(2)
        await made.stop()
        store = made.state / "store.db"
        damaged = bytearray(store.read_bytes())
        damaged[:64] = b"x" * 64
        store.write_bytes(bytes(damaged))
        other = await again(made)
        assert other.manager.told[0].startswith("ready starting")
        assert other.codes()["store"] == "BSR-5002"
        status = await other.ask("status")
        assert (status["state"], status["conditions"][0]["code"]) == ("starting", "BSR-5002")
        with pytest.raises(DaemonError) as refused:
            await other.ask("pause", reason="x")
        assert refused.value.number == 5002
        made.put(1, ["typed health"], seed=9)
        await other.stop()
        assert store.read_bytes() == bytes(damaged)
        assert len(made.box.servicenow.answered) == 2


async def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a newer version is left alone with BSR-5003, and used once the version fits."""
    async with living(tmp_path) as made:
        await made.stop()
        with sqlite3.connect(made.state / "store.db") as connection:
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            connection.execute("PRAGMA user_version = 9999")
        connection.close()
        other = await again(made)
        assert other.codes()["store"] == "BSR-5003"
        with sqlite3.connect(made.state / "store.db") as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        await other.working()
        assert "store" not in other.codes()
        await other.stop()


async def with_open_work(made: Living) -> None:
    """A job in the store that waits for its appliance; the daemon is stopped."""
    await made.box.doors["default"].close()
    made.put(1, ["typed health"])
    await made.until(lambda: "appliance default" in made.codes())
    await made.stop()


async def test_a_missing_key_stops_work_and_deletes_nothing(tmp_path: Path) -> None:
    """When the self-made storage key is gone, the daemon waits with BSR-5008; with the key back it works on."""
    async with living(tmp_path, drop_in=f"{SELF_MADE}servicenow: {{poll: {{interval: 100ms}}}}\n") as made:
        await with_open_work(made)
        key = made.process.folders.key / "storage.key"
        held = key.read_bytes()
        key.unlink()
        other = await again(made)
        assert other.codes()["store"] == "BSR-5008"
        assert not key.exists()
        key.write_bytes(held)
        key.chmod(0o600)
        await made.box.doors["default"].open(int(made.box.appliance.url.rpartition(":")[2]))
        await other.answered(1)
        await other.stop()


async def test_a_wrong_key_stops_work_and_changes_nothing(tmp_path: Path) -> None:
    """With another storage key the daemon shows BSR-5008 and leaves the store alone; with both keys all is answered."""
    async with living(tmp_path) as made:
        await with_open_work(made)
        path = made.box.directory / "credentials" / "storage_key"
        right = path.read_text()
        path.write_text("x" * 64)
        before = (made.state / "store.db").read_bytes()
        other = await again(made)
        (condition,) = other.process.conditions.all()
        assert condition.error.code == "BSR-5008"
        assert len(made.box.servicenow.answered) == 0
        await other.stop()
        assert (made.state / "store.db").read_bytes() == before
        former = path.with_name("former_key")
        former.write_text(right)
        former.chmod(0o600)
        made.configure(f"storage: {{former_key: {{file: {former}}}}}\n", "keys.yaml")
        await made.box.doors["default"].open(int(made.box.appliance.url.rpartition(":")[2]))
        third = make(made.box)
        third.start()
        await third.answered(1)
        assert third.codes() == {}
        await third.stop()


async def test_a_self_made_key_is_shown_and_is_no_trouble(tmp_path: Path) -> None:
    """Without a configured key the daemon works, and shows BSR-5013 until a reload brings one, which opens the rest."""
    async with living(tmp_path, drop_in=f"{SELF_MADE}servicenow: {{poll: {{interval: 100ms}}}}\n") as made:
        made.put(1, ["typed health"])
        await made.answered(1)
        status = await made.ask("status")
        (condition,) = status["conditions"]
        assert (condition["subject"], condition["code"], condition["severity"]) == (
            "storage key",
            "BSR-5013",
            "warning",
        )
        assert status["state"] == "working"
        (made.box.directory / "conf.d" / "test.yaml").write_text("servicenow: {poll: {interval: 100ms}}\n")
        await made.ask("reload")
        made.put(1, ["typed health"], seed=2)
        await made.answered(2)
        assert made.codes() == {}
        await made.stop()


async def test_an_audit_log_that_cannot_be_written_stops_calls(tmp_path: Path) -> None:
    """Without its audit log nothing is sent to an appliance, the work waits, and nothing is lost."""
    async with Sandbox.start(tmp_path / "box") as box:
        (box.directory / "state" / "audit").write_text("in the way")
        write_drop_in(box, "servicenow: {poll: {interval: 100ms}}\n")
        made = make(box)
        made.put(1, ["typed health"])
        made.start()
        await made.until(lambda: made.codes().get("store", "").startswith("BSR-5"))
        assert box.appliance.calls.total() == 0
        (box.directory / "state" / "audit").unlink()
        await made.answered(1)
        await made.stop()


async def test_a_state_folder_that_cannot_be_used_is_a_clear_state(tmp_path: Path) -> None:
    """A state folder that others can write to is refused without an end, and used once it is mended."""
    async with Sandbox.start(tmp_path / "box") as box:
        made = make(box)
        made.state.chmod(0o777)
        made.put(1, ["typed health"])
        made.start()
        await made.until(lambda: made.codes().get("store") == "BSR-5001")
        assert made.manager.told[0].startswith("ready starting")
        assert not (made.state / "lock").exists()
        made.state.chmod(0o700)
        await made.answered(1)
        assert "store" not in made.codes()
        await made.stop()


async def test_a_state_folder_that_another_relay_takes_meanwhile_is_an_end(tmp_path: Path) -> None:
    """A daemon that waits for its state folder ends when it finds that another relay was faster."""
    async with Sandbox.start(tmp_path / "box") as box:
        made = make(box)
        made.state.chmod(0o777)
        made.start()
        await made.until(lambda: made.codes().get("store") == "BSR-5001")
        other = StateLock(made.state)
        # One step for the other: between the two the daemon may look.
        made.state.chmod(0o700)
        other.take()
        assert made.task is not None
        with pytest.raises(StorageError) as ended:
            await asyncio.wait_for(made.task, 30)
        assert ended.value.number == 5006
        other.release()


async def test_a_reload_and_a_stop_come_through_while_the_store_is_away(tmp_path: Path) -> None:
    """A daemon that waits for its store is reloaded and stopped as any other."""
    async with Sandbox.start(tmp_path / "box") as box:
        (box.directory / "state" / "store.db").mkdir()
        made = make(box)
        made.start()
        await made.until(lambda: "store" in made.codes())
        await made.ask("reload")
        await made.until(lambda: "store" in made.codes())
        await made.stop()


async def test_a_key_that_vanishes_later_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage key that could be read at start and cannot when the store is opened is a condition."""
    async with Sandbox.start(tmp_path / "box") as box:
        key = box.directory / "credentials" / "storage_key"
        key.write_text("k" * 44)
        key.chmod(0o600)
        write_drop_in(box, f"storage: {{key: {{file: {key}}}}}\n")
        made = make(box)
        read = SecretReader.read

        def gone(self: SecretReader, ref: SecretRef, username: str | None = None) -> Secret:
            if ref.name == str(key):
                raise ConfigError(1009, "gone")
            return read(self, ref, username)

        with monkeypatch.context() as patched:
            patched.setattr(SecretReader, "read", gone)
            made.start()
            await made.until(lambda: made.codes().get("store") == "BSR-1009")
            with pytest.raises(DaemonError) as refused:
                await made.ask("jobs list")
            assert refused.value.number == 1009
        await made.stop()


async def test_a_lost_write_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BSR-5005 ends the daemon, from the first opening of the store as from any loop."""

    async def lost(*_: object) -> SqliteStore:
        raise StorageError(5005)

    async with Sandbox.start(tmp_path / "box") as box:
        made = make(box)
        with monkeypatch.context() as patched:
            patched.setattr(SqliteStore, "open", lost)
            with pytest.raises(StorageError, match="5005"):
                await made.supervisor.run()
        write_drop_in(box, "servicenow: {register: false, poll: {interval: 100ms}}\n")
        other = make(box)
        other.start()
        await connected(other, 3)
        running = other.supervisor.app.running
        assert running is not None
        monkeypatch.setattr(running.parts.store, "counts", lost)
        assert other.task is not None
        with pytest.raises(BaseExceptionGroup) as ended:
            await other.task
        found = _lost_write(ended.value)
        assert found is not None
        assert found.number == 5005


def test_only_storage_ends_as_storage() -> None:
    """Among what ended the loops the storage's error is found, however deep; without one there is none."""
    deep = ExceptionGroup("a", [ValueError(), ExceptionGroup("b", [StorageError(5005)])])
    found = _lost_write(deep)
    assert found is not None
    assert _lost_write(ExceptionGroup("a", [ValueError()])) is None


async def test_a_full_or_unreadable_disk_stops_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the reserve, or where the space cannot be told, no record is taken; with space again work goes on."""
    free = {"bytes": 0}

    def told(_: Path) -> int:
        if free["bytes"] < 0:
            raise OSError(5, os.strerror(5))
        return free["bytes"]

    monkeypatch.setattr(app, "free_bytes", told)
    async with living(tmp_path) as made:
        made.put(1, ["typed health"])
        await made.until(lambda: made.codes().get("disk") == "BSR-5004")
        free["bytes"] = -1
        await made.until(lambda: made.codes().get("disk") == "BSR-5001")
        assert len(made.box.servicenow.answered) == 0
        free["bytes"] = 1 << 40
        await made.answered(1)
        assert "disk" not in made.codes()


async def test_another_poller_stays_known_over_a_restart(tmp_path: Path) -> None:
    """The guard is durable: the next life says BSR-2013 until an administrator resumes."""
    async with living(tmp_path) as made:
        running = made.supervisor.app.running
        assert running is not None
        await running.parts.holds.set("guard", author="relay", reason="BSR-2013")
        await made.stop()
        other = make(made.box)
        other.start()
        await other.until(lambda: "BSR-2013" in other.codes().values())
        assert (await other.ask("resume"))["lifted"] == ["guard"]
        assert "BSR-2013" not in other.codes().values()
        await other.stop()
