"""Values that hold what others wrote do not show it by accident."""

from __future__ import annotations

import pytest

from relay.core.exchange import NewInput, Request
from relay.core.jobs import Change, Job, NewJob
from relay.core.policy_values import Allowed, ApplianceRequest
from relay.core.record import Heartbeat, HttpCall, Record, Reply, TypedCall

MARK = "hunter2-canary"
PAIRS = ((MARK, MARK),)
REQUEST = ApplianceRequest("default", "op", "GET", f"/{MARK}", PAIRS, MARK.encode())
JOB = Job("1" * 32, "queue", "SEEN", 1, 2, "", 0.0, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    "value",
    [
        Record({"payload": MARK, "source": MARK}),
        HttpCall("GET", MARK, PAIRS, PAIRS, MARK),
        TypedCall("op", {"a": MARK}),
        Reply(200, PAIRS, MARK.encode()),
        REQUEST,
        Allowed(REQUEST, {"a": MARK}, "rule"),
        NewInput("o", "s", "topic", MARK, MARK, "c", MARK),
        Request(Heartbeat(), PAIRS),
        NewJob("1" * 32, "queue", "SEEN", 2, "", bodies={"row": MARK.encode()}),
        Change(JOB, JOB, {"row": MARK.encode()}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_shows_no_body(value: object) -> None:
    """What is logged, raised or printed as a value has no payload, header, argument or body in it."""
    assert type(value).__name__ in repr(value)
    assert MARK not in repr(value)
