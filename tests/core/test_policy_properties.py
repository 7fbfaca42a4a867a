"""The policy against anything that ServiceNow may write: a bug here is a breach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.calls import HOSTILE_PATHS, guided_calls, http_calls, names, pieces, typed_calls, values
from support.policies import ALL, SITE, TYPED_CALLS, URL, VALID_CALLS, assert_sound

from relay.core.policy_values import Allowed, Denied, TokenPlaceholder
from relay.core.record import HttpCall, TypedCall

NONE = replace(ALL, allow=())


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
