"""The life of a request for approval: its state table, and the decisions along it.

RECEIVED     the request is on disk; nobody has decided
WAITING      it may have been handed on to ServiceNow, whose decision is awaited
DECIDED      the decision is on disk; not a byte of it was sent, so that an allow may still become a denial
SENDING      the decision is in the audit log and on its way; it may have arrived
SENT         it may have arrived, or was not taken; the same decision may be sent again, and no other
DELIVERED    the appliance took it; swept later, a tombstone stays
UNDELIVERED  the appliance did not take it in time; waits for an administrator
REFUSED      the answer would go where none may go, so that there is none; audited
UNREADABLE   a post that nobody can be answered about; waits for an administrator
CLOSED       an administrator discarded it

Why a decision never turns into another one once it may have been sent: the appliance would have two answers to one
question. So an allow that may have arrived is repeated or given up, never withdrawn; one that surely did not leave
becomes a denial when its time is over. No way leads from SENT back to DECIDED.

Why an allow is good for this life of the relay only: whether it is still fresh is told by a clock that does not jump,
and that one begins anew with the process. What was not decided when the relay stopped is denied; so is what was decided
and surely not sent.

Time is told by two clocks, and the one that says less time is left counts: the wall clock goes on while a machine
sleeps, the other one cannot be set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from relay.core.approval_settling import ATTRIBUTE
from relay.core.approval_values import LONGEST_TEXT, Answer, Encoding, Verdict, shown
from relay.core.errors import ApplianceError, RelayError
from relay.core.jobs import Json
from relay.core.machine import StateTable
from relay.core.refusal import Refusal
from relay.core.retry import Backoff
from relay.core.urls import read_pairs

RECEIVED = "RECEIVED"
WAITING = "WAITING"
DECIDED = "DECIDED"
SENDING = "SENDING"
SENT = "SENT"
DELIVERED = "DELIVERED"
UNDELIVERED = "UNDELIVERED"
REFUSED = "REFUSED"
UNREADABLE = "UNREADABLE"
CLOSED = "CLOSED"

APPROVAL = StateTable(
    kind="approval",
    initial=RECEIVED,
    rows={
        RECEIVED: {
            "decided": DECIDED,
            "handed on": WAITING,
            "refused": REFUSED,
        },
        WAITING: {
            "decided": DECIDED,
            "refused": REFUSED,
        },
        DECIDED: {
            "withdrawn": DECIDED,
            "found at start": DECIDED,
            "sending": SENDING,
            "given up": UNDELIVERED,
            "refused": REFUSED,
        },
        SENDING: {
            "delivered": DELIVERED,
            "not sent": DECIDED,
            "not taken": SENT,
            "contradicted": SENDING,
            "found at start": SENT,
        },
        SENT: {
            "delivered": DELIVERED,
            "not taken": SENT,
            "found at start": SENT,
            "given up": UNDELIVERED,
            "refused": REFUSED,
        },
        UNDELIVERED: {
            "retried": SENT,
            "discarded": CLOSED,
        },
        UNREADABLE: {
            "discarded": CLOSED,
        },
        DELIVERED: {},
        REFUSED: {},
        CLOSED: {},
    },
)

SKEW: Final = 1.0
"""Seconds by which this machine's clock may have been set back since a request came; more, and nothing is fresh."""
DENIAL_LASTS: Final = 60.0
"""Seconds after the deadline that a denial is tried: who waits for it has given up by then."""
MOST_TRIES: Final = 60
LOOK: Final = Backoff(first=0.3, longest=2.0)
"""Between two questions to ServiceNow about one request, for which somebody waits."""
SEND: Final = Backoff(first=0.5, longest=4.0)
"""Between two tries to deliver a decision."""
LONGEST_SEND: Final = 10.0
"""Seconds that one try to deliver may take."""
LONGEST_ATTRIBUTE: Final = 1_024
MOST_ATTRIBUTES: Final = 10_000
"""Characters of one attribute of a session, and of all together (vendor's API documentation)."""
_CODE_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)

_OK = range(200, 300)
_REJECTED = range(400, 500)
_BUSY: Final = frozenset({408, 425, 429})


def time_left(deadline: float, *, wall: float, steady: float | None) -> float:
    """Seconds in which an allow may still be sent; 0.0: none may.

    Args:
        deadline: seconds after receipt.
        wall: seconds since receipt by the clock that may be set.
        steady: the same by the clock that may not; None: the request came in an earlier life of the relay.

    """
    if steady is None or not (wall >= -SKEW and steady >= 0.0):
        return 0.0
    left = deadline - max(wall, steady)
    return max(0.0, left)


# -- denials that no rule made -----------------------------------------------------------------------------------------


def _denial(reason: str, text: str, rule: str = "deadline") -> Verdict:
    return Verdict(allow=False, reason=reason, rule=rule, text=shown(text, LONGEST_TEXT))


def late() -> Verdict:
    """Nobody decided in time."""
    return _denial("no decision in time", "ServiceNow did not answer in time, so access is denied. Try again.")


