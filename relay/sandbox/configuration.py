"""The read-only lists of the appliance stand-in's Configuration API."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

from relay.sandbox.accounts import access_denied
from relay.sandbox.device import Device
from relay.sandbox.web import Request, Response, json_response

PREFIX = "/api/config/v1/"
_MOST = 100
_PAGING = frozenset({"per_page", "current_page"})
_CLIENT_FILTERS = frozenset(
    {"name", "hostname", "fqdn", "tag", "private_ip", "public_ip", "connection_type", "jump_group_id"}
)
_ITEM_FILTERS = frozenset({"name", "hostname", "tag", "jump_group_id", "jumpoint_id"})

FILTERS: dict[str, frozenset[str]] = {
    "jump-client": _CLIENT_FILTERS,
    "jump-item/shell-jump": _ITEM_FILTERS,
    "jump-item/remote-rdp": _ITEM_FILTERS,
    "jump-item/remote-vnc": _ITEM_FILTERS,
    "jump-item/web-jump": _ITEM_FILTERS,
    "jump-item/local-jump": _ITEM_FILTERS,
    "jump-item/protocol-tunnel-jump": _ITEM_FILTERS,
    "jump-group": frozenset({"name", "code_name"}),
    "jump-policy": frozenset({"code_name"}),
    "user": frozenset({"username", "email_address"}),
    "team": frozenset({"name"}),
}


def initial() -> dict[str, list[dict[str, Any]]]:
    """The resources a new appliance has."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in FILTERS}
    rows["jump-client"] = [
        {
            "id": number,
            "name": f"web{number:02d}",
            "hostname": f"web{number:02d}",
            "fqdn": f"web{number:02d}.example.com",
            "tag": "",
            "comments": "",
            "jump_group_id": 1,
            "jump_policy_id": None,
            "operating_system": "Windows Server 2022",
            "public_ip": "192.0.2.7",
            "private_ip": f"10.0.0.{number}",
            "connection_type": "active",
            "last_connect_timestamp": "2026-01-01T08:00:00+00:00",
            "is_lost": False,
        }
        for number in range(1, 12)
    ]
    rows["jump-group"] = [{"id": 1, "name": "Servers", "code_name": "servers", "comments": ""}]
    rows["jump-policy"] = [{"id": 1, "display_name": "Office hours", "code_name": "office", "ticket_id_required": True}]
    rows["user"] = [{"id": 1, "username": "admin", "email_address": "admin@example.com", "enabled": True}]
    rows["team"] = [{"id": 1, "name": "Service Desk", "code_name": "desk"}]
    return rows


def handle(appliance: Device, request: Request) -> Response:
    """Answer a request to the Configuration API."""
    name = request.path.removeprefix(PREFIX).strip("/")
    appliance.executed(f"config {name}")
    if request.method != "GET":
        return json_response(405, {"message": "Method not allowed"})
    head, _, last = name.rpartition("/")
    if head in FILTERS and last.isascii() and last.isdecimal():
        found = [row for row in appliance.configuration[head] if row["id"] == int(last)]
        return json_response(200, found[0]) if found else json_response(404, {"message": "Not found"})
    if name not in FILTERS:
        return json_response(404, {"message": "Not found"})
    return _list(appliance, request, name)


def _list(appliance: Device, request: Request, name: str) -> Response:
    asked = request.parameters
    if set(asked) - FILTERS[name] - _PAGING:
        return access_denied()  # sic: the API answers an unknown parameter so
    try:
        size, page = int(asked.get("per_page", "20")), int(asked.get("current_page", "1"))
    except ValueError:
        return json_response(422, {"message": "Invalid page"})
    if not 1 <= size <= _MOST or page < 1:
        return json_response(422, {"message": "Invalid page"})
    wanted = {key: value for key, value in asked.items() if key not in _PAGING}
    rows = [row for row in appliance.configuration[name] if all(str(row.get(k, "")) == v for k, v in wanted.items())]
    return _page(appliance, request.path, wanted, rows, (size, page))


def _page(
    appliance: Device, path: str, wanted: dict[str, str], rows: list[dict[str, Any]], place: tuple[int, int]
) -> Response:
    size, page = place
    last = max(1, math.ceil(len(rows) / size))
    links = [
        f'<{appliance.url}{path}?{urlencode({**wanted, "per_page": size, "current_page": number})}>; rel="{name}"'
        for name, number in (("first", 1), ("prev", page - 1), ("next", page + 1), ("last", last))
        if 1 <= number <= last
    ]
    headers = [
        ("Link", ", ".join(links)),
        ("X-BT-Pagination-Current-Page", str(page)),
        ("X-BT-Pagination-Last-Page", str(last)),
        ("X-BT-Pagination-Per-Page", str(size)),
        ("X-BT-Pagination-Total", str(len(rows))),
    ]
    return json_response(200, rows[(page - 1) * size : page * size], headers)
