"""Sessions that an administrator asks for, as far as the store: on disk once, whatever happens in between."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.memory import Gate, Gated, Killed, MemoryStore, When

from relay.core.jobs import NewJob, changed
from relay.core.session_job import DEAD, DONE, FETCHED, LEFT, NOTICED, SESSION
from relay.jobs.ledger import Ledger
from relay.sessions.by_hand import TIMES, Asked, Wish, ask_for
from relay.sessions.parts import BY_HAND, Parts

NAMED = Wish(named=True, anew=False)
OF_ALL = Wish(named=False, anew=False)
BEFORE = (NOTICED, FETCHED, DEAD, DONE, LEFT, "swept", "unknown")
ASKED = [Asked("default", f"{number:032x}") for number in range(len(BEFORE))]


class Clock:
    def wall(self) -> float:
        return 1_000.0

    def monotonic(self) -> float:
        return 0.0


def parts_of(store: Any) -> Parts:
    """The parts that a wish needs."""
    named: dict[str, Any] = dict.fromkeys(Parts.__dataclass_fields__)
    ledger = Ledger(store, [SESSION], Clock())
    return Parts(**cast("Any", {**named, "store": store, "ledger": ledger, "learned": {}}))


async def filled() -> MemoryStore:
    """A store with a session in each standing."""
    store = MemoryStore()
    # The swept one first: nothing else is to become a tombstone.
    for asked, state in sorted(zip(ASKED, BEFORE, strict=True), key=lambda each: each[1] != "swept"):
        if state != "unknown":
            kept = DONE if state == "swept" else state
            data = {"lsid": asked.lsid, "by": "event", "noted": ["note"], "known": False}
            await store.add([NewJob(asked.job, "session", kept, 2, "default", data=data)], 1.0)
        if state == "swept":
            await store.sweep("session", [DONE], 1e9, 0.0, 9)
    return store


def states(store: MemoryStore) -> list[str]:
    return [store.jobs[one.job].job.state if one.job in store.jobs else "none" for one in ASKED]


async def test_who_names_sessions_has_them_all_on_their_way() -> None:
    """Whatever became of each, it is at its beginning or on its way; which entries stand it has not forgotten."""
    store = await filled()
    before = await ask_for(parts_of(store), ASKED, NAMED)
    assert [one.standing for one in before] == [
        "under way",
        "under way",
        "failed",
        "home",
        "left out",
        "home",
        "unknown",
    ]
    assert states(store) == [NOTICED, FETCHED, *[NOTICED] * 5]
    assert {store.jobs[one.job].job.data["by"] for one in (ASKED[0], *ASKED[2:])} == {BY_HAND}
    assert [store.jobs[one.job].job.data.get("noted") for one in ASKED[2:5]] == [["note"]] * 3


async def test_who_asks_for_all_of_a_time_leaves_alone_what_is_done_with() -> None:
    """Unknown and failed sessions begin; those that are there, were left out or swept stay as they are."""
    store = await filled()
    await ask_for(parts_of(store), ASKED, OF_ALL)
    assert states(store) == [NOTICED, FETCHED, NOTICED, DONE, LEFT, "none", NOTICED]
    assert store.stones.keys() == {ASKED[5].job}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 8))
async def test_a_relay_that_ends_midway_is_asked_again(nth: int, when: When) -> None:
    """Killed around any operation of the store, the same wish then has every session on its way, each once."""
    store = await filled()
    gate = Gate()
    gate.kill_at("", nth, when)
    try:
        await ask_for(parts_of(Gated(store, gate)), ASKED, NAMED)
    except Killed:
        assert gate.dead.is_set()
    await ask_for(parts_of(store), ASKED, NAMED)
    assert states(store) == [NOTICED, FETCHED, *[NOTICED] * 5]
    assert len(store.jobs) == len(ASKED)
    assert not store.stones


class Busy(MemoryStore):
    """A store in which the first session is moved whenever somebody has read it: by a stage, say."""

    moves: list[str]

    async def tombstones(self, ids: Any) -> Any:
        found = await super().tombstones(ids)
        if self.moves:
            one = self.jobs[ASKED[0].job]
            one.job = changed(one.job, self.moves.pop(0), 2.0)
        return found


@pytest.mark.parametrize(
    ("moves", "expected"),
    [([LEFT], NOTICED), ([LEFT, DONE], NOTICED), ([FETCHED], FETCHED), ([LEFT, DONE, LEFT, DONE, LEFT], DONE)],
)
async def test_one_that_moves_meanwhile_is_looked_at_again(moves: list[str], expected: str) -> None:
    """A session that came to an end between the look and the wish is asked again; nobody tries that for ever."""
    store = Busy()
    store.moves = []
    data = {"lsid": ASKED[0].lsid, "by": "sweep"}
    await store.add([NewJob(ASKED[0].job, "session", NOTICED, 2, "default", data=data)], 1.0)
    store.moves = list(moves)
    await ask_for(parts_of(store), ASKED[:1], NAMED)
    assert store.jobs[ASKED[0].job].job.state == expected
    assert len(store.moves) == max(0, len(moves) - TIMES - 1)
