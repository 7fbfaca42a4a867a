"""Tasks beside the work: their end, or their fault, is not the end of the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger("relay.daemon")


@asynccontextmanager
async def beside(**parts: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these while the context lasts, each under its name. One that fails is logged and stays away."""
    tasks = [asyncio.create_task(_logged(name, part), name=name) for name, part in parts.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _logged(name: str, part: Coroutine[None, None, None]) -> None:
    try:
        await part
    except Exception:
        log.exception("daemon.part_failed", code="BSR-9001", part=name)
