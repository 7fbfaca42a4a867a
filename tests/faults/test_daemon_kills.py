"""The daemon killed at each durable step of its work, and at random moments, always ends with everything conserved."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemon import World, world
from support.killer import QUEUE_STEPS
from support.lives import impatient, killed_at, rest

KILLED = -9
FAST = "servicenow:\n  poll: {interval: 100ms}\n  settle: 300ms\n"
MIX = ["attributes", "terminate", "typed session key", "large report", "refused", "heartbeat", "token", "typed report"]
ONCE = ["terminate", "typed session key"]
CAUSES: dict[str, tuple[str, str, int, list[str], bool]] = {
    "crashed call": ("called", "after", 2, MIX, True),
    "repeated": ("called", "after", 1, ["typed report"], True),
    "unknown answered": ("called", "after", 1, ONCE, True),
    "crashed insert": ("insert", "after", 1, MIX, False),
    "find": ("insert", "before", 1, MIX, False),
    "found": ("insert", "after", 1, MIX, False),
    "absent": ("insert", "before", 1, MIX, False),
    "inserted": ("insert", "after", 2, MIX, True),
    "claimed at start": ("claim", "after", 1, MIX, True),
    "finish large": ("finish large", "after", 1, ["large report"], False),
}
"""Steps of the life after a crash: the step, its side and occurrence that make them necessary, the work, and whether
the instance keeps our sys_ids."""
BEFORE_INSERT = (
    "poll",
    "seen",
    "claim",
    "claimed",
    "refused",
    "nonce",
    "signed",
    "admitted",
    "intent",
    "sending",
    "called",
    "responded",
)
"""Steps that do not depend on what the instance does with sys_ids."""
CASES = [
    (step, keeps)
    for number, step in enumerate(
        step for step in QUEUE_STEPS if step not in CAUSES or step in {"inserted", "finish large"}
    )
    for keeps in ([True, False] if step not in BEFORE_INSERT else [number % 2 == 0])
]


async def dies_at(made: World, step: str, side: str, number: int = 1, kinds: list[str] | None = None) -> None:
    """A life with new work that ends at a step."""
    kinds = kinds or MIX
    made.put(len(kinds), kinds, seed=len(made.box.jobs), sign=step == "nonce")
    life = killed_at(made, step, side, number)
    await life.start()
    assert await life.ended() == KILLED, life.log.read_text()[-3000:]
    assert life.log.read_text().rstrip().endswith(f"killed {side} {step}")


@pytest.mark.parametrize(("step", "keeps"), CASES)
async def test_a_kill_at_any_step_conserves(tmp_path: Path, step: str, keeps: bool) -> None:
    """Killed before a durable step, then after it, the daemon answers every record once and repeats no unsafe call."""
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        made.box.servicenow.knobs.keep_sys_id = keeps
        await dies_at(made, step, "before", 2 if step in {"admitted", "called"} else 1)
        await dies_at(made, step, "after")
        await impatient(made).start()
        await rest(made)


@pytest.mark.parametrize("step", CAUSES)
async def test_a_kill_while_a_crash_is_settled_conserves(tmp_path: Path, step: str) -> None:
    """Killed before and after each step that settles an earlier crash, the daemon still conserves everything."""
    cause, side, number, kinds, keeps = CAUSES[step]
    async with world(tmp_path, start=False, drop_in=FAST) as made:
        made.box.servicenow.knobs.keep_sys_id = keeps
        await dies_at(made, cause, side, number, kinds)
        await dies_at(made, step, "before", kinds=kinds)
        await dies_at(made, step, "after", kinds=kinds)
        await impatient(made).start()
        summary = await rest(made)
        if step == "unknown answered":
            assert summary.outcomes["BSR-3010"] >= 1
