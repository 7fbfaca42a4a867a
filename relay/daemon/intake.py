"""Where posts go to: the inbox of the relay that is at work.

A reload replaces it in between, a broken store takes it away.
"""

from __future__ import annotations

import asyncio

from relay.core.errors import RelayError, StorageError
from relay.core.posts import Post
from relay.jobs.conditions import Conditions
from relay.listener.ports import Inbox

PATIENCE = 5.0
"""Seconds that a post waits for a store that is just being opened: a reload takes less."""


class Intake:
    """Implements the listener's `Inbox`.

    Args:
        conditions: tell why there is no store.

    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._inbox: Inbox | None = None
        self._opened = asyncio.Event()

    def open(self, inbox: Inbox) -> None:
        """Posts go there from now on."""
        self._inbox = inbox
        self._opened.set()

    def close(self) -> None:
        """Posts wait, and not for long."""
        self._inbox = None
        self._opened.clear()

    async def put(self, post: Post) -> bool:
        """Return when the post is on disk; False: it was there already.

        Raises:
            StorageError: it is not known to be on disk.
            ListenerError: nobody takes posts of this kind.

        """
        try:
            async with asyncio.timeout(PATIENCE):
                while self._inbox is None:
                    await self._opened.wait()
        except TimeoutError:
            raise self._why() from None
        return await self._inbox.put(post)

    def _why(self) -> RelayError:
        for one in self._conditions.all():
            if one.subject == "store" and isinstance(one.error, StorageError):
                return StorageError(one.error.number, one.error.detail)
        return StorageError(5001, "the store is not open right now")
