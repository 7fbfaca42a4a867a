"""One configured relay at work: wires the two sides, the store and the log into the flows, and runs them.

The only place that sees every part.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from relay.appliance.values import JsonShaper
from relay.audit.digest import Digester
from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.core.errors import ConfigError, RelayError, ServiceNowError, StorageError
from relay.core.jobs import Json
from relay.core.queue import QUEUE
from relay.core.space import may_claim
from relay.daemon.approval_flow import ApprovalFlow
from relay.daemon.courtesy import courteous
from relay.daemon.kinds import KINDS, TABLES
from relay.daemon.lock import IN_USE
from relay.daemon.metrics import Measured
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.daemon.session_flow import SessionFlow
from relay.daemon.storage_key import storage_key
from relay.host.files import free_bytes
from relay.jobs.beats import Beats
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.pipeline.checkpoints import Anchor, Checkpoints
from relay.pipeline.close import Sweep
from relay.pipeline.parts import Learned, Parts
from relay.pipeline.poll import Poll
from relay.pipeline.pulse import Pulse
from relay.pipeline.recover import Recover
from relay.pipeline.stages import stages
from relay.pipeline.verify import GUARD
from relay.servicenow.payload import PayloadCodec
from relay.storage.key import StorageKey
from relay.storage.sqlite import SqliteStore

log = structlog.get_logger("relay.daemon")

STORE_AGAIN = 30.0
"""Seconds until a store is tried again that could not be opened."""
FINISH = 40.0
"""Seconds that the stop lets calls and pushes under way finish: a call's usual limit is 30."""
LAST_WORD = 6.0
"""Seconds that the stop then lets our row at ServiceNow say Down."""
LOST_WRITE = 5005


@dataclass(frozen=True, slots=True)
class Opened:
    """What the state folder holds, open."""

    store: SqliteStore
    audit: AuditLog
    key: StorageKey
    holds: Holds


@dataclass(frozen=True, slots=True)
class Running:
    """The parts that administrators may see and touch.

    Attributes:
        runner: runs what comes from ServiceNow; it begins when ServiceNow has said what became of it.
        news: runs sessions and events, whether ServiceNow is there or not.
        desk: runs requests for approval, likewise, and until everything else has stopped: people wait for them.

    """

    parts: Parts
    runner: Runner
    poll: Poll
    checkpoints: Checkpoints
    sessions: SessionFlow
    news: Runner
    approvals: ApprovalFlow
    desk: Runner

    def look_again(self) -> None:
        """Something beside the jobs changed: whatever waits looks whether it must go on waiting."""
        for runner in (self.runner, self.news, self.desk):
            runner.look_again()
        self.poll.wake()

    @property
    def busy(self) -> int:
        """How many jobs are being handled."""
        return self.runner.busy + self.news.busy + self.desk.busy


