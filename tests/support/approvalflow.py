"""Requests for approval in virtual time: both sides, the disk, and lives of the relay that can be ended at any step.

The wire is watched: every decision that may have reached the appliance is written down with its moment, and compared at
once with what must be true before it may be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from relay.approvals.inbox import ApprovalInbox
from relay.approvals.parts import Parts, Site
from relay.approvals.recover import recover
from relay.approvals.settle import Settling
from relay.approvals.stages import stages
from relay.core.approval_job import APPROVAL, SENDING, SENT
from relay.core.approval_request import job_of
from relay.core.approval_values import (
    Answer,
    Door,
    Findings,
    Request,
    Rows,
    RuleSet,
    Task,
    User,
    Value,
)
from relay.core.errors import ApplianceError, ServiceNowError, StorageError
from relay.core.jobs import Job, NewJob
from relay.core.posts import Post
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from support.memory import Gate, Gated, Killed, MemoryAudit, MemoryStore
from support.virtual import VirtualClock, run

DOOR = Door(frozenset({("access.example.com", 443)}), "/api/endpoint_approval")
URL = "https://access.example.com/api/endpoint_approval"
TASK, USER, ITEM = "ab" * 16, "ef" * 16, "cd" * 16
DEADLINE = 20.0
GOOD = {
    "sys_id": TASK,
    "number": "CHG0001",
    "sys_class_name": "change_request",
    "assigned_to": USER,
    "cmdb_ci": ITEM,
    "cmdb_ci.name": "web01",
    "approval": "approved",
    "state": "-1",
}
FIELDS = {
    "ticket_id": "CHG0001",
    "response_url": URL,
    "jump_item.computer_name": "web01",
    "jump_item.group": "Servers",
    "user.username": "jdoe",
}


def task(**values: str) -> Task:
    """The task that allows what `FIELDS` ask, with other values where a test needs them."""
    return Task({name.replace("__", "."): Value(value) for name, value in {**GOOD, **values}.items()})


def user(sys_id: str = USER, **names: str) -> User:
    """The user of `FIELDS`."""
    return User(sys_id, names or {"user_name": "jdoe"})


def found(*tasks: Task, users: tuple[User, ...] = (user(),), **more: Any) -> Findings:
    """An answer to a question for a number."""
    return Findings(by_number=Rows(tasks), users=Rows(users), **more)


def asked(**fields: str) -> Request:
    """A request as it comes from the listener."""
    said = {"request_id": "r1", **FIELDS, **{name.replace("__", "."): value for name, value in fields.items()}}
    return Request("default", said["request_id"], said["ticket_id"], said["response_url"], "/approvals", said, 0.0)


class FakeSnow:
    """ServiceNow; implements `Lookups` and `Forwarder`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.now = clock.wall
        self.more: dict[str, str] = {}
        self.takes = 0.1
        self.state = "-1"
        self.answer = b""
        self.faults: deque[str] = deque()
        self.asked = 0
        self.handed_on: list[str] = []
        self.under_way = 0
        self.most = 0

    async def _pass(self) -> None:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            fault = self.faults.popleft() if self.faults else ""
            await asyncio.sleep(self.takes)
            match fault:
                case "down":
                    raise ServiceNowError(2001, "down")
                case "busy":
                    raise ServiceNowError(2007, "busy", after=DEADLINE)
                case "lost":
                    raise ServiceNowError(2004, "lost", maybe_sent=True)
                case "forbidden":
                    raise ServiceNowError(2015, "forbidden")
                case "hangs":
                    await asyncio.sleep(100_000)
                case "slow":
                    await asyncio.sleep(15)
                case "bug":
                    raise ZeroDivisionError
        finally:
            self.under_way -= 1

    async def find(self, request: Request) -> Findings:
        await self._pass()
        if request.ticket_id != "CHG0001":
            return found()
        return found(task(state=self.state, **self.more), now=self.now())

    async def forward(self, request: Request) -> bytes:
        self.handed_on.append(request.request_id)
        await self._pass()
        return self.answer


