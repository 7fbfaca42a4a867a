"""The daemon with a store, a disk or an audit log that fails: it says so, loses nothing, and recovers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from support.daemon import World, world


async def conditions(made: World) -> dict[str, str]:
    """Codes by subject, as `status` tells."""
    _, out, _ = await made.run("status", "--json")
    return {one["subject"]: one["code"] for one in json.loads(out)["conditions"]}


async def test_a_damaged_store_is_a_clear_state(tmp_path: Path) -> None:
    """With a damaged store the daemon is READY, says BSR-5002, does no work and touches nothing of the store."""
    async with world(tmp_path) as made:
        made.put(2, ["typed health"])
        await made.answered(2)
        await made.daemon.stop()
        store = made.state / "store.db"
        damaged = bytearray(store.read_bytes())
        damaged[:64] = b"x" * 64
        store.write_bytes(bytes(damaged))
        await made.daemon.start()
        await made.manager.until("READY", "1", count=2)
        await made.manager.until("STATUS", "BSR-5002")
        assert (await conditions(made))["store"] == "BSR-5002"
        made.put(1, ["typed health"], seed=9)
        assert await made.daemon.stop() == 0
        assert store.read_bytes() == bytes(damaged)
        assert len(made.box.servicenow.answered) == 2


async def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a newer version is left alone with BSR-5003."""
    import sqlite3  # noqa: PLC0415  # the only use

    async with world(tmp_path) as made:
        await made.daemon.stop()
        with sqlite3.connect(made.state / "store.db") as connection:
            connection.execute("PRAGMA user_version = 9999")
        connection.close()
        await made.daemon.start()
        await made.manager.until("STATUS", "BSR-5003")


async def test_a_missing_key_stops_work_and_deletes_nothing(tmp_path: Path) -> None:
    """When the self-made storage key is gone, the daemon waits with BSR-5008; with the key back it works on."""
    async with world(tmp_path, products=("pra",), WATCHDOG_USEC="900000") as made:
        await made.box.doors["default"].close()
        made.put(1, ["typed health"])
        async with asyncio.timeout(20):
            while "forward.not_executed" not in made.events():
                await asyncio.sleep(0.05)
        await made.daemon.kill()
        key = made.state.with_name("state-key") / "storage.key"
        held = key.read_bytes()
        key.unlink()
        await made.daemon.start()
        await made.manager.until("STATUS", "BSR-5008")
        await made.daemon.stop()
        assert not key.exists()
        key.write_bytes(held)
        key.chmod(0o600)
        await made.daemon.start()
        await made.answered(1, seconds=60)


async def test_an_audit_log_that_cannot_be_written_stops_calls(tmp_path: Path) -> None:
    """Without its audit log nothing is sent to an appliance, the work waits, and nothing is lost."""
    async with world(tmp_path, start=False, WATCHDOG_USEC="900000") as made:
        made.state.mkdir(exist_ok=True)
        (made.state / "audit").write_text("in the way")
        await made.daemon.start()
        await made.manager.until("STATUS", "BSR-5")
        made.put(1, ["typed health"])
        assert made.box.appliance.calls.total() == 0
        await made.daemon.stop()
        (made.state / "audit").unlink()
        await made.daemon.start()
        await made.answered(1)
