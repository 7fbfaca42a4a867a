"""Where the figures can be read: the socket of `metrics.listen`, as long as the configuration wants one.

An address that cannot be had is no reason to stop work: it is a condition, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from relay.config.values import Endpoint
from relay.core.errors import ConfigError
from relay.host.metrics import Metrics, MetricsServer
from relay.jobs.conditions import Conditions

log = structlog.get_logger("relay.metrics")

AGAIN = 30.0
"""Seconds until an address is tried again that could not be had."""
SUBJECT = "metrics"


class Exposition:
    """Serves the figures where `listen` last said.

    Args:
        metrics: the figures.
        before: awaited before each page, to look up what is not counted.
        conditions: hears of an address that cannot be had.

    """

    def __init__(self, metrics: Metrics, before: Callable[[], Awaitable[None]], conditions: Conditions) -> None:
        self._metrics = metrics
        self._before = before
        self._conditions = conditions
        self._wanted: Endpoint | None = None
        self._changed = asyncio.Event()

    def listen(self, endpoint: Endpoint | None) -> None:
        """Serve there from now on, or nowhere. Where it is the same as before, nothing is interrupted."""
        if endpoint != self._wanted:
            self._wanted = endpoint
            self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._changed.clear()
            if self._wanted is None:
                await self._changed.wait()
            else:
                await self._serve(self._wanted)
            if self._changed.is_set():
                self._conditions.clear(SUBJECT)

    async def _serve(self, endpoint: Endpoint) -> None:
        """Serve at one address until another is wanted; where it cannot be had, return after a while."""
        server = MetricsServer(self._metrics, before=self._before)
        try:
            port = await server.start(endpoint.host, endpoint.port)
            self._conditions.clear(SUBJECT)
            log.info("metrics.listening", address=str(endpoint), port=port)
            await self._changed.wait()
        except OSError as error:
            self._conditions.fail(SUBJECT, ConfigError(1021, f"{endpoint}: {error.strerror or error}"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), AGAIN)
        finally:
            await server.aclose()
