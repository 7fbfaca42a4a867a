"""Sessions in memory: appliances that have them, records that they become, and one life of the relay after another."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, cast

from relay.core.errors import ApplianceError, RelayError, ServiceNowError, StorageError
from relay.core.jobs import Job
from relay.core.note import DEFAULT_TEMPLATE, mark, read_template
from relay.core.posts import Post
from relay.core.record import Reply
from relay.core.session_events import job_of
from relay.core.session_job import SESSION
from relay.core.session_report import (
    Actor,
    Category,
    CustomAttribute,
    Event,
    Listed,
    Moment,
    Question,
    SessionReport,
    ShellRecording,
    Survey,
)
from relay.core.session_rows import Lookup, Place, Row, RowSettings
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.sessions.inbox import SessionInbox
from relay.sessions.parts import Parts, Site
from relay.sessions.ports import Recording
from relay.sessions.recover import recover
from relay.sessions.stages import stages
from relay.sessions.sweep import Sweep
from support.memory import Gate, Gated, Killed, MemoryStore
from support.virtual import VirtualClock, run

SETTLE = 65.0
LATE = 40.0
INFORMATION = Category("Disk", (), ((("Drive", "C:"),),))
TASK = "ab" * 16
"""The task of every session that has one."""
PLACE = Place("incident", TASK)
ITEM = "cd" * 16
"""The configuration item of every session that has one."""
ITEM_PLACE = Place("cmdb_ci", ITEM)
PLAIN: Mapping[str, Callable[[], RelayError]] = {
    "not sent": lambda: ServiceNowError(2001, "not sent"),
    "busy": lambda: ServiceNowError(2007, "busy", after=3.0),
    "refused": lambda: ServiceNowError(2015, "refused"),
    "forbidden": lambda: ServiceNowError(2006, "forbidden"),
    "gone": lambda: ApplianceError(3021, "gone"),
    "disk": lambda: StorageError(5014, "disk"),
}


@dataclass
class Fact:
    """A session as the appliance has it."""

    lsid: str
    ended: float
    events: int = 3
    task: str = TASK
    recordings: int = 0
    item: str = ""
    surveys: tuple[str, ...] = ()


class FakeBoxes:
    """Appliances; implements `Appliances` and `Reader`. Documents are JSON; what cannot be read begins with `!`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.sessions: dict[tuple[str, str], Fact] = {}
        self.lag = 3.0
        self.now: Callable[[], float] = clock.wall
        self.dates = True
        self.tells: Callable[[], float] | None = None
        """What the answers have as their date, where that is not the time by which sessions end."""
        self.most_lines = 1_000_000
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.asked: list[dict[str, str]] = []

    async def admit(self, request: Any) -> None:
        assert request.urgency == "patient"
        assert request.safe
        if self.faults["admit"]:
            self.faults["admit"].popleft()
            raise ApplianceError(3007, "paced", after=2.0)

    async def call(self, request: Any) -> Reply:
        query = dict(request.query)
        self.asked.append(query)
        headers = (("Date", formatdate((self.tells or self.now)(), usegmt=True)),) if self.dates else ()
        kind = query["generate_report"]
        fault = self.faults[kind].popleft() if self.faults[kind] else ""
        if fault == "broken":
            raise ApplianceError(3004, "broken", maybe_sent=True)
        if fault in {"404", "503"}:
            return Reply(int(fault), headers)
        if fault:
            return Reply(200, headers, f"!{fault}".encode())
        if kind.endswith("ExitSurvey"):
            assert query["report_type"] == "rep"
            one = self.sessions[request.appliance, query["lsid"]]
            by = "customer" if "Cust" in kind else "representative"
            return Reply(200, headers, json.dumps([[one.lsid, by]] if by in one.surveys else []).encode())
        if kind.endswith("Listing"):
            since, seconds = int(query["end_time"]), int(query["duration"])
            until = since + seconds if seconds else self.now() + 1
            found: Any = [
                one.lsid
                for (name, _), one in self.sessions.items()
                if name == request.appliance and since <= one.ended < until and one.ended <= self.now()
            ]
            if len(found) > self.most_lines:
                raise ApplianceError(3008, f"{len(found)} lines")
        else:
            found = self._report(self.sessions.get((request.appliance, query["lsid"])))
        return Reply(200, headers, json.dumps(found).encode())

    def _report(self, one: Fact | None) -> Any:
        if one is None:
            return None
        over = self.now() >= one.ended + self.lag
        return [one.lsid, one.ended if over else None, one.events, one.task, one.recordings, one.item, one.surveys]

    async def session(self, document: bytes, lsid: str) -> SessionReport | None:
        self._check(document)
        found = json.loads(document)
        if found is None:
            return None
        name, ended, events, task, recordings, item, surveys = found
        assert name == lsid
        return SessionReport(
            lsid=name,
            ended=None if ended is None else Moment(int(ended)),
            attributes=tuple(
                CustomAttribute(field, value)
                for field, value in (("snow_task_id", task), ("snow_cmdb_ci_id", item))
                if value
            ),
            surveys=tuple(Survey(by) for by in surveys),
            recording_view_url="https://appliance.example/r" if recordings else "",
            shell_recordings=tuple(ShellRecording(str(number)) for number in range(max(0, recordings - 1))),
            events=tuple(
                Event(Moment(int(number)), "Chat Message", Actor("A"), body=f"line {number}")
                for number in range(events)
            )
            + ((Event(Moment(0), "System Information Retrieved", system_information=(INFORMATION,)),) if item else ()),
        )

    async def surveys(self, document: bytes, by: str) -> Sequence[Survey]:
        self._check(document)
        question = Question("1", label="Solved?", answers=("Yes",))
        return [Survey(of, "", lsid, Moment(9), questions=(question,)) for lsid, of in json.loads(document) if of == by]

    async def listing(self, document: bytes) -> Sequence[Listed]:
        self._check(document)
        return [Listed(lsid, False) for lsid in json.loads(document)]

    @staticmethod
    def _check(document: bytes) -> None:
        if document.startswith(b"!"):
            raise ApplianceError(int(document[1:]), "as the document says")


