"""Conservation: whatever crashes and whatever the sides do, each record is answered once and no unsafe call is made twice.

Random interleavings of new records, time, kills at any operation, faults of both sides and rows set back by somebody;
in the end the faults stop and everything must come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

import structlog
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.memory import Gate
from support.pipeline import Life, World, jobs_of
from support.sides import USER
from support.virtual import VirtualClock, VirtualLoop

PAYLOADS = {
    "safe": {"payload": "safe default"},
    "safe json": {"payload": "safe second json"},
    "unsafe": {"payload": "unsafe default"},
    "unsafe json": {"payload": "unsafe second json"},
    "denied": {"payload": "denied"},
    "disabled": {"payload": "disabled"},
    "broken": {"payload": "broken"},
    "bug": {"payload": "bug"},
    "token": {"payload": "token"},
    "heartbeat": {"topic": "HeartbeatProbe", "priority": "0"},
    "pause": {"topic": "SystemCommand", "source": "getResourceState", "priority": "0"},
    "bare": {"payload": "unsafe default"},
    "attached": {"payload": "<see_attachment/>"},
    "undated": {"payload": "unsafe default", "sys_created_on": ""},
}
QUEUE_FAULTS = {
    "poll": ["not sent", "busy", "foreign"],
    "claim": ["late", "lost", "500", "500 after", "done", "not sent", "forbidden"],
    "read": ["not sent"],
    "find": ["not sent", "busy"],
    "insert": ["late", "lost", "500", "500 after", "done", "not sent", "busy", "forbidden", "refused"],
    "begin_large": ["late", "lost", "500 after", "done", "not sent", "refused"],
    "finish_large": ["late", "lost", "500 after", "done", "not sent", "refused", "gone"],
    "close": ["late", "lost", "500 after", "done", "not sent", "refused"],
    "processing": ["not sent"],
    "fetch_payload": ["not sent", "too large", "gone"],
}
CALL_FAULTS = ["not sent", "lost", "done", "429", "paced", "too large", "bug", "final"]
AT_REST = {"", "CLOSED", "DEAD", "tombstone"}


class Conservation(RuleBasedStateMachine):
    """One world, many lives of the relay."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = VirtualClock(self.runner.get_loop())
        self.world: World | None = None
        self.life: Life | None = None
        self.number = 0
        self.outputs: list[str] = []
        self.unsafe: set[str] = set()
        self.refusals = False

    @initialize(keeps=st.booleans(), marks=st.booleans(), user=st.booleans(), slow=st.booleans())
    def make(self, keeps: bool, marks: bool, user: bool, slow: bool) -> None:
        self.world = World(self.clock, keeps=keeps, marks=marks)
        self.world.user = USER if user else ""
        self.world.queue.latency = 0.3 if slow else 0.0
        self.world.appliances.latency = 0.3 if slow else 0.0

    def _go(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @property
    def _the_world(self) -> World:
        assert self.world is not None
        return self.world

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(sorted(PAYLOADS)), priority=st.integers(0, 2), large=st.booleans())
    def arrive(self, kind: str, priority: int, large: bool) -> None:
        """A record arrives; `large` ones have an answer that goes up as an attachment."""
        world = self._the_world
        self.number += 1
        one = world.queue.output(self.number, **{"priority": str(priority), **PAYLOADS[kind]})
        self.outputs.append(one)
        if "unsafe" in PAYLOADS[kind].get("payload", "") or kind == "attached":
            self.unsafe.add(one)
        if kind == "bare":
            world.queue.too_large.add(one)
        if kind == "attached":
            world.queue.attachments[one] = "unsafe default"
        if large:
            world.appliances.large.add(one)

    @rule(seconds=st.sampled_from([0.02, 0.5, 3.0, 11.0, 70.0, 300.0]))
    def live(self, seconds: float) -> None:
        """Time passes with the relay running; it is started when it is not."""
        if self.life is None:
            self.life = self._the_world.life()
        self._go(self.life.run(seconds))
        if self.life.gate.dead.is_set():
            self.life = None

    @rule(after=st.integers(1, 60), when=st.sampled_from(["before", "after"]))
    def die(self, after: int, when: Literal["before", "after"]) -> None:
        """The process is killed at one of its next operations."""
        if self.life is None:
            self.life = self._the_world.life(Gate(after, when))
        else:
            self.life.gate.at, self.life.gate.when = self.life.gate.passed + after, when
        self.live(70.0)

    @rule()
    def crash(self) -> None:
        """The process is killed between two operations."""
        if self.life is not None:
            self._go(self.life.crash())
            self.life = None

    @rule(data=st.data(), number=st.integers(1, 3))
    def spoil_servicenow(self, data: st.DataObject, number: int) -> None:
        """The next requests to ServiceNow fail in one of its ways."""
        name = data.draw(st.sampled_from(sorted(QUEUE_FAULTS)))
        fault = data.draw(st.sampled_from(QUEUE_FAULTS[name]))
        self.refusals = self.refusals or fault in {"refused", "forbidden", "gone"}
        self._the_world.queue.faults[name].extend([fault] * number)

    @rule(fault=st.sampled_from(CALL_FAULTS), number=st.integers(1, 3))
    def spoil_appliance(self, fault: str, number: int) -> None:
        """The next calls fail in one way."""
        self._the_world.appliances.faults["call"].extend([fault] * number)

    @rule(number=st.integers(1, 3), name=st.sampled_from(["change", "due", "bodies", "add", "set_fact", "append"]))
    def spoil_disk(self, number: int, name: str) -> None:
        """The disk is full for a moment."""
        self._the_world.spoil_disk(name, number)

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        """ServiceNow goes away, or comes back."""
        self._the_world.queue.down = down

    @rule(down=st.booleans())
    def appliance_outage(self, down: bool) -> None:
        """An appliance goes away, or comes back."""
        self._the_world.appliances.down = {"default"} if down else set()

    @rule(data=st.data())
    def set_back(self, data: st.DataObject) -> None:
        """Somebody sets a row back to `ready`."""
        if self.outputs:
            one = data.draw(st.sampled_from(self.outputs))
            self._the_world.queue.write(one, by="admin", state="ready")

    @rule(data=st.data())
    def hide(self, data: st.DataObject) -> None:
        """A row is hidden from our user by an access rule, or all are shown again."""
        if self.outputs:
            hidden = self._the_world.queue.hidden
            one = data.draw(st.sampled_from(self.outputs))
            if hidden:
                hidden.clear()
            else:
                hidden.add(one)

    @rule(jump=st.sampled_from([-1000.0, -20.0, 20.0, 1000.0]))
    def clock_jumps(self, jump: float) -> None:
        """This machine's clock jumps; ServiceNow's does not."""
        self._the_world.jump(jump)

    # -- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_twice(self) -> None:
        """No record has two answers, no unsafe call was executed twice, no answer belongs to another record."""
        if self.world is None:
            return
        for one in self.outputs:
            answers = self.world.queue.answers(one)
            assert len(answers) <= 1, one
            if answers:
                assert f"|{one}|" in self.world.queue.answer_text(one)
        for one in self.unsafe:
            assert self.world.appliances.executed[one] <= 1, one
        for one, number in self.world.appliances.executed.items():
            assert sum(line["event"] == "intent" and line["job"] == one for line in self.world.audit.lines) >= number

    def teardown(self) -> None:
        """The faults stop: everything comes to rest, with one answer each."""
        try:
            if self.world is not None:
                self._come_to_rest()
        finally:
            self.crash()
            self.runner.close()

    def _come_to_rest(self) -> None:
        world = self._the_world
        world.mend()
        for _ in range(40):
            self.live(150.0)
            self.nothing_twice()
            if self._rests():
                break
            self.arrive("heartbeat", 0, False)
        else:
            self._rests(explain=True)
        dead = jobs_of(world, "DEAD")
        assert self.refusals or not dead

    def _rests(self, *, explain: bool = False) -> bool:
        world = self._the_world
        for one in self.outputs:
            state, answers = world.state(one), len(world.queue.answers(one))
            fine = state in AT_REST and (answers == 1 or state == "DEAD") and world.queue.rows[one]["state"] != "ready"
            fine = fine and (state == "DEAD" or world.queue.rows[one]["state"] == "processed")
            if explain:
                assert fine, (one, state, answers, world.queue.rows[one], world.store.jobs.get(one))
            if not fine:
                return False
        return True


Conservation.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, phases=[Phase.generate, Phase.reuse]
)


class TestConservation(Conservation.TestCase):  # type: ignore[name-defined,misc]
    """Each record is answered at most once, in the end exactly once, and no unsafe call happens twice."""

    def setUp(self) -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

    def tearDown(self) -> None:
        structlog.reset_defaults()
