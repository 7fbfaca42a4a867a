"""The Table API: list, read, insert, change and delete rows of any table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from relay.sandbox import journal
from relay.sandbox.access import User, failure
from relay.sandbox.instance import Instance
from relay.sandbox.query import fields_of
from relay.sandbox.rows import Duplicate, Row
from relay.sandbox.schema import SYSTEM
from relay.sandbox.web import Request, Response, json_response

_PATH = re.compile(r"/api/now(?:/(v1|v2))?/table/([a-z0-9_]+)(?:/([^/]+))?")
_NOT_FOUND = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
_DEFAULT_LIMIT = 10_000
_AUTOMATIC = frozenset(SYSTEM) - {"sys_id", "sys_tags"}  # a caller cannot set them


@dataclass(frozen=True, slots=True)
class _Call:
    """A request to the Table API, taken apart."""

    instance: Instance
    request: Request
    user: User
    version: str | None
    table: str
    sys_id: str | None

    def visible(self, row: Row) -> bool:
        return self.instance.visible(self.table, row, self.user)

    def show(self, row: Row) -> dict[str, Any]:
        """A row as the request's parameters want it."""
        asked = self.request.parameters
        names = fields_of(asked.get("sysparm_fields", "")) or list(row)
        return {name: self._shown(row, name) for name in names if self.instance.tables.knows(self.table, name)}

    def _shown(self, row: Row, name: str) -> str | dict[str, str]:
        asked = self.request.parameters
        tables = self.instance.tables
        value = tables.value(self.table, row, name)
        target = tables.tables[self.table].references.get(name)
        display, wanted = value, asked.get("sysparm_display_value", "false")
        if target and wanted != "false":
            other = tables.get(target, value)
            display = other[tables.tables[target].display] if other is not None else value
        if name in tables.tables[self.table].journals and wanted != "false":
            display = journal.shown(tables, row, name)
        if wanted == "all":
            return {"display_value": display, "value": value}
        shown = display if wanted == "true" else value
        if target and value and asked.get("sysparm_exclude_reference_link") != "true":
            link = f"{self.instance.url}/api/now/table/{target}/{value}"
            return {"display_value": display, "link": link} if wanted == "true" else {"link": link, "value": value}
        return shown


def match(path: str) -> re.Match[str] | None:
    """The parts of a path of this API, or None."""
    return _PATH.fullmatch(path)


async def handle(instance: Instance, request: Request, user: User, parts: re.Match[str]) -> Response:
    """Answer a request to the Table API."""
    call = _Call(instance, request, user, parts[1], parts[2], parts[3])
    description = instance.tables.tables.get(call.table)
    if description is None:
        return failure(400, f"Invalid table {call.table}", None)
    method = request.header("x-http-method-override").upper() or request.method
    if not instance.allows(call.table, method, user):
        return failure(403, "User Not Authorized", "Failed API level ACL Validation")
    if call.sys_id is None:
        handler = {"GET": _list, "POST": _insert}.get(method)
    else:
        handler = {"GET": _read, "PATCH": _change, "PUT": _change, "DELETE": _delete}.get(method)
    if handler is None:
        return failure(405, f"Method not supported: {method}", "")
    response = handler(call)
    if request.header("x-no-response-body") == "true" and response.status in {200, 201}:
        response.status, response.body = 204, b""
    return response


def _list(call: _Call) -> Response:
    asked = call.request.parameters
    tables = call.instance.tables
    text = asked.get("sysparm_query", "")
    query = tables.parse(call.table, text)
    found = [] if query.ignored and call.instance.knobs.invalid_query_returns_no_rows else tables.find(call.table, text)
    limit = _number(asked.get("sysparm_limit", ""), _DEFAULT_LIMIT)
    offset = _number(asked.get("sysparm_offset", ""), 0)
    page = [row for row in found[offset : offset + limit] if call.visible(row)]
    rows = [call.show(row) for row in page]
    foreign = call.request.quirks.get("foreign", 0)
    if foreign:
        rows[:0] = [call.show(row) for row in call.instance.foreign_rows(foreign)]
    headers = []
    if asked.get("sysparm_no_count") != "true":
        headers.append(("X-Total-Count", str(len(found))))
    if asked.get("sysparm_suppress_pagination_header") != "true":
        headers += _links(call, limit, offset, len(found))
    call.instance.polled(call.request, page)
    if not rows and call.version == "v1":
        return failure(404, "No Record found", "Records matching query not found", headers)
    return json_response(200, {"result": rows}, headers)


def _links(call: _Call, limit: int, offset: int, total: int) -> list[tuple[str, str]]:
    last = max(0, (total - 1) // limit * limit) if limit else 0
    places = {"first": 0, "prev": offset - limit, "next": offset + limit, "last": last}
    base = [pair for pair in call.request.query if pair[0] != "sysparm_offset"]
    links = [
        f'<{call.instance.url}{call.request.path}?{urlencode([*base, ("sysparm_offset", str(place))])}>;rel="{name}"'
        for name, place in places.items()
        if 0 <= place <= last and not (name == "next" and place >= total)
    ]
    return [("Link", ",".join(links))]


def _read(call: _Call) -> Response:
    row = _row(call)
    return failure(404, *_NOT_FOUND) if row is None else json_response(200, {"result": call.show(row)})


def _insert(call: _Call) -> Response:
    values = _values(call.request)
    if values is None:
        return failure(400, "Exception while reading request", "The payload is not valid JSON")
    if not call.instance.knobs.keep_sys_id:
        values.pop("sys_id", None)
    try:
        row = call.instance.insert(call.table, values, call.user.name)
    except Duplicate as duplicate:
        detail = (
            f"Error during insert of {call.table} ({duplicate}): Unique Key violation detected by database "
            f"((conn=7) Duplicate entry '{duplicate}' for key 'PRIMARY')"
        )
        return failure(403, "Operation Failed", detail)
    location = f"{call.instance.url}/api/now/table/{call.table}/{row['sys_id']}"
    return json_response(201, {"result": call.show(row)}, [("Location", location)])


def _change(call: _Call) -> Response:
    row = _row(call)
    if row is None:
        return failure(404, *_NOT_FOUND)
    values = _values(call.request)
    if values is None:
        return failure(400, "Exception while reading request", "The payload is not valid JSON")
    call.instance.update(call.table, row, values, call.user.name)
    return json_response(200, {"result": call.show(row)})


def _delete(call: _Call) -> Response:
    row = _row(call)
    if row is None:
        return failure(404, *_NOT_FOUND)
    call.instance.tables.delete(call.table, row["sys_id"])
    return Response(204)


def _row(call: _Call) -> Row | None:
    row = call.instance.tables.get(call.table, call.sys_id or "")
    return row if row is not None and call.visible(row) else None


def _values(request: Request) -> dict[str, str] | None:
    try:
        value = json.loads(request.body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return {name: _text(item) for name, item in value.items() if name not in _AUTOMATIC}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("value", ""))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() else default
