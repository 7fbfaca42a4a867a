"""The ledger: events along the table, stored by compare-and-set."""

from __future__ import annotations

import pytest
from support.memory import MemoryStore
from support.virtual import EPOCH

from relay.core.jobs import Job, NewJob, Nonce
from relay.core.machine import ImpossibleTransition
from relay.core.queue import QUEUE
from relay.jobs.ledger import Ledger, Move, StaleJob, trace_of


class Fixed:
    def wall(self) -> float:
        return EPOCH

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store, [QUEUE], Fixed())


async def added(ledger: Ledger, *names: str) -> list[Job]:
    jobs = await ledger.add([NewJob(name, "queue", "SEEN", 2, "lane", data={"a": 1, "b": 2}) for name in names])
    return [job for job in jobs if job is not None]


async def test_known_jobs_are_not_added_again(ledger: Ledger) -> None:
    """Adding a known id gives None and tells nobody."""
    heard: list[str] = []
    ledger.listen(lambda job: heard.append(job.id))
    await added(ledger, "one")
    assert await added(ledger, "one", "two") == await ledger._store.get(["two"])
    assert heard == ["one", "two"]


async def test_a_move_changes_state_data_and_bodies_at_once(ledger: Ledger, store: MemoryStore) -> None:
    """Data is merged, None removes a name, fields are set, a wait counts from the change and ends with the next."""
    (job,) = await added(ledger, "one")
    data, fields = {"a": None, "c": 3}, {"lane": "other"}
    after = await ledger.step(Move(job, "claimed", data=data, bodies={"row": b"x"}, fields=fields, wait=9.0))
    assert after.not_before == after.updated + 9.0
    assert after == store.jobs["one"].job
    assert (after.state, after.version, after.data, after.lane) == ("CLAIMED", 2, {"b": 2, "c": 3}, "other")
    assert await store.bodies(["one"], "row") == [b"x"]
    assert (await ledger.step(Move(after, "put off"))).not_before == 0.0


async def test_what_the_table_does_not_have_stores_nothing(ledger: Ledger, store: MemoryStore) -> None:
    """One impossible event among several raises before anything is stored."""
    one, two = await added(ledger, "one", "two")
    with pytest.raises(ImpossibleTransition):
        await ledger.apply([Move(one, "claimed"), Move(two, "closed")])
    assert store.jobs["one"].job == one


async def test_a_lost_race_gives_none_and_its_step_raises(ledger: Ledger, store: MemoryStore) -> None:
    """Of two moves of one job the second finds it changed, and nobody is told of it."""
    (job,) = await added(ledger, "one")
    await ledger.step(Move(job, "claimed"))
    heard: list[Job] = []
    ledger.listen(heard.append)
    assert await ledger.apply([Move(job, "put off")]) == [None]
    with pytest.raises(StaleJob, match="one"):
        await ledger.step(Move(job, "put off"))
    assert store.jobs["one"].job.state == "CLAIMED"
    assert heard == []


async def test_a_step_with_a_nonce_is_made_once(ledger: Ledger, store: MemoryStore) -> None:
    """The job that has a nonce moves; another one does not, nor one that had changed, nor one of a forgotten time."""
    one, two = await added(ledger, "one", "two")
    heard: list[str] = []
    ledger.listen(lambda job: heard.append(f"{job.id} {job.state}"))
    after = await ledger.step_once(Move(one, "claimed", data={"c": 3}), Nonce("nonce", 5.0))
    assert after == store.jobs["one"].job
    assert isinstance(after, Job)
    assert (after.state, after.data["c"]) == ("CLAIMED", 3)
    assert await ledger.step_once(Move(two, "claimed"), Nonce("nonce", 5.0)) == "used"
    await store.forget_nonces(9.0, 10)
    assert await ledger.step_once(Move(two, "claimed"), Nonce("other", 5.0)) == "forgotten"
    with pytest.raises(StaleJob, match="one"):
        await ledger.step_once(Move(one, "claimed"), Nonce("third", 9.0))
    with pytest.raises(ImpossibleTransition):
        await ledger.step_once(Move(two, "closed"), Nonce("fourth", 9.0))
    assert store.jobs["two"].job == two
    assert heard == ["one CLAIMED"]


async def test_a_dropped_job_leaves_no_trace(ledger: Ledger, store: MemoryStore) -> None:
    """A job that is not ours is forgotten, so that its row may come back; its neighbours are kept."""
    one, two = await added(ledger, "one", "two")
    heard: list[str] = []
    ledger.listen(lambda job: heard.append(job.state))
    dropped, kept = await ledger.apply([Move(one, "taken"), Move(two, "claimed")])
    assert dropped is not None
    assert kept is not None
    assert (dropped.state, kept.state) == ("DROPPED", "CLAIMED")
    assert await store.known(["one", "two"]) == {"two": "CLAIMED"}
    assert heard == ["DROPPED", "CLAIMED"]
    assert await ledger.apply([Move(one, "taken")]) == [None]
    assert await ledger.apply([]) == []
    assert await added(ledger, "one")


def test_a_trace_is_the_jobs_own_and_32_digits_long() -> None:
    """The trace id is made from the job's id alone."""
    assert trace_of("ab" * 16) == "ab" * 16
    assert trace_of("ab") == "ab".rjust(32, "0")
    assert len(trace_of("x" * 50)) == 32
