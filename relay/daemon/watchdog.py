"""Tells the service manager how the relay is, as long as every loop is alive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import structlog

from relay.daemon.process import Process
from relay.host.systemd import watchdog_interval
from relay.jobs.beats import Beats

log = structlog.get_logger("relay.daemon")

OFTEN = 2.0
"""Seconds between two looks: what `systemctl status` shows is hardly older."""


async def feed(process: Process, beats: Callable[[], Beats], status: Callable[[], str]) -> None:
    """Feed the watchdog and set the status line until cancelled; a loop that is late starves it on purpose."""
    interval = watchdog_interval(process.environ, os.getpid())
    said = ""
    while True:
        late = beats().late()
        if late:
            log.error("daemon.stuck", code="BSR-9001", loops=late)
        elif interval is not None:
            process.notifier.watchdog()
        text = status()
        if text != said:
            process.notifier.status(text)
            said = text
        await asyncio.sleep(OFTEN if interval is None else min(interval / 3, OFTEN))
