"""The part of the demonstration in which people ask to be let in: a good ticket, and one of each bad kind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.sandbox.appliance import Appliance
    from relay.sandbox.box import Sandbox
    from relay.sandbox.tickets import Ticket

PERSON, COLLEAGUE, COMPUTER = "demo.person", "demo.colleague", "demo-web01"
NONE = "CHG9999999"
LOOK = 0.05
"""Seconds between two tries to reach the relay."""
NOTED = 0.5
"""Seconds in which the relay notes that a decision was taken: killed before, it rightly sends the same one again."""


@dataclass(frozen=True, slots=True)
class Case:
    """Who asks for what with which ticket, and what must be decided. `told`: words of what the person is told."""

    ticket: str
    response: str = "allow"
    told: str = ""
    user: str = PERSON
    computer: str = COMPUTER


@dataclass(frozen=True, slots=True)
class ApprovalSummary:
    """What became of the requests for approval. `violations` are what must never be."""

    asked: int
    right: int
    allowed: int
    violations: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether each was decided, once and rightly."""
        return not self.violations and self.right == self.asked > 0

    def facts(self) -> dict[str, Any]:
        """The summary as JSON."""
        return asdict(self)


class Approvals:
    """People at one appliance of a sandbox."""

    def __init__(self, box: Sandbox, name: str) -> None:
        self._box = box
        self._appliance: Appliance = box.appliances[name]
        token = box.secrets[f"event_token_{name}"]
        self._way = box.way(f"{box.relay}/approvals?outbound_event_token={token}")
        self._cases = _cases(box)
        self._asked: list[tuple[Case, Ticket]] = []

    @property
    def asked(self) -> int:
        """How many requests were posted."""
        return len(self._asked)

    async def ask(self, until: float) -> None:
        """Post each case once, as soon as the relay listens, and wait for the decisions; not longer than `until`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._listening()
                tickets = await asyncio.gather(*map(self._post, self._cases))
                await self._appliance.until(lambda: all(ticket.decisions for ticket in tickets), seconds=1e9)
                await asyncio.sleep(NOTED)

    def judge(self) -> ApprovalSummary:
        """What came of them, when there was time enough."""
        from relay.sandbox.sessionoracle import check_tickets  # noqa: PLC0415  # `--help` stays light

        wrong = [f"{case.ticket}: {_found(ticket)}" for case, ticket in self._asked if not _is_right(case, ticket)]
        allowed = sum(one.response == "allow" for _, ticket in self._asked for one in ticket.decisions)
        violations = (*check_tickets([self._appliance], final=True), *wrong)
        return ApprovalSummary(self.asked, self.asked - len(wrong), allowed, violations)

    async def _listening(self) -> None:
        host, port = self._box.relay.removeprefix("https://").split(":")
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(LOOK)
            else:
                writer.close()
                return

    async def _post(self, case: Case) -> Ticket:
        from relay.sandbox.tickets import RESPONSE_PATH  # noqa: PLC0415  # as above

        ticket = await self._appliance.tickets.ask(
            self._way,
            case.ticket,
            self._appliance.url + RESPONSE_PATH,
            {"computer_name": case.computer},
            {"username": case.user},
        )
        self._asked.append((case, ticket))
        return ticket


def _cases(box: Sandbox) -> list[Case]:
    insert = box.servicenow.insert
    person, _ = (insert("sys_user", {"user_name": name})["sys_id"] for name in (PERSON, COLLEAGUE))
    computer = insert("cmdb_ci", {"name": COMPUTER})["sys_id"]

    def change(**values: str) -> str:
        good = {"assigned_to": person, "cmdb_ci": computer, "approval": "approved", "state": "-1"}
        return str(insert("change_request", {**good, **values})["number"])

    good = Case(change())
    bad = replace(good, response="deny")
    return [
        good,
        replace(bad, ticket=NONE, told="was not found"),
        replace(bad, user=COLLEAGUE, told="assigned to somebody else"),
        replace(bad, user="demo.nobody", told="was not found in ServiceNow"),
        replace(bad, computer="demo-db01", told="for another computer"),
        replace(bad, ticket=change(approval="requested"), told="is not approved"),
        replace(bad, ticket=change(state="3"), told="does not allow access"),
    ]


def _is_right(case: Case, ticket: Ticket) -> bool:
    """Decided once, as it must be, with the words for the person or the task for the session."""
    match ticket.decisions:
        case [one]:
            task = "snow_task_id" in one.attributes
            return one.response == case.response and case.told in one.message and task == (case.response == "allow")
    return False


def _found(ticket: Ticket) -> str:
    told = "; ".join(f"{one.response} {one.message}".strip() for one in ticket.decisions)
    return f"the decision is wrong: {told or 'none'}"
