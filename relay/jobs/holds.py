"""The holds: reasons why no work flows, each durable, with an author and a reason.

local   an administrator said `pause`; only `resume` lifts it
remote  ServiceNow sent `pauseMid`; `resumeMid` lifts it, and `resume` does too
guard   the relay met another poller of its agent and stopped unsafe work; only `resume` lifts it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import structlog

from relay.jobs.ports import Clock, Store

log = structlog.get_logger("relay.jobs")

Kind = Literal["local", "remote", "guard"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Who stopped the work, why, and when by this machine's clock. `everything`: events and approvals too."""

    author: str
    reason: str
    since: float
    everything: bool = False


class Holds:
    """The holds in force. `changed` is called after each change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._now: dict[Kind, Hold] = {}
        self.changed: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Read the holds that were in force when the relay last ran."""
        for kind in get_args(Kind):
            stored = await self._store.fact(f"hold.{kind}")
            if stored is not None:
                self._now[kind] = Hold(**stored)

    async def set(self, kind: Kind, *, author: str, reason: str, everything: bool = False) -> None:
        """Stop the work for this reason; a hold of the same kind is replaced."""
        hold = Hold(author, reason, self._clock.wall(), everything)
        await self._store.set_fact(f"hold.{kind}", asdict(hold))
        self._now[kind] = hold
        log.warning("hold.set", kind=kind, author=author, reason=reason)
        self.changed()

    async def lift(self, kind: Kind, *, author: str) -> bool:
        """Lift a hold; whether there was one."""
        if kind not in self._now:
            return False
        await self._store.set_fact(f"hold.{kind}", None)
        del self._now[kind]
        log.warning("hold.lifted", kind=kind, author=author)
        self.changed()
        return True

    def get(self, kind: Kind) -> Hold | None:
        """The hold of this kind, when it is in force."""
        return self._now.get(kind)

    @property
    def work(self) -> bool:
        """Whether queue records may be worked on."""
        return "local" not in self._now and "remote" not in self._now

    @property
    def unsafe_work(self) -> bool:
        """Whether calls that must not happen twice may be made."""
        return self.work and "guard" not in self._now

    @property
    def news(self) -> bool:
        """Whether the appliances' events and requests for approval, and decisions on these, may be worked on."""
        return not any(hold.everything for hold in self._now.values())

    def all(self) -> dict[Kind, Hold]:
        """Every hold in force."""
        return dict(self._now)
