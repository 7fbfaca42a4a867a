"""A world to run the path of a queue record in, and one life of the relay after another."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from relay.core.errors import StorageError
from relay.core.jobs import Job
from relay.core.queue import QUEUE
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.jobs.stage import Stage
from relay.pipeline.parts import Learned, Limits, Parts
from relay.pipeline.poll import Poll
from relay.pipeline.recover import Recover
from relay.pipeline.stages import stages
from support.appliances import FakeAppliances, FakeApprovals, FakeCodec, FakeKeys, FakePolicy, FakeShaper
from support.memory import Gate, Gated, Killed, MemoryAudit, MemoryStore
from support.sides import AGENT, USER, FakeQueue
from support.virtual import VirtualClock, run

LIMITS = Limits(
    agent=AGENT,
    poll_interval=5.0,
    poll_batch=100,
    expire_unsafe=120.0,
    expire_safe=3600.0,
    settle=65.0,
    answer_bytes=2_000_000,
    keep_bodies=0.0,
    retention=7 * 86400.0,
    retry_for={"default": 20.0, "second": 20.0},
)


class World:
    """What stays when the relay dies: both sides, the disk."""

    def __init__(self, clock: VirtualClock, **queue: bool) -> None:
        self.clock = clock
        self.queue = FakeQueue(clock, **queue)
        self.appliances = FakeAppliances()
        self.policy = FakePolicy()
        self.store = MemoryStore()
        self.audit = MemoryAudit()
        self.limits = LIMITS
        self.user = USER
        self.room = True
        self.concurrent: Mapping[str, int] = {"default": 8, "second": 8}
        self.keys: FakeKeys | None = None
        self.approvals: FakeApprovals | None = None
        self.jumped = 0.0
        self.queue.server_now = lambda: clock.wall() - self.jumped
        self.appliances.before = self._audited

    def _audited(self, request: Any) -> None:
        job = request.path.rpartition("/")[2]
        known = self.store.jobs[job].job
        assert known.state == "FORWARDING", "a call before FORWARDING is on disk"
        assert self.audit.has("intent", job, known.attempts), "a call without its intent in the log"

    def spoil_disk(self, name: str, number: int, skip: int = 0) -> None:
        """After `skip` operations of this name, the next ones find a full disk; `append` is the audit log's."""
        left = [skip, number]

        def fail(asked: str) -> BaseException | None:
            if asked != name or not any(left):
                return None
            if left[0]:
                left[0] -= 1
                return None
            left[1] -= 1
            return StorageError(5007 if name == "append" else 5004, name)

        self.store.fail = self.audit.fail = fail

    def jump(self, seconds: float) -> None:
        """This machine's clock jumps, ServiceNow's does not."""
        self.clock.jump(seconds)
        self.jumped += seconds

    def mend(self) -> None:
        """All faults stop."""
        self.queue.faults.clear()
        self.appliances.faults.clear()
        self.queue.hidden.clear()
        self.queue.down = False
        self.appliances.down.clear()
        self.store.fail = self.audit.fail = lambda _name: None

    def limit(self, **numbers: Any) -> None:
        """Change limits."""
        self.limits = replace(self.limits, **numbers)

    def job(self, one: str) -> Job:
        """The stored job."""
        return self.store.jobs[one].job

    def state(self, one: str) -> str:
        """A job's state; `tombstone`, or "" of one that is not known."""
        if one in self.store.stones:
            return "tombstone"
        return self.store.jobs[one].job.state if one in self.store.jobs else ""

    def life(self, gate: Gate | None = None) -> Life:
        """A relay that was just started."""
        return Life(self, gate or Gate())


