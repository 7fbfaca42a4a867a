"""The daemon, killed by its own hand at a named step: `python -m support.killer PLAN run --config FILE`.

PLAN is JSON: `step` names one of `STEPS` (absent: nothing kills), `side` is `before` or `after`, `number` counts.
Waits that are no setting are shortened: between two looks for a missing answer, until held work is looked at again,
that closing waits for company, and all that grow with failures. What is waited for stays the same.

Why from outside: the product has no hook for this, its classes are wrapped here before it starts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any, Final

from relay.appliance.approval_responses import ApprovalResponses
from relay.appliance.fleet import Fleet
from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.cli.main import main
from relay.core.jobs import Change, NewJob
from relay.core.retry import Backoff
from relay.pipeline.parts import KEPT
from relay.servicenow import attachments
from relay.servicenow.pull import Pull
from relay.servicenow.push import Push
from relay.servicenow.sessions import SessionRecords
from relay.servicenow.tickets import TicketLookups
from relay.storage.sqlite import SqliteStore

Wants = Callable[..., bool]


def _move(before: str, after: str) -> Wants:
    def wants(_: object, changes: Sequence[Change]) -> bool:
        return any((one.before.state, one.after.state) == (before, after) for one in changes)

    return wants


def _new(kind: str) -> Wants:
    def wants(_: object, jobs: Sequence[NewJob], *__: object) -> bool:
        return any(one.kind == kind for one in jobs)

    return wants


def _mark(name: str) -> Wants:
    def wants(_: object, changes: Sequence[Change]) -> bool:
        return any(one.after.data.get(name) and not one.before.data.get(name) for one in changes)

    return wants


def _line(event: str) -> Wants:
    def wants(_: object, entries: Sequence[dict[str, Any]]) -> bool:
        return any(entry["event"] == event for entry in entries)

    return wants


def _fact(fact: str) -> Wants:
    def wants(_: object, name: str, value: object) -> bool:
        return name == fact and value is not None

    return wants


def _some(_: object, things: Sequence[object], *__: object, **___: object) -> bool:
    return bool(things)


def _any(*_: object, **__: object) -> bool:
    return True


QUEUE_STEPS: Final[dict[str, tuple[Any, str, Wants]]] = {
    "poll": (Pull, "poll", _any),
    "seen": (SqliteStore, "add", _some),
    "claim": (Pull, "claim", _some),
    "claimed": (SqliteStore, "change", _move("SEEN", "CLAIMED")),
    "refused": (SqliteStore, "change", _move("CLAIMED", "ANSWERED")),
    "nonce": (SqliteStore, "change_once", _any),
    "signed": (Notary, "sign", _any),
    "admitted": (Fleet, "admit", _any),
    "intent": (AuditLog, "append", _line("intent")),
    "sending": (SqliteStore, "change", _move("CLAIMED", "FORWARDING")),
    "called": (Fleet, "call", _any),
    "responded": (SqliteStore, "change", _move("FORWARDING", "ANSWERED")),
    "outcome": (AuditLog, "append", _line("outcome")),
    "marked": (SqliteStore, "change", _mark("inserting")),
    "insert": (Push, "insert", _some),
    "learned": (SqliteStore, "set_fact", _fact(KEPT)),
    "inserted": (SqliteStore, "change", _move("ANSWERED", "INSERTED")),
    "begin large": (Push, "begin_large", _any),
    "part stored": (SqliteStore, "change", _mark("part")),
    "upload": (attachments, "upload", _any),
    "finish large": (Push, "finish_large", _any),
    "delivered": (AuditLog, "append", _line("delivered")),
    "close": (Push, "close", _some),
    "closed": (SqliteStore, "change", _move("INSERTED", "CLOSED")),
    # of the life after a crash
    "crashed call": (SqliteStore, "change", _move("FORWARDING", "UNCERTAIN")),
    "repeated": (SqliteStore, "change", _move("UNCERTAIN", "CLAIMED")),
    "unknown answered": (SqliteStore, "change", _move("UNCERTAIN", "ANSWERED")),
    "crashed insert": (SqliteStore, "change", _move("ANSWERED", "VERIFYING")),
    "find": (Pull, "find", _some),
    "found": (SqliteStore, "change", _move("VERIFYING", "INSERTED")),
    "absent": (SqliteStore, "change", _move("VERIFYING", "ANSWERED")),
    "claimed at start": (SqliteStore, "change", _move("SEEN", "CLAIMED")),
}
SESSION_STEPS: Final[dict[str, tuple[Any, str, Wants]]] = {
    "noticed": (SqliteStore, "add", _new("session")),
    "fetched": (SqliteStore, "change", _move("NOTICED", "FETCHED")),
    "linked": (SqliteStore, "change", _move("FETCHED", "FETCHED")),
    "upsert": (SessionRecords, "upsert", _any),
    "rows": (SessionRecords, "insert", _some),
    "written": (SqliteStore, "change", _move("FETCHED", "WRITTEN")),
    "noting": (SqliteStore, "change", _move("WRITTEN", "NOTING")),
    "note": (SessionRecords, "note", _any),
    "noted": (SqliteStore, "change", _move("NOTING", "WRITTEN")),
    "all noted": (SqliteStore, "change", _move("WRITTEN", "NOTED")),
    "kept": (SqliteStore, "change", _move("NOTED", "DONE")),
    "cursor": (SqliteStore, "set_fact", _fact("sessions.swept.default")),
    # of the life after a crash
    "note crashed": (SqliteStore, "change", _move("NOTING", "ASKING")),
    "note asked for": (SessionRecords, "entered", _any),
    "note found": (SqliteStore, "change", _move("ASKING", "WRITTEN")),
}
APPROVAL_STEPS: Final[dict[str, tuple[Any, str, Wants]]] = {
    "request stored": (SqliteStore, "add", _new("approval")),
    "looked up": (TicketLookups, "find", _any),
    "decided": (SqliteStore, "change", _move("RECEIVED", "DECIDED")),
    "decision audited": (AuditLog, "append", _line("approval")),
    "decision leaves": (SqliteStore, "change", _move("DECIDED", "SENDING")),
    "decision sent": (ApprovalResponses, "send", _any),
    "decision taken": (SqliteStore, "change", _move("SENDING", "DELIVERED")),
    # of the life after a crash
    "decision withdrawn": (SqliteStore, "change", _move("DECIDED", "DECIDED")),
    "decision found": (SqliteStore, "change", _move("SENDING", "SENT")),
    "decision over": (SqliteStore, "change", _move("SENT", "UNDELIVERED")),
    "decision taken again": (SqliteStore, "change", _move("SENT", "DELIVERED")),
}
"""A step: whose function does it, and which of its calls are that step."""
STEPS = {**QUEUE_STEPS, **SESSION_STEPS, **APPROVAL_STEPS}


def arm(step: str, side: str, number: int) -> None:
    """Let this process die before or after the given occurrence of a step."""
    owner, name, wants = STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)
    left = number

    async def deadly(*given: Any, **named: Any) -> Any:
        nonlocal left
        if not wants(*given, **named):
            return await original(*given, **named)
        left -= 1
        if left == 0 and side == "before":
            die(f"before {step}")
        doing = left == 0
        result = await original(*given, **named)
        if doing:
            die(f"after {step}")
        return result

    setattr(owner, name, deadly)


def die(where: str) -> None:
    """End as by a crash."""
    os.write(2, f"killed {where}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def hurry() -> None:
    """Shorten the waits that are no setting."""
    quick: dict[str, Any] = {
        "LOOK_AGAIN": 0.3,
        "HELD": 0.3,
        "AGAIN": 0.3,
        "LAZY": 0.3,
        "ORPHANS_EVERY": 2.0,
        "TROUBLE": Backoff(first=0.1, longest=1.0),
        "LOOK": Backoff(first=0.1, longest=1.0),
    }
    queue = ("call", "claim", "close", "poll", "push", "recover", "signed", "stages", "verify")
    sessions = ("fetch", "note", "parts", "sweep", "write")
    for part in (*(f"pipeline.{name}" for name in queue), *(f"sessions.{name}" for name in sessions)):
        values = vars(import_module(f"relay.{part}"))
        values.update((name, value) for name, value in quick.items() if name in values)


if __name__ == "__main__":
    plan = json.loads(sys.argv.pop(1))
    hurry()
    if "step" in plan:
        arm(plan["step"], plan["side"], plan["number"])
    main(prog_name="bseries-relay")