class FakeRecords:
    """ServiceNow's records; implements `Records`, `Keeper`. Faults are scripted as those of `FakeQueue` are."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.notes: list[tuple[Place, str]] = []
        self.entries: list[tuple[Place, str, str]] = []
        self.kept: Counter[tuple[str, str]] = Counter()
        self.has_tables = True
        self.readable = True
        self.blind = False
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.kept_with: list[Recording] = []

    def _do(self, name: str, effect: Callable[[], Any]) -> Any:
        fault = self.faults[name].popleft() if self.faults[name] else ""
        if fault in PLAIN:
            error = PLAIN[fault]()
            raise error
        if fault == "bug":
            raise ZeroDivisionError
        if fault == "late":
            asyncio.get_running_loop().call_later(LATE, effect)
        elif fault != "lost":
            result = effect()
            if fault != "done":
                return result
        raise ServiceNowError(2004, fault, maybe_sent=True)

    async def tables(self) -> bool:
        return cast("bool", self._do("tables", lambda: self.has_tables))

    async def find(self, lookups: Sequence[Lookup]) -> Mapping[Any, Place]:
        tables = {"task": "incident", "cmdb_ci": "cmdb_ci"}
        found = {one.link: Place(tables[one.link], one.value) for one in lookups if one.link in tables}
        return cast("Mapping[Any, Place]", self._do("find", lambda: found))

    async def has(self, row: Row) -> bool:
        return cast("bool", self._do("has", lambda: row.key in self.rows))

    async def upsert(self, row: Row) -> str:
        self._do("upsert", lambda: self.rows.update({row.key: row}))
        return row.sys_id

    async def insert(self, rows: Sequence[Row]) -> None:
        self._do("insert", lambda: [self.rows.setdefault(row.key, row) for row in rows])

    async def note(self, task: Place, text: str) -> None:
        self._do("note", lambda: self.notes.append((task, text)))

    async def entry(self, record: Place, text: str, element: str) -> None:
        self._do("entry", lambda: self.entries.append((record, text, element)))

    async def entered(self, record: Place, text: str, element: str) -> bool | None:
        name = "noted" if element == "work_notes" else "entered"
        return cast("bool | None", self._do(name, lambda: self._entered(record, text, element)))

    def _entered(self, record: Place, text: str, element: str) -> bool | None:
        if not self.readable:
            return None
        if self.blind:
            return False
        there = [(place, note, "work_notes") for place, note in self.notes] + self.entries
        return any((place, of) == (record, element) and note.endswith(text) for place, note, of in there)

    async def keep(self, recording: Recording) -> None:
        self.kept_with.append(recording)
        self._do("keep", lambda: self.kept.update({(recording.lsid, recording.name): 1}))

    def notes_of(self, lsid: str) -> int:
        """How many notes a session has."""
        return sum(note.endswith(mark(lsid)) for _, note in self.notes)

    def entries_of(self, lsid: str) -> int:
        """How many entries a session has in the journals of configuration items."""
        return sum(text.endswith(mark(lsid)) for _, text, _ in self.entries)


class World:
    """What stays when the relay dies: both sides, the disk."""

    def __init__(self, clock: VirtualClock, **site: Any) -> None:
        self.clock = clock
        self.boxes = FakeBoxes(clock)
        self.records = FakeRecords()
        self.store = MemoryStore()
        self.site = site
        self.keeps = False
        self.jumped = 0.0

    def session(self, number: int, *, ends_in: float = 0.0, box: str = "default", **more: Any) -> str:
        """A session that ends in so many seconds; returns its lsid."""
        lsid = f"{number:032x}"
        self.boxes.sessions[box, lsid] = Fact(lsid, self.boxes.now() + ends_in, **more)
        return lsid

    def post(self, lsid: str, **more: Any) -> Post:
        """The event of a session's end."""
        fields = {"event": "access_session_end", "lsid": lsid}
        values = {"kind": "event", "appliance": "default", "path": "/events", "received": self.clock.wall()}
        return Post(**{"id": f"post {lsid}", "fields": fields, **values, **more})

    def job(self, lsid: str, box: str = "default") -> Job:
        """The stored job of a session."""
        return self.store.jobs[job_of(box, lsid)].job

    def state(self, lsid: str) -> str:
        """Its state, "" of one that is not known."""
        one = self.store.jobs.get(job_of("default", lsid))
        return one.job.state if one else ""

    def spoil_disk(self, name: str, number: int) -> None:
        """The next operations of this name find a full disk."""
        left = [number]

        def fail(asked: str) -> BaseException | None:
            if asked != name or not left[0]:
                return None
            left[0] -= 1
            return StorageError(5004, name)

        self.store.fail = fail

    def jump(self, seconds: float) -> None:
        """This machine's clock jumps, the appliances' do not."""
        self.clock.jump(seconds)
        self.jumped += seconds
        self.boxes.now = lambda: self.clock.wall() - self.jumped

    def mend(self) -> None:
        """All faults stop."""
        self.boxes.faults.clear()
        self.records.faults.clear()
        self.store.fail = lambda _name: None

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
        self.ledger = Ledger(self.store, [SESSION], clock)
        self.holds = Holds(self.store, clock)
        self.conditions = Conditions(clock)
        self.beats = Beats(clock)
        boxes, records = cast("Any", Gated(world.boxes, self.gate)), cast("Any", Gated(world.records, self.gate))
        template = read_template(DEFAULT_TEMPLATE)
        self.parts = Parts(
            ledger=self.ledger,
            store=self.store,
            appliances=boxes,
            reader=cast("Any", world.boxes),
            records={"default": records, "second": records},
            holds=self.holds,
            conditions=self.conditions,
            clock=clock,
            jitter=lambda: 0.5,
            sites={
                name: Site(**{"product": product, "rows": RowSettings(name), "template": template, **world.site})
                for name, product in (("default", "pra"), ("second", "rs"))
            },
            settle=SETTLE,
            keeper=records if world.keeps else None,
        )
        self.runner = Runner(
            store=self.store,
            ledger=self.ledger,
            clock=clock,
            beats=self.beats,
            conditions=self.conditions,
            jitter=lambda: 0.5,
        )
        self.sweep = Sweep(self.parts, self.beats)
        self.inbox = SessionInbox(self.ledger, self.store, self.sweep.wake)
        self.sweeps = True
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
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runner.run(stages(self.parts)), name="runner")
            if self.sweeps:
                group.create_task(self.sweep.run(), name="sweep")

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
        self.sweep.stop()
        self.runner.stop()
        if self._running is not None:
            await self._running


def in_world(**site: Any) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Turn `async def test(world, ...)` into a test that runs in virtual time, with a world of its own."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def wrapper(**arguments: Any) -> None:
            run(lambda clock: test(World(clock, **site), **arguments))

        signature = inspect.signature(test)
        rest = list(signature.parameters.values())[1:]
        wrapper.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return wrapper

    return decorate
