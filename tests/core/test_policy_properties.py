"""The policy against anything that ServiceNow may write: a bug here is a breach."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from core.test_urls import HOSTILE_PATHS
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.policies import APPLIANCE, LSID, SITE, SUPPORT, TYPED_CALLS, URL, VALID_CALLS, assert_sound, policy

from relay.core.arguments import Argument
from relay.core.operations import Operation
from relay.core.policy_values import Allowed, Denied, TokenPlaceholder
from relay.core.record import HttpCall, TypedCall

ALL = policy(appliances=(APPLIANCE, SUPPORT))
NONE = replace(ALL, allow=())

pieces = st.sampled_from(
    [
        "api",
        "command",
        "command.ns",
        "reporting",
        "reporting.ns",
        "config",
        "v1",
        "jump-client",
        "jump-item",
        "shell-jump",
        "user",
        "7",
        "check_health",
        "oauth2",
        "token",
        "site",
        "a",
        "form",
        "soap",
        ".",
        "..",
        "%2e%2e",
        "%2E.",
        "%2f",
        "%5c",
        "\\",
        "@",
        ";",
        ";x=1",
        "%00",
        "%0d%0a",
        "%c0%af",
        "%252e",
        "%ef%bc%8f",
        "\uff052e",
        "\uff0e",
        "…",
        "é",
        "Command",
        "%63ommand",
        "%",
    ]
)
paths = st.lists(pieces, max_size=6).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=20)
names = st.sampled_from(
    [
        "action",
        "generate_report",
        "lsid",
        "lsids",
        "start_date",
        "duration",
        "end_time",
        "session.custom.a",
        "session.custom.",
        "SESSION.CUSTOM.a",
        "customer.name",
        "queue_id",
        "name",
        "id",
        "per_page",
        "_method",
        "Action",
        "a",
        "b",
        "count",
        "tags",
        "username",
        "kind",
    ]
) | st.text(max_size=6)
values = st.sampled_from(
    [
        "get_api_info",
        "terminate_session",
        "set_session_attributes",
        "generate_session_key",
        "AccessSession",
        "VaultAccountActivity",
        "AccessSessionListing",
        LSID,
        LSID.upper(),
        "2026-01-31",
        "7",
        "-1",
        "0",
        "",
        "a,b",
        "x%20y",
        "%41",
        "%2541",
        "%0d%0a",
        "%00",
        "%c0%ae",
        "a&b=c",
        "\u0661\u0662",
        "\uff47et_api_info",
        "general",
        "1,2",
    ]
) | st.text(max_size=10)
pairs = st.lists(st.tuples(names, values), max_size=5)
queries = pairs.map(lambda items: "&".join(f"{name}={value}" for name, value in items)) | st.text(max_size=20)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Accept",
                "Content-Type",
                "Host",
                "X-HTTP-Method-Override",
                "X_Method_Override",
                "Authorization",
                "X-Forwarded-Host",
            ]
        )
        | st.text(max_size=5),
        st.sampled_from(
            ["text/xml", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "DELETE"]
        )
        | st.text(max_size=5),
    ),
    max_size=3,
)
bases = st.sampled_from(
    [
        URL,
        URL,
        URL,
        URL.upper(),
        "https://evil.example.com",
        "http://access.example.com",
        "https://a@access.example.com",
        "",
    ]
)
urls = st.builds(
    lambda base, path, mark, query: base + path + mark + query,
    bases,
    paths,
    st.sampled_from(["?", "", "?", "#", ";"]),
    queries,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
envelopes = pairs.map(
    lambda items: (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><c>'
        + "".join(f"<{name}>{value}</{name}>" for name, value in items)
        + "</c></e:Body></e:Envelope>"
    )
)
bodies = queries | envelopes | st.just('{"count": 1}') | st.text(max_size=20)
http_calls = st.builds(
    HttpCall,
    method=st.sampled_from(["GET", "POST", "get", "PUT", "DELETE", "TRACE", "po\u017ft", "POST\r\n"])
    | st.text(max_size=6),
    url=urls | st.sampled_from([call.url for call in VALID_CALLS]),
    headers=headers.map(tuple),
    query=pairs.map(tuple),
    body=st.just("") | bodies,
    soap_action=st.none() | st.sampled_from(["EndSession", ""]),
)
operation_names = st.sampled_from([name for operation in ALL.operations for name in operation.names])
typed_calls = st.builds(
    TypedCall,
    operation=operation_names | st.text(max_size=10),
    arguments=st.dictionaries(names | st.sampled_from(["attributes", "customer"]), json_values, max_size=5),
    appliance=st.none() | st.sampled_from(["default", "support", "Default"]),
)

GOOD = {
    "string": ["web1", "general", "x%20y", "J%C3%B6rg", "a+b", "rep:7"],
    "integer": ["1", "7", "60"],
    "date": ["2026-01-31"],
    "id": [LSID, LSID.upper()],
    "enum": ["0"],
    "list": ["all", f"{LSID},{LSID}", "a1,b2", "1,2"],
}


def value_of(draw: st.DrawFn, argument: Argument) -> str:
    """Mostly a good value, percent-encoded; sometimes anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(values | pieces)
    return draw(st.sampled_from(list(argument.values) or GOOD[argument.type]))


