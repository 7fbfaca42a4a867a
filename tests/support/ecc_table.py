"""A small ServiceNow: tables, batches and attachments in memory, answers scripted where a test wants trouble.

    fake = FakeInstance()
    fake.add(agent="mid.server.r", queue="output", state="ready")
    fake.next("POST", "/api/now/v1/batch", RESET)          # the next matching request gets this reply instead
    async with HttpsServer(fake, certificate) as server: ...

It is strict where the real one is silent: an unknown term fails the test.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from support.server import Reply, Request, Response

Row = dict[str, str]
TERM = re.compile(r"([a-z_]+)(NOT IN|IN|=)(.*)", re.DOTALL)
JSON = {"content-type": "application/json;charset=UTF-8"}


@dataclass
class FakeInstance:
    """Call it with requests. `tables` maps a table to its rows by sys_id, `files` an attachment's to its bytes."""

    tables: dict[str, dict[str, Row]] = field(default_factory=lambda: {"ecc_queue": {}, "ecc_agent": {}})
    attachments: dict[str, Row] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    keep_sys_id: bool = True
    hidden: set[str] = field(default_factory=set)
    read_only: set[str] = field(default_factory=set)
    user: str = "svc"
    scripted: list[tuple[str, str, Reply | Callable[[Request], Reply]]] = field(default_factory=list)
    spoil_batch: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    execution_time: int = 1
    count: int = 0

    def add(self, table: str = "ecc_queue", **columns: str) -> str:
        """Add a row; returns its sys_id."""
        self.count += 1
        sys_id = columns.get("sys_id") or f"{self.count:032x}"
        created = f"2026-01-01 00:{self.count // 60:02}:{self.count % 60:02}"
        made = {"sequence": f"{self.count:07}", "sys_created_on": created, "sys_created_by": self.user}
        row = {"priority": "2", **made, "payload": "", **columns}
        self.tables[table][sys_id] = {**row, "sys_id": sys_id}
        return sys_id

    def output(self, **columns: str) -> str:
        """Add a ready output of `mid.server.relay01`."""
        return self.add(**{"agent": "mid.server.relay01", "queue": "output", "state": "ready", **columns})

    def next(self, method: str, path: str, reply: Reply | Callable[[Request], Reply]) -> None:
        """Answer the next request of this method and path with `reply`."""
        self.scripted.append((method, path, reply))

    def __call__(self, request: Request) -> Reply:
        """Answer a request."""
        for entry in self.scripted:
            method, path, reply = entry
            if request.method == method and re.fullmatch(path, request.path):
                self.scripted.remove(entry)
                return reply(request) if callable(reply) else reply
        if request.path == "/api/now/v1/batch":
            return self._batch(json.loads(request.body))
        status, value = self.serve(request.method, request.target, request.body, request.headers)
        if isinstance(value, bytes):
            return Response(status, value, {"content-type": "text/xml"})
        return answer(status, value)

    def serve(  # noqa: PLR0911 - one return for each kind of call
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        """Status and JSON of one call."""
        parts = urlsplit(target).path.removeprefix("/api/now/").split("/")
        query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        match [method, *parts]:
            case ["GET", "table", table]:
                return 200, {"result": [self._shown(row, query) for row in self._rows(self.tables[table], query)]}
            case ["GET", "table", table, sys_id]:
                return self._one(table, sys_id, query)
            case ["PATCH", "table", table, sys_id]:
                if sys_id in self.tables[table] and sys_id not in self.hidden:
                    changes = {name: value for name, value in json.loads(body).items() if name not in self.read_only}
                    self.tables[table][sys_id] |= {**changes, "sys_updated_by": self.user}
                return self._one(table, sys_id, query)
            case ["POST", "table", table]:
                return self._insert(table, json.loads(body), query)
            case ["GET", "attachment"]:
                return 200, {"result": self._rows(self.attachments, query)}
            case ["GET", "attachment", sys_id, "file"]:
                return 200, self.files[sys_id]
            case ["DELETE", "attachment", sys_id]:
                del self.files[sys_id], self.attachments[sys_id]
                return 204, None
            case ["POST", "attachment", "file"]:
                assert headers["content-type"] == "text/xml"
                return 201, {"result": self.attach(query["table_sys_id"], body, query["file_name"])}
        raise AssertionError(f"{method} {target}")

    def attach(self, row: str, content: bytes, name: str = "payload", size: int | None = None) -> Row:
        """Attach a file to a row of ecc_queue."""
        self.count += 1
        sys_id = f"{self.count:032x}"
        self.files[sys_id] = content
        known = {"sys_id": sys_id, "table_name": "ecc_queue", "table_sys_id": row, "file_name": name}
        self.attachments[sys_id] = {**known, "size_bytes": str(len(content) if size is None else size)}
        return self.attachments[sys_id]

    def _one(self, table: str, sys_id: str, query: Mapping[str, str]) -> tuple[int, Any]:
        row = self.tables[table].get(sys_id)
        if row is None or sys_id in self.hidden:
            return 404, {"error": {"message": "No Record found", "detail": "x"}, "status": "failure"}
        return 200, {"result": self._shown(row, query)}

    def _insert(self, table: str, values: Row, query: Mapping[str, str]) -> tuple[int, Any]:
        wished = values.pop("sys_id", None)
        kept = {name: value for name, value in values.items() if name not in self.read_only}
        if wished in self.tables[table] and self.keep_sys_id:
            return 403, {"error": {"message": "Operation Failed", "detail": "unique key"}, "status": "failure"}
        sys_id = self.add(table, **kept, **({"sys_id": wished} if wished and self.keep_sys_id else {}))
        return 201, {"result": self._shown(self.tables[table][sys_id], query)}

    def _shown(self, row: Row, query: Mapping[str, str]) -> Row:
        return {name: row.get(name, "") for name in query["sysparm_fields"].split(",")}

    def _rows(self, rows: Mapping[str, Row], query: Mapping[str, str]) -> list[Row]:
        found = list(rows.values())
        order = []
        for term in query["sysparm_query"].split("^"):
            if term.startswith("ORDERBY"):
                order.append(term.removeprefix("ORDERBY"))
                continue
            parsed = TERM.fullmatch(term)
            assert parsed is not None, term
            name, operator, value = parsed.groups()
            values = value.lower().split(",") if operator != "=" else [value.lower()]
            found = [row for row in found if (row.get(name, "").lower() in values) != (operator == "NOT IN")]
        found.sort(key=lambda row: [row[name] for name in order])
        start = int(query.get("sysparm_offset", "0"))
        page = found[start : start + int(query["sysparm_limit"])]
        return [row for row in page if row["sys_id"] not in self.hidden]

    def _batch(self, body: dict[str, Any]) -> Reply:
        served = []
        for part in body["rest_requests"]:
            headers = {header["name"].lower(): header["value"] for header in part["headers"]}
            content = base64.b64decode(part.get("body", ""))
            status, value = self.serve(part["method"], part["url"], content, headers)
            encoded = base64.b64encode(json.dumps(value).encode()).decode()
            entry = {"id": part["id"], "body": encoded, "status_code": status, "execution_time": self.execution_time}
            served.append(entry)
        whole = {"batch_request_id": body["batch_request_id"], "serviced_requests": served[::-1]}
        return answer(200, self.spoil_batch({**whole, "unserviced_requests": []}))


def answer(status: int, value: Any, **headers: str) -> Response:
    """A JSON answer of the instance, dated now."""
    body = b"" if value is None else json.dumps(value).encode()
    return Response(status, body, {**JSON, "date": formatdate(usegmt=True), **headers})
