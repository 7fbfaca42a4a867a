"""Files of a session as attachments of a record, of any size, one copy of each.

A file is known by its name and size: after a crash, or when nobody knows what became of an upload, one that is there is
not sent again. The instance stores an upload whole or not at all. Files of the same name and another size are left
alone: people attach files too.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Place
from relay.host.http import Streamed
from relay.servicenow import attachments, calls
from relay.servicenow.query import UnmatchableError
from relay.servicenow.session import Lane
from relay.servicenow.session_links import only_asked


@dataclass(frozen=True, slots=True)
class Attached:
    """A file is attached. `before`: it was there before this call."""

    sys_id: str
    before: bool


async def find_file(lane: Lane, record: Place, name: str, size: int) -> Attached | None:
    """The attachment of that name and size.

    Raises:
        ServiceNowError: it could not be asked.

    """
    try:
        there = await attachments.of_row(lane, record.table, record.sys_id, name)
    except UnmatchableError:
        raise ServiceNowError(2015, "a file name that cannot be asked for") from None
    except ServiceNowError as error:
        raise only_asked(error) from None
    return next((Attached(one.sys_id, before=True) for one in there if one.size == size), None)


async def attach(lane: Lane, record: Place, name: str, content: Streamed, content_type: str) -> Attached:
    """Attach a file unless it is there.

    Raises:
        ServiceNowError: it is not there, or with `maybe_sent` nobody knows. What the source of the content raises
            comes out as it is; then nothing was stored.

    """
    there = await find_file(lane, record, name, content.size)
    if there is not None:
        return there
    call = calls.upload_stream(record.table, record.sys_id, name, content, content_type)
    stored = calls.row_of(await lane.value(call))
    made = attachments.attachment_of(stored)
    if not calls.is_sys_id(made.sys_id):
        raise ServiceNowError(2011, "an upload's answer without a sys_id", maybe_sent=True)
    if made.size != content.size:
        # Left there, it would be one copy more for each try.
        await attachments.delete(lane, made)
        raise ServiceNowError(2011, "the attachment was stored with another size", maybe_sent=True)
    return Attached(made.sys_id, before=False)
