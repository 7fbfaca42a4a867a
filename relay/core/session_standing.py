"""How a session stands with the relay, and what becomes of it when an administrator asks for it."""

from __future__ import annotations

from typing import Final, Literal

from relay.core.jobs import Job, Json, Tombstone
from relay.core.session_job import DEAD, DONE, LEFT, NOTICED, UNKEPT

Standing = Literal["unknown", "under way", "running", "failed", "home", "left out", "discarded"]
"""`unknown`: nobody told of it yet, or so long ago that it is forgotten. `running`: the appliance has no end of it yet.
`failed`: an administrator must help. `discarded`: one gave it up."""

OPEN: Final[frozenset[Standing]] = frozenset({"under way", "running"})
"""Those that change by themselves."""
DISCARDED: Final = "discarded"
"""The `outcome` of a job that was given up, which its tombstone keeps."""
NEW: Final = "new"
"""In place of an event: there is no job, one is to be stored."""
AFRESH: Final = ("tries", "failed", "looks", "since", "code", "discarded", "outcome", "surveys_failed")
"""What a job forgets of its former life. What was written, and which journal entries stand, it never forgets."""


def standing(job: Job | None, stone: Tombstone | None) -> Standing:
    """How a session stands, by its job or what is remembered of it."""
    if job is None:
        if stone is None:
            return "unknown"
        return "left out" if stone.outcome == LEFT else "discarded" if stone.outcome == DISCARDED else "home"
    if job.state == DONE:
        return "discarded" if "discarded" in job.data else "home"
    if job.state == LEFT:
        return "left out"
    if job.state in {DEAD, UNKEPT}:
        return "failed"
    return "running" if job.state == NOTICED and job.data.get("looks") else "under way"


def trouble(job: Job | None) -> int | None:
    """The number of the code that a job waits or failed with, None without trouble."""
    if job is None or job.state in {DONE, LEFT}:
        return None
    number = job.data.get("code") or job.data.get("failed", (None,))[0]
    return number if isinstance(number, int) else None


def when_asked(job: Job | None, stone: Tombstone | None, *, anew: bool, by: str) -> str:
    """The event that an administrator's wish for a session calls for: one of its job, `NEW`, or "" for none.

    Args:
        job: the session's, None without one.
        stone: what is remembered of a former job.
        anew: also a session that is done with is imported again.
        by: who tells of it.

    """
    if job is None:
        return NEW if stone is None or anew else ""
    if job.state in {DONE, LEFT}:
        return "asked again" if anew else ""
    if job.state in {DEAD, UNKEPT}:
        return "retried"
    if job.state != NOTICED:
        return ""
    if job.data.get("looks"):
        return "still running"
    return "put off" if job.not_before or job.data.get("by") != by else ""


def afresh(by: str) -> dict[str, Json]:
    """The data of a move by which an administrator has a session imported."""
    return {**dict.fromkeys(AFRESH), "by": by}
