"""Calls that ServiceNow may write, as hypothesis strategies: hostile ones, and ones that nearly are an operation's."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from relay.core.arguments import Argument
from relay.core.operations import Operation
from relay.core.record import HttpCall, TypedCall
from support.policies import ALL, LSID, URL, VALID_CALLS

HOSTILE_PATHS = [
    "/api/%2e%2e/command",
    "/api/%2E%2e/command",
    "/api/%2e/command",
    "/api/../command",
    "/api/./command",
    "//evil",
    "//evil.example.com/api/command",
    "/api//command",
    "/api/command/",
    "/api\\command",
    "/api/%5ccommand",
    "/api/%5Ccommand",
    "/api/@evil/command",
    "/api/command@evil",
    "/api/command;x=1",
    "/api/command%3bx",
    "/api/command%00",
    "/api/command%0d%0aX:y",
    "/api/command\r\nX: y",
    "/api/command\x00",
    "/api/%c0%ae%c0%ae/command",
    "/api/%e0%80%ae/command",
    "/api/%ff/command",
    "/api%2fcommand",
    "/api%2Fcommand",
    "/api/%252e%252e/command",
    "/api/%252fcommand",
    "/api/\uff0e\uff0e/command",
    "/api/%ef%bc%8e%ef%bc%8e/command",
    "/api/%E2%88%95command",
    "/api/c\u043emmand",
    "/api/command%",
    "/api/command%2",
    "/api/command%zz",
    "/api/com mand",
    "/api/command\t",
    "/api/|command",
    "/api/{x}",
    "/api/<x>",
    '/api/"x"',
    "/api/^",
    "/api/`",
    "/api/%",
]

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
