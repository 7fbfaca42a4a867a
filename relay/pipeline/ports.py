"""What the path of a queue record needs of the two sides; the adapters are wired in by the daemon.

A list of results holds one value for each thing asked, in order; an error is a value there, so that one bad row does
not spoil its batch. Where a whole request failed, every place holds the same error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from relay.core.approval_settling import Settled
from relay.core.approval_values import Answer
from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, Done, FoundInput, Inserted, NewInput, Page, Request, Taken
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Outcome, Record, Reply


class Queue(Protocol):
    """ServiceNow's ECC queue, seen by one agent. Raises nothing but `ServiceNowError`."""

    async def poll(self, limit: int, leave_out: Sequence[str], topics: Sequence[str] = ()) -> Page:
        """Up to `limit` ready outputs of our agent, by priority, then oldest, without `leave_out`.

        `topics` restricts them to these topics; none means all.
        """
        ...

    async def claim(self, sys_ids: Sequence[str], *, payload: bool = True) -> list[Claimed | Taken | ServiceNowError]:
        """Set `state=processing` on each. An error with `maybe_sent` means unknown: read the row back.

        `payload` False leaves the payload out of the answered rows: for records too large to be read.
        """
        ...

    async def read(self, sys_ids: Sequence[str]) -> dict[str, Record]:
        """The rows of these ids as they are now, complete; absent ones are gone or hidden."""
        ...

    async def processing(self, limit: int, leave_out: Sequence[str]) -> list[Record]:
        """Outputs of our agent in `processing`, oldest first, complete, without `leave_out`."""
        ...

    async def find(self, output_sys_ids: Sequence[str]) -> dict[str, FoundInput]:
        """The answers that ServiceNow holds for these outputs, by the output's sys_id."""
        ...

    async def insert(self, inputs: Sequence[NewInput]) -> list[Inserted | ServiceNowError]:
        """Insert small answers, ready to be read."""
        ...

    async def begin_large(self, answer: NewInput) -> str:
        """Insert the record of a large answer, not yet an answer to anybody; returns its sys_id."""
        ...

    async def finish_large(self, sys_id: str, answer: NewInput) -> None:
        """Upload the payload unless it is there, then make the record the answer. May be repeated."""
        ...

    async def close(self, sys_ids: Sequence[str]) -> list[Done | Taken | ServiceNowError]:
        """Set `state=processed` on outputs that are not; `Taken` where the row is gone, which is as good."""
        ...

    async def fetch_payload(self, record: Record) -> str:
        """The payload of an output that says `<see_attachment/>`."""
        ...

    def batch_size(self, *, urgent: bool) -> int:
        """How many changes the next batch should hold at most; it adapts to the instance."""
        ...

    def now(self) -> float | None:
        """The instance's clock, seconds since the epoch; None without a fresh `Date` header."""
        ...


class Codec(Protocol):
    """Reads and writes ECC payloads."""

    def read(self, record: Record) -> Request:
        """What the record asks for.

        Raises:
            WorkError: BSR-4001, 4006 or 4007; the record is answered with it.

        """
        ...

    def write(self, record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int) -> str:
        """The answer's payload. Total: every outcome has one."""
        ...


class Appliances(Protocol):
    """The appliances, each with its own account and limits."""

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now: rate limit, token and account are fine.

        Waits at most a second; nothing of the call itself has been sent when it raises.

        Raises:
            ApplianceError: not now; `after` says in how many seconds, when that is known.

        """
        ...

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send the call once.

        Raises:
            ApplianceError: no usable HTTP answer; `maybe_sent` tells whether the appliance may have executed it.
                A 429, or a 401 of an expired token, is an error with `maybe_sent` False and `retryable` True.

        """
        ...


class Approvals(Protocol):
    """Requests for approval that were forwarded to ServiceNow, whose decisions come as work."""

    async def settle(self, appliance: str, answer: Answer, record: str) -> Settled:
        """Decide a request that is still open, once: by compare-and-set, on disk before it returns.

        Args:
            appliance: whose request it is.
            answer: the decision; `response_id` names the request.
            record: the sys_id of the queue record. The same record finds its own decision accepted again.

        Raises:
            StorageError: nobody knows; the same record may ask again.

        """
        ...

    def waiting(self) -> bool:
        """Whether a request waits for such a decision."""
        ...


class Agent(Protocol):
    """Our row in `ecc_agent`."""

    async def refresh(self, status: str) -> None:
        """Find or make the row, set its status (`Up`, `Paused`, `Down`) and the time of the last refresh."""
        ...


class Shaper(Protocol):
    """Turns an appliance's XML into JSON for callers that asked for it."""

    def to_json(self, reply: Reply) -> Reply:
        """The reply with a JSON body; unchanged when its body is not XML.

        Raises:
            ApplianceError: BSR-3009, the XML cannot be read.

        """
        ...


class SigningKeys(Protocol):
    """The keys that ServiceNow signs work with."""

    def of(self, key_id: str) -> bytes | None:
        """The key of this id as it is now; None when no key has the id.

        Raises:
            ConfigError: it cannot be read, or not be used.

        """
        ...
