"""What the listener needs of others; the adapters are wired in by the daemon."""

from __future__ import annotations

from typing import Protocol

from relay.core.errors import RelayError
from relay.core.posts import Post


class Clock(Protocol):
    """This machine's clocks, seconds."""

    def wall(self) -> float:
        """Since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Since some moment; never jumps."""
        ...


class Inbox(Protocol):
    """Where posts are kept until something is made of them."""

    async def put(self, post: Post) -> bool:
        """Return when the post is on disk; False: one of its id was there already.

        Raises:
            StorageError: it is not known to be on disk; the appliance shall post it again.
            ListenerError: nobody takes posts of this kind, by the configuration.

        """
        ...


class Health(Protocol):
    """Hears what is wrong at the moment."""

    def fail(self, subject: str, error: RelayError) -> None:
        """`subject` is wrong in this way."""
        ...

    def clear(self, subject: str) -> None:
        """`subject` is right again."""
        ...
