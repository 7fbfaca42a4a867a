"""The stand-ins in a process of their own, so that what is measured shares no interpreter with what measures."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay.sandbox.remote import Remote

KINDS = ("report", "typed report", "attributes", "typed attributes", "typed health")
"""Work as ServiceNow's scripts make it, with and without effect, small answers."""


class Sides:
    """A sandbox as a child process, with so many appliances."""

    def __init__(self, folder: Path, appliances: int) -> None:
        self._folder = folder
        self._number = appliances
        self.facts: dict[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._remote: Remote | None = None

    async def __aenter__(self) -> Self:
        arguments = ["sandbox", "--json", "--directory", str(self._folder), "--appliances", str(self._number)]
        products = ["--product", "pra"]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "relay", *arguments, *products, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None  # noqa: S101  # asked for above
        self.facts = json.loads(await self._process.stdout.readline())
        self._remote = _remote(self.facts)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._remote is not None:
            self._remote.close()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    @property
    def config(self) -> Path:
        """The configuration that fits."""
        return Path(self.facts["config"])

    def configure(self, text: str) -> None:
        """Add a drop-in to the configuration."""
        folder = self.config.parent / "conf.d"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "bench.yaml"
        path.write_text(text)
        path.chmod(0o600)

    async def do(self, action: str, **arguments: Any) -> Any:  # noqa: ANN401  # JSON
        """See `relay.sandbox.control`."""
        assert self._remote is not None  # noqa: S101  # within the context
        return await asyncio.to_thread(self._remote.do, action, **arguments)

    async def unlimited(self) -> None:
        """Take the appliances' rate limits away."""
        for name in self.facts["appliances"]:
            await self.do("set", target=name, values={"per_second": 0, "per_hour": 0})

    async def latency(self, seconds: float) -> None:
        """What a request to ServiceNow takes on its way."""
        await self.do("set", target="servicenow", values={"latency": seconds})

    async def requests(self) -> int:
        """Requests that ServiceNow has had."""
        counters = await self.do("counters")
        return int(counters["servicenow"]["requests"]["all"])


def _remote(facts: dict[str, Any]) -> Remote:
    token = Path(facts["control_token_file"]).read_text()
    return Remote(facts["control"], token, Path(facts["ca_file"]))
