"""Attachments of a row: what there is, its content, a new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relay.core.errors import ServiceNowError
from relay.servicenow import calls
from relay.servicenow.query import build, equals
from relay.servicenow.session import Lane

PAYLOAD: Final = "payload"
"""The name under which ServiceNow's own scripts look for a payload that was too large for its field."""
_MOST: Final = 10  # of one name at one row; more than one is already a leftover of a broken upload
_TYPE: Final = "text/xml"
_DIGITS: Final = 15  # of a size in bytes; Python reads no number of thousands of digits


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is known of an attachment; `size` in bytes, -1 when the instance does not say."""

    sys_id: str
    size: int


async def of_row(lane: Lane, table: str, sys_id: str, name: str) -> list[Attachment]:
    """The attachments of that name at a row."""
    query = build(equals("table_name", table), equals("table_sys_id", sys_id), equals("file_name", name))
    rows = calls.rows_of(await lane.value(calls.get_attachments(query, _MOST)))
    wanted = {"table_name": table, "table_sys_id": sys_id, "file_name": name}
    mine = [row for row in rows if all(row.get(column) == value for column, value in wanted.items())]
    if rows and not mine:
        raise ServiceNowError(2019, f"{len(rows)} attachments, none of the row asked for")
    return [attachment_of(row) for row in mine if calls.is_sys_id(row.get("sys_id", ""))]


async def content(lane: Lane, attachment: Attachment, limit: int) -> bytes:
    """An attachment's bytes, at most `limit`."""
    async with lane.session() as session:
        return await session.content(calls.get_file(attachment.sys_id), limit)


async def upload(lane: Lane, table: str, sys_id: str, name: str, data: bytes) -> None:
    """Attach `data` to a row.

    Raises:
        ServiceNowError: also BSR-2011 when the instance stored another number of bytes.

    """
    stored = calls.row_of(await lane.value(calls.upload(table, sys_id, name, data, _TYPE)))
    if attachment_of(stored).size != len(data):
        raise ServiceNowError(2011, "the attachment was stored with another size", maybe_sent=True)


async def delete(lane: Lane, attachment: Attachment) -> None:
    """Delete an attachment; one that is gone already is as good."""
    try:
        async with lane.session() as session:
            await session.content(calls.delete_attachment(attachment.sys_id), 64 * 1024)
    except ServiceNowError as error:
        if error.number != 2016:  # noqa: PLR2004  # gone
            raise


def attachment_of(row: calls.Row) -> Attachment:
    """What a row says of an attachment."""
    size = row.get("size_bytes", "")
    known = size.isascii() and size.isdigit() and len(size) <= _DIGITS
    return Attachment(row.get("sys_id", ""), int(size) if known else -1)
