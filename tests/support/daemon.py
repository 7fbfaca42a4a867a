"""The real daemon between a sandbox in this process, its messages to the service manager, and the command line."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.cli.daemon_process import DaemonProcess
from relay.sandbox.box import Sandbox
from relay.sandbox.device import Product

FAST = "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n"


class Manager:
    """A service manager's end of `NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[dict[str, str]] = []
        self._arrived = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        text = self._socket.recv(4096).decode()
        self.messages.append(dict(line.split("=", 1) for line in text.splitlines()))
        self._arrived.set()

    async def until(self, name: str, value: str = "", count: int = 1) -> dict[str, str]:
        """The `count`th message with this assignment; a value is looked for within the message's."""
        async with asyncio.timeout(30):
            while True:
                found = [one for one in self.messages if name in one and value in one[name]]
                if len(found) >= count:
                    return found[count - 1]
                self._arrived.clear()
                await self._arrived.wait()

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


@dataclass
class World:
    """A sandbox with the real daemon."""

    box: Sandbox
    daemon: DaemonProcess
    manager: Manager
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The daemon's state folder."""
        return self.box.directory / "state"

    def configure(self, text: str, name: str = "test.yaml") -> None:
        """Write a drop-in."""
        folder = self.box.directory / "conf.d"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)

    def put(self, count: int, kinds: list[str] | None = None, seed: int = 1, *, sign: bool = False) -> list[str]:
        """Put mixed work into the queue; returns the sys_ids."""
        jobs = self.box.maker(seed, sign=sign).mix(count, kinds)
        self.box.put(jobs)
        return [job.sys_id for job in jobs]

    async def until(self, predicate: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something at ServiceNow."""
        await self.box.servicenow.tables.until(predicate, seconds)

    async def answered(self, number: int, seconds: float = 30.0) -> None:
        """Wait until so many outputs have an answer."""
        await self.until(lambda: len(self.box.servicenow.answered) >= number, seconds)

    async def processed(self, seconds: float = 30.0) -> None:
        """Wait until every output is processed."""
        rows = self.box.servicenow.tables.rows
        await self.until(
            lambda: all(row["state"] == "processed" for row in rows("ecc_queue") if row["queue"] == "output"), seconds
        )

    async def run(self, *arguments: str, config: bool = True) -> tuple[int, str, str]:
        """Run a command of the product; returns its exit code, stdout and stderr."""
        given = [*arguments, "--config", str(self.box.config_file)] if config else list(arguments)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "relay", *given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    def log(self) -> list[dict[str, Any]]:
        """The daemon's log lines so far."""
        lines = self.daemon.log.read_text().splitlines() if self.daemon.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self) -> list[str]:
        """The names of the logged events."""
        return [line["event"] for line in self.log()]


@asynccontextmanager
async def world(
    folder: Path,
    *,
    products: tuple[Product, ...] = ("pra", "rs"),
    drop_in: str = FAST,
    start: bool = True,
    listens: bool = False,
    **extra: str,
) -> AsyncIterator[World]:
    """A sandbox, and the daemon that works for it; with `start` False it is not started yet.

    With `listens` the daemon takes what the appliances post.
    """
    async with Sandbox.start(folder / "box", products=products, relay_port=0 if listens else None) as box:
        manager = Manager(folder / "notify")
        environ = {"NOTIFY_SOCKET": str(manager.path), **extra}
        made = World(box, DaemonProcess(box.config_file, environ), manager, environ)
        made.configure(drop_in)
        try:
            if start:
                await made.daemon.start()
                await manager.until("READY", "1")
            yield made
        finally:
            if made.daemon.alive:
                await made.daemon.kill()
            manager.close()


def is_root() -> bool:
    """Whether the tests run as root."""
    return os.geteuid() == 0
