"""The signed audit log, killed at each durable step of a new segment, its compression, a checkpoint, a new key."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.breakage import broken_calls, power_cuts, worked
from support.diskwork import STEPS, signed_check

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

KILLED = {-9, 137}
MOST = 200


@pytest.mark.parametrize(
    ("call", "step", "least"),
    [("fsync", 2, 10), ("fdatasync", 1, 4), ("rename", 1, 8), ("unlink", 1, 2), ("pwrite64", 2, 4)],
)
async def test_a_kill_at_any_step_leaves_one_provable_log(tmp_path: Path, call: str, step: int, least: int) -> None:
    """Killed at each such call in turn, what was acknowledged is there and proven, and the log is signed on."""
    killed = 0
    for number in range(1, MOST, step):
        folder = tmp_path / f"{number}"
        done = broken_calls(f"{call}:signal=KILL:when={number}", "support.diskwork", "signed", folder, "-")
        if done.returncode == 0:
            break
        assert done.returncode in KILLED, done.stderr
        killed += 1
        await signed_check(folder, [line for line in done.stdout.splitlines() if line[:1].isdigit() and line[1] == " "])
    assert done.returncode == 0
    assert killed >= least


async def test_a_power_cut_at_any_moment_leaves_one_provable_log(tmp_path: Path) -> None:
    """After a cut at each sync the acknowledged is there and proven; what was not synced may be there by half."""
    cuts = tmp_path / "cuts"
    with power_cuts(tmp_path / "disk", cuts):
        worked("signed", tmp_path / "disk" / "state", tmp_path / "disk" / "acks")
    acks = [line.split(" ", 1) for line in (cuts / "acks").read_text().splitlines()]
    assert sum("signed" in text for _, text in acks) == STEPS
    moments = [path for path in cuts.iterdir() if path.is_dir() and (path / "state").is_dir()]
    assert len(moments) > 10 * STEPS
    for moment in moments:
        syncs = int(moment.name.removesuffix("-torn")) - moment.name.endswith("-torn")
        await signed_check(moment / "state", [text for number, text in acks if int(number) <= syncs])
