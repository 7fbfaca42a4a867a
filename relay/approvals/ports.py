"""What the flow of approvals needs of the two sides; the adapters are wired in by the daemon."""

from __future__ import annotations

from typing import Protocol

from relay.core.approval_values import Answer, Encoding, Findings, Request


class Lookups(Protocol):
    """ServiceNow's tasks and users for one appliance's rules."""

    async def find(self, request: Request) -> Findings:
        """Read the task by number, the task by sys_id and the user in one request.

        May be called many times at once, and be cancelled at any moment. A value that cannot stand in a query finds no
        rows; every row that came back is returned, whether it matches or not.

        Raises:
            ServiceNowError: not every answer is there.

        """
        ...


class Responder(Protocol):
    """Sends decisions to the appliances."""

    async def send(self, appliance: str, url: str, answer: Answer, encoding: Encoding) -> int:
        """Send a decision once; returns the status of the appliance's answer, whatever it is.

        `url` comes from `Door.check`; it must be checked again. Without token, cookie or query. May be cancelled: then
        nobody knows whether it was sent, and nothing more of it may be sent.

        Raises:
            ApplianceError: no HTTP answer; `maybe_sent` False only when no byte of it can have arrived.

        """
        ...


class Forwarder(Protocol):
    """The vendor's application in ServiceNow, which decides in our place."""

    async def forward(self, request: Request) -> bytes:
        """Post a request on as it came; returns the body of the answer, bounded.

        Raises:
            ServiceNowError: it was not taken; with `maybe_sent` nobody knows.

        """
        ...