@st.composite
def guided_calls(draw: st.DrawFn, operations: tuple[Operation, ...] = ALL.operations) -> HttpCall:
    """A call that aims at an operation and may miss: the pairs stand anywhere, one value or name may be anything."""
    operation = draw(st.sampled_from(operations))
    path = operation.path
    base = URL if "pra" in operation.products else "https://support.example.com"
    found = [(name, value) for name, value in operation.fixed if draw(st.integers(0, 19))]
    members = {}
    for argument in operation.arguments:
        if argument.place == "path":
            path = path.replace("{" + argument.name + "}", value_of(draw, argument))
        elif argument.required or draw(st.integers(0, 3)) == 0:
            name = argument.name + (draw(st.sampled_from(["external_key", "a", ""])) if argument.family else "")
            if argument.place == "json":
                members[name] = draw(json_values | st.integers(0, 9) | st.lists(st.integers(0, 9)))
            else:
                found.append((name, value_of(draw, argument)))
    if draw(st.integers(0, 9)) == 0:
        found.append((draw(names), draw(values)))
    method = draw(st.sampled_from(operation.methods))
    home = "form" if any(argument.place == "form" for argument in operation.arguments) else "url"
    places = st.sampled_from([home] * 6 + ["url", "query"] + (["form"] if method == "POST" else []))
    placed = [(draw(places), f"{name}={value}", (name, value)) for name, value in found]
    by = {place: [pair for where, pair, _ in placed if where == place] for place in ("url", "form")}
    body = "&".join(by["form"])
    if members:
        body = json.dumps(members)
    if operation.soap_action and found:
        elements = "".join(f"<{name}>{value}</{name}>" for name, value in found)
        lead = "http://schemas.xmlsoap.org/soap/envelope/"
        body = f'<e:Envelope xmlns:e="{lead}"><e:Body><c>{elements}</c></e:Body></e:Envelope>'
    return HttpCall(
        method=method,
        url=f"{draw(st.sampled_from([base] * 9 + ['https://evil.example.com']))}{path}"
        + ("?" + "&".join(by["url"]) if by["url"] and not operation.soap_action else ""),
        query=tuple(pair for where, _, pair in placed if where == "query" and not operation.soap_action),
        headers=draw(st.just(()) | headers.map(tuple)),
        body=body,
        soap_action=operation.soap_action,
    )


@settings(max_examples=400)
@given(guided_calls())
def test_a_call_that_aims_at_an_operation(call: HttpCall) -> None:
    """A call that nearly is an operation's passes as that operation's request or not at all."""
    decision = ALL.decide(call)
    event(type(decision).__name__)
    if isinstance(decision, Allowed):
        assert_sound(ALL, decision)


@settings(max_examples=400)
@given(http_calls | typed_calls)
def test_every_call_has_a_sound_decision(call: HttpCall | TypedCall) -> None:
    """Any call has a decision; what is allowed is its operation's request and nothing else, read from what is sent."""
    decision = ALL.decide(call)
    if isinstance(decision, Allowed):
        assert_sound(ALL, decision)
    elif isinstance(decision, Denied):
        assert decision.detail.isascii()
        assert decision.detail.isprintable()
        assert len(decision.detail) < 400
    assert not isinstance(NONE.decide(call), Allowed)


