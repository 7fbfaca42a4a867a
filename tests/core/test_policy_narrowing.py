"""A site may narrow built-in operations and never widen them."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from support.calls import guided_calls
from support.policies import APPLIANCE, EVERYTHING, LSID, SUPPORT

from relay.core.arguments import PLACES
from relay.core.catalog import CATALOG
from relay.core.definitions import assemble
from relay.core.grammar import METHODS
from relay.core.narrowing import narrow
from relay.core.operations import ArgumentSpec, Operation, OperationSpec, Problem
from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Denied
from relay.core.record import TypedCall

BY_NAME = {operation.name: operation for operation in CATALOG}


KEYS = {
    "type": st.sampled_from(["string", "integer", "date", "enum", "id", "list", "other"]),
    "place": st.sampled_from(PLACES),
    "required": st.booleans(),
    "default": st.sampled_from(["1", "general", "x", LSID, 7]),
    "max_length": st.integers(1, 128) | st.integers(0, 2000),
    "pattern": st.sampled_from(["[a-z]+", "[0-9]+", "(", "general", "[a-z0-9]*"]),
    "minimum": st.integers(1, 50) | st.integers(-5, 0),
    "maximum": st.integers(0, 50) | st.integers(0, 10**13),
    "values": st.lists(st.sampled_from(["0", "1", "rep", "site", "all", "support", LSID, "general"])).map(tuple),
    "of": st.sampled_from(["enum", "id", "string", "other"]),
    "max_items": st.integers(0, 5) | st.integers(0, 200),
}
KEYS_OF = {
    "string": ["required", "default", "max_length", "pattern", "type", "values"],
    "integer": ["required", "default", "minimum", "maximum", "type", "values"],
    "enum": ["required", "default", "values"],
    "list": ["required", "default", "max_items", "of"],
    "id": ["required", "type", "values"],
    "date": ["required", "default", "type", "values"],
}


@st.composite
def argument_specs(draw: st.DrawFn, kind: str) -> ArgumentSpec:
    """A few keys, mostly such that an argument of this type has."""
    known = KEYS_OF[kind] if draw(st.integers(0, 9)) else sorted(KEYS)
    keys = draw(st.sets(st.sampled_from(known), min_size=1, max_size=2))
    return ArgumentSpec(**{key: draw(KEYS[key]) for key in keys})


def _kind(operation: Operation, name: str) -> str:
    argument = operation.argument(name) or next((each for each in operation.arguments if each.name == name), None)
    return argument.type if argument else "string"


@st.composite
def specs(draw: st.DrawFn, operation: Operation) -> OperationSpec:
    """What a site may write about an operation of the catalog, in one or two keys."""
    key = draw(st.sampled_from(["arguments"] * 5 + [*OWN_KEYS]))
    if key != "arguments":
        return OperationSpec(**{key: draw(OWN_KEYS[key])})
    names = [argument.name for argument in operation.arguments] + ["session.custom.a", "customer.b", "new"]
    name = draw(st.sampled_from(names))
    return OperationSpec(arguments={name: draw(argument_specs(_kind(operation, name)))})


OWN_KEYS = {
    "appliance": st.sampled_from(["default", "support"]),
    "method": st.sampled_from(METHODS),
    "path": st.sampled_from(["/api/command.ns", "/api/reporting", "/other"]),
    "safe": st.booleans(),
    "per_minute": st.integers(0, 10_000),
    "types": st.lists(st.sampled_from(["text/xml", "Text", "application/json"])).map(tuple),
    "max_bytes": st.integers(-1, 10**7),
    "require_signature": st.booleans(),
    "soap_action": st.sampled_from(["a", ""]),
}


@given(st.sampled_from(CATALOG), st.data())
def test_what_is_accepted_never_widens(builtin: Operation, data: st.DataObject) -> None:
    """What passes an operation after any narrowings without problems passes the built-in one too, and is sent alike."""
    narrowed = builtin
    for spec in data.draw(st.lists(specs(builtin), max_size=6)):
        candidate, problems = narrow(narrowed, spec)
        narrowed = narrowed if problems else candidate
    event(f"narrowed: {narrowed != builtin}")
    assert set(narrowed.methods) <= set(builtin.methods)
    assert (narrowed.path, narrowed.fixed, narrowed.products) == (builtin.path, builtin.fixed, builtin.products)
    assert builtin.safe or not narrowed.safe
    appliances = (APPLIANCE, SUPPORT)
    for call in data.draw(st.lists(guided_calls((narrowed,)), min_size=2, max_size=2)):
        after = Policy(appliances, (narrowed,), EVERYTHING).decide(call)
        event(type(after).__name__)
        if isinstance(after, Allowed):
            typed = TypedCall(builtin.name, after.arguments, after.request.appliance)
            before = Policy(appliances, (builtin,), EVERYTHING).decide(typed)
            assert isinstance(before, Allowed)
            # A default that gave way to a requirement may stand for what the narrowed operation leaves out.
            defaults = {each.name: each.default for each in builtin.arguments if each.default is not None}
            assert before.arguments == defaults | dict(after.arguments)


def problems_of(name: str, spec: OperationSpec) -> list[Problem]:
    return list(narrow(BY_NAME[name], spec)[1])


def argument_of(name: str, argument: str, spec: ArgumentSpec) -> list[Problem]:
    return problems_of(name, OperationSpec(arguments={argument: spec}))


@pytest.mark.parametrize(
    ("name", "spec", "path"),
    [
        ("health", OperationSpec(method="DELETE"), ("method",)),
        ("liveness", OperationSpec(method="POST"), ("method",)),
        ("health", OperationSpec(path="/api/reporting"), ("path",)),
        ("health", OperationSpec(soap_action="x"), ("soap_action",)),
        ("terminate", OperationSpec(safe=True), ("safe",)),
        ("health", OperationSpec(arguments={"x": ArgumentSpec()}), ("arguments", "x")),
        (
            "session-attributes-set",
            OperationSpec(arguments={"session.custom.ä": ArgumentSpec()}),
            ("arguments", "session.custom.ä"),
        ),
        (
            "terminate",
            OperationSpec(arguments={"lsid": ArgumentSpec(required=False)}),
            ("arguments", "lsid", "required"),
        ),
        ("terminate", OperationSpec(arguments={"lsid": ArgumentSpec(default=LSID)}), ("arguments", "lsid", "default")),
        ("terminate", OperationSpec(arguments={"lsid": ArgumentSpec(place="form")}), ("arguments", "lsid", "in")),
        ("terminate", OperationSpec(arguments={"lsid": ArgumentSpec(type="string")}), ("arguments", "lsid", "type")),
        ("user-get", OperationSpec(arguments={"id": ArgumentSpec(maximum=2**31)}), ("arguments", "id", "max")),
        ("user-get", OperationSpec(arguments={"id": ArgumentSpec(minimum=0)}), ("arguments", "id", "min")),
        (
            "user-list",
            OperationSpec(arguments={"username": ArgumentSpec(max_length=256)}),
            ("arguments", "username", "max_length"),
        ),
        (
            "user-list",
            OperationSpec(arguments={"username": ArgumentSpec(type="enum", values=("x" * 256,))}),
            ("arguments", "username", "values"),
        ),
        (
            "failover-role",
            OperationSpec(arguments={"role": ArgumentSpec(values=("primary", "none"))}),
            ("arguments", "role", "values"),
        ),
        (
            "report-access-session",
            OperationSpec(arguments={"lsids": ArgumentSpec(of="string")}),
            ("arguments", "lsids", "of"),
        ),
        (
            "report-access-session",
            OperationSpec(arguments={"lsids": ArgumentSpec(type="string")}),
            ("arguments", "lsids", "type"),
        ),
        (
            "report-access-session",
            OperationSpec(arguments={"lsid": ArgumentSpec(type="enum", values=("A" * 32,))}),
            ("arguments", "lsid", "values"),
        ),
        (
            "connected-clients",
            OperationSpec(arguments={"type": ArgumentSpec(max_items=6)}),
            ("arguments", "type", "max_items"),
        ),
        (
            "session-key",
            OperationSpec(arguments={"queue_id": ArgumentSpec(type="id")}),
            ("arguments", "queue_id", "type"),
        ),
        (
            "session-attributes-set",
            OperationSpec(arguments={"session.custom.": ArgumentSpec(default="x")}),
            ("arguments", "session.custom.", "default"),
        ),
        (
            "session-attributes-set",
            OperationSpec(arguments={"session.custom.a": ArgumentSpec(max_length=1025)}),
            ("arguments", "session.custom.a", "max_length"),
        ),
    ],
)
def test_widening_is_a_problem(name: str, spec: OperationSpec, path: tuple[str, ...]) -> None:
    """Each way to widen is a problem of its own, with the code for it and the key that does it."""
    assert [(problem.path, problem.number) for problem in problems_of(name, spec)] == [(path, 1015)]


def test_a_narrowed_operation_is_not_widened_again() -> None:
    """What was narrowed once holds against a second narrowing under another name of the operation."""
    first = OperationSpec(appliance="default", per_minute=5, max_bytes=100, types=("text/xml",), safe=False)
    second = OperationSpec(appliance="support", per_minute=6, max_bytes=101, types=("a/b",), safe=True)
    _, problems = assemble({"health": first, "check_health": second})
    assert [problem.path for problem in problems] == [
        ("check_health", "appliance"),
        ("check_health", "safe"),
        ("check_health", "per_minute"),
        ("check_health", "response", "max_bytes"),
        ("check_health", "response", "types"),
    ]
    assert {problem.number for problem in problems} == {1015}


def test_what_narrowing_does() -> None:
    """Every key narrows what it names and leaves the rest."""
    spec = OperationSpec(
        description="ours",
        appliance="support",
        method="POST",
        path="/api/command.ns",
        safe=False,
        per_minute=10,
        types=("text/xml",),
        max_bytes=1000,
        require_signature=True,
        arguments={
            "queue_id": ArgumentSpec(pattern="team:.*", default="team:5", description="teams"),
            "ttl": ArgumentSpec(required=True, maximum=600, minimum=60),
            "external_key": ArgumentSpec(type="integer", minimum=1),
            "url_hostname": ArgumentSpec(type="enum", values=("support.example.com",)),
            "customer.*": ArgumentSpec(max_items=0),
            "session.custom.": ArgumentSpec(max_length=100, max_items=2),
            "session.custom.snow_task_id": ArgumentSpec(type="id", required=True),
        },
    )
    narrowed, problems = narrow(BY_NAME["session-key"], spec)
    assert problems == ()
    by = Policy((SUPPORT,), (narrowed,), ("session-key",))
    good = {"ttl": 60, "session.custom.snow_task_id": LSID.upper(), "external_key": "7"}
    decision = by.decide(TypedCall("session-key", good))
    assert isinstance(decision, Allowed)
    assert decision.arguments == {
        "type": "support",
        "queue_id": "team:5",
        "ttl": "60",
        "external_key": "7",
        "session.custom.snow_task_id": LSID,
    }
    assert (decision.request.max_bytes, decision.request.types, decision.per_minute) == (1000, ("text/xml",), 10)
    assert (decision.require_signature, narrowed.description, narrowed.safe) == (True, "ours", False)
    for changes in (
        {"queue_id": "general"},
        {"ttl": 601},
        {"ttl": 59},
        {"external_key": "x"},
        {"url_hostname": "other.example.com"},
        {"customer.name": "x"},
        {"session.custom.snow_task_id": "x"},
        {"session.custom.a": "x" * 101},
        {"session.custom.a": "1", "session.custom.b": "2", "session.custom.c": "3"},
    ):
        assert isinstance(by.decide(TypedCall("session-key", good | changes)), Denied)
    assert isinstance(by.decide(TypedCall("session-key", {"ttl": 60})), Denied)


def test_a_member_counts_for_its_family() -> None:
    """A family's member with a grammar of its own is one of the members that the family requires and limits."""
    spec = OperationSpec(arguments={"session.custom.a": ArgumentSpec(max_length=5)})
    narrowed, problems = narrow(BY_NAME["session-attributes-set"], spec)
    assert problems == ()
    by = Policy((APPLIANCE,), (narrowed,), EVERYTHING)
    assert isinstance(by.decide(TypedCall(narrowed.name, {"lsid": LSID, "session.custom.a": "x"})), Allowed)
    assert isinstance(by.decide(TypedCall(narrowed.name, {"lsid": LSID, "session.custom.a": "xxxxxx"})), Denied)
    full = {f"session.custom.b{index}": "x" * 1024 for index in range(10)}
    assert isinstance(by.decide(TypedCall(narrowed.name, {"lsid": LSID, **full})), Allowed)
    assert isinstance(by.decide(TypedCall(narrowed.name, {"lsid": LSID, **full, "session.custom.a": "x"})), Denied)


