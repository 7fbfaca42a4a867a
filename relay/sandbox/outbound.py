"""The appliance's outbound events: forms posted to HTTP recipients, in order.

As the vendor describes it: whatever is not answered 200 is sent again after the retry interval, no other event leaves
until then, and after the retry duration it is dropped. A 200 that was lost on the way makes a duplicate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from relay.sandbox.livesessions import Session
from relay.sandbox.poster import NoAnswerError, Way, post

VERSION = "1.3"
OK = 200
What = Literal[
    "begin",
    "end",
    "member_added",
    "member_departed",
    "owner_changed",
    "rep_exit_survey_completed",
    "customer_exit_survey_completed",
]


@dataclass(slots=True)
class Recipient:
    """An HTTP recipient of outbound events.

    Attributes:
        name: of the recipient.
        way: its URL, with the token in the query, and how to reach it.
        events: names of the events to send; empty: all.
        custom_fields: custom fields are sent along.
        field_prefix: before a custom field's code name; receivers saw none, `session.custom.` and `custom.`.
        retry_interval: seconds between two tries.
        retry_duration: seconds after which an event is dropped.
        lose: so many answers 200 to come are lost on their way, so that the event is sent again.
        enabled: events leave; otherwise they only queue up.

    """

    name: str
    way: Way
    events: frozenset[str] = frozenset()
    custom_fields: bool = True
    field_prefix: str = ""
    retry_interval: float = 1.0
    retry_duration: float = 3600.0
    lose: int = 0
    enabled: bool = True


@dataclass(slots=True)
class Message:
    """An event for one recipient. `answers` are the statuses of each try, or why there was none."""

    recipient: str
    fields: dict[str, str]
    born: float
    state: Literal["queued", "delivered", "dropped"] = "queued"
    answers: list[int | str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The message as JSON."""
        return {name: getattr(self, name) for name in ("recipient", "fields", "state", "answers")}


class Outbound:
    """What one appliance sends. `family` begins the names of events; `wake` is called after every try."""

    def __init__(self, family: str, appliance_id: str, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self.family = family
        self._clock = clock
        self.recipients: dict[str, Recipient] = {}
        self.messages: list[Message] = []
        self._appliance_id = appliance_id
        self._wake = wake
        self._queues: dict[str, deque[Message]] = {}
        self._calls: dict[str, asyncio.Event] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}

    def add(self, recipient: Recipient) -> None:
        """Send to a recipient from now on; one of that name is replaced, and keeps its queue."""
        self._stop(recipient.name)
        self.recipients[recipient.name] = recipient
        self._queues.setdefault(recipient.name, deque())
        self._calls[recipient.name] = asyncio.Event()
        self._workers[recipient.name] = asyncio.create_task(self._deliver(recipient), name=f"outbound {recipient.name}")

    def queued(self, name: str) -> int:
        """How many events wait for a recipient."""
        return len(self._queues[name])

    def resume(self) -> None:
        """Look again at what may leave, after `enabled` was changed."""
        for call in self._calls.values():
            call.set()

    def say(self, what: What, session: Session, **more: str) -> list[Message]:
        """Tell every recipient that wants it of an event of a session; `more` are further variables."""
        moment = session.end if what == "end" else None
        return self.send(f"{self.family}_{what}", self._variables(session), more, session.attributes, moment)

    def send(
        self,
        event: str,
        variables: dict[str, str],
        more: dict[str, str] | None = None,
        custom: dict[str, str] | None = None,
        moment: float | None = None,
    ) -> list[Message]:
        """Queue an event of any name for every recipient that wants it."""
        made = []
        for recipient in self.recipients.values():
            if recipient.events and event not in recipient.events:
                continue
            stamp = str(int(self._clock() if moment is None else moment))
            fields = {"event": event, "version": VERSION, "timestamp": stamp, "appliance_id": self._appliance_id}
            fields |= {**variables, **(more or {})}
            if recipient.custom_fields:
                own = {name: value for name, value in (custom or {}).items() if name != "external_key"}
                fields |= {recipient.field_prefix + name: value for name, value in own.items()}
            message = Message(recipient.name, fields, asyncio.get_running_loop().time())
            self._queues[recipient.name].append(message)
            self._calls[recipient.name].set()
            made.append(message)
        self.messages += made
        return made

    async def close(self) -> None:
        """Send nothing any more."""
        workers = list(self._workers.values())
        for name in list(self._workers):
            self._stop(name)
        await asyncio.gather(*workers, return_exceptions=True)

    def _stop(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.cancel()

    async def _deliver(self, recipient: Recipient) -> None:
        queue, call = self._queues[recipient.name], self._calls[recipient.name]
        while True:
            if not queue or not recipient.enabled:
                call.clear()
                await call.wait()
                continue
            message = queue[0]
            message.state = await self._try(recipient, message)
            if message.state != "queued":
                queue.popleft()
            self._wake()
            if message.state == "queued":
                await asyncio.sleep(recipient.retry_interval)

    @staticmethod
    async def _try(recipient: Recipient, message: Message) -> Literal["queued", "delivered", "dropped"]:
        try:
            status, _ = await post(recipient.way, message.fields)
        except NoAnswerError as problem:
            message.answers.append(str(problem))
        else:
            message.answers.append(status)
            if status == OK and recipient.lose <= 0:
                return "delivered"
            recipient.lose -= status == OK
        late = asyncio.get_running_loop().time() - message.born > recipient.retry_duration
        return "dropped" if late else "queued"

    @staticmethod
    def _variables(session: Session) -> dict[str, str]:
        owner = session.representatives[0] if session.representatives else None
        return {
            "lsid": session.lsid,
            "lseq": str(session.lseq),
            "external_key": session.attributes.get("external_key", ""),
            "session_type": "support",
            "user_id": "1" if owner is None else str(owner.id),
            "username": session.user,
            "display_name": session.user if owner is None else owner.display_name,
        }