@dataclass(frozen=True)
class OnWire:
    """A decision that may have reached the appliance."""

    request: str
    response: str
    at: float
    encoding: str
    taken: bool
    answer: Answer


class FakeBox:
    """The appliance's door; implements `Responder`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.takes = 0.02
        self.accepts = {"form", "json"}
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.wire: list[OnWire] = []

    async def send(self, appliance: str, url: str, answer: Answer, encoding: str) -> int:
        assert url == "https://access.example.com:443/api/endpoint_approval"
        faults = self.faults[answer.response_id] or self.faults[""]
        fault = faults.popleft() if faults else ""
        if fault == "closed":
            raise ApplianceError(3001, "refused the connection")
        if fault == "unroutable":
            await asyncio.sleep(8)
            raise ApplianceError(3001, "no way there")
        status = 200 if encoding in self.accepts else 415
        if fault.isdigit():
            status = int(fault)
        self._note(appliance, answer, encoding, taken=status == 200)
        if fault == "hangs":
            await asyncio.sleep(100_000)
        if fault == "lost":
            raise ApplianceError(3004, "lost", maybe_sent=True)
        if fault == "bug":
            raise ZeroDivisionError
        await asyncio.sleep(self.takes)
        return status

    def _note(self, appliance: str, answer: Answer, encoding: str, *, taken: bool) -> None:
        """What must be so when a decision leaves; kept for the end, since the relay takes an error for a lost try."""
        world, now, name = self.world, self.world.clock.monotonic(), answer.response_id
        job = world.job(name, appliance)
        lines = [one for one in world.audit.lines if one["job"] == job.id and one["event"] == "approval"]
        allow = answer.response == "allow"
        broken = {
            "it is not on disk": job.state not in {SENDING, SENT} or job.data["response"] != answer.response,
            "it is not audited": not lines or lines[-1]["decision"] != answer.response,
            "it is the second one": {one.response for one in self.of(name)} | {answer.response} != {answer.response},
            "it is late": allow and now - world.store.born[job.id] >= DEADLINE,
            "it is contradicted": allow and name in world.contradicted,
        }
        world.broken += [f"{name} {answer.response}: {what}" for what, true in broken.items() if true]
        self.wire.append(OnWire(answer.response_id, answer.response, now, encoding, taken, answer))

    def of(self, request: str) -> list[OnWire]:
        """What was sent about a request."""
        return [one for one in self.wire if one.request == request]

    def got(self, request: str = "r1") -> str:
        """What the appliance took, "" when nothing."""
        return next((one.response for one in self.of(request) if one.taken), "")

    def said(self, request: str = "r1") -> str:
        """What the person read."""
        return next((one.answer.message for one in self.of(request) if one.taken), "")


class SlowStore(MemoryStore):
    """The store, when each job was first on it, and how long one that was read is on its way: it may change."""

    takes = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.born: dict[str, float] = {}

    async def add(self, jobs: Sequence[NewJob], now: float) -> list[Job | None]:
        stored = await super().add(jobs, now)
        for job in stored:
            if job is not None:
                self.born[job.id] = asyncio.get_running_loop().time()
        return stored

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        jobs = await super().get(ids)
        await asyncio.sleep(self.takes)
        return jobs


class SlowAudit(MemoryAudit):
    """The audit log, and how long a line takes."""

    takes = 0.0

    async def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        await asyncio.sleep(self.takes)
        await super().append(entries)


class World:
    """What stays when the relay dies: both sides, the disk."""

    def __init__(self, clock: VirtualClock, **site: Any) -> None:
        self.clock = clock
        self.snow = FakeSnow(clock)
        self.box = FakeBox(self)
        self.store = SlowStore()
        self.audit = SlowAudit()
        self.site: dict[str, Any] = {"mode": "evaluate", "rules": RuleSet(), "door": DOOR, "deadline": DEADLINE, **site}
        self.names: tuple[str, ...] = ("default",)
        self.name = ""
        self.came: dict[str, float] = {}
        self.contradicted: set[str] = set()
        self.broken: list[str] = []

    def post(self, request: str = "r1", *, raw: bytes = b"", code: int | None = None, **fields: str | None) -> Post:
        """A post; a field that is None is left out."""
        said: Mapping[str, str | None] = {
            "request_id": request,
            **FIELDS,
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
        whole = {name: value for name, value in said.items() if value is not None}
        identity = json.dumps([sorted(whole.items()), raw.decode("latin-1")])
        known = {} if code is not None else whole
        self.came.setdefault(request, self.clock.monotonic())
        return Post(
            f"post {identity}", "approval", "default", "/approvals", known, self.clock.wall(), (), code, "", raw
        )

    def job(self, request: str = "r1", appliance: str = "default") -> Job:
        """The stored job of a request."""
        return self.store.jobs[job_of(appliance, request)].job

    def state(self, request: str = "r1") -> str:
        """Its state, "" of one that is not known."""
        one = self.store.jobs.get(job_of("default", request))
        return one.job.state if one else ""

    def decisions(self, request: str = "r1") -> list[Any]:
        """What the audit log says of a request, in order."""
        known = job_of("default", request)
        return [line["decision"] for line in self.audit.lines if line["job"] == known]

    def mend(self) -> None:
        """All faults stop."""
        self.snow.faults.clear()
        self.snow.takes = 0.1
        self.box.faults.clear()
        self.box.accepts = {"form", "json"}
        self.store.fail = lambda _name: None
        self.audit.fail = lambda _name: None

    def spoil_disk(self, name: str, number: int) -> None:
        """The next operations of this name find a full disk."""
        left = [number]

        def fail(asked: str) -> BaseException | None:
            if asked != name or not left[0]:
                return None
            left[0] -= 1
            return StorageError(5007 if name == "append" else 5004, name)

        self.store.fail = self.audit.fail = fail

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
        self.ledger = Ledger(self.store, [APPROVAL], clock)
        self.holds = Holds(self.store, clock)
        self.conditions = Conditions(clock)
        snow = cast("Any", Gated(world.snow, self.gate))
        self.parts = Parts(
            ledger=self.ledger,
            store=self.store,
            audit=cast("Any", Gated(world.audit, self.gate)),
            holds=self.holds,
            conditions=self.conditions,
            clock=clock,
            jitter=lambda: 0.5,
            sites={name: Site(**world.site) for name in world.names},
            lookups={"default": snow},
            responder=cast("Any", Gated(world.box, self.gate)),
            forwarders={"default": snow},
            life=world.name or secrets.token_hex(8),
        )
        self.runner = Runner(
            store=self.store,
            ledger=self.ledger,
            clock=clock,
            beats=Beats(clock),
            conditions=self.conditions,
            jitter=lambda: 0.5,
        )
        self.inbox = ApprovalInbox(self.parts)
        self.settling = Settling(self.parts)
        self._running: asyncio.Task[None] | None = None
        self.holds.changed = self.runner.look_again

    async def _main(self) -> None:
        while True:
            try:
                await recover(self.parts)
            except StorageError:
                await asyncio.sleep(1.0)
            else:
                break
        await self.runner.run(stages(self.parts))

    async def ask(self, request: str = "r1", **fields: Any) -> None:
        """Post a request, and let it be decided and delivered."""
        await self.inbox.put(self.world.post(request, **fields))
        await self.run(3)

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


def in_world(**site: Any) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Turn `async def test(world, ...)` into a test that runs in virtual time, with a world of its own."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def wrapper(**arguments: Any) -> None:
            run(functools.partial(watched, arguments))

        async def watched(arguments: dict[str, Any], clock: VirtualClock) -> None:
            world = World(clock, **site)
            await test(world, **arguments)
            assert not world.broken

        signature = inspect.signature(test)
        rest = list(signature.parameters.values())[1:]
        wrapper.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return wrapper

    return decorate
