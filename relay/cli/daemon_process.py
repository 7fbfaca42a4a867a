"""The real daemon as a process of its own, for commands that show or measure it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
"""The daemon gets a clean environment: nothing of the caller's shell changes what is shown or measured."""
GRACE = 60.0
"""Seconds that a stop may take."""


class DaemonProcess:
    """`bseries-relay run` with a configuration, its log in a folder beside it. `environ` is added to its environment.

    Why a folder: the configuration's own is watched, and each line of a log in it would wake the daemon's watchers.
    """

    def __init__(self, config: Path, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environ = environ or {}
        self.log = config.parent / "log" / "daemon.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.alive:
            await (self.kill() if kind else self.stop())

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    async def start(self) -> None:
        """Start it, after the end of an earlier one."""
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(self._environ)
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "relay", "run", "--config", self._config, stdout=log, stderr=log, env=environ
            )

    async def stop(self) -> int:
        """End it as an administrator would; returns its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """End it as a crash would."""
        return await self._end(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait for its end; returns its exit code."""
        async with asyncio.timeout(GRACE):
            return await self._started.wait()

    async def _end(self, number: signal.Signals) -> int:
        if self._started.returncode is None:
            self._started.send_signal(number)
        return await self.ended()

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the daemon was not started")
        return self._process

    def resident(self) -> int:
        """Bytes of memory that it holds right now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def processor(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
