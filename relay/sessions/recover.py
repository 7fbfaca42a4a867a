"""The start of the flow: journal entries under way when the relay stopped, and what earlier lives learned."""

from __future__ import annotations

import structlog

from relay.core.jobs import Job
from relay.core.session_entries import JOURNALS
from relay.core.session_job import ASKING, FETCHED, NOTED, NOTING
from relay.core.session_rows import Place
from relay.jobs.ledger import Move
from relay.sessions.note import Abandoned, fact_of
from relay.sessions.parts import KIND, Parts

log = structlog.get_logger("relay.sessions")

ALL = 1_000_000


async def recover(parts: Parts) -> None:
    """Settle the store's jobs; to be called once, before the stages run.

    Raises:
        StorageError: the store cannot be read or written; may be called again.

    """
    for journal in JOURNALS.values():
        noted = await parts.store.fact(fact_of(journal))
        if noted is not None:
            table, sys_id, mark = noted
            parts.learned[journal.name].noted = (Place(table, sys_id), mark)
    # A request of the last life may still run at ServiceNow. How much of a wait is over, only the clock knew that may
    # have been set meanwhile.
    waiting = [job for job in await parts.store.select(KIND, [ASKING, FETCHED, NOTED], ALL) if _began(job)]
    await parts.ledger.apply([Move(job, "put off", wait=parts.settle) for job in waiting])
    jobs = await parts.store.select(KIND, [NOTING], ALL)
    if jobs:
        log.warning("sessions.crashed", notes=len(jobs))
        await Abandoned(parts)(jobs)


def _began(job: Job) -> bool:
    """Whether something of it may have been sent last that the next step would repeat."""
    if job.state == FETCHED:
        return "links" in job.data
    return job.state == NOTED or not job.data.get("looks")
