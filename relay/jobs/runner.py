"""Feeds due jobs to the stages; knows no kind of job.

Why the store is asked for due work instead of a list in memory: the store is the truth after a crash anyway, and a
backlog of any length costs no memory here. What is in memory is only which jobs are being handled right now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

import structlog

from relay.core.errors import InternalError, RelayError, StorageError
from relay.core.jobs import Job
from relay.core.retry import Backoff
from relay.core.schedule import NO_CREDIT, choose
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.ledger import Ledger, StaleJob
from relay.jobs.ports import Clock, Store
from relay.jobs.stage import Stage
from relay.jobs.waits import Waits

log = structlog.get_logger("relay.jobs")

LONGEST_SLEEP = 60.0
"""Seconds. A stage looks at the store at least this often, so that a jump of the wall clock delays nothing longer."""
REST = Backoff(first=1.0, longest=LONGEST_SLEEP)
"""How long jobs rest whose handling failed in a way that nobody expected."""
UNWRITABLE = 5005
AUDIT = 5007


class Runner:
    """Runs the stages until it is told to stop."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        beats: Beats,
        conditions: Conditions,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._beats = beats
        self._conditions = conditions
        self._jitter = jitter
        self._drives: list[_Drive] = []
        self._held: set[str] = set()
        self._moved: dict[str, Job] = {}
        self._rests: dict[str, tuple[int, float]] = {}
        self._waits = Waits(clock)
        self._stopping = False
        ledger.listen(self._hear)

    async def run(self, stages: Sequence[Stage]) -> None:
        """Run the stages; returns after `stop` once every handling has ended, raises when one of them is fatal."""
        self._drives = [_Drive(stage) for stage in stages]
        async with asyncio.TaskGroup() as group:
            for drive in self._drives:
                group.create_task(self._loop(drive, group), name=f"stage {drive.stage.name}")

    def look_again(self) -> None:
        """Something beside the jobs changed (a hold, a limit): every stage looks for work anew."""
        for drive in self._drives:
            drive.empty = False
            drive.wake.set()

    def stop(self) -> None:
        """Take no new work; stages that drain go on until nothing of theirs is due."""
        self._stopping = True
        self.look_again()

    @property
    def busy(self) -> int:
        """How many jobs are being handled right now."""
        return len(self._held)

    # -- one stage -----------------------------------------------------------------------------------------------

    async def _loop(self, drive: _Drive, group: asyncio.TaskGroup) -> None:
        name = f"stage {drive.stage.name}"
        slots = asyncio.Semaphore(drive.stage.workers)

        def ended(_: object) -> None:
            drive.calls -= 1
            slots.release()

        while not self._ends(drive):
            self._beats.beat(name, LONGEST_SLEEP + 2 * drive.stage.longest)
            async with slots:
                # Waiting for the slot may have taken long: what was told to stop meanwhile takes nothing more.
                calls = [] if self._ends(drive) else await self._take(drive)
            if not calls:
                if not self._ends(drive):
                    await self._sleep(drive)
                continue
            for jobs in calls:
                await slots.acquire()
                drive.calls += 1
                handling = group.create_task(self._handle(drive, jobs), name=f"{name}: {jobs[0].id}")
                handling.add_done_callback(ended)
        self._beats.end(name)

    def _ends(self, drive: _Drive) -> bool:
        return self._stopping and (not drive.stage.drains or (drive.empty and not self._held))

    async def _take(self, drive: _Drive) -> list[list[Job]]:
        """Due jobs for calls of the stage, marked as held; none when the stage is closed or nothing is due.

        Why for several calls at once where each takes one job: a look at the store may wait for the disk, and as many
        looks a second would bound the jobs a second.
        """
        stage = drive.stage
        drive.wake.clear()
        drive.empty = False
        drive.next_due = None
        drive.steady = self._clock.monotonic()
        if not stage.open():
            drive.empty = True
            return []
        batches = stage.size() > 1
        free = stage.workers - drive.calls
        try:
            jobs = await self._due(drive, stage.size() if batches else free)
            linger = stage.linger()
            if jobs and linger and batches and len(jobs) < stage.size() and not self._stopping:
                await asyncio.sleep(linger)
                jobs = await self._due(drive, stage.size())
            if not jobs:
                drive.empty = True
                # By the moment of the look that found nothing: what fell due since then would else be seen by neither.
                drive.next_due = await self._store.next_due(stage.kind, stage.states, stage.lane, drive.looked)
        except StorageError as error:
            self._storage_failed(error)
            drive.empty = True  # as far as can be told; a stop must not wait for a store that fails
            drive.next_due = self._clock.wall() + REST.first
            return []
        self._conditions.clear("store")
        self._held.update(job.id for job in jobs)
        if batches:
            return [jobs] if jobs else []
        return [[job] for job in jobs]

    async def _due(self, drive: _Drive, most: int) -> list[Job]:
        stage = drive.stage
        now = drive.steady = self._clock.monotonic()
        resting = {job for job, (_, until) in self._rests.items() if until > now}
        passed_over = self._held | resting
        size = max(1, most)
        limit = size + len(passed_over)
        passed_over |= self._waits.not_over()
        while True:
            drive.looked = self._clock.wall()
            found = await self._store.due(stage.kind, stage.states, stage.lane, drive.looked, limit)
            passed_over |= self._held
            known = {job.id: job for job in (*found, *filter(stage.wants, self._waits.over()))}
            free = [job for job in known.values() if job.id not in passed_over and stage.accepts(job)]
            if len(free) >= size or len(found) < limit:
                break
            # Jobs of other stages fill what was asked for: those of this one may lie behind them.
            limit *= 4
        jobs, drive.credit = choose(free, size, drive.credit)
        return jobs

    async def _sleep(self, drive: _Drive) -> None:
        """Wait for a wake-up, or until something falls due."""
        wait = LONGEST_SLEEP
        if drive.next_due is not None:
            wait = min(wait, max(0.0, drive.next_due - self._clock.wall()) + 0.001)
        over = self._waits.next_over(drive.stage.wants, drive.steady)
        if over is not None:
            wait = min(wait, over + 0.001)
        now = self._clock.monotonic()
        for _, until in self._rests.values():
            # By the moment of the look, as above: a rest that ended since then is over now.
            if until > drive.steady:
                wait = min(wait, max(0.0, until - now) + 0.001)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drive.wake.wait(), wait)

    # -- one handling --------------------------------------------------------------------------------------------

    async def _handle(self, drive: _Drive, jobs: Sequence[Job]) -> None:
        try:
            async with asyncio.timeout(drive.stage.longest):
                await drive.stage.handle(jobs)
        except StaleJob as lost:
            log.warning("jobs.stale", job=str(lost), stage=drive.stage.name)
        except StorageError as error:
            self._storage_failed(error)
            self._rest(jobs)
        except RelayError as error:
            log.warning("jobs.put_off", stage=drive.stage.name, code=error.code, error=error.text, jobs=len(jobs))
            self._rest(jobs)
        except Exception as error:  # one job's fault must not stop the others; it is logged and rests
            fault = InternalError(9001, type(error).__name__)
            log.exception("jobs.fault", stage=drive.stage.name, code=fault.code, jobs=[job.id for job in jobs])
            self._rest(jobs)
        else:
            for job in jobs:
                self._rests.pop(job.id, None)
        finally:
            self._release(jobs)

    def _storage_failed(self, error: StorageError) -> None:
        """A disk that lost a write is the end of this process; every other trouble of the store may pass."""
        self._conditions.fail("audit" if error.number == AUDIT else "store", error)
        if error.number == UNWRITABLE:
            raise error

    def _rest(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            tries = self._rests.get(job.id, (0, 0.0))[0] + 1
            self._rests[job.id] = (tries, self._clock.monotonic() + REST.delay(tries, self._jitter()))

    def _release(self, jobs: Sequence[Job]) -> None:
        self._held.difference_update(job.id for job in jobs)
        for job in jobs:
            self._wake(self._moved.pop(job.id, job))

    def _hear(self, job: Job) -> None:
        """A job was stored in a new state: by a handling that still holds it, or by somebody else."""
        self._waits.hear(job)
        if job.id in self._held:
            self._moved[job.id] = job
        else:
            self._wake(job)

    def _wake(self, job: Job) -> None:
        for drive in self._drives:
            if drive.stage.wants(job):
                drive.empty = False
                drive.wake.set()
            elif self._stopping:
                drive.wake.set()


class _Drive:
    """What the runner remembers of one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.wake = asyncio.Event()
        self.credit = NO_CREDIT
        self.empty = False
        self.looked = 0.0
        self.steady = 0.0
        self.next_due: float | None = None
        self.calls = 0
