"""What the store promises its users, method by method."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.store import NOW, new, open_store

from relay.core.errors import InternalError
from relay.core.jobs import Change, Job, Tombstone, changed
from relay.storage.due import MAX_BACKOFF
from relay.storage.sqlite import LARGE, SqliteStore


async def added(store: SqliteStore, *names: str, **fields: object) -> list[Job]:
    jobs = await store.add([new(name, **fields) for name in names], NOW)  # type: ignore[arg-type]
    assert None not in jobs
    return [job for job in jobs if job is not None]


async def test_a_new_job_is_stored_as_it_was_given(store: SqliteStore) -> None:
    """What `add` returns, and `get` afterwards, is the new job with version 1 and the time it was stored."""
    (job,) = await added(store, "a", priority=1, lane="default", not_before=5, data={"x": [1, "\ud800é"]})
    assert job == Job("a", "queue", "SEEN", 1, 1, "default", 5, 0, NOW, NOW, {"x": [1, "\ud800é"]})
    assert await store.get(["a", "b"]) == [job, None]


async def test_an_id_is_stored_once(store: SqliteStore) -> None:
    """A second job of an id is refused, in the same call and later, and leaves the first as it is."""
    first, second = await store.add([new("a"), new("a", "CLOSED")], NOW)
    assert first is not None
    assert second is None
    assert await store.add([new("a", "CLOSED", bodies={"p": b"x"})], NOW) == [None]
    assert await store.get(["a"]) == [first]
    assert await store.bodies(["a"], "p") == [None]


async def test_an_id_with_a_tombstone_is_not_stored(store: SqliteStore) -> None:
    """What was swept does not come back as new work."""
    await added(store, "a", state="CLOSED")
    assert await store.sweep("queue", ["CLOSED"], NOW + 1, 0, 10) == 1
    assert await store.add([new("a")], NOW) == [None]
    assert await store.known(["a", "b"]) == {"a": "tombstone"}


async def test_a_change_is_compared_with_state_and_version(store: SqliteStore) -> None:
    """A change of a job that moved on meanwhile does nothing; others of the same call stand."""
    one, two = await added(store, "a", "b")
    first = changed(one, "CLAIMED", NOW + 1, attempts=1, priority=0, lane="x", wait=9.0, data={"k": 1})
    assert await store.change([Change(one, first)]) == [True]
    late = changed(one, "ANSWERED", NOW + 2)
    other = changed(two, "CLAIMED", NOW + 2)
    assert await store.change([Change(one, late, {"p": b"x"}), Change(two, other)]) == [False, True]
    assert await store.get(["a", "b"]) == [first, other]
    assert await store.bodies(["a"], "p") == [None]


async def test_of_two_changes_of_one_version_one_wins(store: SqliteStore) -> None:
    """Two changes from the same version, in one call or at the same time, cannot both be stored."""
    (job,) = await added(store, "a")
    change = Change(job, changed(job, "CLAIMED", NOW))
    results = await asyncio.gather(store.change([change, change]), store.change([change]))
    assert sorted(results[0] + results[1]) == [False, False, True]


async def test_a_change_takes_the_next_version(store: SqliteStore) -> None:
    """A change that skips a version, or gives a job another id or kind, is a fault of the caller."""
    (job,) = await added(store, "a")
    right = changed(job, "CLAIMED", NOW)
    for wrong in (job, replace(right, version=3), replace(right, id="b"), replace(right, kind="other")):
        with pytest.raises(InternalError):
            await store.change([Change(job, wrong)])


async def test_a_forgotten_job_leaves_nothing(store: SqliteStore) -> None:
    """`forget` deletes job and bodies without a tombstone, so that the record may come back."""
    (job,) = await added(store, "a", bodies={"p": b"x"})
    stale = changed(job, "CLAIMED", NOW)
    assert await store.forget([stale]) == [False]
    assert await store.forget([job, job]) == [True, False]
    assert await store.known(["a"]) == {}
    (again,) = await added(store, "a")
    assert again == job
    assert await store.bodies(["a"], "p") == [None]


async def test_bodies_are_added_replaced_and_deleted_with_a_change(store: SqliteStore) -> None:
    """Bodies follow the change that names them, and None deletes."""
    (job,) = await added(store, "a", bodies={"p": b"one", "q": b""})
    after = changed(job, "CLAIMED", NOW)
    assert await store.change([Change(job, after, {"p": b"two", "q": None, "r": b"x" * 5000})]) == [True]
    for name, body in (("p", b"two"), ("q", None), ("r", b"x" * 5000)):
        assert await store.bodies(["a", "zz"], name) == [body, None]


async def test_large_bodies_come_back(store: SqliteStore) -> None:
    """Bodies that are sealed and opened in worker threads are the same afterwards."""
    body = bytes(range(256)) * (LARGE // 128)
    await added(store, "a", bodies={"p": body})
    assert await store.bodies(["a"], "p") == [body]


async def test_due_serves_each_priority_oldest_first(store: SqliteStore) -> None:
    """Up to `limit` of each priority, the oldest first; a long queue of one priority does not hide another."""
    for age in range(4):
        await store.add([new(f"low{age}", priority=2), new(f"high{age}", priority=0)], NOW + age)
    due = await store.due("queue", ["SEEN"], None, NOW + 9, 2)
    assert [job.id for job in due] == ["high0", "high1", "low0", "low1"]


async def test_due_asks_for_kind_states_and_lane(store: SqliteStore) -> None:
    """Only jobs of the kind, the states and, when given, the lane are due."""
    await added(store, "a", lane="x")
    await added(store, "b", lane="y")
    await added(store, "c", lane="y", state="CLAIMED")
    await added(store, "d", kind="session")
    await added(store, "e")

    async def due(states: list[str], lane: str | None) -> list[str]:
        return [job.id for job in await store.due("queue", states, lane, NOW, 10)]

    assert await due(["SEEN"], None) == ["a", "b", "e"]
    assert await due(["SEEN"], "y") == ["b"]
    assert await due(["SEEN"], "") == ["e"]
    assert await due(["SEEN", "CLAIMED"], "y") == ["b", "c"]
    assert await due([], None) == []


async def test_a_job_that_was_put_off_waits(store: SqliteStore) -> None:
    """A job is due from its `not_before` on, and `next_due` tells when that is."""
    await added(store, "a", not_before=NOW + 10)
    await added(store, "b", not_before=NOW + 20)
    await added(store, "c")
    assert [job.id for job in await store.due("queue", ["SEEN"], None, NOW + 9.9, 10)] == ["c"]
    assert await store.next_due("queue", ["SEEN"], None, NOW) == NOW + 10
    assert await store.next_due("queue", ["SEEN"], None, NOW + 10) == NOW + 20
    assert await store.next_due("queue", ["SEEN"], "x", NOW) is None
    assert [job.id for job in await store.due("queue", ["SEEN"], None, NOW + 10, 10)] == ["a", "c"]


async def test_a_wait_beyond_all_waits_is_over(store: SqliteStore) -> None:
    """A `not_before` further away than any back-off was written under a wrong clock: the job is due now."""
    await added(store, "far", not_before=NOW + MAX_BACKOFF + 1)
    await added(store, "near", not_before=NOW + MAX_BACKOFF)
    assert [job.id for job in await store.due("queue", ["SEEN"], None, NOW, 10)] == ["far"]
    assert await store.next_due("queue", ["SEEN"], None, NOW) == NOW + MAX_BACKOFF


async def test_a_long_wait_does_not_starve_behind_new_work(store: SqliteStore) -> None:
    """A job that was put off and whose time has come is served before younger work that never waited."""
    await store.add([new("old", not_before=NOW + 5)], NOW)
    await store.add([new(f"new{number}") for number in range(10)], NOW + 1)
    assert [job.id for job in await store.due("queue", ["SEEN"], None, NOW + 6, 1)] == ["old"]


async def test_select_gives_jobs_oldest_first(store: SqliteStore) -> None:
    """`select` filters by kind and states, where None is any, and returns the oldest first."""
    await store.add([new("b")], NOW + 2)
    await store.add([new("a", "DEAD"), new("c", kind="session")], NOW + 1)

    async def ids(kind: str | None, states: list[str] | None, limit: int = 10) -> list[str]:
        return [job.id for job in await store.select(kind, states, limit)]

    assert await ids(None, None) == ["a", "c", "b"]
    assert await ids("queue", None) == ["a", "b"]
    assert await ids(None, ["DEAD", "OTHER"]) == ["a"]
    assert await ids("queue", ["SEEN"]) == ["b"]
    assert await ids("queue", []) == []
    assert await ids(None, None, 1) == ["a"]


async def test_newest_gives_jobs_newest_first(store: SqliteStore) -> None:
    """`newest` filters by kind and lane, where None is any, and returns the newest first, of one moment the last."""
    await store.add([new("b", lane="x"), new("d")], NOW + 2)
    await store.add([new("a", "DEAD", lane="x"), new("c", kind="session")], NOW + 1)

    async def ids(kind: str, lane: str | None, limit: int = 10) -> list[str]:
        return [job.id for job in await store.newest(kind, lane, limit)]

    assert await ids("queue", None) == ["d", "b", "a"]
    assert await ids("queue", "x") == ["b", "a"]
    assert await ids("queue", None, 1) == ["d"]
    assert await ids("session", "x") == []


async def test_counts_and_known(store: SqliteStore) -> None:
    """`counts` numbers jobs by kind, state and lane; `known` tells the state of an id."""
    await added(store, "a", "b", lane="x")
    await added(store, "c", state="DEAD")
    assert await store.counts() == {("queue", "SEEN", "x"): 2, ("queue", "DEAD", ""): 1}
    assert await store.known(["a", "c", "d"]) == {"a": "SEEN", "c": "DEAD"}


async def test_sweep_makes_tombstones(store: SqliteStore) -> None:
    """A finished job becomes a tombstone with what its data says of outcome and digest; the limit holds."""
    await added(store, "a", state="CLOSED", data={"outcome": "answered", "digest": "ff"})
    await added(store, "b", state="CLOSED", data={"outcome": 5}, bodies={"p": b"x"})
    await added(store, "c", state="SEEN")
    assert await store.sweep("queue", ["CLOSED"], NOW, 0, 10) == 0
    assert await store.sweep("queue", ["DEAD", "CLOSED"], NOW + 1, 0, 1) == 1
    assert await store.sweep("queue", ["CLOSED"], NOW + 1, 0, 10) == 1
    assert await store.tombstones(["a", "b", "c"]) == [
        Tombstone("a", "queue", "answered", "ff", NOW),
        Tombstone("b", "queue", "CLOSED", "", NOW),
        None,
    ]
    assert await store.get(["a", "b"]) == [None, None]
    assert await store.bodies(["b"], "p") == [None]


async def test_old_tombstones_go(store: SqliteStore) -> None:
    """Tombstones of the kind closed before the given time are deleted, and their ids are new again."""
    await added(store, "a", state="CLOSED")
    await store.sweep("queue", ["CLOSED"], NOW + 1, NOW, 10)
    assert await store.known(["a"]) == {"a": "tombstone"}
    await store.sweep("session", ["CLOSED"], NOW + 1, NOW + 1, 10)
    assert await store.known(["a"]) == {"a": "tombstone"}
    await store.sweep("queue", ["CLOSED"], NOW + 1, NOW + 1, 10)
    assert await store.known(["a"]) == {}


async def test_facts_are_kept(store: SqliteStore) -> None:
    """A fact is any JSON value; None deletes it."""
    assert await store.fact("hold") is None
    await store.set_fact("hold", {"reason": "é", "since": 1.5})
    assert await store.fact("hold") == {"reason": "é", "since": 1.5}
    await store.set_fact("hold", False)
    assert await store.fact("hold") is False
    await store.set_fact("hold", None)
    assert await store.fact("hold") is None


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """What was stored is the same when the store is opened again."""
    store = await open_store(tmp_path)
    jobs = await added(store, "a", "b", bodies={"p": b"body"})
    await store.set_fact("f", 1)
    await store.close()
    await store.close()
    store = await open_store(tmp_path)
    assert await store.get(["a", "b"]) == jobs
    assert await store.bodies(["a"], "p") == [b"body"]
    assert await store.fact("f") == 1
    await store.close()


async def test_close_finishes_what_was_asked(tmp_path: Path) -> None:
    """Calls under way when the store is closed are done and durable; calls after it are refused."""
    store = await open_store(tmp_path)
    asked = [asyncio.create_task(store.add([new(f"{number}")], NOW)) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert all(job is not None for result in await asyncio.gather(*asked) for job in result)
    with pytest.raises(RuntimeError):
        await store.counts()
    store = await open_store(tmp_path)
    assert await store.counts() == {("queue", "SEEN", ""): 20}
    await store.close()


async def test_a_call_that_is_cancelled_spoils_nothing(store: SqliteStore) -> None:
    """A caller that goes away does not disturb the calls that share its commit."""
    gone = asyncio.create_task(store.add([new("a")], NOW))
    kept = asyncio.create_task(store.add([new("b")], NOW))
    await asyncio.sleep(0)
    gone.cancel()
    assert await kept != [None]
    assert await store.known(["b"]) == {"b": "SEEN"}
    with pytest.raises(asyncio.CancelledError):
        await gone
