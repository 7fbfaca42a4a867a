"""The policy's decisions one by one: what fits, what is sent, which code and which words a refusal has."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from support.policies import APPLIANCE, HOST, LSID, SITE_OPERATIONS, SUPPORT, URL, operation_named, policy

from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Denied
from relay.core.record import HttpCall, TypedCall

ALL = policy()
BOTH = policy(appliances=(APPLIANCE, SUPPORT))
ENVELOPE = '<s:Envelope xmlns:s="{}"><s:Body>{}</s:Body></s:Envelope>'
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"


def allowed(call: HttpCall | TypedCall, by: Policy = ALL) -> Allowed:
    decision = by.decide(call)
    assert isinstance(decision, Allowed), decision
    return decision


def denied(call: HttpCall | TypedCall, number: int, words: str, by: Policy = ALL) -> Denied:
    decision = by.decide(call)
    assert isinstance(decision, Denied), decision
    assert decision.number == number, decision
    assert words in decision.detail
    return decision


# -- HTTP calls -----------------------------------------------------------------------------------------------------


def test_query_is_rebuilt_as_query() -> None:
    """A GET's pairs are sent as a query, fixed pairs first, in the operation's order."""
    call = HttpCall("GET", f"{URL}/api/reporting.ns?duration=0&generate_report=AccessSessionListing&end_time=5")
    request = allowed(call).request
    assert (request.method, request.path, request.body) == ("GET", "/api/reporting", b"")
    assert request.query == (("generate_report", "AccessSessionListing"), ("end_time", "5"), ("duration", "0"))


def test_form_and_query_of_a_post_are_rebuilt_as_a_form() -> None:
    """A POST's pairs are sent as a form, wherever the call had them."""
    call = HttpCall(
        "POST", f"{URL}/api/command?action=set_session_attributes", body=f"session.custom.b=2&lsid={LSID.upper()}"
    )
    request = allowed(replace(call, query=(("session.custom.a", "x%26y"),))).request
    assert request.query == ()
    assert request.content_type == "application/x-www-form-urlencoded"
    assert (
        request.body == f"action=set_session_attributes&lsid={LSID}&session.custom.a=x%26y&session.custom.b=2".encode()
    )


def test_headers_never_pass() -> None:
    """A call's headers change nothing of what is sent, but `Accept` may choose among the operation's types."""
    call = HttpCall("GET", f"{URL}/api/reporting?generate_report=VaultAccountActivity")
    assert allowed(call).request.accept == "text/xml, application/xml"
    hostile = (("Host", "evil"), ("Authorization", "Basic x"), ("X-Forwarded-For", "1"), ("Range", "bytes=0-1"))
    assert allowed(replace(call, headers=hostile)) == allowed(call)
    assert (
        allowed(replace(call, headers=(("accept", "text/html, application/XML;q=0.1"),))).request.accept
        == "application/xml"
    )
    assert allowed(replace(call, headers=(("accept", "text/html\r\nX: y"),))) == allowed(call)
    config = HttpCall("GET", f"{URL}/api/config/v1/user", (("Accept", "text/html"),))
    assert allowed(config).request.accept == "application/json"
    assert allowed(HttpCall("GET", f"{URL}/check_health", (("Accept", "a/b"),))).request.accept is None


def test_what_the_operation_says_goes_along() -> None:
    """Safety, bounds, types and the operation's own rate come from the operation."""
    decision = allowed(HttpCall("GET", f"{URL}/api/reporting?generate_report=VaultAccountActivity"))
    assert decision.request.operation == "vault_report"
    assert (decision.per_minute, decision.rule) == (6, "vault_report")
    assert (decision.request.safe, decision.request.max_bytes) == (True, 5 * 1024 * 1024)
    assert decision.arguments == {"generate_report": "VaultAccountActivity", "duration": "7"}
    key = allowed(TypedCall("session-key"), BOTH)
    assert key.request.urgency == "urgent"
    assert not key.request.safe


