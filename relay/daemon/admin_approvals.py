"""What administrators may ask about requests for approval."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from relay.approvals.parts import KIND, LONGEST, Parts
from relay.core.approval_decision import decide
from relay.core.approval_fields import COMPUTER, GROUP, RESPONSE_PATH, TICKET_ID, USERNAME
from relay.core.approval_job import CLOSED, DELIVERED, REFUSED, UNDELIVERED, UNREADABLE, turned_off
from relay.core.approval_values import Compared, Request, Verdict, shown
from relay.core.errors import ConfigError, ServiceNowError
from relay.core.jobs import Job, Json
from relay.daemon.app import Running
from relay.daemon.report import moment

MOST: Final = 1000
"""Requests in one list."""
LONGEST_VALUE: Final = 4000
"""Characters of a value of a request that is only tried."""
PATIENCE: Final = 60.0
"""Seconds that a try waits for ServiceNow, where the deadline is not shorter: an administrator sits before it."""
_NEVER: Final = frozenset({UNDELIVERED, REFUSED, UNREADABLE, CLOSED})

Arguments = Mapping[str, Json]


class ApprovalAdmin:
    """The commands about requests for approval.

    Args:
        running: gives the parts of the relay that is at work.
        log: writes a command to the audit log: its name, who gave it, about what.

    """

    def __init__(self, running: Callable[[], Running], log: Callable[[str, str, str], Awaitable[None]]) -> None:
        self._running = running
        self._log = log
        self.commands = {"approvals test": self._test, "approvals list": self._list}

    @property
    def _parts(self) -> Parts:
        return self._running().approvals.parts

    async def _test(self, arguments: Arguments, author: str) -> Json:
        """How a request would be decided now; nobody is answered, and nothing is kept.

        Raises:
            ServiceNowError: it cannot be asked.

        """
        parts = self._parts
        appliance = _appliance(parts, arguments)
        request = _request(appliance, arguments, parts.clock.wall())
        site = parts.sites[appliance]
        await self._log("look", author, f"approval of ticket '{shown(request.ticket_id)}' at {appliance}")
        if site.mode == "forward":
            return {"appliance": appliance, "mode": site.mode}
        if site.mode == "off":
            return {"appliance": appliance, "mode": site.mode, **_verdict(turned_off())}
        within = min(site.deadline, PATIENCE)
        try:
            async with asyncio.timeout(within):
                findings = await parts.lookups[appliance].find(request)
        except TimeoutError:
            raise ServiceNowError(2003, f"no answer within {within:g} s") from None
        return {
            "appliance": appliance,
            "mode": site.mode,
            **_verdict(decide(request, findings, site.rules, findings.now)),
        }

    async def _list(self, arguments: Arguments, _: str) -> Json:
        parts = self._parts
        appliance, limit = arguments.get("appliance"), arguments.get("limit")
        if appliance is not None and not isinstance(appliance, str):
            raise ConfigError(1022, "'appliance' must be text")
        most = min(max(limit, 1), MOST) if isinstance(limit, int) else 50
        jobs = await parts.store.newest(KIND, appliance, most)
        return {"approvals": [_shown(job) for job in jobs]}


def _appliance(parts: Parts, arguments: Arguments) -> str:
    """The appliance that is meant."""
    name, names = arguments.get("appliance"), list(parts.sites)
    if name is None and len(names) != 1:
        raise ConfigError(1022, f"say which appliance with --appliance: {', '.join(names)}")
    if name is not None and name not in names:
        raise ConfigError(1022, f"there is no such appliance that is enabled; there are {', '.join(names)}")
    return names[0] if name is None else str(name)


def _request(appliance: str, arguments: Arguments, now: float) -> Request:
    given = {TICKET_ID: "ticket", USERNAME: "user", COMPUTER: "computer", GROUP: "group"}
    fields: dict[str, str] = {}
    for field, name in given.items():
        value = arguments.get(name)
        if value is None and field == GROUP:
            continue
        if not isinstance(value, str) or len(value) > LONGEST_VALUE:
            raise ConfigError(1022, f"'{name}' must be text of at most {LONGEST_VALUE} characters")
        fields[field] = value
    return Request(
        appliance=appliance,
        request_id="test",
        ticket_id=fields[TICKET_ID],
        response_url=RESPONSE_PATH,
        path="",
        fields=fields,
        received=now,
    )


def _verdict(verdict: Verdict) -> dict[str, Json]:
    return {
        "decision": "allow" if verdict.allow else "deny",
        "rule": verdict.rule,
        "reason": verdict.reason,
        "text": verdict.text,
        "attributes": dict(verdict.attributes),
        "checks": [_compared(one) for one in verdict.compared],
    }


def _compared(one: Compared) -> dict[str, Json]:
    return {
        "check": one.check,
        "found": one.found,
        "comparator": one.comparator,
        "wanted": one.wanted,
        "holds": one.holds,
    }


def _shown(job: Job) -> dict[str, Json]:
    """A request and what became of it; texts of the request bounded and printable."""
    data = job.data
    delivered = True if job.state == DELIVERED else False if job.state in _NEVER else None
    said = {name: shown(str(data.get(name, "")), LONGEST) for name in ("request", "ticket", "user", "computer")}
    return {
        "job": job.id,
        "time": moment(job.created),
        "appliance": job.lane,
        **said,
        "decision": data.get("response"),
        "rule": data.get("rule"),
        "reason": data.get("reason") or data.get("detail"),
        "text": data.get("text"),
        "state": job.state,
        "delivered": delivered,
    }
