"""What the control endpoint can do with sessions, outbound events, requests for approval, and tables.

| do | arguments | result |
|---|---|---|
| begin | target, count, seed, script, start, ended | lsids; in progress, or ended and no event tells of them |
| end | target, lsids | lsids of the sessions that were in progress and ended now, by default all |
| sessions | target | what the appliance has |
| recipient | target, url, name, source, timeout, trust, more | null; outbound events go there from now on |
| event | target, event, variables | to how many recipients it goes; any event, with these variables |
| outbound | target | the events so far, their state, and how each try was answered |
| ticket | target, url, ticket_id, source, trust, response_url, more | the request for approval and its receipt |
| rush | target, url, requests, rate | how many; they are posted from now on, so many a second, whatever is answered |
| decide | target, accepts, status, patience | null; what decisions it takes, how they are answered, how long it waits |
| verdict | target, request_id, response, message, attributes, probe | sys_id of the record that decides it later |
| tickets | target | the requests with the decisions that came |
| decided | target | how many requests were posted, have a decision, and were not taken |
| define | name, columns, references, roles | null; an empty table; without columns one that the stand-in knows |
| drop | name | null; the instance has no such table |
| judge | terms, final | `SessionSummary`, and what is wrong with `tickets` |

`script` and `terms` are `Script` and `Terms`, `more` are `Recipient`'s, or `jump_item` and `user` of the request;
each of `requests` has `ticket_id` and `more`;
`trust` is a PEM file of authorities that the appliance trusts besides the sandbox's own. `lag` of `Sessions` is set
like a knob of the appliance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay.sandbox.box import Sandbox
from relay.sandbox.device import Device
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.livesessions import Session
from relay.sandbox.outbound import Recipient
from relay.sandbox.poster import Way
from relay.sandbox.schema import TABLES, table
from relay.sandbox.sessionoracle import Terms, check_sessions, check_tickets
from relay.sandbox.tickets import RESPONSE_PATH
from relay.sandbox.verdicts import Verdict, later


class Playing:
    """Plays the appliances' part for a process that does not hold the objects."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.actions: dict[str, Callable[..., Any]] = {
            "begin": self._begin,
            "end": self._end,
            "sessions": self._sessions,
            "recipient": self._recipient,
            "event": self._event,
            "outbound": self._outbound,
            "ticket": self._ticket,
            "rush": self._rush,
            "decide": self._decide,
            "verdict": self._verdict,
            "tickets": self._tickets,
            "decided": self._decided,
            "define": self._define,
            "drop": self._drop,
            "judge": self._judge,
        }
        self._lives: dict[tuple[str, int], Lives] = {}
        self._posting: set[asyncio.Task[None]] = set()

    def _begin(
        self,
        target: str,
        count: int = 1,
        seed: int = 0,
        script: Mapping[str, Any] | None = None,
        *,
        start: int | None = None,
        ended: bool = False,
    ) -> list[str]:
        device = self.box.appliances[target]
        lives = self._lives.setdefault((target, seed), Lives(device, seed))
        made = Script(**(script or {}))
        make = lives.ended if ended else lives.begin
        return [make(made, start).lsid for _ in range(count)]

    def _end(self, target: str, lsids: Sequence[str] | None = None) -> list[str]:
        device = self.box.appliances[target]
        lives = self._lives.setdefault((target, 0), Lives(device))
        chosen = list(device.sessions.by_id) if lsids is None else list(lsids)
        running = [session for session in (device.sessions.by_id[lsid] for lsid in chosen) if session.active]
        for session in running:
            lives.end(session)
        return [session.lsid for session in running]

    def _sessions(self, target: str) -> list[dict[str, Any]]:
        device = self.box.appliances[target]
        return [_facts(device, session) for session in device.sessions.by_id.values()]

    def _recipient(
        self,
        target: str,
        url: str,
        *,
        name: str = "relay",
        source: str = "",
        timeout: float = 30.0,
        trust: str = "",
        **options: Any,  # noqa: ANN401 - columns of a recipient
    ) -> None:
        self._trust(trust)
        options["events"] = frozenset(options.get("events", ()))
        way = self.box.way(url, source, timeout)
        self.box.appliances[target].outbound.add(Recipient(name, way, **options))

    def _event(self, target: str, event: str, variables: Mapping[str, str] | None = None) -> int:
        return len(self.box.appliances[target].outbound.send(event, dict(variables or {})))

    def _outbound(self, target: str) -> list[dict[str, Any]]:
        return [message.facts() for message in self.box.appliances[target].outbound.messages]

    async def _ticket(
        self,
        target: str,
        url: str,
        ticket_id: str,
        *,
        source: str = "",
        trust: str = "",
        response_url: str = "",
        **facts: Mapping[str, str],
    ) -> dict[str, Any]:
        self._trust(trust)
        device = self.box.appliances[target]
        answer_at = response_url or device.url + RESPONSE_PATH
        ticket = await device.tickets.ask(self.box.way(url, source), ticket_id, answer_at, **facts)
        return ticket.facts()

    def _rush(self, target: str, url: str, requests: Sequence[Mapping[str, Any]], rate: float) -> int:
        posting = asyncio.create_task(_post(self.box.appliances[target], self.box.way(url), requests, rate))
        self._posting.add(posting)
        posting.add_done_callback(self._posting.discard)
        return len(requests)

    def _decide(
        self, target: str, accepts: Sequence[str] | None = None, status: int = 200, patience: float = 60.0
    ) -> None:
        tickets = self.box.appliances[target].tickets
        tickets.status, tickets.patience = status, patience
        if accepts is not None:
            tickets.accepts = set(accepts)

    def _verdict(
        self,
        target: str,
        request_id: str,
        response: str,
        *,
        message: str = "",
        attributes: Mapping[str, str] | None = None,
        probe: str = "form",
    ) -> str:
        given = Verdict(request_id, response, message, attributes or {})
        row = later(self.box.agent, self.box.appliances[target], given, probe)
        return self.box.servicenow.insert("ecc_queue", row)["sys_id"]

    def _tickets(self, target: str) -> list[dict[str, Any]]:
        return [ticket.facts() for ticket in self.box.appliances[target].tickets.by_id.values()]

    def _decided(self, target: str) -> dict[str, int]:
        tickets = self.box.appliances[target].tickets.by_id.values()
        refused = sum(ticket.receipt not in {"", 200} for ticket in tickets)
        return {
            "posted": len(tickets),
            "decided": sum(bool(ticket.decisions) for ticket in tickets),
            "refused": refused,
        }

    def _define(
        self,
        name: str,
        columns: Sequence[str] = (),
        references: Mapping[str, str] | None = None,
        roles: Sequence[str] = (),
    ) -> None:
        known = TABLES[name] if name in TABLES and not columns else None
        made = known or table(name, " ".join(columns), references=references or {})
        self.box.servicenow.tables.define(replace(made, roles=frozenset(roles) or made.roles))

    def _drop(self, name: str) -> None:
        self.box.servicenow.tables.drop(name)

    def _judge(self, terms: Mapping[str, Any] | None = None, *, final: bool = False) -> dict[str, Any]:
        asked = dict(terms or {})
        if asked.get("events") is not None:
            asked["events"] = frozenset(asked["events"])
        devices = self.box.appliances.values()
        summary = check_sessions(self.box.servicenow, devices, Terms(**asked), final=final)
        return {**summary.facts(), "tickets": check_tickets(devices, final=final)}

    def _trust(self, file: str) -> None:
        if file:
            self.box.trust(file)


async def _post(device: Device, way: Way, requests: Sequence[Mapping[str, Any]], rate: float) -> None:
    """Post a request each `1 / rate` seconds by the clock, also while earlier ones have no receipt."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            await asyncio.sleep(begun + number / rate - loop.time())
            group.create_task(device.tickets.ask(way, response_url=device.url + RESPONSE_PATH, **request))


def _facts(device: Device, session: Session) -> dict[str, Any]:
    end = device.sessions.ended(session)
    return {
        "lsid": session.lsid,
        "lseq": session.lseq,
        "start": session.start,
        "end": end,
        "attributes": session.attributes,
        "events": len(session.events),
        "recording": None if session.recording is None else session.recording.size,
        "shells": [film.size for film in session.shells],
    }