def test_json_is_rebuilt() -> None:
    """JSON arguments are judged and written anew with their types."""
    call = HttpCall("PUT", f"{URL}/site/a/n%20m", body=' {"tags": ["a", "b"], "count": 3, "numbers": [1, 2]}')
    request = allowed(call).request
    assert request.path == "/site/a/n%20m"
    assert request.body == b'{"count":3,"tags":["a","b"],"numbers":[1,2]}'
    assert request.content_type == "application/json"
    spelled = replace(call, headers=(("content-type", "application/json; charset=utf-8"),))
    assert allowed(spelled).request == request
    denied(replace(call, body=call.body.replace("3", "true")), 4004, "'count' takes text or a whole number")
    denied(replace(call, body='{"count":1,"count":2}'), 4004, "different names")
    denied(replace(call, body='{"count":NaN}'), 4004, "not a JSON object")
    denied(replace(call, body="[1]", headers=(("content-type", "application/json"),)), 4004, "not a JSON object")
    denied(replace(call, body='{"count":' + "[" * 50_000), 4004, "not a JSON object")
    denied(replace(call, body='{"count":"' + "x" * 70_000), 4004, "more than 65536")
    denied(replace(call, body='{"other":' + "[" * 500 + "]" * 500 + "}"), 4005, "'other' is no argument")


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        (HttpCall("GET", f"{URL}/api/command?action=erase"), 4003, "fits for 'action=erase'"),
        (HttpCall("GET", f"{URL}/api/command"), 4003, "no operation of the path '/api/command' fits"),
        (HttpCall("GET", f"{URL}/api/nothing"), 4003, "no operation has the path"),
        (HttpCall("GET", f"{URL}/api/%63ommand?action=get_api_info"), 4003, "no operation has the path"),
        (HttpCall("GET", f"{URL}/api/Command?action=get_api_info"), 4003, "no operation has the path"),
        (HttpCall("GET", f"{URL}/api/command%2ens?action=get_api_info"), 4003, "no operation has the path"),
        (HttpCall("POST", f"{URL}/api/command", body='{"action":"get_api_info"}'), 4003, "no operation of the path"),
        (HttpCall("DELETE", f"{URL}/api/command?action=get_api_info"), 4003, "takes GET, POST, not 'DELETE'"),
        (HttpCall("po\u017ft", f"{URL}/api/command?action=get_api_info"), 4003, "not 'po?t'"),
        (HttpCall("GET", f"{URL}/api/command?action=get_api_info&x=1"), 4005, "'x' is no argument of 'api-info'"),
        (HttpCall("GET", f"{URL}/api/command?action=get_api_info&Action=x"), 4005, "'Action' is no argument"),
        (
            HttpCall("GET", f"{URL}/api/command?action=get_api_info&action=get_api_info"),
            4004,
            "'action' is given twice",
        ),
        (HttpCall("GET", f"{URL}/api/command?action=get_api_info", query=(("action", "x"),)), 4004, "given twice"),
        (
            HttpCall("GET", f"{URL}/api/command?action=get_api_info", query=(("a", "b"),) * 201),
            4004,
            "too many message",
        ),
        (
            HttpCall("GET", f"{URL}/api/command?action=get_api_info", query=(("a", "b&c=d"),)),
            4004,
            "not percent-encoded",
        ),
        (HttpCall("GET", f"{URL}/api/command?action=get_api_info", body="a=b"), 4004, "a GET carries no body"),
        (HttpCall("GET", f"{URL}/api/command?action=get_session_attributes"), 4004, "'lsid' is missing"),
        (
            HttpCall("GET", f"{URL}/api/command?action=get_session_attributes&lsid=x"),
            4004,
            "'lsid' takes 32 hexadecimal",
        ),
        (
            HttpCall("POST", f"{URL}/api/command", body=f"action=set_session_attributes&lsid={LSID}"),
            4004,
            "at least one 'session.custom.*'",
        ),
        (HttpCall("POST", f"{URL}/site/form", body="a=1&b=2"), 4004, "'b' belongs in the query"),
        (HttpCall("POST", f"{URL}/site/form?a=1"), 4004, "'a' belongs in the form"),
        (HttpCall("PUT", f"{URL}/site/a/n?count=1", body="{}"), 4004, "'count' belongs in the json"),
        (HttpCall("PUT", f"{URL}/site/a/n?kind=b", body='{"count":1}'), 4004, "'kind' is given twice"),
        (HttpCall("PUT", f"{URL}/site/a/n?name=b", body='{"count":1,"kind":"a"}'), 4004, "'name' is given twice"),
        (HttpCall("GET", "https://other/api/command"), 4008, "no appliance has the address 'other:443'"),
        (
            HttpCall("GET", f"{URL}/api/reporting?generate_report=SupportSession"),
            4008,
            "is for Remote Support, not for 'default'",
        ),
        (HttpCall("GET", f"{URL}/check_health", (("X-HTTP-Method-Override", "POST"),)), 4003, "replaces the method"),
        (HttpCall("GET", f"{URL}/check_health", (("x_method_override ", "POST"),)), 4003, "replaces the method"),
        (
            HttpCall("GET", f"{URL}/check_health", (("Accept", "a"), ("accept", "b"))),
            4004,
            "accept is given more than once",
        ),
        (HttpCall("POST", f"{URL}/site/form", (("Content-Type", "text/xml"),), body="<a/>"), 4004, "not 'text/xml'"),
        (
            HttpCall("POST", f"{URL}/site/form", (("Content-Type", "multipart/form-data"),), body="a=1"),
            4004,
            "a body is a form",
        ),
    ],
    ids=lambda value: value.url if isinstance(value, HttpCall) else None,
)
def test_refusals_say_why(call: HttpCall, number: int, words: str) -> None:
    """Each refusal of an HTTP call has its code, and words that tell a script's author what to change."""
    denied(call, number, words)


