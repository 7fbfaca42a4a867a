"""The state of the appliance stand-in, and what its APIs do with it."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Literal

from relay.sandbox.accounts import Accounts
from relay.sandbox.faults import Faults
from relay.sandbox.livesessions import Sessions
from relay.sandbox.outbound import Outbound
from relay.sandbox.tickets import Tickets
from relay.sandbox.xml import Dialect

Product = Literal["pra", "rs"]

_FAMILIES: dict[Product, str] = {"pra": "access_session", "rs": "support_conference"}
_DIALECTS: dict[Product, Dialect] = {"pra": "sra", "rs": "bomgar"}


class Device:
    """An appliance's state.

    Attributes:
        dialect: which XML namespace it writes.
        language: of its "nothing found": `en`, `fr` or `de`.
        latency: seconds that each call takes, in parallel for all.
        calls: executed calls by action or report, refused and failed ones not counted.
        effects: calls that reached the point where they change something that a second one would change again, by token
            (see `token_of`): none may pass one unless two records asked for exactly the same.
        sessions: its sessions.
        outbound: the events that it sends.
        tickets: what it asks about tickets, and the decisions that came back.
        keep_alive: number of calls that did not ask to close the connection, against the documentation.

    """

    def __init__(self, name: str, product: Product = "pra", seed: int = 0) -> None:
        self.name = name
        self.product: Product = product
        self.dialect: Dialect = _DIALECTS[product]
        self.language: Literal["en", "fr", "de"] = "en"
        self.latency = 0.0
        self.healthy = True
        self.version = "25.1.2"
        self.api_version = "1.25.0"
        self.random = random.Random(seed)  # noqa: S311 - keys and ids of a stand-in
        self.guid = uuid.UUID(int=self.random.getrandbits(128)).hex
        self.accounts = Accounts(time.monotonic)
        self.sessions = Sessions(seed)
        self.outbound = Outbound(_FAMILIES[product], self.guid, self.sessions.clock, self.wake)
        self.tickets = Tickets(self.wake)
        self.configuration: dict[str, list[dict[str, Any]]] = {}
        self.keys: dict[str, str] = {}
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.keep_alive = 0
        self.log: deque[tuple[str, str, int]] = deque(maxlen=10_000)
        self.url = ""
        self._changed = asyncio.Event()

    def executed(self, action: str) -> None:
        """Count a call that was carried out."""
        self.calls[action] += 1
        self.wake()

    def wake(self) -> None:
        """Something changed that somebody may wait for."""
        self._changed.set()

    def begun(self, action: str, form: dict[str, str]) -> None:
        """Count a call that must not come twice, as soon as it gets as far as to change something."""
        self.effects[token_of(action, form)] += 1

    async def until(self, predicate: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until `predicate()` holds, asking after every executed call and every try to send something.

        Raises:
            TimeoutError: it did not within `seconds`.

        """
        async with asyncio.timeout(seconds):
            while not predicate():
                self._changed.clear()
                await self._changed.wait()


def token_of(action: str, form: dict[str, str]) -> str:
    """What tells one effect from another: the action, the session, and the ticket key it carries."""
    key = form.get("session.custom.external_key", form.get("external_key", ""))
    return f"{action}|{form.get('lsid', '').lower()}|{key or form.get('name', '')}"
