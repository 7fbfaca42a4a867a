"""A real proxy, Debian's tinyproxy, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_tinyproxy = pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="tinyproxy is not installed")

_CONFIGURATION = """\
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 20
MaxClients 100
LogLevel Connect
LogFile "{log}"
"""


@dataclass(frozen=True)
class Tinyproxy:
    """One that runs."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connects(self) -> list[str]:
        """The targets of all CONNECT requests so far."""
        return re.findall(r"Request \(file descriptor \d+\): CONNECT (\S+) HTTP", self.log.read_text())


@asynccontextmanager
async def tinyproxy(
    folder: Path, *, account: tuple[str, str] | None = None, ports: tuple[int, ...] = (), more: str = ""
) -> AsyncIterator[Tinyproxy]:
    """Run one.

    Args:
        folder: where its configuration and log go.
        account: (user name, password) that must be given.
        ports: the only ports that CONNECT may name; none: any.
        more: further lines of its configuration.

    """
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    log, file = folder / "tinyproxy.log", folder / "tinyproxy.conf"
    text = _CONFIGURATION.format(port=port, log=log) + more
    text += f"BasicAuth {account[0]} {account[1]}\n" if account else ""
    file.write_text(text + "".join(f"ConnectPort {each}\n" for each in ports))
    process = await asyncio.create_subprocess_exec(
        "tinyproxy", "-d", "-c", str(file), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listening(process, port)
        yield Tinyproxy(port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, "tinyproxy did not start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.transport.abort()
                await asyncio.sleep(0)
                return
