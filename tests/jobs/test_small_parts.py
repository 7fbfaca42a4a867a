"""Beats, conditions, holds and waits."""

from __future__ import annotations

from support.memory import MemoryStore
from support.virtual import EPOCH

from relay.core.errors import ServiceNowError, StorageError
from relay.core.jobs import Job
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Hold, Holds
from relay.jobs.stage import Stage
from relay.jobs.waits import Waits


class Hands:
    """Clocks that are set by hand."""

    def __init__(self) -> None:
        self.walls = EPOCH
        self.monotonics = 0.0

    def wall(self) -> float:
        return self.walls

    def monotonic(self) -> float:
        return self.monotonics

    def go(self, seconds: float) -> None:
        self.walls += seconds
        self.monotonics += seconds


def job(
    one: str = "a",
    *,
    not_before: float = 0.0,
    lane: str = "",
    state: str = "SEEN",
    priority: int = 2,
    updated: float = EPOCH,
) -> Job:
    return Job(one, "queue", state, 1, priority, lane, not_before, 0, updated, updated)


def test_who_is_not_heard_of_in_time_is_late() -> None:
    """A loop is late exactly when its own time is over, until it beats again or ends."""
    clock = Hands()
    beats = Beats(clock)
    beats.beat("slow", 100.0)
    beats.beat("quick", 10.0)
    clock.go(10.0)
    assert beats.late() == []
    clock.go(0.5)
    assert beats.late() == ["quick"]
    clock.walls += 1e6
    assert beats.late() == ["quick"]
    clock.go(100.0)
    assert beats.late() == ["quick", "slow"]
    beats.beat("slow", 1.0)
    beats.end("quick")
    beats.end("never heard of")
    assert beats.late() == []


def test_a_condition_stands_from_its_first_meeting_until_it_is_cleared() -> None:
    """The same code again changes nothing, another code replaces it, clearing ends it."""
    clock = Hands()
    conditions = Conditions(clock)
    conditions.fail("servicenow", ServiceNowError(2001, "first"))
    clock.go(5.0)
    conditions.fail("servicenow", ServiceNowError(2001, "second"))
    conditions.fail("store", StorageError(5004))
    assert [(one.subject, one.error.detail, one.since) for one in conditions.all()] == [
        ("servicenow", "first", EPOCH),
        ("store", "", EPOCH + 5.0),
    ]
    conditions.fail("servicenow", ServiceNowError(2003))
    assert [one.error.number for one in conditions.all()] == [2003, 5004]
    conditions.clear("servicenow")
    conditions.clear("servicenow")
    assert not conditions.has("servicenow")
    assert conditions.has("store")


async def test_holds_outlive_the_process() -> None:
    """A hold is in force again after a restart, with author, reason and moment."""
    store, clock = MemoryStore(), Hands()
    await Holds(store, clock).set("local", author="root", reason="maintenance", everything=True)
    holds = Holds(store, clock)
    assert holds.work
    await holds.load()
    assert not holds.work
    assert holds.get("local") == Hold("root", "maintenance", EPOCH, everything=True)
    assert holds.all() == {"local": holds.get("local")}
    assert await holds.lift("local", author="root")
    assert not await holds.lift("local", author="root")
    again = Holds(store, clock)
    await again.load()
    assert again.work
    assert again.unsafe_work


async def test_each_hold_is_lifted_by_itself() -> None:
    """Lifting the remote hold leaves the local one, and the guard stops unsafe work alone."""
    holds = Holds(MemoryStore(), Hands())
    changes: list[bool] = []
    holds.changed = lambda: changes.append(holds.work)
    await holds.set("local", author="root", reason="r")
    await holds.set("remote", author="servicenow", reason="r")
    await holds.lift("remote", author="servicenow")
    assert not holds.work
    await holds.lift("local", author="root")
    await holds.set("guard", author="relay", reason="another poller")
    assert holds.work
    assert not holds.unsafe_work
    assert changes == [False, False, False, True, True]


def test_a_stage_wants_jobs_of_its_kind_state_and_lane() -> None:
    """A job is wanted when kind, state, lane and the stage's own taste agree."""

    async def handle(_jobs: object) -> None: ...

    stage = Stage("s", "queue", ("SEEN",), handle, lane="a", accepts=lambda one: one.priority == 2)
    assert stage.wants(job(lane="a"))
    assert not stage.wants(job(lane="b"))
    assert not stage.wants(job(lane="a", state="CLAIMED"))
    assert not stage.wants(job(lane="a", priority=1))
    assert Stage("s", "queue", ("SEEN",), handle).wants(job(lane="b"))
    assert not Stage("s", "other", ("SEEN",), handle).wants(job())
    assert (stage.open(), stage.size(), stage.linger()) == (True, 1, 0.0)


def test_while_the_clocks_agree_waits_are_the_stores() -> None:
    """Without a clock that was set there is nothing to correct."""
    clock = Hands()
    waits = Waits(clock)
    waits.hear(job(not_before=EPOCH + 60.0))
    clock.go(59.0)
    assert waits.not_over() == set()
    assert waits.over() == []


def test_a_clock_set_forward_cuts_no_wait_short() -> None:
    """A wait of a minute is a minute, even when the wall clock is set an hour forward in it."""
    clock = Hands()
    waits = Waits(clock)
    waits.hear(job("a", not_before=EPOCH + 60.0))
    clock.walls += 3600.0
    assert waits.not_over() == {"a"}
    clock.go(61.0)
    assert waits.not_over() == set()
    waits.hear(job("a"))
    assert waits.over() == []


def test_a_clock_set_back_holds_nothing_up() -> None:
    """A wait of a minute is a minute, even when the wall clock is set back by half an hour in it."""
    clock = Hands()
    waits = Waits(clock)
    waits.hear(job("a", not_before=EPOCH + 60.0))
    clock.walls -= 1800.0
    assert waits.over() == []
    clock.go(60.5)
    assert [one.id for one in waits.over()] == ["a"]
    waits.hear(job("a"))
    assert waits.over() == []


def test_an_old_step_of_the_clock_is_forgotten() -> None:
    """When every wait from before a step is over, nothing is compared any more."""
    clock = Hands()
    waits = Waits(clock)
    clock.walls += 3600.0
    assert waits.not_over() == set()
    clock.go(4001.0)
    waits.hear(job("a", not_before=clock.wall() + 60.0, updated=clock.wall()))
    clock.go(1.0)
    assert waits.not_over() == set()
