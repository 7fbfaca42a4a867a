"""Keeps our row in `ecc_agent` current, so that ServiceNow shows the agent as what it is."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from relay.core.errors import ServiceNowError
from relay.core.retry import spread
from relay.jobs.beats import Beats
from relay.pipeline.parts import Parts
from relay.pipeline.ports import Agent

log = structlog.get_logger("relay.pulse")

EVERY = 120.0
"""Seconds. ServiceNow asks for a sign of life every five minutes."""
AGAIN = 15.0
"""Seconds until a row is tried again that could not be refreshed."""
LAST_WORD = 5.0
"""Seconds that the stop waits for the row to say Down."""


class Pulse:
    """The loop that refreshes the row."""

    def __init__(self, parts: Parts, agent: Agent, beats: Beats) -> None:
        self._parts = parts
        self._agent = agent
        self._beats = beats
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._says_down = True

    def wake(self) -> None:
        """Refresh now: what the row says has changed."""
        self._wake.set()

    def stop(self, *, says_down: bool = True) -> None:
        """End soon; the row then says Down, unless somebody else goes on with it."""
        self._says_down = says_down
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Refresh until `stop`, then say Down where that is so."""
        while not self._stop.is_set():
            self._beats.beat("pulse", 2 * EVERY)
            self._wake.clear()
            again = await self._say("Up" if self._parts.holds.work else "Paused")
            if self._stop.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), spread(again, self._parts.jitter()))
        if self._says_down:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD):
                    await self._say("Down")
        self._beats.end("pulse")

    async def _say(self, status: str) -> float:
        """Set the row's status; returns the seconds after which it should be said again."""
        try:
            await self._agent.refresh(status)
        except ServiceNowError as error:
            # While ServiceNow cannot be asked at all, that is what is wrong, and it is said already.
            if not self._parts.conditions.has("servicenow"):
                self._parts.conditions.fail("agent", error)
            return AGAIN
        else:
            self._parts.conditions.clear("agent")
        return EVERY