def test_custom_attributes_have_a_limit_together() -> None:
    """Custom attributes have a length each and a size together, counted in UTF-8."""

    def call(count: int, length: int) -> TypedCall:
        return TypedCall(
            "set_session_attributes", {"lsid": LSID, "attributes": {f"a{i}": "é" * length for i in range(count)}}
        )

    allowed(call(5, 1024))
    denied(call(6, 1024), 4004, "together have more than 10240 bytes")
    denied(call(1, 1025), 4004, "at most 1024 characters")
    denied(call(101, 1), 4004, "more than 100 times")
    denied(call(201, 1), 4004, "more than 200 arguments")


def test_the_nearest_miss_is_told() -> None:
    """A call that misses an allowed operation by an argument is told so, before what is not allowed at all."""
    narrow = policy("vault_report")
    refused = denied(
        HttpCall("GET", f"{URL}/api/reporting?generate_report=VaultAccountActivity&duration=400"),
        4004,
        "duration",
        narrow,
    )
    assert refused.operation == "vault_report"
    shut = denied(
        HttpCall("GET", f"{URL}/api/reporting?generate_report=AccessSession"), 4002, "not in policy.allow", narrow
    )
    assert (shut.operation, shut.rule) == ("report-access-session", "policy.allow")


def test_the_sites_own_operation_goes_first() -> None:
    """A call that fits a site's operation and a built-in one is the site's, and the built-in one's when that misses."""
    url = f"{URL}/api/reporting?generate_report=VaultAccountActivity"
    assert allowed(HttpCall("GET", url)).request.operation == "vault_report"
    assert allowed(HttpCall("GET", f"{url}&end_time=5")).request.operation == "report-vault-account-activity"


def test_a_disabled_appliance_does_nothing() -> None:
    """Nothing passes to a disabled appliance, not even the placeholder for a token."""
    off = policy(appliances=(replace(APPLIANCE, enabled=False),))
    for call in (
        HttpCall("GET", f"{URL}/check_health"),
        HttpCall("POST", f"{URL}/oauth2/token"),
        TypedCall("liveness"),
        TypedCall("liveness", {}, "default"),
    ):
        denied(call, 3012, "'default'", off)


