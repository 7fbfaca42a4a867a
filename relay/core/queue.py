"""The life of a queue record: its state table, and the decisions along it.

SEEN        stored; ServiceNow still shows it `ready`
CLAIMED     ours: ServiceNow shows it `processing`, by us
FORWARDING  the call is on its way; nobody knows more until an answer or an error is stored
UNCERTAIN   the relay stopped while FORWARDING
ANSWERED    the answer is stored; ServiceNow does not have it yet
VERIFYING   the answer's insert had an unknown outcome
INSERTED    ServiceNow has the answer
CLOSED      ServiceNow shows the output `processed`; swept later, a tombstone stays
DEAD        ServiceNow refused the answer and a small error answer; waits for an administrator
DROPPED     not ours; forgotten, since the row may come back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relay.core.machine import StateTable

SEEN = "SEEN"
CLAIMED = "CLAIMED"
FORWARDING = "FORWARDING"
UNCERTAIN = "UNCERTAIN"
ANSWERED = "ANSWERED"
VERIFYING = "VERIFYING"
INSERTED = "INSERTED"
CLOSED = "CLOSED"
DEAD = "DEAD"
DROPPED = "DROPPED"

QUEUE = StateTable(
    kind="queue",
    initial=SEEN,
    rows={
        SEEN: {
            "claimed": CLAIMED,
            "claim unknown": SEEN,
            "taken": DROPPED,
            "answered there": INSERTED,
        },
        CLAIMED: {
            "refused by policy": ANSWERED,
            "answered here": ANSWERED,
            "expired": ANSWERED,
            "discarded": ANSWERED,
            "given up": ANSWERED,
            "put off": CLAIMED,
            "sending": FORWARDING,
            "taken": DROPPED,
            "answered there": INSERTED,
        },
        FORWARDING: {
            "responded": ANSWERED,
            "not executed": CLAIMED,
            "maybe sent, safe": CLAIMED,
            "outcome unknown": ANSWERED,
            "found at start": UNCERTAIN,
        },
        UNCERTAIN: {
            "repeated": CLAIMED,
            "outcome unknown": ANSWERED,
            "answered there": INSERTED,
            "taken": DROPPED,
            "put off": UNCERTAIN,
        },
        ANSWERED: {
            "inserted": INSERTED,
            "insert unknown": VERIFYING,
            "put off": ANSWERED,
            "part stored": ANSWERED,
            "answer refused": ANSWERED,
            "answer refused again": DEAD,
        },
        VERIFYING: {
            "found": INSERTED,
            "absent": ANSWERED,
            "put off": VERIFYING,
        },
        INSERTED: {
            "closed": CLOSED,
            "put off": INSERTED,
        },
        DEAD: {
            "retried": ANSWERED,
            "discarded": CLOSED,
        },
        CLOSED: {},
        DROPPED: {},
    },
)

MAX_ATTEMPTS = 3
"""A safe call is begun at most this often after unknown outcomes: what failed three times will fail a fourth."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call whose outcome is not known. `code` is the answer's code when it is not repeated."""

    event: Literal["repeat", "answer"]
    code: int = 0


def after_unknown(*, safe: bool, attempts: int) -> Verdict:
    """Decide about a call that may have reached the appliance, with the relay alive all the time."""
    return Verdict("repeat") if safe and attempts < MAX_ATTEMPTS else Verdict("answer", 3010)


def after_crash(*, safe: bool, attempts: int) -> Verdict:
    """Decide about a call that was under way when the relay stopped.

    A safe call that was under way at three stops is suspected of having caused them.
    """
    if not safe:
        return Verdict("answer", 3010)
    return Verdict("repeat") if attempts < MAX_ATTEMPTS else Verdict("answer", 9002)
