"""Lives of the real daemon under conditions (killed at a step, traced, false clock), and the verdict at the end."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relay.audit.segments import FOLDER
from relay.audit.verify import verify_folder
from relay.cli.daemon_process import _PASSED_ON, DaemonProcess
from relay.daemon.client import DaemonAway, ask
from relay.sandbox.instance import RIVAL
from relay.sandbox.oracle import Summary
from support.breakage import environment
from support.daemon import World

RELAY = ("-m", "relay")


class Life(DaemonProcess):
    """A life of a world's daemon.

    Args:
        world: whose daemon it is; it becomes the world's.
        program: what Python runs instead of `-m relay`.
        wrapper: a command that runs Python, as strace does.
        environ: added to the environment.

    """

    def __init__(
        self,
        world: World,
        program: Sequence[str] = RELAY,
        wrapper: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        paths = {"PYTHONPATH": environment()["PYTHONPATH"]}
        super().__init__(world.box.config_file, {**world.environ, **paths, **(environ or {})})
        self._command = (*wrapper, sys.executable, *program, "run", "--config", str(world.box.config_file))
        world.daemon = self

    async def start(self) -> None:
        """Start it, after the end of an earlier one."""
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(self._environ)
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log, env=environ)

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait for its end; returns the exit code."""
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()


def killed_at(world: World, step: str, side: str, number: int = 1) -> Life:
    """A life that ends by SIGKILL at a step of `support.killer`."""
    plan = {"step": step, "side": side, "number": number}
    return Life(world, ("-m", "support.killer", json.dumps(plan)))


def impatient(world: World) -> Life:
    """A whole life with the short waits of `support.killer`."""
    return Life(world, ("-m", "support.killer", "{}"))


async def rest(world: World, seconds: float = 40.0) -> Summary:
    """Let the running daemon finish, stop it, and judge the world: sandbox, store and audit log.

    Raises:
        AssertionError: something is lost, double, stuck or not as the log says.

    """
    try:
        await eventually(lambda: at_rest(world), seconds)
        await eventually(lambda: all_closed(world), seconds)
    except TimeoutError:
        await world.daemon.kill()
        raise AssertionError(f"{world.box.check(final=True)}\n{jobs(world)}") from None
    assert await world.daemon.stop() == 0
    summary = world.box.check(final=True)
    assert summary.violations == (), summary
    assert set(jobs(world)) <= {"CLOSED"}, jobs(world)
    assert verify_folder(world.state / FOLDER).sound
    assert not [error for door in world.box.doors.values() for error in door.errors]
    faults = [line for line in world.log() if line["event"] in {"jobs.fault", "forward.fault", "forward.unreadable"}]
    assert not faults, faults
    return summary


async def eventually(predicate: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds that nobody tells of."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(predicate):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.03)


def status(world: World) -> dict[str, Any]:
    """What the running daemon says of itself."""
    found: dict[str, Any] = ask([world.state / "control.sock"], world.state, "status")
    return found


def all_closed(world: World) -> bool:
    """Whether the daemon is up and has nothing in hand."""
    try:
        found = status(world)
    except DaemonAway:
        return False
    return found["state"] != "starting" and set(found["jobs"]) <= {"CLOSED"}


def codes(world: World) -> set[str]:
    """The codes of what is wrong by the daemon's own word."""
    return {one["code"] for one in status(world)["conditions"]}


def at_rest(world: World) -> bool:
    """Whether every job has an answer, ours or a rival's, and every output that is not a rival's is processed."""
    tables, answered = world.box.servicenow.tables, world.box.servicenow.answered
    rows = [tables.get("ecc_queue", job.sys_id) for job in world.box.jobs]
    ours = [row for row in rows if row is not None and row["sys_updated_by"] != RIVAL]
    return all(row["sys_id"] in answered and row["state"] == "processed" for row in ours)


def jobs(world: World) -> Counter[str]:
    """Number of jobs by state in the store of a daemon that has stopped."""
    connection = sqlite3.connect(world.state / "store.db")
    try:
        return Counter(dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state")))
    finally:
        connection.close()
