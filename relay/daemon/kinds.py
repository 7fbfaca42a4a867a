"""The kinds of jobs that the store holds, as administrators see them.

What is finished, what waits for them, and what they may have done early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.core import approval_job, forward_job, queue, session_job
from relay.core.jobs import Json
from relay.core.machine import StateTable


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of jobs.

    Attributes:
        table: its states.
        finished: states that a job does not leave by itself; it is swept some time after.
        stuck: states that a job leaves only by an administrator.
        retry: by state the event by which an administrator takes the next step early. None of them repeats what may
            not be done twice, and none is there for a request that may still be running at the other side.
        afresh: what a job forgets of its former tries then.

    """

    table: StateTable
    finished: frozenset[str]
    stuck: frozenset[str]
    retry: Mapping[str, str]
    afresh: tuple[str, ...] = ("tries",)

    @property
    def open(self) -> frozenset[str]:
        """States of jobs on their way."""
        return self.table.states - self.finished - self.stuck

    def forgotten(self) -> dict[str, Json]:
        """The data of a move that forgets former tries."""
        return dict.fromkeys(self.afresh)


KINDS: Mapping[str, Kind] = {
    kind.table.kind: kind
    for kind in (
        Kind(
            queue.QUEUE,
            finished=frozenset({queue.CLOSED}),
            stuck=frozenset({queue.DEAD}),
            # Why not VERIFYING: an insert that may still be running must not be taken for absent before its time.
            retry={
                queue.DEAD: "retried",
                **dict.fromkeys((queue.SEEN, queue.CLAIMED, queue.ANSWERED, queue.INSERTED), "put off"),
            },
            afresh=("tries", "part"),
        ),
        Kind(
            session_job.SESSION,
            finished=frozenset({session_job.DONE, session_job.LEFT}),
            stuck=frozenset({session_job.DEAD, session_job.UNKEPT}),
            retry={
                **dict.fromkeys((session_job.DEAD, session_job.UNKEPT), "retried"),
                **dict.fromkeys((session_job.NOTICED, session_job.WRITTEN), "put off"),
            },
            afresh=("tries", "failed", "code"),
        ),
        Kind(
            forward_job.FORWARD,
            finished=frozenset({forward_job.DONE}),
            stuck=frozenset({forward_job.DEAD}),
            # Why not UNSURE: two posts of one event at the same moment might become two records.
            retry={forward_job.DEAD: "retried", forward_job.WAITING: "put off"},
            afresh=("tries", "refusals", "code"),
        ),
        Kind(
            approval_job.APPROVAL,
            finished=frozenset({approval_job.DELIVERED, approval_job.REFUSED, approval_job.CLOSED}),
            stuck=frozenset({approval_job.UNDELIVERED, approval_job.UNREADABLE}),
            retry={approval_job.UNDELIVERED: "retried"},
            afresh=("tries",),
        ),
    )
}
TABLES = tuple(kind.table for kind in KINDS.values())
