"""Imports step back while somebody waits for a decision.

Both share this process's one interpreter. A backlog of sessions would take all of it, and each of the many short steps
of a decision would wait for a step of an import: people first, sessions that ended can wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from relay.core.jobs import Job
from relay.core.session_job import FETCHED, NOTICED, WRITTEN
from relay.jobs.stage import Stage

Handle = Callable[[Sequence[Job]], Awaitable[None]]

STATES: Final = frozenset({NOTICED, FETCHED, WRITTEN})
"""What costs processor time. Recordings only stream, and may take hours."""
LONGEST: Final = 5.0
"""Seconds that a step of an import lets others go first; then it goes on, however many people wait."""
REST: Final = 0.05
"""Seconds between two steps."""


def courteous(stages: Iterable[Stage], waiting: Callable[[], bool]) -> list[Stage]:
    """The stages, of which those that import sessions take turns while `waiting()`."""
    turn = asyncio.Lock()
    return [
        replace(stage, handle=_in_turn(stage.handle, turn, waiting)) if STATES & {*stage.states} else stage
        for stage in stages
    ]


def _in_turn(handle: Handle, turn: asyncio.Lock, waiting: Callable[[], bool]) -> Handle:
    async def handled(jobs: Sequence[Job]) -> None:
        if not waiting():
            await handle(jobs)
            return
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST):
                    await stack.enter_async_context(turn)
                    await asyncio.sleep(REST)
            await handle(jobs)

    return handled
