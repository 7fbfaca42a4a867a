"""Decisions on requests for approval: they pass as one operation only, and are never a call to the appliance."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from support.policies import APPLIANCE, EVERYTHING, SUPPORT, URL

from relay.core.catalog import CATALOG
from relay.core.definitions import assemble
from relay.core.operations import ArgumentSpec, OperationSpec
from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Denied
from relay.core.record import HttpCall, TypedCall

POLICY = Policy((APPLIANCE, SUPPORT), CATALOG, EVERYTHING)
PATH = "/api/endpoint_approval"
DECISION = {"response_id": "17", "response": "allow", "message": "fine", "session.custom.snow_task_id": "a" * 32}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def call(body: str = "", kind: str = FORM, path: str = PATH, method: str = "POST") -> HttpCall:
    return HttpCall(method, URL + path, (("Content-Type", kind),), (), body)


@pytest.mark.parametrize(
    "work",
    [
        call(urlencode(DECISION)),
        call(json.dumps(DECISION), JSON),
        call(path=f"{PATH}?{urlencode(DECISION)}"),
        TypedCall("approval-response", dict(DECISION), "default"),
        TypedCall(
            "approval-response",
            {"response_id": "17", "response": "allow", "message": "fine", "attributes": {"snow_task_id": "a" * 32}},
            "default",
        ),
    ],
    ids=["form", "JSON", "query", "typed", "typed with attributes"],
)
def test_a_decision_may_come_in_any_form(work: HttpCall | TypedCall) -> None:
    """Whatever way a script answers the appliance, it is the same decision, and handed over."""
    ruling = POLICY.decide(work)
    assert isinstance(ruling, Allowed)
    assert (ruling.request.operation, ruling.request.appliance, ruling.rule) == (
        "approval-response",
        "default",
        "session-integration",
    )
    assert ruling.handed_over
    assert ruling.request.safe
    assert dict(ruling.arguments) == DECISION


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"response": "maybe"}, 4004),
        ({"response_id": ""}, 4004),
        ({"message": "a\nb"}, 4004),
        ({"message": "x" * 1025}, 4004),
        ({"host": "evil.example"}, 4005),
        ({"session.custom.a b": "x"}, 4005),
    ],
)
def test_a_decision_is_judged_like_every_call(change: dict[str, str], number: int) -> None:
    """A bad value, or a name that no decision has, refuses the whole."""
    ruling = POLICY.decide(call(urlencode({**DECISION, **change})))
    assert isinstance(ruling, Denied)
    assert ruling.number == number


def test_no_decision_without_leave() -> None:
    """The operation passes only when the policy allows it, as every other."""
    ruling = replace(POLICY, allow=("read-only", "full-command")).decide(call(urlencode(DECISION)))
    assert isinstance(ruling, Denied)
    assert (ruling.number, ruling.operation) == (4002, "approval-response")


def test_the_path_is_the_configured_one() -> None:
    """Where an appliance takes decisions elsewhere, a script's post to there is one."""
    policy = replace(POLICY, appliances=(replace(APPLIANCE, response_path="/login/decide"),))
    ruling = policy.decide(call(urlencode(DECISION), path="/login/decide"))
    assert isinstance(ruling, Allowed)
    assert ruling.handed_over
    assert isinstance(POLICY.decide(call(urlencode(DECISION), path="/login/decide")), Denied)


SITE = {
    "straight": OperationSpec(
        method="POST", path="/login/decide", arguments={"response_id": ArgumentSpec(place="form")}
    ),
    "holes": OperationSpec(method="POST", path="/{a}/{b}"),
}


@pytest.mark.parametrize(
    "work",
    [
        call(path="/login/decide"),
        call(path="/login/decid%65"),
        TypedCall("straight", {}, "default"),
        TypedCall("holes", {"a": "login", "b": "decide"}, "default"),
        TypedCall("holes", {"a": "api", "b": "endpoint_approval"}, "default"),
    ],
)
def test_no_operation_of_the_site_sends_a_decision(work: HttpCall | TypedCall) -> None:
    """An operation whose path comes out as that of decisions is refused: it would answer any request, and often."""
    specs = {
        **SITE,
        "holes": replace(SITE["holes"], arguments={name: ArgumentSpec(place="path") for name in ("a", "b")}),
    }
    operations, problems = assemble(specs)
    assert not problems
    appliance = replace(APPLIANCE, response_path="/login/decide")
    ruling = Policy((appliance,), operations, ("straight", "holes")).decide(work)
    assert isinstance(ruling, Denied), ruling
    assert ruling.number in {4002, 4003, 4004}
    other = Policy((appliance,), operations, ("straight", "holes")).decide(
        TypedCall("holes", {"a": "login", "b": "other"}, "default")
    )
    assert isinstance(other, Allowed)
    assert not other.handed_over
