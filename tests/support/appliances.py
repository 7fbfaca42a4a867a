"""Appliances in memory that count what they execute, and the little language of the payloads that call them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.core.approval_settling import Settled
from relay.core.approval_values import Answer
from relay.core.errors import ApplianceError, WorkError
from relay.core.exchange import Request
from relay.core.policy_values import Allowed, ApplianceRequest, Decision, Denied, TokenPlaceholder
from relay.core.record import Heartbeat, HttpCall, Outcome, Record, Reply, SystemCommand, TypedCall
from relay.pipeline.rows import ATTACHED


@dataclass
class FakeAppliances:
    """Appliances that count executions by job; a call's path ends in its job."""

    faults: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    executed: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    latency: float = 0.0
    under_way: int = 0
    most: int = 0
    body: bytes = b"done"
    large: set[str] = field(default_factory=set)
    choking: set[str] = field(default_factory=set)
    before: Callable[[ApplianceRequest], None] = lambda _request: None
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    async def admit(self, request: ApplianceRequest) -> None:
        assert request.path
        fault = self.faults["admit"].popleft() if self.faults["admit"] else ""
        if fault in _CALLS:
            refusal = _CALLS[fault][1]()
            raise refusal

    async def call(self, request: ApplianceRequest) -> Reply:
        job = request.path.rpartition("/")[2]
        self.before(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if request.appliance in self.gates:
                await self.gates[request.appliance].wait()
            await asyncio.sleep(self.latency)
            if request.appliance in self.down:
                raise ApplianceError(3001, "down")
            fault = self.faults["call"].popleft() if self.faults["call"] else ""
            executed, error = _CALLS.get(fault, (True, None))
            if executed:
                self.executed[job] += 1
                self.order.append(job)
            if error is not None:
                raise error()
            body = b"x" * 600_000 if job in self.large else b"bug" if job in self.choking else self.body
            return Reply(200, (("Content-Type", "text/xml"),), b"%s %s" % (job.encode(), body))
        finally:
            self.under_way -= 1


_CALLS: dict[str, tuple[bool, Callable[[], Exception]]] = {
    "not sent": (False, lambda: ApplianceError(3001, "not sent")),
    "lost": (False, lambda: ApplianceError(3003, "lost", maybe_sent=True)),
    "done": (True, lambda: ApplianceError(3004, "done", maybe_sent=True)),
    "429": (False, lambda: ApplianceError(3007, "HTTP 429", after=1.0, reply=Reply(429, (), b"slow down"))),
    "paced": (False, lambda: ApplianceError(3007, "pace", after=0.5)),
    "budget": (False, lambda: ApplianceError(3011, "budget", after=100.0)),
    "too large": (True, lambda: ApplianceError(3008, "large")),
    "bug": (True, ZeroDivisionError),
    "final": (False, lambda: ApplianceError(3012, "disabled")),
}


class FakeCodec:
    """Payloads of words: `safe default`, `unsafe default json`, `denied`, `disabled`, `token`, `broken`, `bug`.

    A word `sig=...` is the signature.
    """

    def read(self, record: Record) -> Request:
        echo = (("probe", record["name"]),)
        if record["topic"] == "HeartbeatProbe":
            return Request(Heartbeat(), echo)
        if record["topic"] == "SystemCommand":
            return Request(SystemCommand(record["source"]), echo)
        words = [word for word in record.payload.split() if not word.startswith("sig=")]
        signature = next((word[4:] for word in record.payload.split() if word.startswith("sig=")), None)
        if record.payload == ATTACHED or not words or words[0] == "broken":
            raise WorkError(4006, "broken")
        if words[0] == "bug":
            raise ZeroDivisionError
        appliance = words[1] if len(words) > 1 else "default"
        if len(words) > 2:
            return Request(TypedCall(words[0], {"id": record.sys_id}, appliance, "json"), echo, signature)
        return Request(HttpCall("GET", f"{words[0]} {appliance} {record.sys_id}"), echo, signature)

    def write(self, record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int) -> str:
        assert milliseconds >= 0
        echoed = ",".join(f"{name}={value}" for name, value in parameters)
        if isinstance(outcome, Reply):
            return f"{outcome.status}|{record.sys_id}|{echoed}|{outcome.body.decode()}"
        return f"error|{record.sys_id}|{echoed}|{outcome.text}"


class FakePolicy:
    """Allows what says `safe` or `unsafe`; `signed`: operations that demand a signature.

    `allow` and `deny` decide the request `r1`.
    """

    def __init__(self, per_minute: int = 0, signed: tuple[str, ...] = ()) -> None:
        self.per_minute = per_minute
        self.signed = signed

    def decide(self, work: HttpCall | TypedCall) -> Decision:
        if isinstance(work, HttpCall):
            operation, appliance, job = work.url.split()
        else:
            operation, appliance, job = work.operation, work.appliance or "default", str(work.arguments["id"])
        if operation == "token":
            return TokenPlaceholder(appliance)
        if operation in {"allow", "deny"}:
            request = ApplianceRequest(appliance, "approval-response", "POST", f"/decisions/{job}", safe=True)
            arguments = {"response_id": "r1", "response": operation, "session.custom.snow_task_id": "t1"}
            return Allowed(request, arguments, "session-integration", handed_over=True)
        if operation not in {"safe", "unsafe"}:
            return Denied(3012 if operation == "disabled" else 4002, operation, "policy.allow", operation)
        request = ApplianceRequest(appliance, operation, "GET", f"/{operation}/{job}", safe=operation == "safe")
        return Allowed(request, {"a": "1"}, "session-integration", self.per_minute, operation in self.signed)


class FakeApprovals:
    """Forwarded requests, each with the record that settled it; "" is still open."""

    def __init__(self, *requests: tuple[str, str]) -> None:
        self.requests: dict[tuple[str, str], str] = dict.fromkeys(requests, "")
        self.answers: list[Answer] = []
        self.trouble: deque[Exception] = deque()

    async def settle(self, appliance: str, answer: Answer, record: str) -> Settled:
        if self.trouble:
            raise self.trouble.popleft()
        by = self.requests.get((appliance, answer.response_id))
        if by == "":
            self.requests[appliance, answer.response_id] = record
            self.answers.append(answer)
        return "unknown" if by is None else "accepted" if by in {"", record} else "closed"

    def waiting(self) -> bool:
        return "" in self.requests.values()


class FakeShaper:
    """Adds a mark; chokes on a body that says so."""

    def to_json(self, reply: Reply) -> Reply:
        if b"unreadable" in reply.body:
            raise ApplianceError(3009)
        if b"bug" in reply.body:
            raise ZeroDivisionError
        return Reply(reply.status, reply.headers, b"json:" + reply.body)


class FakeKeys:
    """Keys that can be taken away: an exception in a key's place is raised."""

    def __init__(self, **keys: bytes | Exception) -> None:
        self.keys = dict(keys)

    def of(self, key_id: str) -> bytes | None:
        found = self.keys.get(key_id)
        if isinstance(found, Exception):
            raise found
        return found
