"""Takes secrets and certificates over when their files change, while the work goes on.

Why not by a reload: that would take a half-edited configuration into use, and make work wait for calls under way. Here
only what a file holds changes; the settings that name it stay. Whoever is connected stays so until its next request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from relay.config.describe import leaves
from relay.config.model import Settings
from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.host.watch import FolderWatch

log = structlog.get_logger("relay.daemon")

SUBJECT = "secrets"
UNUSABLE = 1025
AGAIN = 10.0
"""Seconds until what could not be used is tried again: a mode that was mended is no change of a file's contents."""


@dataclass(frozen=True, slots=True)
class Named:
    """The files that both sides' connections are made of."""

    secrets: tuple[SecretRef, ...]
    files: frozenset[Path]

    @classmethod
    def in_settings(cls, settings: Settings) -> Named:
        """What both sides and the listener name; credentials do not change while the process lives."""
        enabled = {name for name, one in settings.appliances.items() if one.enabled}
        sides = {("servicenow",), *(("appliances", name) for name in enabled)}
        sections = {(*side, section) for side in sides for section in ("auth", "tls", "proxy")}
        if settings.listener is not None:
            tokens = {("appliances", name, "event_token") for name in settings.appliances}
            sections |= {("listener", "tls"), ("listener", "event_token"), *tokens}
        found = [value for path, value in leaves(Settings, settings) if {path[:2], path[:3]} & sections]
        secrets = tuple(value for value in found if isinstance(value, SecretRef) and value.kind == "file")
        return cls(secrets, frozenset(Path(ref.name) for ref in secrets) | {it for it in found if isinstance(it, Path)})


class Rotation:
    """Watches the files that the plan at work is made of.

    Args:
        process: reads the secrets, and hears what cannot be used.
        plan: gives the plan at work.
        renewed: called after changes were taken over: what waits because of a refusal need not wait any longer.

    """

    def __init__(self, process: Process, plan: Callable[[], Plan], renewed: Callable[[], None]) -> None:
        self._process = process
        self._plan = plan
        self._renewed = renewed
        self._replaced = asyncio.Event()
        self._said = ""

    def replaced(self) -> None:
        """Another plan is at work: its files are the ones that count."""
        self._said = ""
        self._replaced.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._replaced.clear()
            named = Named.in_settings(self._plan().settings)
            watch = FolderWatch({file.parent for file in named.files}, named.files.__contains__, self._changed)
            try:
                await watch.start()
                self._take_over()  # what changed between the plan's reading and now
                await self._follow(watch)
            finally:
                await watch.aclose()

    async def _follow(self, watch: FolderWatch) -> None:
        """Take changes over until another plan is at work."""
        watching = asyncio.create_task(watch.run(), name="secrets")
        try:
            while not self._replaced.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._replaced.wait(), AGAIN)
                if self._said and not self._replaced.is_set():
                    self._take_over()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _changed(self, files: frozenset[Path]) -> None:
        log.info("secrets.changed", files=sorted(map(str, files)))
        self._take_over()

    def _take_over(self) -> None:
        """Read everything again. What cannot be used is told, and the former goes on."""
        plan, conditions = self._plan(), self._process.conditions
        problems: list[ConfigError] = []
        for ref in Named.in_settings(plan.settings).secrets:
            try:
                self._process.secrets.read(ref)
            except ConfigError as error:
                problems.append(error)
        said = "; ".join(dict.fromkeys(error.detail for error in (*problems, *plan.renew())))
        if said != self._said:
            conditions.clear(SUBJECT)
        self._said = said
        if said:
            conditions.fail(SUBJECT, ConfigError(UNUSABLE, said))
        self._renewed()
