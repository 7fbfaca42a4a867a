"""Takes what appliances post: what becomes of an event, import, forward, both or nothing, is on disk before its 200.

An appliance that is disabled posts all the same, and its events are stored as those of others: to post one on needs
nothing of the appliance, and an import waits until the appliance is enabled again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import structlog

from relay.config.model import Settings
from relay.core.canonical import canonical
from relay.core.errors import ListenerError, StorageError
from relay.core.jobs import Job, NewJob
from relay.core.posts import Post
from relay.core.session_events import is_end, job_of, lsid_of, survey_of
from relay.core.session_job import DEAD, NOTICED
from relay.jobs.ledger import Ledger, Move
from relay.jobs.ports import Store
from relay.listener.ports import Inbox
from relay.sessions.forward import new_forward
from relay.sessions.parts import KIND, POST, PRIORITY

log = structlog.get_logger("relay.sessions")

NO_END = 3020
UNREADABLE = 6004
NO_PATH = 6008
FULL = 5004
NO_LSID = "the event does not say which session ended"

Mode = Literal["import", "forward", "both", "off"]
"""What becomes of an appliance's events."""
_IMPORTS: Final = frozenset({"import", "both"})
_FORWARDS: Final = frozenset({"forward", "both"})


class SessionInbox:
    """Implements the listener's `Inbox`.

    Every event that can be read may be posted on, whatever it tells; only the end of a session needs a job to import
    it, and an exit survey that was filled in one that looks whether the session is home without it. What cannot be
    read, or does not say which session ended, becomes a job that waits for an administrator; such a session is found by
    the sweep. What cannot be read is not posted on: nobody can say what it would mean there.

    Where the configuration cannot tell appliances apart, an event is posted on once, for the first of them of which
    events are posted on; and the others are looked through for its session, which the first may not know.

    Args:
        ledger: stores jobs.
        store: knows them.
        sweep: told of an appliance whose sessions are to be looked for soon.
        approvals: takes requests for approval; None: there is no such path.
        modes: by appliance; the events of one that is not named are imported.
        room: whether the disk has room for a post.

    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        sweep: Callable[[str], None],
        approvals: Inbox | None = None,
        *,
        modes: Mapping[str, Mode] | None = None,
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._sweep = sweep
        self._approvals = approvals
        self._modes = modes or {}
        self._room = room

    async def put(self, post: Post) -> bool:
        """Return when the post is on disk, or needs not be; False: it was there already.

        Raises:
            StorageError: it is not known to be on disk.
            ListenerError: BSR-6008, a request for approval where nobody takes them.

        """
        if not self._room():
            raise StorageError(FULL, "what is left is for work that was taken before")
        if post.kind == "approval":
            if self._approvals is None:
                raise ListenerError(NO_PATH, "requests for approval are not taken by this configuration")
            return await self._approvals.put(post)
        importing, forwarding = self._among(post, _IMPORTS), self._among(post, _FORWARDS)
        if not importing and not forwarding:
            log.debug("sessions.event_off", appliance=post.appliance, post=post.id)
            return True
        if post.code is not None:
            return await self._take(post, [_kept(post, post.code, post.detail)], importing)
        jobs = [new_forward(name, post) for name in forwarding[:1]]
        if survey_of(post.fields) and lsid_of(post.fields):
            jobs += [_filled_in(name, post) for name in importing]
        if not importing or not is_end(post.fields):
            return await self._take(post, jobs, [])
        lsid = lsid_of(post.fields)
        if not lsid:
            return await self._take(post, [*jobs, _kept(post, UNREADABLE, NO_LSID)], importing)
        others = [name for name in importing if name != post.appliance]
        if post.appliance in importing:
            jobs.append(new_job(post.appliance, lsid, "event", others))
        return await self._take(post, jobs, others)

    def _among(self, post: Post, modes: frozenset[str]) -> list[str]:
        """Those of the appliances whose event it may be that have one of these modes."""
        return [name for name in (post.appliance, *post.others) if self._modes.get(name, "import") in modes]

    async def _take(self, post: Post, jobs: list[NewJob], looked_through: list[str]) -> bool:
        """Store all jobs of an event in one commit."""
        if not jobs and not looked_through:
            log.debug("sessions.other_event", appliance=post.appliance, post=post.id)
            return True
        new = not jobs or await store_all(self._ledger, self._store, jobs)
        for name in looked_through:
            self._sweep(name)
        return new


def modes_of(settings: Settings) -> dict[str, Mode]:
    """What becomes of each appliance's events by the configuration."""
    return {name: settings.sessions_of(name).mode for name in settings.appliances}


def _kept(post: Post, code: int, detail: str) -> NewJob:
    """The job of a post of which nothing can be made."""
    body = post.raw or json.dumps(dict(post.fields), ensure_ascii=False).encode("utf-8", "surrogatepass")
    data = {"by": "event", "code": code, "detail": detail, "path": post.path}
    return NewJob(post.id, KIND, DEAD, PRIORITY, post.appliance, data=data, bodies={POST: body})


async def store_all(ledger: Ledger, store: Store, jobs: list[NewJob]) -> bool:
    """Store jobs in one commit; False: all were there. A session's that waits for its end looks again now.

    Raises:
        StorageError: they are not known to be on disk.

    """
    stored = await ledger.add(jobs)
    known = [new.id for new, job in zip(jobs, stored, strict=True) if job is None and new.kind == KIND]
    moves = [move for job in await store.get(known) for move in again(job)]
    if moves:
        await ledger.apply(moves)
    return any(job is not None for job in stored)


def _filled_in(appliance: str, post: Post) -> NewJob:
    """The job of an exit survey that was filled in: a session that is home without it is imported again."""
    data = {"lsid": lsid_of(post.fields), "by": "event", "survey": survey_of(post.fields)}
    name = hashlib.sha256(canonical(["survey", appliance, post.id])).hexdigest()
    return NewJob(name, KIND, NOTICED, PRIORITY, appliance, data=data)


def new_job(appliance: str, lsid: str, by: str, others: Sequence[str] = ()) -> NewJob:
    """The job of a session that was just heard of. `others`: appliances whose it may be as well."""
    data = {"lsid": lsid, "by": by, **({"others": list(others)} if others else {})}
    return NewJob(job_of(appliance, lsid), KIND, NOTICED, PRIORITY, appliance, data=data)


def again(job: Job | None) -> list[Move]:
    """What becomes of the job of a session that surely ended: whatever waits for its end does not any more."""
    if job is None:
        return []
    if job.state == NOTICED and job.data.get("looks"):
        return [Move(job, "still running", data={"looks": None, "since": None})]
    if job.state == DEAD and job.data.get("code") == NO_END:
        return [Move(job, "retried", data={"code": None})]
    return []
