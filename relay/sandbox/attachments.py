"""The Attachment API: upload, list, describe, download and delete files of a row."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from relay.sandbox.access import User, failure
from relay.sandbox.instance import Instance
from relay.sandbox.rows import Row
from relay.sandbox.web import Measured, Request, Response, json_response

_PATH = re.compile(r"/api/now(?:/v1)?/attachment(?:/(file|[0-9a-f]{32}))?(/file)?")
_LARGEST_READ = 5_242_880  # com.glide.attachment.max_get_size: what the instance's own scripts can read


@dataclass(frozen=True, slots=True)
class File:
    """A file to be attached. One that is too large to be kept is only measured, and has no content."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"
    beyond: Measured | None = None


def match(path: str) -> re.Match[str] | None:
    """The parts of a path of this API, or None."""
    return _PATH.fullmatch(path)


async def handle(instance: Instance, request: Request, user: User, parts: re.Match[str]) -> Response:
    """Answer a request to the Attachment API."""
    which, content = parts[1], parts[2]
    if which == "file" and content is None and request.method == "POST":
        return _upload(instance, request, user)
    if which is None and content is None and request.method == "GET":
        rows = instance.tables.find("sys_attachment", request.parameters.get("sysparm_query", ""))
        return json_response(200, {"result": [_shown(instance, row) for row in rows if _allowed(instance, row, user)]})
    row = instance.tables.get("sys_attachment", which or "")
    if row is None or not _allowed(instance, row, user):
        return failure(404, "No Record found", "Attachment record doesn't exist or ACL restricts the record retrieval")
    return _one(instance, request, row, content=content is not None)


def _one(instance: Instance, request: Request, row: Row, *, content: bool) -> Response:
    if request.method == "GET" and content:
        kept = instance.files.get(row["sys_id"])
        if kept is None:
            return failure(
                501, "The sandbox did not keep this file", "It knows only size_bytes and hash of large files"
            )
        return Response(200, [("Content-Type", row["content_type"])], kept)
    if request.method == "GET":
        return json_response(200, {"result": _shown(instance, row)})
    if request.method == "DELETE" and not content:
        instance.tables.delete("sys_attachment", row["sys_id"])
        instance.files.pop(row["sys_id"], None)
        return Response(204)
    return failure(405, f"Method not supported: {request.method}", "")


def payload(instance: Instance, sys_id: str) -> bytes | None:
    """What the instance's scripts read for `<see_attachment/>`; None when it is absent or too large for them."""
    query = f"table_name=ecc_queue^table_sys_id={sys_id}^file_name=payload"
    for row in instance.tables.find("sys_attachment", query):
        content = instance.files.get(row["sys_id"])
        if content is not None and len(content) <= _LARGEST_READ:
            return content
    return None


def attach(instance: Instance, owner: tuple[str, str], file: File, user: str) -> Row:
    """Store a file of the row `owner`, a table's name and a sys_id."""
    measured = file.beyond or Measured(len(file.content), hashlib.sha256(file.content).hexdigest())
    values = {
        "file_name": file.name,
        "table_name": owner[0],
        "table_sys_id": owner[1],
        "content_type": file.media_type,
        "size_bytes": str(measured.size),
        "hash": measured.digest,
        "state": "available",
    }
    row = instance.tables.insert("sys_attachment", values, user)
    if file.beyond is None:
        instance.files[row["sys_id"]] = file.content
    return row


def _upload(instance: Instance, request: Request, user: User) -> Response:
    asked = request.parameters
    table, owner, name = asked.get("table_name", ""), asked.get("table_sys_id", ""), asked.get("file_name", "")
    if not table or not owner or not name:
        return failure(400, "Missing parameter", "table_name, table_sys_id and file_name are required")
    row = instance.tables.get(table, owner) if table in instance.tables.tables else None
    if row is None or not instance.visible(table, row, user):
        return failure(404, "No Record found", "The record does not exist or ACL restricts it")
    if request.size > instance.knobs.largest_attachment:
        return failure(400, "Request body too large", "com.glide.attachment.max_size exceeded")
    file = File(name, request.body, request.header("content-type"), request.beyond)
    stored = attach(instance, (table, owner), file, user.name)
    location = f"{instance.url}/api/now/attachment/{stored['sys_id']}"
    return json_response(201, {"result": _shown(instance, stored)}, [("Location", location)])


def _shown(instance: Instance, row: Row) -> dict[str, str]:
    return {**row, "download_link": f"{instance.url}/api/now/attachment/{row['sys_id']}/file"}


def _allowed(instance: Instance, row: Row, user: User) -> bool:
    owner = instance.tables.get(row["table_name"], row["table_sys_id"])
    return owner is not None and instance.visible(row["table_name"], owner, user)
