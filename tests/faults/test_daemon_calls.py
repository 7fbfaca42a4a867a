"""The daemon killed at each system call that makes something durable, killed under load, and on disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
from pathlib import Path

import pytest
from support import breakage
from support.breakage import fill, read_only, small_disk
from support.daemon import World, world
from support.lives import Life, at_rest, codes, eventually, impatient, rest

from relay.core.space import RESERVE
from relay.host.files import free_bytes

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

FAST = "servicenow:\n  poll: {interval: 100ms}\n  settle: 300ms\n"
WORK = ["terminate", "large report", "typed session key"]
MIX = [*WORK, "attributes", "refused", "heartbeat", "token", "typed report", "session key"]
KILLED = -9
LOST_WRITE = 74
WAL, AUDIT = "store.db-wal", "audit/000001.jsonl"
MOST = 10


def traced(made: World, inject: str, path: str) -> Life:
    """A life in which strace makes calls on one file of the state folder fail, or deadly; it counts by thread."""
    if reason := breakage._traceable():
        pytest.skip(reason)
    wrapper = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(made.state / path), "-e", f"inject={inject}")
    return Life(made, ("-m", "support.killer", "{}"), wrapper)


async def with_a_store(made: World) -> None:
    """A first whole life, so that the calls counted later are those of the work."""
    made.put(1, ["heartbeat"], seed=99)
    await impatient(made).start()
    await rest(made)


@pytest.mark.parametrize(
    ("path", "call", "step"), [(WAL, "fdatasync", 1), (WAL, "pwrite64", 31), (AUDIT, "fdatasync", 1)]
)
async def test_a_kill_at_any_call_conserves(tmp_path: Path, path: str, call: str, step: int) -> None:
    """Killed at one such call after the other, each life settling what the last one left, the daemon conserves."""
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        await with_a_store(made)
        killed = 0
        for number in range(1, MOST * step, step):
            made.put(len(WORK), WORK, seed=number)
            life = traced(made, f"{call}:signal=KILL:when={number}", path)
            await life.start()
            ended = asyncio.create_task(life.ended())
            await eventually(lambda done=ended: done.done() or at_rest(made), 40.0)  # type: ignore[misc]
            if not ended.done():
                await life.kill()
                await ended
                break
            assert ended.result() == KILLED, life.log.read_text()[-2000:]
            killed += 1
        assert killed >= 4
        await impatient(made).start()
        await rest(made)


@pytest.mark.parametrize(("path", "number"), [(WAL, 4), (WAL, 7), (AUDIT, 3)])
async def test_a_failed_sync_ends_the_daemon(tmp_path: Path, path: str, number: int) -> None:
    """After one fdatasync that failed the daemon says BSR-5005 and exits 74; the next life conserves everything."""
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        await with_a_store(made)
        made.put(len(MIX), MIX)
        life = traced(made, f"fdatasync:error=EIO:when={number}", path)
        await life.start()
        assert await life.ended() == LOST_WRITE, life.log.read_text()[-2000:]
        assert any(line["event"] == "daemon.failed" and line["code"] == "BSR-5005" for line in made.log())
        await impatient(made).start()
        await rest(made)


@pytest.mark.parametrize("keeps", [True, False])
async def test_kills_at_random_moments_under_load(tmp_path: Path, keeps: bool) -> None:
    """Killed four times while 150 records are worked on, the daemon answers each once and repeats no unsafe call."""
    moments = random.Random(20260131 + keeps)
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        made.box.servicenow.knobs.keep_sys_id = keeps
        made.put(150, MIX)
        for _ in range(4):
            life = impatient(made)
            await life.start()
            await eventually((made.state / "control.sock").exists)
            await asyncio.sleep(moments.uniform(0.2, 1.2))
            assert await life.kill() == KILLED
            (made.state / "control.sock").unlink(missing_ok=True)
        assert not at_rest(made)
        await impatient(made).start()
        assert (await rest(made)).jobs == 150


@pytest.mark.parametrize("left", [RESERVE // 2, 0])
async def test_a_disk_that_fills_stops_claims_and_loses_nothing(tmp_path: Path, left: int) -> None:
    """With little or no room left the daemon says BSR-5004 and claims nothing more; with room again it goes on."""
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        with small_disk(made.state, "24m"):
            await impatient(made).start()
            for device in made.box.appliances.values():
                device.latency = 0.3
            made.put(len(MIX), MIX, seed=1)
            await made.answered(2)
            ballast = filled(made, left)
            await made.manager.until("STATUS", "BSR-5004")
            assert "BSR-5004" in codes(made)
            late = made.put(4, ["terminate"], seed=2)
            await asyncio.sleep(1.0)
            rows = [made.box.servicenow.tables.get("ecc_queue", sys_id) for sys_id in late]
            assert [row["state"] for row in rows if row is not None] == ["ready"] * 4
            ballast.unlink()
            await rest(made)


def filled(made: World, left: int) -> Path:
    """Fill the disk up to so many bytes."""
    if not left:
        return fill(made.state)
    ballast = made.state / "filler"
    with contextlib.suppress(OSError):
        ballast.write_bytes(bytes(max(0, free_bytes(made.state) - left)))
    return ballast


async def test_a_disk_that_is_read_only_at_the_start(tmp_path: Path) -> None:
    """On a disk that turned read-only nothing is taken or lost; when it is mended, the next start goes on."""
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        with small_disk(made.state, "24m") as disk:
            made.put(len(MIX), MIX, seed=1)
            life = traced(made, "pwrite64:error=EROFS:when=30+", WAL)
            await life.start()
            assert await life.ended() == LOST_WRITE
            read_only(disk)
            life = impatient(made)
            await life.start()
            assert await life.ended() != 0
            assert "BSR-5001" in life.log.read_text()
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)  # noqa: ASYNC221  # at once
            await impatient(made).start()
            await rest(made)
