"""From a site's words to its operations: what is well defined, and what each problem says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policies import APPLIANCE, PROBLEMS, SITE, SITE_OPERATIONS, assert_sound

from relay.core.catalog import CATALOG
from relay.core.definitions import MAX_ARGUMENTS, assemble, define, unknown
from relay.core.grammar import MAX_PER_MINUTE
from relay.core.operations import ArgumentSpec, OperationSpec
from relay.core.policy import Policy
from relay.core.policy_values import Allowed
from relay.core.record import TypedCall


def get(path: str = "/x", **arguments: ArgumentSpec) -> OperationSpec:
    return OperationSpec(method="GET", path=path, arguments=arguments)


def post(**arguments: ArgumentSpec) -> OperationSpec:
    return OperationSpec(method="POST", path="/x", arguments=arguments)


def test_a_good_site() -> None:
    """A site's operations stand before the catalog, in the site's order, with everything that was written."""
    assert PROBLEMS == ()
    assert [operation.name for operation in SITE_OPERATIONS] == [*SITE, *(operation.name for operation in CATALOG)]
    report = SITE_OPERATIONS[0]
    assert (report.methods, report.path, report.safe, report.per_minute) == (("GET",), "/api/reporting", True, 6)
    assert (report.types, report.max_bytes) == (("text/xml", "application/xml"), 5 * 1024 * 1024)
    assert [argument.default for argument in report.arguments] == [None, None, "7"]
    assert not SITE_OPERATIONS[1].safe


def test_old_spellings_of_paths() -> None:
    """A path with `.ns` means the path without it in a site's operations too."""
    operation, problems = define("x", get("/api/reporting.ns"))
    assert problems == []
    assert operation is not None
    assert operation.path == "/api/reporting"


@pytest.mark.parametrize(
    ("name", "spec", "path", "words"),
    [
        ("1x", get(), (), "a name is a letter"),
        ("read-only", get(), (), "a group has this name"),
        ("x", OperationSpec(path="/x"), (), "method is missing"),
        ("x", OperationSpec(method="GET"), (), "path is missing"),
        ("x", OperationSpec(method="TRACE", path="/x"), ("method",), "one of GET, POST"),
        ("x", get("x"), ("path",), "starts with '/'"),
        ("x", get("/"), ("path",), "each segment"),
        ("x", get("/a//b"), ("path",), "each segment"),
        ("x", get("/a/../b"), ("path",), "each segment"),
        ("x", get("/a/./b"), ("path",), "each segment"),
        ("x", get("/a/%2e"), ("path",), "each segment"),
        ("x", get("/a{b}"), ("path",), "each segment"),
        ("x", get("/a?b=c"), ("path",), "each segment"),
        ("x", get("/a\n"), ("path",), "each segment"),
        ("x", get("/OAuth2/token"), ("path",), "tokens"),
        ("x", get("/{a}/{a}", a=ArgumentSpec(place="path")), ("path",), "twice"),
        ("x", get("/{a}"), ("path",), "no argument 'a' with in: path"),
        ("x", get("/{a}", a=ArgumentSpec(place="query")), ("path",), "no argument 'a'"),
        ("x", get(a=ArgumentSpec(place="path")), ("arguments", "a", "in"), "no {argument}"),
        ("x", get(a=ArgumentSpec(place="form")), ("arguments", "a", "in"), "a GET has no body"),
        ("x", get(a=ArgumentSpec(place="json")), ("arguments", "a", "in"), "a GET has no body"),
        ("x", post(a=ArgumentSpec(place="json"), b=ArgumentSpec(place="form")), ("arguments",), "not both"),
        (
            "x",
            get(**{f"a{index}": ArgumentSpec() for index in range(MAX_ARGUMENTS + 1)}),
            ("arguments",),
            "more than 60",
        ),
        ("x", get(**{"a b": ArgumentSpec()}), ("arguments", "a b"), "a name is a letter"),
        ("x", get(a=ArgumentSpec(place="header")), ("arguments", "a", "in"), "path, query, form, json"),
        ("x", get(a=ArgumentSpec(type="text")), ("arguments", "a", "type"), "string, integer"),
        ("x", get(a=ArgumentSpec(type="list", of="list")), ("arguments", "a", "of"), "items are of one of"),
        ("x", get(a=ArgumentSpec(type="enum")), ("arguments", "a", "values"), "needs its values"),
        ("x", get(a=ArgumentSpec(type="list", of="enum")), ("arguments", "a", "values"), "needs its values"),
        ("x", get(a=ArgumentSpec(type="enum", values=())), ("arguments", "a", "values"), "different values"),
        ("x", get(a=ArgumentSpec(type="enum", values=("a", "a"))), ("arguments", "a", "values"), "different values"),
        ("x", get(a=ArgumentSpec(type="enum", values=("é",))), ("arguments", "a", "values"), "printable ASCII"),
        ("x", get(a=ArgumentSpec(type="enum", values=("",))), ("arguments", "a", "values"), "printable ASCII"),
        ("x", get(a=ArgumentSpec(values=("a",))), ("arguments", "a", "values"), "type string has no values"),
        ("x", get(a=ArgumentSpec(minimum=1)), ("arguments", "a", "min"), "type string has no min"),
        (
            "x",
            get(a=ArgumentSpec(type="id", max_length=1)),
            ("arguments", "a", "max_length"),
            "type id has no max_length",
        ),
        ("x", get(a=ArgumentSpec(type="list", of="id", pattern="x")), ("arguments", "a", "pattern"), "has no pattern"),
        ("x", get(a=ArgumentSpec(max_items=5)), ("arguments", "a", "max_items"), "has no max_items"),
        ("x", get(a=ArgumentSpec(of="id")), ("arguments", "a", "of"), "has no of"),
        ("x", get(a=ArgumentSpec(type="list", max_items=0)), ("arguments", "a", "max_items"), "no items"),
        ("x", get(a=ArgumentSpec(type="list", max_items=101)), ("arguments", "a", "max_items"), "from 0 to 100"),
        ("x", get(a=ArgumentSpec(max_length=0)), ("arguments", "a", "max_length"), "from 1 to 4096"),
        ("x", get(a=ArgumentSpec(type="integer", minimum=2, maximum=1)), ("arguments", "a", "max"), "smaller than"),
        ("x", get(a=ArgumentSpec(type="integer", minimum=-(2**60))), ("arguments", "a", "min"), "both sides"),
        ("x", get(a=ArgumentSpec(type="integer", maximum=2**60)), ("arguments", "a", "max"), "both sides"),
        ("x", get(a=ArgumentSpec(pattern="(")), ("arguments", "a", "pattern"), "not closed"),
        ("x", get(a=ArgumentSpec(required=True, default="x")), ("arguments", "a", "default"), "has no default"),
        ("x", get("/{a}", a=ArgumentSpec(place="path", default="x")), ("arguments", "a", "default"), "has no default"),
        ("x", get(a=ArgumentSpec(type="integer", default="x")), ("arguments", "a", "default"), "a whole number"),
        ("x", OperationSpec(method="GET", path="/x", per_minute=0), ("per_minute",), "from 1"),
        ("x", OperationSpec(method="GET", path="/x", per_minute=MAX_PER_MINUTE + 1), ("per_minute",), "from 1"),
        ("x", OperationSpec(method="GET", path="/x", max_bytes=0), ("response", "max_bytes"), "at least one byte"),
        ("x", OperationSpec(method="GET", path="/x", types=()), ("response", "types"), "content types"),
        ("x", OperationSpec(method="GET", path="/x", types=("xml",)), ("response", "types"), "content types"),
        (
            "x",
            OperationSpec(method="GET", path="/x", types=("text/xml\r\nX: y",)),
            ("response", "types"),
            "content types",
        ),
        ("x", OperationSpec(method="GET", path="/x", soap_action=""), ("soap_action",), "printable ASCII"),
        ("x", OperationSpec(method="GET", path="/x", soap_action="é"), ("soap_action",), "printable ASCII"),
        ("x", OperationSpec(method="GET", path="/x", appliance="defualt"), ("appliance",), "did you mean 'default'?"),
        ("session-attributes", get(), (), "write session-attributes-get or session-attributes-set"),
    ],
)
def test_problems(name: str, spec: OperationSpec, path: tuple[str, ...], words: str) -> None:
    """Each fault of an operation is one problem, at the key that has it, in words that say what to write."""
    _, problems = assemble({name: spec}, {"default"})
    assert [problem.path for problem in problems] == [(name, *path)]
    assert words in problems[0].text
    assert problems[0].number == 1013


