"""A queue record as a job: what is stored of the row, and how it is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from relay.core.errors import StorageError
from relay.core.jobs import Job, Json
from relay.core.queue import QUEUE
from relay.core.record import Record
from relay.jobs.ports import Store

KIND = QUEUE.kind
LOCAL = ""
"""The lane of work that is answered here, without an appliance."""
COMMANDS = ":agent"
"""The lane of commands for the agent itself, which take effect one after the other. No appliance has such a name."""
APPROVALS = ":approvals"
"""The lane of decisions on requests for approval: a person waits for them, and no appliance is called."""
ROW = "row"
ANSWER = "answer"
ATTACHED = "<see_attachment/>"
"""What stands in a payload's place when it was too large for the field."""
LARGE = 500_000
"""Characters. A longer answer goes up as an attachment: the instance itself moves fields of more than 512,000."""


def row_bytes(record: Record) -> bytes:
    """The row as it is stored."""
    return json.dumps(dict(record.fields), ensure_ascii=False).encode("utf-8", "surrogatepass")


def row_of(body: bytes) -> Record:
    """The stored row."""
    return Record(json.loads(body.decode("utf-8", "surrogatepass")))


async def rows(store: Store, jobs: Sequence[Job]) -> list[Record]:
    """The stored rows of these jobs, in order.

    Raises:
        StorageError: BSR-5002, a job without its row.

    """
    bodies = await store.bodies([job.id for job in jobs], ROW)
    found = []
    for job, body in zip(jobs, bodies, strict=True):
        if body is None:
            raise StorageError(5002, f"job {job.id} has no row")
        found.append(row_of(body))
    return found


def facts(record: Record) -> dict[str, Json]:
    """What a person may see of the row: never its payload, source or name, which may hold anything."""
    return {
        "topic": record["topic"][:64],
        "by": record["sys_created_by"][:64],
        "created_on": record["sys_created_on"][:32],
    }


def same_work(one: Record, other: Record) -> bool:
    """Whether two states of a row ask for the same."""
    return all(one[name] == other[name] for name in ("agent", "topic", "name", "source", "payload", "sys_created_by"))


NOT_UNDER_WAY: Mapping[str, Json] = {"inserting": None, "finishing": None}
"""The marks of an insert, and of the end of a large one, that may be under way; taken away when that is settled."""


def answer_sys_id(output_sys_id: str, *, in_place_of_large: bool = False) -> str:
    """The sys_id that the answer of an output shall have: the same at every try.

    The small answer in place of a refused large one has another, since the large one's record may have the first.
    """
    name = "small answer" if in_place_of_large else "answer"
    return hashlib.sha256(f"bseries-relay {name} {output_sys_id}".encode()).hexdigest()[:32]
