"""One connection to the listener, and how much of everything one may have."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from relay.core.addresses import Address, holder
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
        of_one: of one caller.
        strangers: of all callers together that are where no appliance posts from.
        per_second: connections of one caller, or of all strangers together, that are begun in a second. More than
            that wait for the next one: a handshake costs us more than whoever asks for it.
        header: bytes of the request's line and header.
        counted: bytes of a body that are read at all. What goes beyond the longest body is dropped unread, so that the
            caller is still there to hear the answer.

    """

    request: float = 15.0
    answer: float = 20.0
    goodbye: float = 5.0
    connections: int = 128
    of_one: int = 64
    strangers: int = 8
    per_second: int = 100
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
        appliance: whose post it brings, "" as long as nobody knows.

    """

    station: Station
    source: Address
    deadline: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Task[None] | None = None
    appliance: str = ""

    def put_off(self, seconds: float) -> None:
        """Let it live so long from now on, unless its end has come."""
        with contextlib.suppress(RuntimeError):
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)


_STRANGERS: Final = "strangers"


class Places:
    """Counts connections, and refuses or puts off more than `Limits` allows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._now: Counter[object] = Counter()
        self._second = 0
        self._begun: Counter[object] = Counter()

    @contextlib.contextmanager
    def taken(self, connection: Connection) -> Iterator[None]:
        """Hold a place for a connection whose source is known.

        Raises:
            ListenerError: BSR-6007.

        """
        one, strange = self._callers(connection)
        if self._now[one] >= self._limits.of_one:
            raise ListenerError(6007, f"{self._limits.of_one} from one address")
        if strange and self._now[_STRANGERS] >= self._limits.strangers:
            raise ListenerError(6007, f"{self._limits.strangers} from addresses that no appliance posts from")
        held = (one, _STRANGERS) if strange else (one,)
        self._now.update(held)
        try:
            yield
        finally:
            self._now.subtract(held)
            self._now = +self._now  # without those that have none

    def wait(self, connection: Connection, now: float) -> float:
        """Seconds until a connection that holds a place may go on; `now` is monotonic."""
        if int(now) != self._second:
            self._second = int(now)
            self._begun.clear()
        one, strange = self._callers(connection)
        counted = _STRANGERS if strange else one
        self._begun[counted] += 1
        return 0.0 if self._begun[counted] <= self._limits.per_second else self._second + 1 - now

    def _callers(self, connection: Connection) -> tuple[object, bool]:
        """What counts as this caller, and whether it is where no appliance posts from."""
        return holder(connection.source), not expected(connection.station.senders, connection.source)
