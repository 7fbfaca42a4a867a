"""One connection to the listener, and how much of everything one may have."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.core.addresses import Address
from relay.core.errors import ListenerError
from relay.core.posts import expected
from relay.listener.station import Station


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything there may be.

    Attributes:
        request: seconds from the connection's beginning until the request has arrived as a whole, however slowly it
            drips.
        answer: seconds that storing a post may take then.
        goodbye: seconds until the connection is closed after that.
        connections: of all callers together.
        of_one: of one address.
        strangers: of all addresses together that no appliance posts from.
        header: bytes of the request's line and header.
        counted: bytes of a body that are read at all. What goes beyond the longest body is dropped unread, so that the
            caller is still there to hear the answer.

    """

    request: float = 15.0
    answer: float = 20.0
    goodbye: float = 5.0
    connections: int = 64
    of_one: int = 16
    strangers: int = 8
    header: int = 16 * 1024
    counted: int = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, which serves one request.

    Attributes:
        station: the configuration that was in use when it began.
        source: who calls: the peer, or whom a load balancer names.
        deadline: when it ends at the latest.
        closed: it has ended.
        answering: the task that answers its request, once there is one.

    """

    station: Station
    source: Address
    deadline: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Task[None] | None = None

    def put_off(self, seconds: float) -> None:
        """Let it live so long from now on, unless its end has come."""
        with contextlib.suppress(RuntimeError):
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)


class Places:
    """Counts connections, and refuses more than `Limits` allows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: Counter[Address] = Counter()
        self._strangers = 0

    @contextlib.contextmanager
    def taken(self, connection: Connection) -> Iterator[None]:
        """Hold a place for a connection whose source is known.

        Raises:
            ListenerError: BSR-6007.

        """
        source = connection.source
        stranger = not expected(connection.station.senders, source)
        if self._of[source] >= self._limits.of_one:
            raise ListenerError(6007, f"{self._limits.of_one} from one address")
        if stranger and self._strangers >= self._limits.strangers:
            raise ListenerError(6007, f"{self._limits.strangers} from addresses that no appliance posts from")
        self._of[source] += 1
        self._strangers += stranger
        try:
            yield
        finally:
            self._strangers -= stranger
            self._of[source] -= 1
            if not self._of[source]:
                del self._of[source]