def unasked() -> Verdict:
    """The relay came to the request too late: it was paused, or overloaded."""
    return _denial("not looked at in time", "The relay was not able to decide in time, so access is denied. Try again.")


def unreachable(error: RelayError) -> Verdict:
    """ServiceNow could not be asked."""
    text = f"ServiceNow could not be asked ({error.code}), so access is denied. Try again, or tell your administrator."
    return _denial(f"ServiceNow could not be asked: {error.code}", text, "servicenow")


def restarted() -> Verdict:
    """The request is of an earlier life of the relay."""
    return _denial(
        "the relay was restarted", "The relay was restarted meanwhile, so access is denied. Try again.", "restart"
    )


def overtaken() -> Verdict:
    """An allow could not be sent in time, and surely was not."""
    return _denial(
        "the decision could not be sent in time", "The decision came too late, so access is denied. Try again."
    )


def contradicted() -> Verdict:
    """A second request of the same id says something else."""
    return _denial(
        "two requests of one id that differ", "Two requests of one id that differ came, so access is denied.", "request"
    )


def turned_off() -> Verdict:
    """The configuration takes no requests for approval."""
    return _denial("approvals are off", "Approvals are turned off in the relay, so access is denied.", "configuration")


def faulty() -> Verdict:
    """A fault of the relay."""
    return _denial(
        "a fault of the relay", "The relay failed (BSR-9001), so access is denied. Tell your administrator.", "fault"
    )


# -- delivery ----------------------------------------------------------------------------------------------------------

Sent = Literal["delivered", "not sent", "not taken"]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one try to deliver. `other`: the other encoding is worth a try at once."""

    event: Sent
    other: bool = False


def after_send(outcome: int | ApplianceError | None) -> Tried:
    """Decide about a try: the status that came back, why none came, or None when the time was over.

    Any status but 2xx means that the appliance saw the decision and did not take it.
    """
    if outcome is None:
        return Tried("not taken")
    if isinstance(outcome, ApplianceError):
        return Tried("not taken" if outcome.maybe_sent else "not sent")
    if outcome in _OK:
        return Tried("delivered")
    return Tried("not taken", other=outcome in _REJECTED and outcome not in _BUSY)


def other(encoding: Encoding) -> Encoding:
    """The other encoding."""
    return "json" if encoding == "form" else "form"


def goes_on(*, allow: bool, left: float, deadline: float, wall: float, tries: int) -> bool:
    """Whether a decision that was tried is tried again.

    Args:
        allow: it is one.
        left: `time_left`.
        deadline: seconds after receipt.
        wall: seconds since receipt.
        tries: so far.

    """
    if allow:
        return left > 0.0
    return tries < MOST_TRIES and wall < deadline + DENIAL_LASTS


def answer_to(request_id: str, verdict: Verdict) -> Answer:
    """What the appliance is sent."""
    return Answer(request_id, "allow" if verdict.allow else "deny", verdict.text, verdict.attributes)


# -- decisions that ServiceNow makes -----------------------------------------------------------------------------------


def handed_down(answer: Answer, rule: str) -> Verdict:
    """The decision of ServiceNow as one of ours: bounded, printable, and without attributes when it denies."""
    allow = answer.response == "allow"
    text = shown(answer.message, LONGEST_TEXT)
    if not allow:
        text = text or "Access is denied by ServiceNow."
    attributes = {name: value for name, value in answer.attributes.items() if allow}
    return Verdict(allow=allow, reason="ServiceNow decided", rule=rule, text=text, attributes=attributes)


def read_answer(body: bytes, request_id: str) -> Answer | None:
    """The decision that a body is, a JSON object or a form; None: it is none, or not one about this request.

    Nothing but exactly the words `allow` and `deny`, given once, is a decision.
    """
    fields = _fields(body)
    response, message = fields.get("response"), fields.get("message", "")
    if fields.get("response_id") != request_id or not isinstance(response, str) or response not in {"allow", "deny"}:
        return None
    attributes = {
        name.removeprefix(ATTRIBUTE): value
        for name, value in fields.items()
        if name.startswith(ATTRIBUTE) and isinstance(value, str)
    }
    if not isinstance(message, str) or not all(map(_CODE_NAME.fullmatch, attributes)):
        return None
    if any(len(value) > LONGEST_ATTRIBUTE for value in attributes.values()):
        return None
    if sum(map(len, attributes.values())) > MOST_ATTRIBUTES:
        return None
    return Answer(request_id, "allow" if response == "allow" else "deny", message, attributes)


def _fields(body: bytes) -> Mapping[str, Json]:
    """Names and values of a body, nothing when a name is there twice."""
    try:
        text = body.decode()
        if text.lstrip().startswith("{"):
            found: Json = json.loads(text, object_pairs_hook=_once)
            return found if isinstance(found, dict) else {}
        return _once(list(read_pairs(text.strip())))
    except (ValueError, RecursionError, Refusal):
        return {}


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)
