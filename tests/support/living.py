"""The real daemon in this process and event loop, between the stand-ins: as the process, without its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.config.load import load
from relay.core.redact import Redactor
from relay.daemon.client import ask
from relay.daemon.intake import Intake
from relay.daemon.lock import StateLock
from relay.daemon.metrics import Figures
from relay.daemon.process import KnownSecrets, Process
from relay.daemon.supervisor import Supervisor
from relay.host.clock import Clock
from relay.host.folders import find_folders
from relay.host.logs import Level, Logs
from relay.host.systemd import Notifier
from relay.jobs.conditions import Conditions
from relay.sandbox.box import Sandbox
from relay.sandbox.device import Product

QUICK = "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n"


class Manager(Notifier):
    """A service manager that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def ready(self, status: str = "") -> bool:
        return self._tell("ready", status)

    def status(self, text: str) -> bool:
        return self._tell("status", text)

    def watchdog(self) -> bool:
        return self._tell("watchdog", "")

    def reloading(self, status: str = "") -> bool:
        return self._tell("reloading", status)

    def stopping(self, status: str = "") -> bool:
        return self._tell("stopping", status)

    def _tell(self, what: str, status: str) -> bool:
        self.told.append(f"{what} {status}".strip())
        return True

    def count(self, what: str) -> int:
        """How often the manager was told this."""
        return sum(line.split(" ")[0] == what for line in self.told)


class Quiet(Logs):
    """Leaves the log stream of the test run as it is."""

    def set_level(self, level: Level) -> None:
        self.level = level


@dataclass
class Living:
    """A sandbox and a daemon beside it; `task` is the daemon's life."""

    box: Sandbox
    process: Process
    manager: Manager
    supervisor: Supervisor
    task: asyncio.Task[None] | None = field(default=None)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.box.directory / "state"

    def configure(self, text: str, name: str = "test.yaml") -> None:
        """Write a drop-in."""
        write_drop_in(self.box, text, name)

    def put(self, count: int, kinds: list[str] | None = None, seed: int = 1) -> list[str]:
        """Put mixed work into the queue; returns the sys_ids."""
        jobs = self.box.maker(seed).mix(count, kinds)
        self.box.put(jobs)
        return [job.sys_id for job in jobs]

    async def until(self, predicate: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait for something in this process."""
        async with asyncio.timeout(seconds):
            while not predicate():
                if self.task is not None and self.task.done():
                    await self.task
                    raise AssertionError("the daemon ended before")
                await asyncio.sleep(0.005)

    async def answered(self, number: int) -> None:
        """Wait until so many outputs have an answer."""
        await self.until(lambda: len(self.box.servicenow.answered) >= number)

    async def working(self) -> None:
        """Wait until the loops run."""
        await self.until(lambda: self.supervisor.app.running is not None)

    def codes(self) -> dict[str, str]:
        """What is wrong: codes by subject."""
        return {one.subject: one.error.code for one in self.process.conditions.all()}

    def steps(self, kind: str, event: str) -> int:
        """How many jobs of this kind took this step."""
        return int(self.process.figures._events.labels(kind, event)._value.get())

    def answer(self, sys_id: str) -> str:
        """The payload of an output's answer."""
        rows = self.box.servicenow.tables.rows("ecc_queue")
        (found,) = [row["payload"] for row in rows if row["response_to"] == sys_id]
        return str(found)

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the control socket, as the command line does."""
        folders = self.process.folders
        return await asyncio.to_thread(ask, folders.sockets[:1], folders.state, command, arguments)

    def start(self) -> None:
        """Run the daemon."""
        self.task = asyncio.create_task(self.supervisor.run(), name="daemon")

    async def stop(self) -> None:
        """Stop the daemon and wait for its end."""
        assert self.task is not None
        self.supervisor.stop()
        async with asyncio.timeout(30):
            await self.task


def write_drop_in(box: Sandbox, text: str, name: str = "test.yaml") -> None:
    """Write a drop-in beside the sandbox's configuration."""
    folder = box.directory / "conf.d"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o600)


def make(box: Sandbox) -> Living:
    """A daemon for the sandbox's configuration, as `relay.daemon.supervisor.run` makes it."""
    loaded = load(box.config_file, {})
    clock, redactor, manager = Clock(), Redactor(), Manager()
    folders = find_folders({}, storage=loaded.settings.storage.directory)
    conditions = Conditions(clock)
    process = Process(
        environ={},
        folders=folders,
        lock=StateLock(folders.state),
        secrets=KnownSecrets({}, redactor),
        clock=clock,
        notifier=manager,
        conditions=conditions,
        figures=Figures(clock, "1"),
        intake=Intake(conditions),
    )
    return Living(box, process, manager, Supervisor(box.config_file, process, Quiet(clock, redactor, {}), loaded))


@asynccontextmanager
async def living(
    folder: Path,
    *,
    products: tuple[Product, ...] = ("pra",),
    drop_in: str = QUICK,
    start: bool = True,
    listens: bool = False,
) -> AsyncIterator[Living]:
    """A sandbox, and the daemon that works for it; with `listens` it takes what the appliances post."""
    async with Sandbox.start(folder / "box", products=products, relay_port=0 if listens else None) as box:
        write_drop_in(box, drop_in)
        made = make(box)
        try:
            if start:
                made.start()
                await made.working()
            yield made
        finally:
            await end(made)


async def end(made: Living) -> None:
    """End a daemon whatever it does."""
    if made.task is not None and not made.task.done():
        if not made.supervisor.stopping:
            made.supervisor.stop()
        async with asyncio.timeout(30):
            await made.task


async def connected(made: Living, requests: int) -> None:
    """Wait until ServiceNow had so many requests, so that no connection is just being made.

    Python 3.11 forgets the socket of a connection whose making is cancelled just as it succeeds.
    """
    await made.until(lambda: made.box.servicenow.requests["all"] >= requests)
