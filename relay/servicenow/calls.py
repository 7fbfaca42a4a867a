"""Requests of the Table and Attachment API as values, and what their answers hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from relay.core.errors import ServiceNowError
from relay.core.jobs import Json
from relay.host.http import Streamed

Row = dict[str, str]

JSON_TYPE: Final = "application/json"
_SYS_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `target` is path and query; it goes to the instance as it stands, alone or within a batch.

    A `stream` is sent in place of `content`, and never within a batch.
    """

    method: str
    target: str
    content: bytes = b""
    content_type: str | None = None
    accept: str = JSON_TYPE
    stream: Streamed | None = None


def get_rows(
    table: str, query: str, fields: Sequence[str], limit: int, offset: int = 0, *, display: bool = False
) -> Call:
    """Rows that match an encoded query. `limit` and `offset` count before the instance's access rules.

    `display`: each column comes with what people are shown of it, for `shown_rows_of`.
    """
    parameters = {"sysparm_query": query, "sysparm_limit": str(limit), "sysparm_no_count": "true"}
    parameters["sysparm_suppress_pagination_header"] = "true"
    if offset:
        parameters["sysparm_offset"] = str(offset)
    if display:
        parameters["sysparm_display_value"] = "all"
    return Call("GET", _target(f"/api/now/table/{table}", parameters, fields))


def get_row(table: str, sys_id: str, fields: Sequence[str]) -> Call:
    """One row."""
    return Call("GET", _target(f"/api/now/table/{table}/{quote(sys_id, safe='')}", {}, fields))


def insert_row(table: str, values: Mapping[str, str], fields: Sequence[str]) -> Call:
    """Insert a row; the answer holds `fields` of it."""
    return Call("POST", _target(f"/api/now/table/{table}", {}, fields), _json(values), JSON_TYPE)


def update_row(table: str, sys_id: str, values: Mapping[str, str], fields: Sequence[str]) -> Call:
    """Change columns of a row; the answer holds `fields` of it."""
    target = _target(f"/api/now/table/{table}/{quote(sys_id, safe='')}", {}, fields)
    return Call("PATCH", target, _json(values), JSON_TYPE)


def get_attachments(query: str, limit: int) -> Call:
    """What is known of attachments; not their content."""
    return Call("GET", "/api/now/attachment?" + _encoded({"sysparm_query": query, "sysparm_limit": str(limit)}))


def get_file(attachment: str) -> Call:
    """An attachment's content."""
    return Call("GET", f"/api/now/attachment/{quote(attachment, safe='')}/file", accept="*/*")


def delete_attachment(attachment: str) -> Call:
    """Delete an attachment."""
    return Call("DELETE", f"/api/now/attachment/{quote(attachment, safe='')}")


def upload(table: str, sys_id: str, name: str, content: bytes, content_type: str) -> Call:
    """Attach a file to a row."""
    where = {"table_name": table, "table_sys_id": sys_id, "file_name": name}
    return Call("POST", "/api/now/attachment/file?" + _encoded(where), content, content_type)


def upload_stream(table: str, sys_id: str, name: str, content: Streamed, content_type: str) -> Call:
    """Attach a file of any size to a row."""
    where = {"table_name": table, "table_sys_id": sys_id, "file_name": name}
    target = "/api/now/attachment/file?" + _encoded(where)
    return Call("POST", target, content_type=content_type, stream=content)


def rows_of(value: Json) -> list[Row]:
    """The rows of an answer.

    Raises:
        ServiceNowError: BSR-2011, the answer is JSON of another shape.

    """
    return [_row(row) for row in _rows(value)]


def shown_rows_of(value: Json) -> list[dict[str, tuple[str, str]]]:
    """The rows of an answer that was asked for with `display`: each column's value, and what is shown of it.

    Raises:
        ServiceNowError: BSR-2011, the answer is JSON of another shape.

    """
    return [{name: (_text(item), _shown(item)) for name, item in row.items()} for row in _rows(value)]


def row_of(value: Json) -> Row:
    """The one row of an answer.

    Raises:
        ServiceNowError: BSR-2011, the answer is JSON of another shape.

    """
    row = value.get("result") if isinstance(value, dict) else None
    if not isinstance(row, dict):
        raise ServiceNowError(2011, "no row", maybe_sent=True)
    return _row(row)


def is_sys_id(text: str) -> bool:
    """Whether it is 32 lower-case hexadecimal digits."""
    return _SYS_ID.match(text) is not None


def _target(path: str, parameters: Mapping[str, str], fields: Sequence[str]) -> str:
    shown = {"sysparm_fields": ",".join(fields), "sysparm_exclude_reference_link": "true"}
    return f"{path}?{_encoded({**parameters, **shown})}"


def _encoded(parameters: Mapping[str, str]) -> str:
    # A comma is data here as well as there, and lists of sys_ids are long: three bytes for each would be wasted.
    return urlencode(parameters, quote_via=quote, safe=",")


def _json(values: Mapping[str, str]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _rows(value: Json) -> list[dict[str, Json]]:
    rows = value.get("result") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ServiceNowError(2011, "no list of rows", maybe_sent=True)
    return rows


def _shown(value: Json) -> str:
    return _text(value.get("display_value")) if isinstance(value, dict) else _text(value)


def _row(row: Mapping[str, Json]) -> Row:
    return {name: _text(value) for name, value in row.items()}


def _text(value: Json) -> str:
    """A column's value: references come as text, or as `{link, value}` from an instance that ignores what was asked.

    JSON can escape lone surrogates, which are no text and could be stored nowhere.
    """
    if isinstance(value, dict):
        value = value.get("value")
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