@dataclass
class Life:
    """One process. All its memory is here."""

    world: World
    gate: Gate

    def __post_init__(self) -> None:
        world, clock = self.world, self.world.clock
        self.store = cast("Any", Gated(world.store, self.gate))
        self.ledger = Ledger(self.store, [QUEUE], clock)
        self.holds = Holds(self.store, clock)
        self.conditions = Conditions(clock)
        self.beats = Beats(clock)
        self.parts = Parts(
            ledger=self.ledger,
            store=self.store,
            audit=cast("Any", Gated(world.audit, self.gate)),
            queue=cast("Any", Gated(world.queue, self.gate)),
            codec=FakeCodec(),
            shaper=FakeShaper(),
            appliances=cast("Any", Gated(world.appliances, self.gate)),
            policy=cast("Any", world.policy),
            holds=self.holds,
            conditions=self.conditions,
            clock=clock,
            jitter=lambda: 0.5,
            digest=lambda body: f"digest of {len(body)}",
            limits=world.limits,
            learned=Learned(user=world.user),
            keys=world.keys,
            approvals=None if world.approvals is None else cast("Any", Gated(world.approvals, self.gate)),
        )
        self.runner = Runner(
            store=self.store,
            ledger=self.ledger,
            clock=clock,
            beats=self.beats,
            conditions=self.conditions,
            jitter=lambda: 0.5,
        )
        self.poll = Poll(self.parts, self.beats, lambda: world.room)
        self.recover = Recover(self.parts, self.beats)
        self._running: asyncio.Task[None] | None = None

        def look_again() -> None:
            self.runner.look_again()
            self.poll.wake()

        self.holds.changed = look_again

    def stages(self) -> list[Stage]:
        """The stages of the path."""
        return stages(self.parts, self.world.concurrent, lambda: self.world.room)

    async def _main(self) -> None:
        await self.holds.load()
        if not await self.recover.start():
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runner.run(self.stages()), name="runner")
            group.create_task(self.poll.run(), name="poll")
            group.create_task(self.recover.run(), name="orphans")

    async def run(self, seconds: float) -> None:
        """Live for so long, or until the gate kills it."""
        if self._running is None:
            self._running = asyncio.create_task(self._main(), name="life")
        dying = asyncio.create_task(self.gate.dead.wait())
        await asyncio.wait({self._running, dying}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if self.gate.dead.is_set():
            await self.crash()
        elif self._running.done():
            self._running.result()

    async def until(self, true: Callable[[], bool], longest: float = 600.0) -> None:
        """Live until something is true."""
        end = self.world.clock.monotonic() + longest
        while not true():
            assert self.world.clock.monotonic() < end, "it never came true"
            await self.run(0.05)

    async def crash(self) -> None:
        """The process is killed: nothing of it has any effect from now on."""
        self.gate.kill()
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(Killed, asyncio.CancelledError, BaseExceptionGroup):
                await self._running

    async def stop(self) -> None:
        """An orderly stop."""
        self.recover.stop()
        self.poll.stop()
        self.runner.stop()
        if self._running is not None:
            await self._running


def jobs_of(world: World, *states: str) -> list[str]:
    """The ids of the jobs in these states."""
    return [one.job.id for one in world.store.jobs.values() if one.job.state in states]


async def seen(life: Life, ids: Sequence[str]) -> list[Job]:
    """Poll once, so that these outputs are SEEN; returns their jobs."""
    await life.poll._round()
    return [life.world.job(one) for one in ids]


def in_world(
    **queue: bool,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Turn `async def test(world, ...)` into a test that runs in virtual time, with a world of its own."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def wrapper(**arguments: Any) -> None:
            run(lambda clock: test(World(clock, **queue), **arguments))

        signature = inspect.signature(test)
        rest = list(signature.parameters.values())[1:]
        wrapper.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return wrapper

    return decorate


async def claimed(world: World, *ids: str) -> Life:
    """A life whose records are CLAIMED and wait in front of a closed appliance stage."""
    life = world.life()
    await life.poll._round()
    stages = {stage.name: stage for stage in life.stages()}
    await stages["claim"].handle([world.job(one) for one in ids])
    assert [world.state(one) for one in ids] == ["CLAIMED"] * len(ids)
    return life
