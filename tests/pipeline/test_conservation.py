"""Conservation: whatever happens, each record is answered once and no unsafe call is made twice.

Random interleavings of new records, time, kills at any operation, faults of both sides and rows set back by somebody;
in the end the faults stop and everything must come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import logs
from support.appliances import FakeKeys
from support.memory import When
from support.pipeline import Life, World, jobs_of
from support.sides import USER
from support.signing import KEY, KEY_ID, signature
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
    "choking": {"payload": "unsafe default json"},
    "undated": {"payload": "unsafe default", "sys_created_on": ""},
}
INSERT_FAULTS = ["late", "lost", "500", "500 after", "done", "not sent", "forbidden", "refused"]
LARGE_FAULTS = [
    ("begin_large", "done"),
    ("begin_large", "refused"),
    ("finish_large", "late"),
    ("finish_large", "done"),
    ("finish_large", "refused"),
    ("finish_large", "gone"),
]
OTHER_FAULTS = [
    ("poll", "busy"),
    ("poll", "foreign"),
    ("claim", "late"),
    ("claim", "lost"),
    ("claim", "500 after"),
    ("claim", "done"),
    ("claim", "forbidden"),
    ("read", "not sent"),
    ("find", "not sent"),
    ("close", "lost"),
    ("close", "done"),
    ("close", "refused"),
    ("processing", "not sent"),
    ("fetch_payload", "not sent"),
    ("fetch_payload", "gone"),
]
CALL_FAULTS = ["not sent", "lost", "done", "429", "paced", "too large", "bug", "final"]
POINTS = [
    *("", "call", "call", "insert", "insert", "change", "change_once", "change_once", "append", "claim", "add"),
    *("begin_large", "finish_large"),
]
WHEN = st.sampled_from(["before", "after"])
AT_REST = {"CLOSED", "tombstone"}


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
        self.copies: list[set[str]] = []
        self.refusals = False

    @initialize(keeps=st.booleans(), marks=st.booleans(), user=st.booleans(), slow=st.booleans())
    def make(self, keeps: bool, marks: bool, user: bool, slow: bool) -> None:
        self.world = World(self.clock, keeps=keeps, marks=marks)
        self.world.user = USER if user else ""
        self.world.keys = FakeKeys(**{KEY_ID: KEY.encode()})
        self.world.queue.latency = 0.3 if slow else 0.0
        self.world.appliances.latency = 0.3 if slow else 0.0
        for kind in ("unsafe", "safe"):
            self.arrive(kind, 2, False)

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
        if kind == "choking":
            world.appliances.choking.add(one)
        if kind == "bare":
            world.queue.too_large.add(one)
        if kind == "attached":
            world.queue.attachments[one] = "unsafe default"
        if large:
            world.appliances.large.add(one)

    @rule(kind=st.sampled_from(["safe", "unsafe"]), number=st.integers(1, 3), age=st.sampled_from([0, 0, 0, 200, 8000]))
    def arrive_signed(self, kind: str, number: int, age: int) -> None:
        """A signed record arrives, and copies of it; also one that was signed long ago."""
        world = self._the_world
        nonce = f"nonce-no-{len(self.copies)}"
        time = (world.queue.server_now() or 0.0) - age
        made = signature(operation=kind, arguments={"a": "1"}, time=time, nonce=nonce, by="caller", correlator="c")
        group: set[str] = set()
        for _ in range(number):
            self.number += 1
            group.add(world.queue.output(self.number, payload=f"{kind} default sig={made}", agent_correlator="c"))
        self.outputs += sorted(group)
        self.copies.append(group)
        if kind == "unsafe":
            self.unsafe |= group

    @rule(known=st.booleans())
    def lose_clock(self, known: bool) -> None:
        """ServiceNow's clock is not known for a while."""
        world = self._the_world
        world.queue.server_now = (lambda: world.clock.wall() - world.jumped) if known else (lambda: None)

    @rule(seconds=st.sampled_from([0.3, 3.0, 12.0, 80.0]))
    def live(self, seconds: float) -> None:
        """Time passes with the relay running; it is started when it is not."""
        if self.life is None:
            self.life = self._the_world.life()
        self._go(self.life.run(seconds))
        if self.life.gate.dead.is_set():
            self.life = None

    @rule(
        kind=st.sampled_from(["safe", "unsafe", "unsafe json", "attached", "signed"]),
        point=st.sampled_from(POINTS),
        nth=st.sampled_from([1, 1, 1, 2]),
        when=WHEN,
        away=st.sampled_from([1.0, 45.0]),
    )
    def die(self, kind: str, point: str, nth: int, when: When, away: float) -> None:
        """A record arrives, and the process is killed on its path: before an effect, or before it learns of it."""
        if kind == "signed":
            self.arrive_signed("unsafe", 2, 0)
        else:
            self.arrive(kind, 1, point.endswith("large"))
        self.life = self.life or self._the_world.life()
        self.life.gate.kill_at(point, nth if point else 10 * nth, when)
        self.live(30.0)
        self._go(asyncio.sleep(away))

    @rule()
    def crash(self) -> None:
        """The process is killed between two operations."""
        if self.life is not None:
            self._go(self.life.crash())
            self.life = None

    @rule(faults=st.lists(st.sampled_from(INSERT_FAULTS), min_size=1, max_size=3), die=st.booleans(), when=WHEN)
    def spoil_inserts(self, faults: list[str], die: bool, when: When) -> None:
        """A record arrives whose inserts fail, in a life that may end with the first of them."""
        self.refusals = self.refusals or not {"refused", "forbidden"}.isdisjoint(faults)
        self.arrive("safe", 0, False)
        self._the_world.queue.faults["insert"].extend(faults)
        self.life = self.life or self._the_world.life()
        if die:
            self.life.gate.kill_at("insert", 1, when)
        self.live(12.0)

    @rule(faults=st.lists(st.sampled_from(LARGE_FAULTS), min_size=1, max_size=4))
    def spoil_large(self, faults: list[tuple[str, str]]) -> None:
        """A record with a large answer arrives, whose parts fail."""
        self.arrive("safe", 1, True)
        for name, fault in faults:
            self.refusals = self.refusals or fault in {"refused", "gone"}
            self._the_world.queue.faults[name].append(fault)
        self.live(12.0)

    @rule(fault=st.sampled_from(OTHER_FAULTS), number=st.integers(1, 3))
    def spoil_servicenow(self, fault: tuple[str, str], number: int) -> None:
        """The next requests of another kind fail."""
        self._the_world.queue.faults[fault[0]].extend([fault[1]] * number)

    @rule(fault=st.sampled_from(CALL_FAULTS), number=st.integers(1, 3))
    def spoil_appliance(self, fault: str, number: int) -> None:
        """The next calls fail in one way."""
        self._the_world.appliances.faults["call"].extend([fault] * number)

    @rule(
        name=st.sampled_from(["change", "change", "change", "due", "bodies", "add", "set_fact", "append"]),
        skip=st.integers(0, 5),
        number=st.sampled_from([1, 2, 12]),
        kind=st.sampled_from(["safe", "unsafe"]),
    )
    def spoil_disk(self, name: str, skip: int, number: int, kind: str) -> None:
        """A record arrives, and the disk is full for a moment on its path."""
        self.arrive(kind, 0, False)
        self._the_world.spoil_disk(name, number, skip)
        self.live(12.0)

    @rule(seconds=st.sampled_from([3.0, 40.0]), servicenow=st.booleans())
    def outage(self, seconds: float, servicenow: bool) -> None:
        """One side goes away for a while."""
        self._the_world.queue.down = servicenow
        self._the_world.appliances.down = set() if servicenow else {"default"}
        self.live(seconds)
        self._the_world.queue.down = False
        self._the_world.appliances.down = set()

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
        for group in self.copies:
            assert sum(self.world.appliances.executed[one] > 0 for one in group) <= 1, group
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
        self.lose_clock(known=True)
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
            closed = answers == 1 and world.queue.rows[one]["state"] == "processed"
            fine = state == "DEAD" or (state in AT_REST and closed)
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
        logs.none()

    def tearDown(self) -> None:
        logs.plain()
