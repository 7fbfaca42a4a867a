"""The life of an event that is posted on to the vendor's application: its state table, and the decisions along it.

TAKEN       the event is on disk, the appliance has its 200; nothing was posted yet
POSTING     the post is on its way; nobody knows more until an answer or an error is stored
WAITING     ServiceNow surely does not have it; it is posted again later
UNSURE      nobody knows whether ServiceNow has it; it is posted again when the former post is surely over
DEAD        ServiceNow refuses it; waits for an administrator, the event is kept
DONE        ServiceNow took it, or an administrator discarded it; swept later, a tombstone stays

Why an event of unknown outcome is simply posted again: the vendor's application writes a session by its key, so that
the second time changes nothing, and the appliance itself repeats events. Only not at once: two posts of one session at
the same moment might both find no record of it, and each make one.

Why the events of an appliance wait for one that fails: they tell a session's story in order. But an event that alone
makes the application fail must not hold up the others for ever, so that after some tries it lets them pass.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from relay.core.canonical import canonical
from relay.core.errors import RelayError, ServiceNowError
from relay.core.machine import StateTable
from relay.core.queue import FORBIDDEN_TRIES
from relay.core.retry import Backoff

TAKEN = "TAKEN"
POSTING = "POSTING"
WAITING = "WAITING"
UNSURE = "UNSURE"
DEAD = "DEAD"
DONE = "DONE"

FORWARD = StateTable(
    kind="forward",
    initial=TAKEN,
    rows={
        TAKEN: {
            "posting": POSTING,
            "discarded": DONE,
        },
        POSTING: {
            "delivered": DONE,
            "not delivered": WAITING,
            "delivery unknown": UNSURE,
            "rejected": DEAD,
            "found at start": UNSURE,
        },
        WAITING: {
            "posting": POSTING,
            "put off": WAITING,
            "discarded": DONE,
        },
        UNSURE: {
            "posting": POSTING,
            "put off": UNSURE,
            "discarded": DONE,
        },
        DEAD: {
            "retried": TAKEN,
            "discarded": DONE,
        },
        DONE: {},
    },
)

NOT_TAKEN = 2027
"""The application asks for another token, does not know the relay's address, or is not there."""
TROUBLE = Backoff(first=2.0, longest=300.0)
CLOSED_TRIES = FORBIDDEN_TRIES
"""So often the application may be closed to us before an event is dead: at least half an hour in which it is mended."""
REJECTED_TRIES = 10
"""So often it may reject one event: some ten minutes, should something between us and it have done that."""
PATIENCE = 3
"""After so many tries that came to the application, an event that fails no longer goes before those behind it."""


def forward_of(post: str) -> str:
    """The id of the job that posts on what was posted with this id."""
    return hashlib.sha256(canonical(["forward", post])).hexdigest()


@dataclass(frozen=True, slots=True)
class Past:
    """What failed before.

    Attributes:
        tries: failures of this event in a row that came to the application, as far as anybody knows.
        refusals: those of them that were its refusal.
        failures: failures of the appliance's posts in a row, of whatever event and kind.

    """

    tries: int = 0
    refusals: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of an event that failed.

    Attributes:
        event: of the table.
        past: this failure included.
        code: why it is dead, a number of the registry, else 0.
        wait: seconds until it is posted again.
        rest: seconds that no event of the appliance is posted.

    """

    event: str
    past: Past
    code: int = 0
    wait: float = 0.0
    rest: float = 0.0


def after_failure(error: RelayError, past: Past, *, settle: float, jitter: float) -> Next:
    """Decide about an event whose post failed.

    What did not come to the application waits for any time, and so does what may have. `settle`: seconds that
    ServiceNow may still work on a request that got no answer.
    """
    closed = error.number == NOT_TAKEN and not error.maybe_sent
    rejected = isinstance(error, ServiceNowError) and not error.retryable and not error.maybe_sent
    tries = past.tries + (closed or rejected or error.maybe_sent)
    refusals = past.refusals + (closed or rejected)
    if rejected:
        # It is about this event alone: the others go on as if nothing had happened.
        now = Past(tries, refusals, past.failures)
        if refusals >= REJECTED_TRIES:
            return Next("rejected", now, error.number)
        return Next("not delivered", now, wait=TROUBLE.delay(refusals, jitter, error.after))
    now = Past(tries, refusals, past.failures + 1)
    rest = TROUBLE.delay(now.failures, jitter, error.after)
    if error.maybe_sent:
        rest = max(rest, settle)
    if closed and refusals >= CLOSED_TRIES:
        return Next("rejected", now, error.number, rest=rest)
    event = "delivery unknown" if error.maybe_sent else "not delivered"
    return Next(event, now, wait=wait_beside(rest, tries, jitter), rest=rest)


def after_stop(past: Past, *, settle: float, jitter: float) -> Next:
    """Decide about an event whose post was under way when the relay stopped, or failed by a fault of its own."""
    now = Past(past.tries + 1, past.refusals, past.failures)
    return Next("found at start", now, wait=wait_beside(settle, now.tries, jitter), rest=settle)


def wait_beside(rest: float, tries: int, jitter: float) -> float:
    """Seconds until an event is posted again whose appliance rests: before the others, or after some tries behind."""
    return rest if tries < PATIENCE else max(2 * rest, TROUBLE.delay(tries, jitter))