def test_two_appliances_with_one_address() -> None:
    """An address that two appliances share means neither."""
    twins = policy(appliances=(APPLIANCE, replace(APPLIANCE, name="twin")))
    denied(HttpCall("GET", f"{URL}/check_health"), 4008, HOST, twins)


# -- typed calls ----------------------------------------------------------------------------------------------------


def test_names_and_aliases() -> None:
    """A typed call may use the operation's name or the vendor's; it is sent by the operation's first method."""
    for name in ("session-attributes-get", "get_session_attributes", "session-attributes"):
        request = allowed(TypedCall(name, {"lsid": LSID})).request
        assert (request.operation, request.method) == ("session-attributes-get", "GET")
    for name in ("session-attributes-set", "set_session_attributes", "session-attributes"):
        request = allowed(TypedCall(name, {"lsid": LSID, "session.custom.external_key": ""})).request
        assert (request.operation, request.method) == ("session-attributes-set", "POST")


def test_a_shared_name_tells_the_better_reason() -> None:
    """Where a name stands for two operations the refusal is of the one that knows all the arguments."""
    long = {"lsid": LSID, "session.custom.a": "x" * 2000}
    assert denied(TypedCall("session-attributes", long), 4004, "session.custom.a").operation == "session-attributes-set"
    assert (
        denied(TypedCall("session-attributes", {"lsid": LSID, "x": "y"}), 4005, "'x'").operation
        == "session-attributes-get"
    )


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        (TypedCall("session_key"), 4003, "did you mean 'session-key'?"),
        (TypedCall("\x00" * 5000), 4003, "there is no operation '" + "?" * 80 + "...'"),
        (TypedCall("api-info", {"action": "terminate_session"}), 4005, "'action' is no argument"),
        (TypedCall("terminate", {"lsid": [LSID]}), 4004, "text or a whole number"),
        (TypedCall("terminate", {"attributes": {"a": "b"}}), 4005, "'attributes'"),
        (TypedCall("session-attributes", {"lsid": LSID, "attributes": "a"}), 4005, "'attributes'"),
        (TypedCall("session-attributes-set", {"lsid": LSID, "attributes": {"a b": "c"}}), 4005, "'session.custom.a b'"),
        (
            TypedCall("session-attributes", {"lsid": LSID, "attributes": {"a": "b"}, "session.custom.a": "c"}),
            4004,
            "given twice",
        ),
        (TypedCall("api-info", {}, "other"), 4008, "there is no appliance 'other'"),
        (TypedCall("session-key"), 4008, "'session-key' is for Remote Support, not for 'default'"),
    ],
)
def test_typed_refusals_say_why(call: TypedCall, number: int, words: str) -> None:
    """Each refusal of a typed call has its code and its words."""
    denied(call, number, words)


def test_choosing_an_appliance() -> None:
    """With several appliances a typed call names one, unless only one of them knows the operation."""
    denied(TypedCall("api-info"), 4008, "name one: default, support", BOTH)
    assert allowed(TypedCall("api-info", {}, "support"), BOTH).request.appliance == "support"
    assert allowed(TypedCall("session-key"), BOTH).request.appliance == "support"
    denied(TypedCall("session-key", {}, "default"), 4008, "not for 'default'", BOTH)
    two = policy(appliances=(APPLIANCE, replace(APPLIANCE, name="second")))
    denied(TypedCall("session-key"), 4008, "'session-key' is for Remote Support", two)


