"""The store and the audit log, with every system call that writes killing the process, failing, or finding no room."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.breakage import broken_calls
from support.diskwork import STEPS, audit_check, store_check
from support.store import StillClock, open_store

from relay.audit.log import AuditLog

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

KILLED = {-9, 137}
CHECKS: dict[str, Callable[..., Awaitable[None]]] = {"store": store_check, "audit": audit_check}
MOST = 200


async def prepared(folder: Path, what: str) -> Path:
    """A folder with an empty store or log, so that the calls counted are those of the work."""
    if what == "store":
        await (await open_store(folder)).close()
    else:
        await (await AuditLog.open(folder, StillClock())).close()
    return folder


@pytest.mark.parametrize("begin", ["new", "made"])
@pytest.mark.parametrize(
    ("what", "call", "step"),
    [("store", "fdatasync", 1), ("store", "pwrite64", 7), ("audit", "fdatasync", 1), ("audit", "pwrite64", 1)],
)
async def test_a_kill_at_any_call_loses_nothing(tmp_path: Path, what: str, call: str, step: int, begin: str) -> None:
    """Killed at each such call in turn, what was acknowledged is there, nothing is there by half, and work goes on."""
    model = await prepared(tmp_path / "model", what)
    killed = 0
    for number in range(1, MOST, step):
        folder = tmp_path / f"{number}"
        if begin == "made":
            shutil.copytree(model, folder)
        done = broken_calls(f"{call}:signal=KILL:when={number}", "support.diskwork", what, folder, "-")
        if done.returncode == 0:
            break
        assert done.returncode in KILLED, done.stderr
        killed += 1
        await CHECKS[what](folder, done.stdout.splitlines())
    assert done.returncode == 0
    assert killed >= (3 if begin == "made" or what == "store" else 1)


@pytest.mark.parametrize("what", ["store", "audit"])
async def test_a_failed_sync_ends_all_effects(tmp_path: Path, what: str) -> None:
    """After an fsync that failed every call is BSR-5005, and a restart finds all that was acknowledged."""
    folder = await prepared(tmp_path / "state", what)
    done = broken_calls(
        "fdatasync:error=EIO:when=6" if what == "store" else "fdatasync:error=EIO:when=3",
        "support.diskwork",
        what,
        folder,
        "-",
    )
    assert done.returncode == 0, done.stderr
    acks = done.stdout.splitlines()
    first = next(number for number, text in enumerate(acks) if "error" in text)
    assert first > 0
    assert {text.split()[-1] for text in acks[first:]} == {"BSR-5005"}
    await CHECKS[what](folder, acks[:first])


@pytest.mark.parametrize(("what", "code"), [("store", "BSR-5004"), ("audit", "BSR-5007")])
async def test_a_full_disk_at_one_call_spoils_one_step(tmp_path: Path, what: str, code: str) -> None:
    """When writes find no room a step is refused with its code; the steps before and after stand."""
    folder = await prepared(tmp_path / "state", what)
    when = "2+1" if what == "store" else "2"
    done = broken_calls(f"pwrite64:error=ENOSPC:when={when}", "support.diskwork", what, folder, "-")
    if what == "store":
        # a single failing call is made good by the second try, so here every call from the second on fails
        assert {text.split()[-1] for text in done.stdout.splitlines() if "error" in text} == {code}
        assert done.stdout.count("error") == STEPS
        done = broken_calls("pwrite64:error=ENOSPC:when=2", "support.diskwork", what, folder, "-")
        assert "error" not in done.stdout
        assert done.stdout.count("added") == STEPS
    else:
        assert done.stdout.splitlines().count(f"1 error {code}") == 1
        assert done.stdout.count("appended") == STEPS - 1
    assert done.returncode == 0, done.stderr
    await CHECKS[what](folder, done.stdout.splitlines())
