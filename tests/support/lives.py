"""Lives of the real daemon under conditions (killed at a step, traced, false clock), and the verdict at the end."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from relay.audit.segments import FOLDER
from relay.audit.verify import verify_folder
from relay.cli.daemon_process import _PASSED_ON, DaemonProcess
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


async def rest(world: World, seconds: float = 30.0) -> Summary:
    """Let the running daemon finish, stop it, and judge the world: sandbox, store and audit log.

    Raises:
        AssertionError: something is lost, double, stuck or not as the log says.

    """
    try:
        await world.answered(len(world.box.jobs), seconds)
        await world.processed(seconds)
    except TimeoutError:
        raise AssertionError(f"{world.box.check(final=True)}\n{jobs(world)}") from None
    assert await world.daemon.stop() == 0
    summary = world.box.check(final=True)
    assert summary.violations == (), summary
    assert set(jobs(world)) <= {"CLOSED"}, jobs(world)
    assert verify_folder(world.state / FOLDER).verdict.bad is None
    assert not [error for door in world.box.doors.values() for error in door.errors]
    faults = [line for line in world.log() if line["event"] in {"jobs.fault", "forward.fault", "forward.unreadable"}]
    assert not faults, faults
    return summary


def jobs(world: World) -> Counter[str]:
    """Number of jobs by state in the store of a daemon that has stopped."""
    connection = sqlite3.connect(world.state / "store.db")
    try:
        return Counter(dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state")))
    finally:
        connection.close()
