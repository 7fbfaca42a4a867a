"""Sessions that an administrator asks for: which an appliance lists, how each stands here, and its import.

Whoever names a session wants that one: it is imported again when it is done with, and though it was started outside
ServiceNow. Whoever asks for all of a time wants those that are missing, as the configuration says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.jobs import Job, Json, Tombstone
from relay.core.session_events import job_of
from relay.core.session_standing import NEW, Standing, afresh, standing, trouble, when_asked
from relay.jobs.ledger import Move
from relay.sessions.inbox import new_job
from relay.sessions.parts import BY_HAND, Parts, listing_of

OF_A_TIME: Final = "time"
"""Who told of a session: an administrator who asked for all of a time."""
TIMES: Final = 3
"""How often a wish is tried for a session that is just moved by somebody else."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A session that somebody asks about."""

    appliance: str
    lsid: str

    @property
    def job(self) -> str:
        """The id of the job that imports it."""
        return job_of(self.appliance, self.lsid)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an administrator wants of sessions.

    Attributes:
        named: these, which were named one by one; else all of a time.
        anew: also of those that were not named, what is done with is to be imported again.

    """

    named: bool
    anew: bool

    @property
    def by(self) -> str:
        """Who tells of the sessions."""
        return BY_HAND if self.named else OF_A_TIME


@dataclass(frozen=True, slots=True)
class Stands:
    """How a session stands. `code`: the number of what it waits or failed with, None without trouble."""

    asked: Asked
    job: Job | None
    stone: Tombstone | None

    @property
    def standing(self) -> Standing:
        """In one word."""
        return standing(self.job, self.stone)

    @property
    def code(self) -> int | None:
        """See the class."""
        return trouble(self.job)

    def event(self, wish: Wish) -> str:
        """What becomes of it by a wish, see `when_asked`."""
        return when_asked(self.job, self.stone, anew=wish.named or wish.anew, by=wish.by)


async def how_they_stand(parts: Parts, asked: Sequence[Asked]) -> list[Stands]:
    """How each session stands, in order.

    Raises:
        StorageError: the store cannot be read.

    """
    ids = [one.job for one in asked]
    jobs, stones = await parts.store.get(ids), await parts.store.tombstones(ids)
    return [Stands(*each) for each in zip(asked, jobs, stones, strict=True)]


async def ask_for(parts: Parts, asked: Sequence[Asked], wish: Wish) -> list[Stands]:
    """Have sessions imported, each named once; returns how each stood before. On disk when this returns.

    A relay that stops midway has forgotten at most that some of them were done with. To import one again changes
    nothing at ServiceNow.

    Raises:
        StorageError: it is not known for which of them it is on disk.

    """
    before = await how_they_stand(parts, asked)
    changed = await _apply(parts, before, wish)
    for _ in range(TIMES):
        # Those that somebody else moved in between: where to, may be an end that the wish is about.
        if not changed:
            break
        changed = await _apply(parts, await how_they_stand(parts, changed), wish)
    return before


async def _apply(parts: Parts, stands: Sequence[Stands], wish: Wish) -> list[Asked]:
    """Store what a wish calls for; returns those that had changed meanwhile."""
    events = [(one, one.event(wish)) for one in stands]
    await parts.store.unbury([one.asked.job for one, event in events if event == NEW and one.stone is not None])
    new = [one.asked for one, event in events if event == NEW]
    added = await parts.ledger.add([new_job(one.appliance, one.lsid, wish.by) for one in new])
    known = [(one.asked, one.job, event) for one, event in events if one.job is not None and event]
    moved = await parts.ledger.apply([Move(job, event, data=_told(job, wish)) for _, job, event in known])
    asked = [*new, *(one for one, _, _ in known)]
    return [one for one, job in zip(asked, (*added, *moved), strict=True) if job is None]


def _told(job: Job, wish: Wish) -> dict[str, Json]:
    """What a job is told. That its session was named stays known when somebody asks for all of a time later."""
    return afresh(BY_HAND if job.data.get("by") == BY_HAND else wish.by)


async def listed(parts: Parts, appliance: str, since: int, seconds: int) -> list[str]:
    """The lsids of the sessions that ended within so many seconds from a moment on, each once; 0 seconds: until now.

    Raises:
        ApplianceError: the appliance could not be asked.

    """
    reply = await listing_of(parts, appliance, since, seconds)
    return list({one.lsid.lower(): one.lsid for one in await parts.reader.listing(reply.body)}.values())
