"""Conservation: whatever happens, each session comes home once, and no journal has its entry twice.

Random interleavings of sessions, events that are lost, doubled or early, time, kills at any operation, faults of both
sides and of the disk; in the end the faults stop and everything must come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import logs
from support.memory import Killed, When
from support.sessionflow import ITEM, Life, World
from support.virtual import VirtualClock, VirtualLoop

from relay.core.errors import StorageError
from relay.core.session_job import DEAD
from relay.jobs.ledger import Move

POINTS = [
    *("", "add", "change", "set_fact", "bodies", "call", "find", "has"),
    *("upsert", "insert", "note", "entry", "entered", "keep"),
]
NOTES = ["late", "late", "lost", "done", "not sent", "busy", "forbidden", "bug"]
WRITES = [
    *[("note", fault) for fault in NOTES],
    *[("entry", fault) for fault in NOTES],
    *[(name, fault) for name in ("upsert", "insert", "keep") for fault in ("late", "lost", "done", "not sent", "bug")],
    *[(name, "not sent") for name in ("tables", "find", "has", "noted", "entered")],
]
WHEN = st.sampled_from(["", "before", "after"])
CALLS = ["broken", "503", "3009", "3019"]


class Conservation(RuleBasedStateMachine):
    """One world, many lives of the relay."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = VirtualClock(self.runner.get_loop())
        self.world: World | None = None
        self.life: Life | None = None
        self.lsids: list[str] = []

    @initialize(tables=st.booleans(), readable=st.booleans())
    def make(self, tables: bool, readable: bool) -> None:
        self.world = World(self.clock, recordings="attach")
        self.world.keeps = True
        self.world.records.has_tables = tables
        self.world.records.readable = readable
        self.begin(0.0, 3, 1)
        self.live(10.0)

    def _go(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @property
    def _the_world(self) -> World:
        assert self.world is not None
        return self.world

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(ends_in=st.sampled_from([0.0, 30.0, 2000.0]), events=st.sampled_from([0, 3, 150]), posts=st.integers(0, 2))
    def begin(self, ends_in: float, events: int, posts: int) -> None:
        """A session, whose event comes at once, twice, or never."""
        item = ITEM if len(self.lsids) % 3 else ""
        more: dict[str, Any] = {"events": events, "recordings": events % 3, "item": item}
        lsid = self._the_world.session(len(self.lsids), ends_in=ends_in, **more)
        self.lsids.append(lsid)
        for _ in range(posts):
            self._go(self._post(lsid))

    async def _post(self, lsid: str) -> None:
        """An event, which the appliance forgets when the relay does not take it: the sweep must find the session."""
        self.life = self.life or self._the_world.life()
        try:
            await self.life.inbox.put(self._the_world.post(lsid))
        except (StorageError, Killed):
            return

    @rule(seconds=st.sampled_from([0.3, 3.0, 40.0, 400.0]))
    def live(self, seconds: float) -> None:
        """Time passes with the relay running; it is started when it is not."""
        self.life = self.life or self._the_world.life()
        self._go(self.life.run(seconds))
        if self.life.gate.dead.is_set():
            self.life = None

    @rule(
        point=st.sampled_from(POINTS),
        nth=st.integers(1, 3),
        when=st.sampled_from(["before", "after"]),
        away=st.sampled_from([1.0, 45.0, 20_000.0]),
    )
    def die(self, point: str, nth: int, when: When, away: float) -> None:
        """The process is killed while a session comes home, and away for a while."""
        self.life = self.life or self._the_world.life()
        self.life.gate.kill_at(point, nth if point else 7 * nth, when)
        self.begin(0.0, 3, 1)
        self.live(30.0)
        self._go(asyncio.sleep(away))

    @rule(
        faults=st.lists(st.sampled_from(WRITES), min_size=1, max_size=3), when=st.sampled_from(["", "before", "after"])
    )
    def spoil_servicenow(self, faults: list[tuple[str, str]], when: Any) -> None:
        """Requests of a session fail, in a life that may end with the first of them."""
        for name, fault in faults:
            self._the_world.records.faults[name].append(fault)
        if when:
            self.life = self.life or self._the_world.life()
            self.life.gate.kill_at(faults[0][0], 1, when)
        self.begin(0.0, 3, 1)
        self.live(12.0)

    @rule(
        name=st.sampled_from(["note", "entry"]),
        faults=st.lists(st.sampled_from(NOTES), min_size=1, max_size=3),
        when=WHEN,
    )
    def spoil_notes(self, name: str, faults: list[str], when: Any) -> None:
        """Journal entries fail, in a life that may end with the first of them."""
        self.spoil_servicenow([(name, fault) for fault in faults], when)

    @rule(fault=st.sampled_from(CALLS), number=st.integers(1, 4))
    def spoil_appliance(self, fault: str, number: int) -> None:
        """The next reports and listings fail."""
        for kind in ("AccessSession", "AccessSessionListing"):
            self._the_world.boxes.faults[kind].extend([fault] * number)

    @rule(name=st.sampled_from(["change", "add", "due", "bodies", "set_fact"]), number=st.integers(1, 5))
    def spoil_disk(self, name: str, number: int) -> None:
        """The disk is full for a moment."""
        self._the_world.spoil_disk(name, number)
        self.begin(0.0, 3, 1)
        self.live(12.0)

    @rule(jump=st.sampled_from([-1000.0, 1000.0]))
    def clock_jumps(self, jump: float) -> None:
        """This machine's clock jumps; the appliance's does not."""
        self._the_world.jump(jump)

    # -- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_twice(self) -> None:
        """No session has two notes, nor two entries on its configuration item."""
        records = self._the_world.records
        for lsid in self.lsids:
            assert records.notes_of(lsid) <= 1, lsid
            assert records.entries_of(lsid) <= 1, lsid

    def teardown(self) -> None:
        """The faults stop: everything comes to rest, with all its rows, and its note unless nobody can tell."""
        try:
            if self.world is not None:
                self._come_to_rest(self.world)
        finally:
            if self.life is not None:
                self._go(self.life.crash())
            self.runner.close()

    def _come_to_rest(self, world: World) -> None:
        world.mend()
        for _ in range(12):
            self.live(700.0)
            self.nothing_twice()
            for lsid in self.lsids:
                if self.life is not None and world.state(lsid) in {DEAD, "UNKEPT"}:
                    self._go(self._retry(self.life, lsid))
        for lsid in self.lsids:
            assert world.state(lsid) == "DONE", lsid
            rows = [row for row in world.records.rows.values() if row.values["lsid"] == lsid]
            fact = world.boxes.sessions["default", lsid]
            assert len(rows) == (fact.events + 1 + bool(fact.item) if world.records.has_tables else 0)
            kept = {name for one, name in world.records.kept if one == lsid}
            assert len(kept) == fact.recordings

    @staticmethod
    async def _retry(life: Life, lsid: str) -> None:
        await life.ledger.step(Move(life.world.job(lsid), "retried"))


Conservation.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, phases=[Phase.generate, Phase.reuse]
)


class TestConservation(Conservation.TestCase):  # type: ignore[name-defined,misc]
    """Each session comes home once, whatever happens on the way."""

    def setUp(self) -> None:
        logs.none()

    def tearDown(self) -> None:
        logs.plain()
