"""Conservation: whatever happens, a request has at most one decision on the wire, an allow only while it is fresh.

Random interleavings of requests, time, kills at any operation, faults of both sides, of the disk and of the clock,
posts that come twice and posts that say something else; in the end the faults stop and everything must come to rest.
What must be so when a decision leaves is looked at there, by the appliance's stand-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import logs
from support.approvalflow import Life, World
from support.memory import Killed, When
from support.virtual import VirtualClock, VirtualLoop

from relay.core.approval_values import Answer
from relay.core.errors import StorageError

POINTS = ["", "add", "change", "append", "find", "forward", "send", "due", "select"]
SNOW = ["down", "lost", "forbidden", "hangs", "slow", "bug"]
BOX = ["closed", "closed", "unroutable", "lost", "hangs", "bug", "503", "404"]
FAIR = {"ticket_id": "CHG0001"}
FOUL = {"ticket_id": "CHG0002"}


class Conservation(RuleBasedStateMachine):
    """One world, many lives of the relay."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = VirtualClock(self.runner.get_loop())
        self.world: World | None = None
        self.life: Life | None = None
        self.asked: dict[str, dict[str, str]] = {}
        self.allowed_there: set[str] = set()

    @initialize(mode=st.sampled_from(["evaluate", "evaluate", "forward"]), remember=st.sampled_from([0.0, 60.0]))
    def make(self, mode: str, remember: float) -> None:
        self.world = World(self.clock, mode=mode, remember=remember)
        self.ask(FAIR, 1)
        self.live(3.0)

    def _go(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @property
    def _the_world(self) -> World:
        assert self.world is not None
        return self.world

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(fields=st.sampled_from([FAIR, FAIR, FOUL]), posts=st.integers(1, 2))
    def ask(self, fields: dict[str, str], posts: int) -> None:
        """A request, which may come twice."""
        name = f"r{len(self.asked)}"
        self.asked[name] = fields
        for _ in range(posts):
            self._go(self._post(name, fields))

    @rule(fields=st.sampled_from([FAIR, FOUL]), number=st.integers(1, 3))
    def ask_again(self, fields: dict[str, str], number: int) -> None:
        """One of the last requests comes again, and may say something else."""
        name = f"r{max(0, len(self.asked) - number)}"
        self._go(self._post(name, fields))

    async def _post(self, name: str, fields: dict[str, str]) -> None:
        """The appliance posts again until its post is taken, while it waits."""
        for _ in range(3):
            self.life = self.life or self._the_world.life()
            try:
                await self.life.inbox.put(self._the_world.post(name, **fields))
            except (StorageError, Killed):
                if self.life.gate.dead.is_set():
                    await self.life.crash()
                    self.life = None
            else:
                if self.asked[name] != fields:
                    self._the_world.contradicted.add(name)
                return

    @rule(seconds=st.sampled_from([0.05, 0.3, 3.0, 25.0]))
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
        away=st.sampled_from([0.0, 1.0, 45.0]),
    )
    def die(self, point: str, nth: int, when: When, away: float) -> None:
        """The process is killed while a request is decided, and away for a while."""
        self.life = self.life or self._the_world.life()
        self.life.gate.kill_at(point, nth if point else 4 * nth, when)
        self.ask(FAIR, 1)
        self.live(3.0)
        self._go(asyncio.sleep(away))

    @rule(faults=st.lists(st.sampled_from(SNOW), min_size=1, max_size=4))
    def spoil_servicenow(self, faults: list[str]) -> None:
        """The next questions fail."""
        self._the_world.snow.faults.extend(faults)
        self.ask(FAIR, 1)

    @rule(faults=st.lists(st.sampled_from(BOX), min_size=1, max_size=14), seconds=st.sampled_from([0.3, 3.0, 25.0]))
    def spoil_appliance(self, faults: list[str], seconds: float) -> None:
        """The next tries to deliver fail."""
        self._the_world.box.faults[""].extend(faults)
        self.ask(FAIR, 1)
        self.live(seconds)

    @rule(name=st.sampled_from(["change", "add", "append", "due", "select"]), number=st.integers(1, 8))
    def spoil_disk(self, name: str, number: int) -> None:
        """The disk is full for a while."""
        self._the_world.spoil_disk(name, number)
        self.ask(FAIR, 1)
        self.live(3.0)

    @rule(jump=st.sampled_from([-1000.0, -0.4, 7.0, 1000.0]))
    def clock_jumps(self, jump: float) -> None:
        """This machine's clock is set."""
        self._the_world.clock.jump(jump)

    @rule(number=st.integers(1, 3), response=st.sampled_from(["allow", "deny"]), at_once=st.booleans())
    def servicenow_decides(self, number: int, response: Any, at_once: bool) -> None:
        """A decision comes as work, or will come as the next answer."""
        name = f"r{max(0, len(self.asked) - number)}"
        if at_once:
            name = f"r{len(self.asked)}"
            self._the_world.snow.answer = f'{{"response_id":"{name}","response":"{response}"}}'.encode()
        if response == "allow":
            self.allowed_there.add(name)
        if at_once:
            self.ask(FOUL, 1)
            self.live(3.0)
        else:
            self._go(self._settle(Answer(name, response, "")))

    async def _settle(self, answer: Answer) -> None:
        self.life = self.life or self._the_world.life()
        try:
            await self.life.settling.settle("default", answer, f"record {answer.response}")
        except (StorageError, Killed):
            return

    # -- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def one_decision_each(self) -> None:
        """No request has two, none was allowed that may not be, and what is delivered was audited as that."""
        if self.world is None:
            return
        assert not self.world.broken
        for name, fields in self.asked.items():
            responses = {one.response for one in self.world.box.of(name)}
            assert len(responses) <= 1, name
            if "allow" in responses:
                here = self.world.site["mode"] == "evaluate" and fields == FAIR
                assert here or name in self.allowed_there, name

    def teardown(self) -> None:
        """The faults stop: every request that was taken is over."""
        try:
            if self.world is not None:
                self._come_to_rest(self.world)
        finally:
            if self.life is not None:
                self._go(self.life.crash())
            self.runner.close()

    def _come_to_rest(self, world: World) -> None:
        world.mend()
        if self.life is not None:  # a kill may still be due in it
            self._go(self.life.crash())
            self.life = None
        for _ in range(3):
            self.live(700.0)
        for name in self.asked:
            state = world.state(name)
            assert state in {"", "DELIVERED", "UNDELIVERED"}, name
            if state == "DELIVERED":
                assert world.decisions(name)[-1] == world.box.got(name) == world.job(name).data["response"]
            if state == "UNDELIVERED" and world.job(name).data["response"] == "deny":
                assert world.job(name).data["tries"] > 0
        self.one_decision_each()
        # Once nothing is spoilt, what is right is allowed.
        world.snow.answer = f'{{"response_id":"r{len(self.asked)}","response":"allow"}}'.encode()
        self.allowed_there.add(f"r{len(self.asked)}")
        self.ask(FAIR, 1)
        self.live(3.0)
        assert world.box.got(f"r{len(self.asked) - 1}") == "allow"


Conservation.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, phases=[Phase.generate, Phase.reuse]
)


class TestConservation(Conservation.TestCase):  # type: ignore[name-defined,misc]
    """Each request has one decision, and the one that is right, whatever happens on the way."""

    def setUp(self) -> None:
        logs.none()

    def tearDown(self) -> None:
        logs.plain()
