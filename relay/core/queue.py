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

from relay.core.errors import ServiceNowError
from relay.core.machine import StateTable
from relay.core.record import Record

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
            "put off": SEEN,
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
            "signature accepted": CLAIMED,
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
            "taken for good": CLOSED,
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

MAX_UNKNOWN = 3
"""So many unknown outcomes end even a safe call: what failed three times will fail a fourth."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event of the table, and the code of the answer that goes with it, 0 when none does."""

    event: str
    code: int = 0


def after_unknown(*, safe: bool, times: int) -> Verdict:
    """Decide about a call that may have reached the appliance, with the relay alive all the time.

    `times` counts the unknown outcomes of this call so far, this one included.
    """
    return Verdict("maybe sent, safe") if safe and times < MAX_UNKNOWN else Verdict("outcome unknown", 3010)


def after_crash(*, safe: bool, times: int) -> Verdict:
    """Decide about a call that was under way when the relay stopped; `times` as above.

    A safe call that was under way at three stops is suspected of having caused them.
    """
    if not safe:
        return Verdict("outcome unknown", 3010)
    return Verdict("repeated") if times < MAX_UNKNOWN else Verdict("outcome unknown", 9002)


ORPHAN_AGE = 600.0
"""Seconds. A `processing` row of our agent that the store does not know and that is older belongs to nobody else."""


def at_start(state: str, record: Record | None, *, agent: str, user: str, answered: bool) -> str | None:
    """The event that the row's present state in ServiceNow calls for, None when the job stays as it is.

    Args:
        state: SEEN, CLAIMED or UNCERTAIN as stored.
        record: the row as it was read back; None when it is gone or hidden.
        agent: our `mid.server.<name>`.
        user: the ServiceNow user that our own changes carry; "" when it is not known.
        answered: ServiceNow holds an answer to it.

    """
    if answered:
        return "answered there"
    if record is None and state == UNCERTAIN:
        return None  # it may only be hidden: a call that may have been made is not forgotten
    if record is None or record["agent"] != agent or record["state"] not in {"ready", "processing"}:
        return "taken"
    if state != SEEN or record["state"] == "ready":
        return None
    return "claimed" if may_be(user, record["sys_updated_by"]) else "taken"


def may_be(user: str, name: str) -> bool:
    """Whether the name that a row carries may be `user`'s; "" is not known. ServiceNow logs in whatever the case."""
    return not user or not name or name.casefold() == user.casefold()


PART_TRIES = 5
"""So often the record of a large answer may vanish before it is finished."""
FORBIDDEN_TRIES = 15
"""A 403 for an answer is a missing role more often than a rule against this one record: an administrator gets
some minutes to mend it before the answer is taken as refused."""


def after_insert(error: ServiceNowError, *, tries: int, refused_before: bool) -> str:
    """The event for an answer whose insert failed. `tries` counts the failed inserts, this one included."""
    if error.maybe_sent:
        return "insert unknown"
    if error.retryable and not (error.number == FORBIDDEN and tries >= FORBIDDEN_TRIES):
        return "put off"
    return "answer refused again" if refused_before else "answer refused"


FORBIDDEN = 2006
SERVER_ERROR = 2008
LOOKS_FOR_ABSENT = 2
"""An answer counts as absent when it was not found this often, `LOOK_AGAIN` seconds apart."""
LOOK_AGAIN = 10.0
LOOKS_WITHOUT_SIGHT = 6
"""So often where this relay never delivered an answer that it could read back, and sees at least the output itself."""


def verify_after(error: ServiceNowError, *, settle: float) -> float:
    """Seconds until an insert of unknown outcome may be asked for.

    After a received 5xx the transaction is over; after a time-out or a reset it may go on for `settle` seconds.
    """
    return 0.0 if error.number == SERVER_ERROR else settle


def after_look(*, found: bool, kept: bool, looks: int, sight: bool, sees_output: bool = False) -> str:
    """The event after ServiceNow was asked for an answer.

    Args:
        found: the answer is there.
        kept: the instance keeps our sys_ids.
        looks: how often it was not found, this time included.
        sight: this account has read back an input of its own since the start, so that "absent" means something.
        sees_output: it has none to read back, but the table shows it the output itself.

    """
    if found:
        return "found"
    sure = (sight and looks >= LOOKS_FOR_ABSENT) or (sees_output and looks >= LOOKS_WITHOUT_SIGHT)
    return "absent" if kept or sure else "put off"


def expired(age: float, *, safe: bool, unsafe_limit: float, safe_limit: float) -> bool:
    """Whether a record of this age, seconds, must no longer be executed."""
    return age > (safe_limit if safe else unsafe_limit)