def test_all_problems_at_once() -> None:
    """Every problem of every operation is reported, and what has none is kept."""
    operations, problems = assemble({"good": get(), "bad": OperationSpec(), "worse": get(a=ArgumentSpec(type="x"))})
    assert [problem.path[0] for problem in problems] == ["bad", "bad", "worse"]
    assert [operation.name for operation in operations if not operation.builtin] == ["good"]


def test_unknown_entries_of_allow() -> None:
    """An entry of `allow` that names nothing is told with its place and what may be meant."""
    entries = ["read-only", "vault_report", "AccessSession", "session-attributes", "session_key", "zzz"]
    assert unknown(entries, SITE_OPERATIONS) == (
        (4, "no operation or group has this name; did you mean 'session-key'?"),
        (5, "no operation or group has this name"),
    )


specs = st.builds(
    OperationSpec,
    method=st.sampled_from(["GET", "POST", "x"]),
    path=st.sampled_from(["/x", "/{a}", "/x/{a}/{b}"]) | st.text(max_size=8).map(lambda text: "/" + text),
    arguments=st.dictionaries(
        st.sampled_from(["a", "b", "session.custom.x"]) | st.text(max_size=3),
        st.builds(
            ArgumentSpec,
            type=st.none() | st.sampled_from(["string", "integer", "date", "enum", "id", "list"]),
            place=st.none() | st.sampled_from(["path", "query", "form", "json"]),
            required=st.none() | st.booleans(),
            default=st.none() | st.sampled_from(["1", "x", 5]),
            values=st.none() | st.just(("1", "x")),
            of=st.none() | st.sampled_from(["integer", "id"]),
        ),
        max_size=3,
    ),
)


@given(specs, st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "x", "a/b", "1,1", "2026-01-31"])))
def test_a_well_defined_operation_is_sound(spec: OperationSpec, arguments: dict[str, str]) -> None:
    """Whatever a site writes, it has problems or is an operation that only sends what it stands for."""
    operation, problems = define("mine", spec)
    assert (operation is None) == bool(problems)
    if operation is not None:
        policy = Policy((APPLIANCE,), (operation,), ("mine",))
        decision = policy.decide(TypedCall("mine", arguments))
        if isinstance(decision, Allowed):
            assert_sound(policy, decision)
