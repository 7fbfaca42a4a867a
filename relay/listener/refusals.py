"""Tells who was refused and why, so rarely that nobody can flood the log by calling often."""

from __future__ import annotations

from typing import Final

import structlog

from relay.core.addresses import Address, holder
from relay.core.errors import ListenerError
from relay.listener.ports import Clock

log = structlog.get_logger("relay.listener")

SECONDS: Final = 60.0
MOST_LINES: Final = 32


class Refusals:
    """Each refusal of a caller has one line in `SECONDS`, and all together have `MOST_LINES`; others are counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._told: set[tuple[int, object]] = set()
        self._missed = 0

    def tell(self, error: ListenerError, source: Address, appliance: str = "") -> None:
        """A caller was refused; `appliance` is named where it is known."""
        now = self._clock.monotonic()
        if now - self._since >= SECONDS:
            self._since = now
            self._told.clear()
        key = (error.number, holder(source))
        if key in self._told or len(self._told) >= MOST_LINES:
            self._missed += 1
            return
        self._told.add(key)
        missed, self._missed = self._missed, 0
        caller = str(source)
        log.warning(
            "listener.refused", code=error.code, error=error.text, source=caller, appliance=appliance, missed=missed
        )
