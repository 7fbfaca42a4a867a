"""The vendor's application in memory, and one life after another of the relay that posts events on to it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast

from relay.core.errors import ConfigError, RelayError, ServiceNowError, StorageError
from relay.core.forward_job import FORWARD, forward_of
from relay.core.jobs import Job
from relay.core.posts import Post
from relay.core.session_job import SESSION
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.sessions.forward import Forward, Forwarders
from relay.sessions.inbox import Mode, SessionInbox
from support.memory import Gate, Gated, Killed, MemoryStore
from support.virtual import VirtualClock, run

SETTLE = 65.0
LATE = 40.0
ERRORS: Mapping[str, Callable[[], RelayError]] = {
    "away": lambda: ServiceNowError(2001, "away"),
    "busy": lambda: ServiceNowError(2007, "busy", after=30.0),
    "closed": lambda: ServiceNowError(2027, "HTTP 403"),
    "rejected": lambda: ServiceNowError(2015, "HTTP 422"),
    "no token": lambda: ConfigError(1009, "no token"),
}
"""Faults after which ServiceNow surely has nothing of the event."""
UNKNOWN = ("lost", "done", "late")
"""Faults after which nobody knows: it has not, it has, it will have."""


class FakeVendor:
    """The vendor's application; implements `Events`.

    Attributes:
        got: what it took, in this order.
        faults: by appliance, what the next posts meet.
        always: by event, what each post of it meets.
        slow: by appliance, seconds that a post takes.

    """

    def __init__(self) -> None:
        self.got: list[tuple[str, str, tuple[tuple[str, str], ...]]] = []
        self.asked: list[str] = []
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.always: dict[str, str] = {}
        self.slow: dict[str, float] = {}
        self.running: set[str] = set()

    async def forward(self, appliance: str, path: str, fields: Mapping[str, str]) -> None:
        name = fields["event"]
        self.asked.append(name)
        assert name not in self.running, "posted again while the former post is still worked on"
        fault = self.faults[appliance].popleft() if self.faults[appliance] else self.always.get(name, "")
        await asyncio.sleep(self.slow.get(appliance, 0.01))
        if fault in ERRORS:
            error = ERRORS[fault]()
            raise error
        if fault == "bug":
            raise ZeroDivisionError

        def take() -> None:
            self.running.discard(name)
            self.got.append((appliance, path, tuple(fields.items())))

        if fault == "late":
            self.running.add(name)
            asyncio.get_running_loop().call_later(LATE, take)
        elif fault != "lost":
            take()
        if fault:
            raise ServiceNowError(2003, fault, maybe_sent=True)

    def names(self, appliance: str = "default") -> list[str]:
        """The events of an appliance that it took, in this order."""
        return [dict(fields)["event"] for name, _, fields in self.got if name == appliance]


class World:
    """What stays when the relay dies."""

    def __init__(self, clock: VirtualClock, modes: Mapping[str, Mode] | None = None) -> None:
        self.clock = clock
        self.vendor = FakeVendor()
        self.store = MemoryStore()
        self.modes: dict[str, Mode] = {"default": "forward", "second": "forward", **(modes or {})}

    def post(self, event: str, **more: Any) -> Post:
        """An event."""
        values = {"id": f"post {event}", "kind": "event", "appliance": "default", "path": "/events"}
        fields = {"event": event, **more.pop("fields", {})}
        return Post(**{**values, "received": self.clock.wall(), "fields": fields, **more})

    def job(self, event: str) -> Job:
        """The job that posts an event on."""
        return self.store.jobs[forward_of(f"post {event}")].job

    def bodies(self, event: str) -> dict[str, bytes]:
        """Its bodies."""
        return self.store.jobs[forward_of(f"post {event}")].bodies

    def spoil_disk(self, name: str, number: int) -> None:
        """The next operations of this name find a full disk."""
        left = [number]

        def fail(asked: str) -> BaseException | None:
            if asked != name or not left[0]:
                return None
            left[0] -= 1
            return StorageError(5004, name)

        self.store.fail = fail

    def mend(self) -> None:
        """All faults stop."""
        self.vendor.faults.clear()
        self.vendor.always.clear()
        self.store.fail = lambda _name: None

    def life(self) -> Life:
        """A relay that was just started."""
        return Life(self, Gate())


@dataclass
class Life:
    """One process. All its memory is here."""

    world: World
    gate: Gate

    def __post_init__(self) -> None:
        clock = self.world.clock
        self.store = cast("Any", Gated(self.world.store, self.gate))
        self.ledger = Ledger(self.store, [SESSION, FORWARD], clock)
        self.holds = Holds(self.store, clock)
        self.conditions = Conditions(clock)
        parts = Forwarders(
            ledger=self.ledger,
            store=self.store,
            events=cast("Any", Gated(self.world.vendor, self.gate)),
            appliances=self.world.modes,
            holds=self.holds,
            conditions=self.conditions,
            jitter=lambda: 0.5,
            settle=SETTLE,
        )
        self.forward = Forward(parts)
        self.runner = Runner(
            store=self.store,
            ledger=self.ledger,
            clock=clock,
            beats=Beats(clock),
            conditions=self.conditions,
            jitter=lambda: 0.5,
        )
        self.swept: list[str] = []
        self.inbox = SessionInbox(self.ledger, self.store, self.swept.append, modes=self.world.modes)
        self.forward.changed = self.holds.changed = self.runner.look_again
        self._running: asyncio.Task[None] | None = None

    async def put(self, *events: str, **more: Any) -> None:
        """Events come in."""
        for event in events:
            await self.inbox.put(self.world.post(event, **more))

    async def _main(self) -> None:
        while True:
            try:
                await self.forward.recover()
            except StorageError:
                await asyncio.sleep(1.0)
            else:
                break
        await self.runner.run(self.forward.stages())

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

    async def crash(self) -> None:
        """The process is killed: nothing of it has any effect from now on."""
        self.gate.kill()
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(Killed, asyncio.CancelledError, BaseExceptionGroup):
                await self._running

    async def stop(self) -> None:
        """An orderly stop."""
        self.runner.stop()
        if self._running is not None:
            await self._running


def in_world(
    modes: Mapping[str, Mode] | None = None,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Turn `async def test(world, ...)` into a test that runs in virtual time, with a world of its own."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def wrapper(**arguments: Any) -> None:
            run(lambda clock: test(World(clock, modes), **arguments))

        signature = inspect.signature(test)
        rest = list(signature.parameters.values())[1:]
        wrapper.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return wrapper

    return decorate