def test_defaults() -> None:
    """A built-in default must fit the narrowed grammar, or be replaced, or give way to a requirement."""
    (problem,) = argument_of("session-key", "queue_id", ArgumentSpec(pattern="team:.*"))
    assert (problem.path, problem.number) == (("arguments", "queue_id", "default"), 1013)
    assert argument_of("session-key", "queue_id", ArgumentSpec(pattern="team:.*", required=True)) == []
    assert argument_of("session-key", "queue_id", ArgumentSpec(pattern="team:.*", default="team:1")) == []
    narrowed, _ = narrow(BY_NAME["session-key"], OperationSpec(arguments={"queue_id": ArgumentSpec(required=True)}))
    assert isinstance(Policy((SUPPORT,), (narrowed,), EVERYTHING).decide(TypedCall("session-key")), Denied)


def test_a_pattern_is_added() -> None:
    """A site's pattern holds together with the built-in one and never replaces it."""
    narrowed, problems = narrow(
        BY_NAME["session-key"], OperationSpec(arguments={"queue_id": ArgumentSpec(pattern="[a-z]+")})
    )
    assert problems == ()
    by = Policy((SUPPORT,), (narrowed,), EVERYTHING)
    assert isinstance(by.decide(TypedCall("session-key", {"queue_id": "general"})), Allowed)
    for value in ("team:5", "anything"):
        assert isinstance(by.decide(TypedCall("session-key", {"queue_id": value})), Denied)


def test_what_is_not_well_defined() -> None:
    """A narrowing is judged by the same rules as an operation of the site's own."""
    assert [problem.path for problem in problems_of("health", OperationSpec(per_minute=0))] == [("per_minute",)]
    (problem,) = argument_of("user-list", "username", ArgumentSpec(pattern="("))
    assert (problem.path, problem.number) == (("arguments", "username", "pattern"), 1013)
    (problem,) = argument_of("user-list", "username", ArgumentSpec(max_items=1))
    assert "has no max_items" in problem.text