def test_an_operation_of_one_appliance() -> None:
    """An operation that is bound to an appliance goes there and nowhere else."""
    bound = tuple(replace(each, appliance="support") if each.name == "health" else each for each in SITE_OPERATIONS)
    by = Policy((APPLIANCE, SUPPORT), bound, ("read-only",))
    assert allowed(TypedCall("health"), by).request.appliance == "support"
    denied(TypedCall("health", {}, "default"), 4008, "is for appliance 'support', not for 'default'", by)
    denied(HttpCall("GET", f"{URL}/api/command?action=check_health"), 4008, "is for appliance 'support'", by)


# -- SOAP calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [SOAP_11, SOAP_12])
def test_a_soap_call_is_rebuilt_as_the_sites_operation(lead: str) -> None:
    """The leaves of a SOAP call are judged as the operation's arguments, and its own request is sent."""
    body = ENVELOPE.format(lead, f'<n:EndSession xmlns:n="urn:x"><n:lsid>{LSID}</n:lsid></n:EndSession>')
    request = allowed(HttpCall("POST", f"{URL}/site/soap", body=body, soap_action="EndSession")).request
    assert (request.operation, request.path, request.body) == ("soapy", "/site/soap", f"lsid={LSID}".encode())
    assert allowed(TypedCall("soapy", {"lsid": LSID})).request == request


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "not well-formed"),
        ("<a", "not well-formed"),
        ("<a>\ud800</a>", "not well-formed"),
        ("<a/>", "not a SOAP envelope"),
        (ENVELOPE.format("urn:other", "<a/>"), "not a SOAP envelope"),
        (ENVELOPE.format(SOAP_11, ""), "not a SOAP envelope"),
        (ENVELOPE.format(SOAP_11, "<a/><b/>"), "not a SOAP envelope"),
        (ENVELOPE.format(SOAP_11, "<a><b><c/></b></a>"), "nested"),
        (ENVELOPE.format(SOAP_11, "<a>" + "<b/>" * 201 + "</a>"), "nested"),
        (ENVELOPE.format(SOAP_11, f"<a><lsid>{LSID}</lsid><lsid/></a>"), "given twice"),
        (ENVELOPE.format(SOAP_11, "<a><lsid/></a>"), "'lsid' takes"),
        ('<!DocType a [<!ENTITY x "y">]><a/>', "document type"),
        ("x" * 70_000, "too large"),
    ],
)
def test_bad_soap_is_refused(body: str, words: str) -> None:
    """An envelope that is ill-formed, nested, too large or has a document type is refused."""
    denied(HttpCall("POST", f"{URL}/site/soap", body=body, soap_action="EndSession"), 4004, words)


def test_probes_do_not_mix() -> None:
    """A SOAPProbe fits operations with its action alone, a RESTProbe never one with an action."""
    denied(HttpCall("POST", f"{URL}/site/soap", soap_action="Other"), 4001, "no operation has the SOAP action 'Other'")
    denied(HttpCall("POST", f"{URL}/api/command", soap_action=""), 4001, "SOAP action")
    denied(HttpCall("POST", f"{URL}/site/soap", body=f"lsid={LSID}"), 4003, "no operation has the path")
    denied(HttpCall("POST", f"{URL}/api/command", soap_action="EndSession"), 4003, "no operation has the path")


# -- rules ----------------------------------------------------------------------------------------------------------


def test_rules() -> None:
    """What allows an operation is the first entry of `allow` that names it, an alias of it, or a group of its."""
    operation = operation_named(ALL, "session-attributes-set")
    for entry in ("session-attributes-set", "set_session_attributes", "session-attributes", "session-integration"):
        assert policy("x", entry, "session-integration").rule(operation) == entry
    assert policy("recordings").rule(operation) is None


@pytest.mark.timeout(10)
def test_thousands_of_names_are_compared_in_no_time() -> None:
    """A body of thousands of names is refused in a moment: were each compared with each, other records would wait."""
    body = "{" + ",".join(f'"{number:x}":1' for number in range(6000)) + "}"
    began = time.process_time()
    for _ in range(10):
        denied(HttpCall("POST", f"{URL}/api/command", body=body), 4003, "fits")
    assert time.process_time() - began < 1.0