class App:
    """Runs a plan until `stop`."""

    def __init__(self, plan: Plan, process: Process) -> None:
        self.plan = plan
        self._process = process
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()
        self._says_down = True
        # Its own, so that no loop that this plan alone had is missed later.
        self.beats = Beats(process.clock)
        self.running: Running | None = None

    def stop(self, *, says_down: bool = True) -> None:
        """Take nothing new, let finish what is under way, then end.

        `says_down`: our row at ServiceNow is to say Down; not when another plan goes on with the same row.
        """
        self._says_down = says_down
        self._stop.set()

    def abort(self) -> None:
        """End at once: what was under way is settled at the next start."""
        self._stop.set()
        self._abort.set()

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            StorageError: BSR-5005, the disk lost a write; BSR-5006, another relay took the state folder: the process
                must end.

        """
        process = self._process
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self.plan.aclose)
                opened = await self._open(stack)
                if opened is not None:
                    try:
                        await self._work(opened)
                    finally:
                        self.running = None  # before the store is closed: nobody may ask it any more
        finally:
            process.conditions.clear("store")

    # -- storage -----------------------------------------------------------------------------------------------------

    async def _open(self, stack: contextlib.AsyncExitStack) -> Opened | None:
        """Open store and audit log, again and again until it succeeds; None when told to stop before."""
        conditions = self._process.conditions
        while not self._stop.is_set():
            self.beats.beat("open the store", STORE_AGAIN + 300.0)
            try:
                opened = await self._open_once(stack)
            except RelayError as error:  # a key that cannot be read any more is no reason to end, either
                if error.number in {LOST_WRITE, IN_USE}:
                    raise
                conditions.fail("store", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), STORE_AGAIN)
            else:
                conditions.clear("store")
                self.beats.end("open the store")
                return opened
        return None

    async def _open_once(self, stack: contextlib.AsyncExitStack) -> Opened:
        process, settings = self._process, self.plan.settings
        folder = process.folders.state
        process.lock.take()
        key = await storage_key(process, settings.storage)
        async with contextlib.AsyncExitStack() as opening:
            store = await SqliteStore.open(folder, key, process.clock)
            opening.push_async_callback(store.close)
            audit = await AuditLog.open(folder, process.clock)
            opening.push_async_callback(audit.close)
            await _check_agent(store, self.plan.limits.agent)
            holds = Holds(store, process.clock)
            await holds.load()
            await audit.append([_line("start")])
            stack.push_async_callback(opening.pop_all().aclose)
        return Opened(store, audit, key, holds)

    # -- work --------------------------------------------------------------------------------------------------------

    async def _work(self, opened: Opened) -> None:
        process, plan = self._process, self.plan
        store, audit, holds = opened.store, opened.audit, opened.holds
        guard = holds.get("guard")
        if guard is not None:
            process.conditions.fail(GUARD, ServiceNowError(2013, "work waits since an earlier run"))
        ledger = Ledger(store, TABLES, process.clock, process.figures.count)
        approvals = ApprovalFlow.build(plan, process, store=store, ledger=ledger, audit=audit, holds=holds)
        parts = Parts(
            ledger=ledger,
            store=store,
            audit=audit,
            queue=plan.instance.queue,
            codec=PayloadCodec(),
            shaper=JsonShaper(),
            appliances=Measured(plan.fleet, process.figures, process.clock),
            policy=plan.policy,
            holds=holds,
            conditions=process.conditions,
            clock=process.clock,
            jitter=process.jitter,
            digest=Digester(opened.key.derive(Digester.PURPOSE)).of,
            limits=plan.limits,
            learned=Learned(user=plan.user),
            keys=plan.keys,
            approvals=approvals.settling,
        )
        runner, news, desk = (
            Runner(
                store=store,
                ledger=ledger,
                clock=process.clock,
                beats=self.beats,
                conditions=process.conditions,
                jitter=process.jitter,
            )
            for _ in range(3)
        )
        sessions = SessionFlow.build(
            plan, process, store=store, ledger=ledger, holds=holds, beats=self.beats, approvals=approvals.inbox
        )
        sessions.forward.changed = news.look_again
        poll = Poll(parts, self.beats, self._room)
        notary = Notary(audit, process.folders.key, plan.settings.relay.name)
        checkpoints = Checkpoints(parts, notary, _anchor(plan), plan.settings.audit.checkpoint_every, self.beats)
        self.running = Running(parts, runner, poll, checkpoints, sessions, news, approvals, desk)
        try:
            await self._run_loops(self.running)
        finally:
            process.intake.close()
            sessions.close()
            await approvals.aclose()
        with contextlib.suppress(StorageError):
            await audit.append([_line("stop")])
            await checkpoints.sign()

    def _room(self) -> bool:
        """Whether the disk has room for more work; says so when it has not."""
        conditions, folder = self._process.conditions, self._process.folders.state
        try:
            free = free_bytes(folder)
        except OSError as error:
            conditions.fail("disk", StorageError(5001, f"{folder}: {error.strerror}"))
            return False
        if may_claim(free):
            conditions.clear("disk")
            return True
        conditions.fail("disk", StorageError(5004, f"{folder}: {free} bytes left"))
        return False

    async def _run_loops(self, running: Running) -> None:
        """Run every loop; a loop that dies ends all of them."""
        parts, plan = running.parts, self.plan
        recover = Recover(parts, self.beats)
        sweep = Sweep(parts, self.beats, {name: kind.finished for name, kind in KINDS.items()})
        pulse = Pulse(parts, plan.instance.agent, self.beats)

        def look_again() -> None:
            running.look_again()
            pulse.wake()

        parts.holds.changed = look_again
        async with asyncio.TaskGroup() as group:
            stopper = group.create_task(self._when_stopped(recover, sweep, running), name="stop")
            registered = plan.settings.servicenow.register_agent
            pulsing = group.create_task(pulse.run(), name="pulse") if registered else None
            signing = group.create_task(running.checkpoints.run(), name="checkpoints")
            work = group.create_task(self._loops(recover, sweep, running), name="work")
            aborted = group.create_task(self._abort.wait(), name="abort")
            await asyncio.wait({work, aborted}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.warning("daemon.aborted", jobs=running.busy)
                work.cancel()
            stopper.cancel()
            if pulsing is not None:
                await self._end_pulse(pulse, pulsing, aborted)
            running.checkpoints.stop()
            await asyncio.wait({signing, aborted}, timeout=LAST_WORD, return_when=asyncio.FIRST_COMPLETED)
            signing.cancel()
            aborted.cancel()

    async def _end_pulse(self, pulse: Pulse, pulsing: asyncio.Task[None], aborted: asyncio.Task[bool]) -> None:
        """Let the row say Down where it should, and not for long: the service manager waits."""
        pulse.stop(says_down=self._says_down)
        await asyncio.wait({pulsing, aborted}, timeout=LAST_WORD, return_when=asyncio.FIRST_COMPLETED)
        pulsing.cancel()

    async def _loops(self, recover: Recover, sweep: Sweep, running: Running) -> None:
        if not await self._settled(running):
            return
        self._process.intake.open(running.sessions.inbox)
        async with asyncio.TaskGroup() as group:
            group.create_task(running.desk.run(running.approvals.stages()), name="approvals")
            await self._all_but_approvals(recover, sweep, running)
            running.desk.stop()

    async def _settled(self, running: Running) -> bool:
        """Settle what appliances had told when the relay stopped; False when told to stop before.

        Before any post is taken, however long the store fails, and without ServiceNow, which may be away.
        """
        while not self._stop.is_set():
            self.beats.beat("settle", STORE_AGAIN + 300.0)
            try:
                await running.approvals.recover()
                await running.sessions.recover()
            except StorageError as error:
                if error.number == LOST_WRITE:
                    raise
                self._process.conditions.fail("store", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), STORE_AGAIN)
            else:
                break
        self.beats.end("settle")
        return not self._stop.is_set()

    async def _all_but_approvals(self, recover: Recover, sweep: Sweep, running: Running) -> None:
        async with asyncio.TaskGroup() as group:
            news = courteous(running.sessions.stages(), lambda: running.desk.busy > 0)
            group.create_task(running.news.run(news), name="news")
            group.create_task(running.sessions.sweep.run(), name="session sweep")
            group.create_task(sweep.run(), name="sweep")
            if not await recover.start():
                return
            log.info("daemon.working")
            room = self._room
            group.create_task(running.runner.run(stages(running.parts, self.plan.concurrent, room)), name="runner")
            group.create_task(running.poll.run(), name="poll")
            group.create_task(recover.run(), name="orphans")

    async def _when_stopped(self, recover: Recover, sweep: Sweep, running: Running) -> None:
        """The three stages of a stop: take nothing new; let finish; after a while, abort."""
        await self._stop.wait()
        log.info("daemon.stopping", jobs=running.busy)
        recover.stop()
        sweep.stop()
        running.checkpoints.stop()
        running.poll.stop()
        running.sessions.stop()
        running.runner.stop()
        running.news.stop()
        await asyncio.sleep(FINISH)
        log.warning("daemon.stop_overdue", seconds=FINISH, jobs=running.busy)
        self._abort.set()


AGENT = "agent"
"""The durable fact which agent's work the store holds."""


async def _check_agent(store: SqliteStore, agent: str) -> None:
    """Refuse to go on with the work of an agent of another name: its rows would be taken for somebody else's.

    Raises:
        ConfigError: BSR-1016.

    """
    former = await store.fact(AGENT)
    if former not in {None, agent}:
        states = {state for (kind, state, _), number in (await store.counts()).items() if number and kind == QUEUE.kind}
        if states - KINDS[QUEUE.kind].finished:
            raise ConfigError(
                1016, f"open work of {former} is in the store: start with that relay.name until it is done"
            )
    if former != agent:
        await store.set_fact(AGENT, agent)


def _anchor(plan: Plan) -> Anchor | None:
    """Where ServiceNow takes checkpoints, when that is configured."""
    wanted = plan.settings.audit.anchor
    return None if wanted is None else plan.instance.anchor(wanted.table, wanted.field)


def _line(event: str) -> dict[str, Json]:
    """An audit line about the relay itself: of no job, and so never taken for a repetition."""
    return {"event": event, "job": "", "attempt": 0}