@settings(max_examples=300)
@given(st.sampled_from(VALID_CALLS), st.data())
def test_a_call_with_something_added(call: HttpCall, data: st.DataObject) -> None:
    """Whatever is added to an allowed call, it is refused, or what is sent is the same or sound by itself."""
    before = ALL.decide(call)
    assert isinstance(before, Allowed)
    text = data.draw(st.text(min_size=1, max_size=6) | pieces | values)
    kind = data.draw(st.sampled_from(["url", "front", "path", "query", "header", "body", "method"]))
    added = {
        "url": replace(call, url=call.url + text),
        "front": replace(call, url=call.url.replace("https://", f"https://{text}", 1)),
        "path": replace(call, url=call.url.replace("/", f"/{text}/", 3).replace("//", "/", 1)),
        "query": replace(call, query=(*call.query, (data.draw(names), text))),
        "header": replace(call, headers=(*call.headers, (data.draw(st.text(max_size=6)), text))),
        "body": replace(call, body=call.body + text),
        "method": replace(call, method=call.method + text),
    }[kind]
    after = ALL.decide(added)
    if isinstance(after, Allowed):
        assert_sound(ALL, after)
        if kind in {"front", "header", "method"}:
            assert after == before


@pytest.mark.parametrize("call", VALID_CALLS + TYPED_CALLS, ids=str)
def test_valid_calls_pass(call: HttpCall | TypedCall) -> None:
    """The calls that the other tests change are allowed as they are."""
    decision = ALL.decide(call)
    assert isinstance(decision, Allowed)
    assert_sound(ALL, decision)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_hostile_paths_are_denied(path: str, method: str) -> None:
    """No spelling of a path that could mean another one passes, even where everything is allowed."""
    assert isinstance(ALL.decide(HttpCall(method, f"{URL}{path}?action=get_api_info")), Denied)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "%2e%2e",
        "a%2fb",
        "a%5cb",
        "a%00",
        "%e2%88%95",
        "a%3bb",
        "a%3fb",
        "a%23b",
        "a%25b",
        "%ef%bc%8f",
        "x" * 21,
    ],
)
def test_hostile_path_arguments_are_denied(name: str) -> None:
    """An argument in a path is one segment of printable ASCII and can never become more."""
    assert isinstance(ALL.decide(HttpCall("PUT", f"{URL}/site/a/{name}", body='{"count":1}')), Denied)


@pytest.mark.parametrize("call", VALID_CALLS + TYPED_CALLS, ids=str)
def test_denied_by_default(call: Any) -> None:
    """An empty policy lets nothing through, and one that allows something else neither."""
    for allow in ((), ("nothing",), ("jump-group-get",)):
        decision = replace(ALL, allow=allow).decide(call)
        assert isinstance(decision, Denied)
        assert decision.number == 4002
        assert decision.operation


@pytest.mark.parametrize("call", VALID_CALLS, ids=str)
def test_another_host_is_denied(call: HttpCall) -> None:
    """A host that no appliance has is refused whatever else the call says."""
    for host in (
        "evil.example.com",
        "access.example.com.evil.com",
        "access.example.com:8443",
        "pra.local",
        "xaccess.example.com",
    ):
        path = call.url.split("/", 3)[3]
        decision = ALL.decide(replace(call, url=f"https://{host}/{path}"))
        assert isinstance(decision, Denied)
        assert decision.number == 4008


def test_the_token_post_is_answered_whatever_is_allowed() -> None:
    """A script's token request gets the placeholder from any policy, at the appliance's address and by POST alone."""
    call = HttpCall("post", f"{URL}/oauth2/token?x=1", body="grant_type=client_credentials")
    assert NONE.decide(call) == TokenPlaceholder("default")
    for other in (
        replace(call, method="GET"),
        replace(call, url=f"{URL}/oauth2/token/"),
        replace(call, url="https://evil.example.com/oauth2/token"),
        replace(call, url=f"{URL}/OAuth2/token"),
        replace(call, soap_action="x"),
    ):
        assert isinstance(ALL.decide(other), Denied)


def test_every_site_operation_is_used_here() -> None:
    """The site of these tests is well defined, so that the properties cover its operations."""
    assert set(SITE) <= {operation.name for operation in ALL.operations}
