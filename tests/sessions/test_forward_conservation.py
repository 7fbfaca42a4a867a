"""Conservation: whatever happens, each event that was answered 200 arrives with all its fields.

Random interleavings of events of two appliances, time, kills at any operation, faults of ServiceNow and of the disk,
and jumps of the clock; in the end the faults stop and everything must come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import logs
from support.forwarding import ERRORS, UNKNOWN, Life, World
from support.memory import Killed, When
from support.virtual import VirtualClock, VirtualLoop

from relay.core.errors import StorageError
from relay.jobs.ledger import Move

FAULTS = st.sampled_from([*ERRORS, *UNKNOWN, *UNKNOWN, "bug"])
BOXES = st.sampled_from(["default", "second"])
POINTS = ["", "add", "change", "bodies", "forward", "forward", "due", "select"]


class Conservation(RuleBasedStateMachine):
    """One world, many lives of the relay."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = VirtualClock(self.runner.get_loop())
        self.world = World(self.clock)
        self.life: Life | None = None
        self.posted: dict[str, tuple[str, dict[str, str]]] = {}

    def _go(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @initialize(mode=st.sampled_from(["forward", "both"]))
    def make(self, mode: Any) -> None:
        """The first appliance imports as well, or does not."""
        self.world.modes["default"] = mode
        self.happen("default", "", 2)
        self.live(3.0)

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(box=BOXES, value=st.text(max_size=5), times=st.integers(1, 2))
    def happen(self, box: str, value: str, times: int) -> None:
        """An event, which is repeated until it is answered, or once more since the answer was lost."""
        name = f"event {len(self.posted)}"
        self.posted[name] = (box, {"event": name, "value": value})
        for _ in range(times):
            self._go(self._post(name))

    async def _post(self, name: str) -> None:
        box, fields = self.posted[name]
        while True:
            self.life = self.life or self.world.life()
            try:
                await self.life.inbox.put(self.world.post(name, appliance=box, fields=fields))
            except StorageError:
                await asyncio.sleep(1.0)
            except Killed:
                await self.life.crash()
                self.life = None
            else:
                return

    @rule(seconds=st.sampled_from([0.02, 0.3, 3.0, 40.0, 400.0]))
    def live(self, seconds: float) -> None:
        """Time passes with the relay running; it is started when it is not."""
        self.life = self.life or self.world.life()
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
        """The process is killed while events are posted on, and away for a while."""
        self.life = self.life or self.world.life()
        self.life.gate.kill_at(point, nth if point else 5 * nth, when)
        self.happen("default", "", 1)
        self.live(5.0)
        self._go(asyncio.sleep(away))

    @rule(box=BOXES, faults=st.lists(FAULTS, min_size=1, max_size=4), many=st.sampled_from([1, 1, 12]))
    def spoil_servicenow(self, box: str, faults: list[str], many: int) -> None:
        """The next posts fail."""
        self.world.vendor.faults[box].extend(faults * many)
        self.happen(box, "", 1)
        self.live(0.3)

    @rule(fault=FAULTS)
    def spoil_event(self, fault: str) -> None:
        """Every post of one event fails."""
        self.world.vendor.always[f"event {len(self.posted)}"] = fault
        self.happen("default", "", 1)
        self.live(40.0)

    @rule(name=st.sampled_from(["change", "add", "due", "bodies", "select"]), number=st.integers(1, 5))
    def spoil_disk(self, name: str, number: int) -> None:
        """The disk is full for a moment."""
        self.world.spoil_disk(name, number)
        self.happen("default", "", 1)
        self.live(12.0)

    @rule(jump=st.sampled_from([-1000.0, 1000.0]))
    def clock_jumps(self, jump: float) -> None:
        """This machine's clock jumps."""
        self.clock.jump(jump)

    # -- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def as_they_came(self) -> None:
        """What arrived is what was posted; the stand-in itself refuses a post beside one still worked on."""
        for box, path, fields in self.world.vendor.got:
            assert (box, dict(fields), path) == (*self.posted[dict(fields)["event"]], "/events")

    def teardown(self) -> None:
        """The faults stop: everything arrives, and no body stays."""
        try:
            self.world.mend()
            for _ in range(10):
                self.live(1000.0)
                self.as_they_came()
                self._go(self._retry())
            for name, (box, _) in self.posted.items():
                assert name in self.world.vendor.names(box), name
                assert (self.world.job(name).state, self.world.bodies(name)) == ("DONE", {})
        finally:
            if self.life is not None:
                self._go(self.life.crash())
            self.runner.close()

    async def _retry(self) -> None:
        for name in self.posted:
            if self.life is not None and self.world.job(name).state == "DEAD":
                await self.life.ledger.step(Move(self.world.job(name), "retried"))


Conservation.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, phases=[Phase.generate, Phase.reuse]
)


class TestConservation(Conservation.TestCase):  # type: ignore[name-defined,misc]
    """Each event arrives, whatever happens on the way."""

    def setUp(self) -> None:
        logs.none()

    def tearDown(self) -> None:
        logs.plain()
