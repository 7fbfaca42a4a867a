"""Takes what appliances post: an event that a session ended becomes the job that imports it."""

from __future__ import annotations

import json
from collections.abc import Callable

import structlog

from relay.core.errors import ListenerError
from relay.core.jobs import Job, NewJob
from relay.core.posts import Post
from relay.core.session_events import is_end, job_of, lsid_of
from relay.core.session_job import DEAD, NOTICED
from relay.jobs.ledger import Ledger, Move
from relay.jobs.ports import Store
from relay.listener.ports import Inbox
from relay.sessions.parts import KIND, POST, PRIORITY

log = structlog.get_logger("relay.sessions")

NO_END = 3020
UNREADABLE = 6004
NO_PATH = 6008
NO_LSID = "the event does not say which session ended"


class SessionInbox:
    """Implements the listener's `Inbox`.

    What cannot be read, or does not say which session it is about, becomes a job that ends at an administrator; such a
    session is found by the sweep. Events that are not the end of a session need no job.

    Args:
        ledger: stores jobs.
        store: knows them.
        sweep: told of an appliance whose sessions are to be looked for now.
        approvals: takes requests for approval; None: there is no such path.

    """

    def __init__(
        self, ledger: Ledger, store: Store, sweep: Callable[[str], None], approvals: Inbox | None = None
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._sweep = sweep
        self._approvals = approvals

    async def put(self, post: Post) -> bool:
        """Return when the post is on disk, or needs not be; False: it was there already.

        Raises:
            StorageError: it is not known to be on disk.
            ListenerError: BSR-6008, a request for approval where nobody takes them.

        """
        if post.kind == "approval":
            if self._approvals is None:
                raise ListenerError(NO_PATH, "requests for approval are not taken by this configuration")
            return await self._approvals.put(post)
        if post.code is not None:
            return await self._keep(post, post.code, post.detail)
        if not is_end(post.fields):
            log.debug("sessions.other_event", appliance=post.appliance, post=post.id)
            return True
        lsid = lsid_of(post.fields)
        if not lsid:
            return await self._keep(post, UNREADABLE, NO_LSID)
        return await notice(self._ledger, self._store, post.appliance, lsid, by="event")

    async def _keep(self, post: Post, code: int, detail: str) -> bool:
        body = post.raw or json.dumps(dict(post.fields), ensure_ascii=False).encode("utf-8", "surrogatepass")
        data = {"by": "event", "code": code, "detail": detail, "path": post.path}
        new = NewJob(post.id, KIND, NOTICED, PRIORITY, post.appliance, data=data, bodies={POST: body})
        (job,) = await self._ledger.add([new])
        self._sweep(post.appliance)
        return job is not None


async def notice(ledger: Ledger, store: Store, appliance: str, lsid: str, *, by: str) -> bool:
    """Store the job of a session; False: it was there already, and looks again if it waits for the session's end.

    Raises:
        StorageError: it is not known to be on disk.

    """
    (job,) = await ledger.add([new_job(appliance, lsid, by)])
    if job is None:
        (known,) = await store.get([job_of(appliance, lsid)])
        await ledger.apply(again(known))
    return job is not None


def new_job(appliance: str, lsid: str, by: str) -> NewJob:
    """The job of a session that was just heard of."""
    return NewJob(job_of(appliance, lsid), KIND, NOTICED, PRIORITY, appliance, data={"lsid": lsid, "by": by})


def again(job: Job | None) -> list[Move]:
    """What becomes of the job of a session that surely ended: whatever waits for its end does not any more."""
    if job is None:
        return []
    if job.state == NOTICED and job.data.get("looks"):
        return [Move(job, "still running", data={"looks": None, "since": None})]
    if job.state == DEAD and job.data.get("code") == NO_END:
        return [Move(job, "retried", data={"code": None})]
    return []
