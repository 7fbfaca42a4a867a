"""The listener: serves where the configuration says, as long as it says so.

An address that cannot be had is no reason to stop work: it is a condition, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from relay.core.errors import ListenerError
from relay.host.sockets import bound
from relay.listener.connection import Limits
from relay.listener.desk import Desk
from relay.listener.entrance import Entrance
from relay.listener.ports import Clock, Health, Inbox
from relay.listener.refusals import Refusals
from relay.listener.station import Station

log = structlog.get_logger("relay.listener")

AGAIN: Final = 30.0
"""Seconds until an address is tried again that could not be had."""
SUBJECT: Final = "listener"


class Listener:
    """Serves where `listen` last said.

    Args:
        inbox: keeps posts.
        health: hears of an address that cannot be had.
        clock: this machine's.
        passed: sockets that systemd bound for us; they are served instead of the configuration's address, and stay
            open when there is no listener in the configuration.
        limits: bound everything.
        count: called with each answer: whose post it was, "" where nobody knows, and the status.

    """

    def __init__(
        self,
        inbox: Inbox,
        health: Health,
        clock: Clock,
        passed: Sequence[socket.socket] = (),
        limits: Limits | None = None,
        *,
        count: Callable[[str, int], None] = lambda _appliance, _status: None,
    ) -> None:
        self._health = health
        self._passed = tuple(passed)
        limits = limits or Limits()
        refusals = Refusals(clock)
        self._entrance = Entrance(Desk(inbox, clock, refusals, limits, count), refusals, limits)
        self._station: Station | None = None
        self._changed = asyncio.Event()
        self.ports: tuple[int, ...] = ()
        """Where it listens now; empty: nowhere."""

    def listen(self, station: Station | None) -> None:
        """Serve so from now on, or not at all. At the same address nothing is interrupted: the next call counts."""
        before, self._station = self._station, station
        if before is None or station is None or before.endpoint != station.endpoint:
            self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._changed.clear()
            station = self._station
            if station is None:
                self._health.clear(SUBJECT)
                await self._changed.wait()
                continue
            try:
                await self._serve(station)
            except OSError as error:
                self._health.fail(SUBJECT, ListenerError(6001, f"{station.endpoint}: {error.strerror or error}"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), AGAIN)

    async def _serve(self, station: Station) -> None:
        """Serve at one address until another is wanted.

        Raises:
            OSError: it cannot be had.

        """
        sockets = self._passed or await bound(station.endpoint)
        try:
            self.ports = tuple(one.getsockname()[1] for one in sockets)
            self._health.clear(SUBJECT)
            log.info("listener.listening", address=str(station.endpoint), ports=self.ports, passed=bool(self._passed))
            await self._accept(sockets)
        finally:
            self.ports = ()
            for one in sockets if not self._passed else ():
                one.close()
            await self._entrance.aclose()

    async def _accept(self, sockets: Sequence[socket.socket]) -> None:
        """Accept at all sockets until another address is wanted.

        Raises:
            OSError: one of them accepts no more.

        """
        tasks = [asyncio.create_task(self._accept_at(one), name="listener") for one in sockets]
        changed = asyncio.create_task(self._changed.wait(), name="listener")
        try:
            done, _ = await asyncio.wait((changed, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (changed, *tasks):
                task.cancel()
            await asyncio.gather(changed, *tasks, return_exceptions=True)

    async def _accept_at(self, listening: socket.socket) -> None:
        while True:
            await self._entrance.accept(listening, lambda: self._station)
