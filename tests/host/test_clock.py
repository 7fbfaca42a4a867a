"""The system's clocks."""

from __future__ import annotations

import asyncio
import time

from relay.host.clock import Clock


async def test_clocks_are_the_systems() -> None:
    """Wall time is the epoch's, monotonic time is the event loop's."""
    clock = Clock()
    assert abs(clock.wall() - time.time()) < 5
    assert abs(clock.monotonic() - asyncio.get_running_loop().time()) < 5
    assert clock.monotonic() <= clock.monotonic()
