"""The store and the audit log on disks that are full, read-only, or lose their power."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.breakage import fill, power_cuts, read_only, small_disk, worked
from support.diskwork import STEPS, audit_check, store_check
from support.store import NOW, StillClock, new, open_store

from relay.audit.log import AuditLog
from relay.core.errors import StorageError
from relay.core.jobs import Change, changed
from relay.core.space import may_claim
from relay.host.files import FolderLock, free_bytes
from relay.storage.key import load_key
from relay.storage.writer import CHECKPOINT_PAGES

pytestmark = pytest.mark.faults


async def test_a_full_disk_refuses_and_works_again_when_freed(tmp_path: Path) -> None:
    """On a full disk the store is BSR-5004 and the log BSR-5007, both keep what they had, and both go on when freed."""
    with small_disk(tmp_path / "disk") as disk:
        store = await open_store(disk / "state")
        log = await AuditLog.open(disk / "state", StillClock())
        jobs = await store.add([new(f"{number}", bodies={"p": os.urandom(20_000)}) for number in range(5)], NOW)
        await log.append([{"event": "sent", "job": "0", "attempt": 1}])
        filler = fill(disk)
        assert not may_claim(free_bytes(disk))
        with pytest.raises(StorageError) as error:
            await store.add([new("large", bodies={"p": os.urandom(500_000)})], NOW)
        assert error.value.number == 5004
        with pytest.raises(StorageError) as error:
            await log.append(
                [{"event": "sent", "job": f"{number}", "attempt": 2, "by": "x" * 500} for number in range(100)]
            )
        assert error.value.number == 5007
        assert (store.failure, log.failure) == (None, None)
        assert await store.get([f"{number}" for number in range(5)]) == jobs
        filler.unlink()
        assert await store.add([new("large", bodies={"p": os.urandom(500_000)})], NOW) != [None]
        await log.append([{"event": "sent", "job": "99", "attempt": 2, "by": "x" * 500}])
        await log.close()
        await store.close()
        store = await open_store(disk / "state")
        assert await store.counts() == {("queue", "SEEN", ""): 6}
        await store.close()
        await (await AuditLog.open(disk / "state", StillClock())).close()


async def test_small_steps_are_still_stored_on_a_full_disk(tmp_path: Path) -> None:
    """The room that the write-ahead file already has serves small changes after the disk is full."""
    with small_disk(tmp_path / "disk") as disk:
        store = await open_store(disk / "state")
        (job,) = await store.add([new("a", bodies={"p": os.urandom(300_000)})], NOW)
        store._writer.wrote(CHECKPOINT_PAGES * 4096)
        await store.counts()
        await store.counts()  # served after the housekeeping that follows the first one
        fill(disk)
        for _ in range(60):
            assert job is not None
            after = changed(job, "CLAIMED", NOW)
            assert await store.change([Change(job, after)]) == [True]
            job = after
        await store.close()


async def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path) -> None:
    """Where there is no room for the first byte the store is BSR-5004, the log BSR-5007, and no wreck is left."""
    with small_disk(tmp_path / "disk", "256k") as disk:
        (disk / "state").mkdir()
        filler = fill(disk)
        with pytest.raises(StorageError) as error:
            await open_store(disk / "state")
        assert error.value.number == 5004
        log = await AuditLog.open(disk / "state", StillClock())
        with pytest.raises(StorageError) as error:
            await log.append([{"event": "sent", "job": "0", "attempt": 1}])
        assert error.value.number == 5007
        await log.close()
        filler.unlink()
        store = await open_store(disk / "state")
        assert await store.counts() == {}
        await store.close()


async def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    """On a read-only disk lock, store, log and key each answer with their code, and change nothing."""
    with small_disk(tmp_path / "disk") as disk:
        await (await open_store(disk / "state")).close()
        read_only(disk)
        with pytest.raises(StorageError) as error:
            await open_store(disk / "state")
        assert error.value.number == 5001
        with pytest.raises(StorageError) as error:
            await AuditLog.open(disk / "state", StillClock())
        assert error.value.number == 5007
        with pytest.raises(StorageError) as error:
            FolderLock.take(disk / "state")
        assert error.value.number == 5001
        with pytest.raises(StorageError) as error:
            load_key(disk / "state-key", None)
        assert error.value.number == 5009


CHECKS: dict[str, Callable[..., Awaitable[None]]] = {"store": store_check, "audit": audit_check}


@pytest.mark.parametrize(("what", "step"), [("store", "changed"), ("audit", "appended")])
async def test_a_power_cut_at_any_moment_keeps_what_was_acknowledged(tmp_path: Path, what: str, step: str) -> None:
    """After a cut at each sync, with any part of what was not synced, the acknowledged is there and nothing by half."""
    cuts = tmp_path / "cuts"
    with power_cuts(tmp_path / "disk", cuts):
        worked(what, tmp_path / "disk" / "state", tmp_path / "disk" / "acks")
    acks = [line.split(" ", 1) for line in (cuts / "acks").read_text().splitlines()]
    assert sum(text.endswith(step) for _, text in acks) == STEPS
    moments = [path for path in cuts.iterdir() if path.is_dir() and (path / "state").is_dir()]
    assert len(moments) > 2 * STEPS
    for moment in moments:
        syncs = int(moment.name.removesuffix("-torn")) - moment.name.endswith("-torn")
        await CHECKS[what](moment / "state", [text for number, text in acks if int(number) <= syncs])
