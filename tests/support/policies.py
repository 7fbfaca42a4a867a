"""Policies to test with, calls that fit them, and an oracle for what may be sent."""

from __future__ import annotations

import json
import re
import unicodedata
from urllib.parse import parse_qsl, unquote

from relay.core.arguments import Argument, canonical
from relay.core.catalog import CATALOG
from relay.core.definitions import assemble
from relay.core.operations import GROUPS, ArgumentSpec, Operation, OperationSpec
from relay.core.policy import ApplianceFacts, Policy
from relay.core.policy_values import Allowed
from relay.core.record import HttpCall, TypedCall

HOST = "access.example.com"
URL = f"https://{HOST}"
LSID = "0123456789abcdef" * 2
APPLIANCE = ApplianceFacts("default", "pra", enabled=True, origins=frozenset({(HOST, 443), ("pra.local", 8443)}))
SUPPORT = ApplianceFacts("support", "rs", enabled=True, origins=frozenset({("support.example.com", 443)}))
EVERYTHING = tuple(GROUPS)

SITE = {
    "vault_report": OperationSpec(
        method="GET",
        path="/api/reporting",
        arguments={
            "generate_report": ArgumentSpec(
                type="enum", place="query", values=("VaultAccountActivity",), required=True
            ),
            "start_date": ArgumentSpec(type="date", place="query"),
            "duration": ArgumentSpec(type="integer", place="query", minimum=0, maximum=366, default=7),
        },
        safe=True,
        per_minute=6,
        types=("text/xml", "application/xml"),
        max_bytes=5 * 1024 * 1024,
    ),
    "thing": OperationSpec(
        method="PUT",
        path="/site/{kind}/{name}",
        arguments={
            "kind": ArgumentSpec(type="enum", place="path", values=("a", "b")),
            "name": ArgumentSpec(place="path", max_length=20),
            "count": ArgumentSpec(type="integer", place="json", required=True),
            "tags": ArgumentSpec(type="list", of="string", place="json", max_length=10, max_items=3),
            "numbers": ArgumentSpec(type="list", of="integer", place="json"),
            "note": ArgumentSpec(place="json"),
        },
    ),
    "posted": OperationSpec(
        method="POST",
        path="/site/form",
        arguments={"a": ArgumentSpec(place="form", required=True), "b": ArgumentSpec(place="query")},
    ),
    "soapy": OperationSpec(
        method="POST",
        path="/site/soap",
        soap_action="EndSession",
        arguments={"lsid": ArgumentSpec(type="id", place="form", required=True)},
    ),
}
SITE_OPERATIONS, PROBLEMS = assemble(SITE, {"default", "support"})


def policy(*allow: str, appliances: tuple[ApplianceFacts, ...] = (APPLIANCE,)) -> Policy:
    """A policy of catalog and site."""
    return Policy(appliances, SITE_OPERATIONS, allow or (*EVERYTHING, *SITE))


ALL = policy(appliances=(APPLIANCE, SUPPORT))
"""Everything is allowed, on both products."""

VALID_CALLS = (
    HttpCall("GET", f"{URL}/api/command?action=get_api_info"),
    HttpCall("POST", f"{URL}/api/command.ns", body=f"action=get_session_attributes&lsid={LSID}"),
    HttpCall(
        "post", f"{URL}/api/command", body=f"action=set_session_attributes&lsid={LSID}&session.custom.a=J%C3%B6rg"
    ),
    HttpCall("GET", f"{URL}/api/reporting", query=(("generate_report", "AccessSession"), ("lsid", LSID))),
    HttpCall("GET", f"{URL}/api/reporting?generate_report=VaultAccountActivity&start_date=2026-01-31"),
    HttpCall("GET", f"{URL}/check_health"),
    HttpCall("GET", "https://PRA.local:8443/api/config/v1/jump-item/shell-jump?name=web%201&per_page=5"),
    HttpCall("GET", f"{URL}/api/config/v1/jump-client/7"),
    HttpCall("PUT", f"{URL}/site/a/x%20y", body='{"count": 3, "tags": ["x"], "numbers": [1,2], "note": "n"}'),
    HttpCall(
        "POST", f"{URL}/site/form?b=2", headers=(("Content-Type", "application/x-www-form-urlencoded"),), body="a=1"
    ),
)
TYPED_CALLS = (
    TypedCall("api-info", {}, "default"),
    TypedCall("session-attributes", {"lsid": LSID}, "default"),
    TypedCall("session-attributes", {"lsid": LSID, "attributes": {"external_key": "INC1"}}, "default"),
    TypedCall("terminate_session", {"lsid": LSID}, "support"),
    TypedCall("thing", {"kind": "b", "name": "n", "count": 1}, "default"),
    TypedCall("session-key", {"queue_id": "team:5", "ttl": 600, "customer": {"name": "Jörg"}}),
)


def operation_named(policy: Policy, name: str) -> Operation:
    """The one operation of this name."""
    (found,) = [operation for operation in policy.operations if operation.name == name]
    return found


def assert_sound(policy: Policy, decision: Allowed) -> None:
    """An allowed request holds nothing that its operation does not stand for, read again from what would be sent."""
    request = decision.request
    operation = operation_named(policy, request.operation)
    assert decision.rule in policy.allow
    assert decision.rule in {operation.name, *operation.aliases, *operation.groups}
    assert request.method in operation.methods
    assert request.appliance in {appliance.name for appliance in policy.appliances if appliance.enabled}
    assert request.safe == operation.safe
    seen = dict(_path_values(operation, request.path))
    pairs = list(request.query)
    if request.content_type == "application/json":
        for name, value in json.loads(request.body).items():
            seen[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    elif request.body:
        assert request.content_type == "application/x-www-form-urlencoded"
        body = request.body.decode("ascii")
        assert re.fullmatch(r"[A-Za-z0-9._~%&=-]*", body)
        pairs += parse_qsl(body, keep_blank_values=True, strict_parsing=True, errors="strict")
    for pair in operation.fixed:
        pairs.remove(pair)
    for name, value in pairs:
        assert name not in seen
        seen[name] = value
    assert seen == dict(decision.arguments)
    for name, value in seen.items():
        argument = operation.argument(name)
        assert argument is not None
        assert canonical(argument, value, name) == value
        assert not {unicodedata.category(char) for char in value} & {"Cc", "Cs", "Zl", "Zp"}


def _path_values(operation: Operation, path: str) -> list[tuple[str, str]]:
    assert re.fullmatch(r"(/([A-Za-z0-9._~-]|%[0-9A-F]{2})+)+", path)
    wanted = operation.path.split("/")[1:]
    segments = path.split("/")[1:]
    assert len(wanted) == len(segments)
    values = []
    for template, segment in zip(wanted, segments, strict=True):
        decoded = unquote(segment, errors="strict")
        assert decoded not in {"", ".", ".."}
        assert not set(decoded) & set("/\\%?#;")
        assert decoded.isascii()
        assert decoded.isprintable()
        if template.startswith("{"):
            values.append((template[1:-1], decoded))
        else:
            assert segment == template
    return values


def catalog_argument(operation: str, name: str) -> Argument:
    """An argument of the catalog."""
    found = next(each for each in CATALOG if each.name == operation).argument(name)
    assert found is not None
    return found
