"""The appliance's sessions: what runs, what ended, and what a report tells of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relay.sandbox.films import Film
from relay.sandbox.happenings import Event, Participant, Survey

_FIELD_LIMIT = 1024  # characters of one attribute
_ALL_LIMIT = 10 * 1024  # characters of all attributes of a session


@dataclass(slots=True)
class Session:
    """A session. Times are UNIX seconds; `end` None means it is in progress.

    `chat` are further chat messages in the report; `bulk` adds messages until the report has about that many bytes;
    `damaged` puts a character into the report that XML forbids. `recording` is of the screen, `shells` are of its
    command shells; `expired`: the report names them, and they are gone. `site` and `teams` are Remote Support's.
    Without `customers` and `representatives` there is one of each, called `endpoint` and `user`.
    """

    lsid: str
    lseq: int
    start: int
    end: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    endpoint: str = "web01"
    user: str = "admin"
    jump_group: str = "Servers"
    chat: tuple[str, ...] = ()
    bulk: int = 0
    damaged: bool = False
    recording: Film | None = None
    shells: tuple[Film, ...] = ()
    expired: bool = False
    jumpoint: tuple[int, str] | None = None
    group_id: int = 1
    site: str = ""
    teams: tuple[str, ...] = ()
    customers: tuple[Participant, ...] = ()
    representatives: tuple[Participant, ...] = ()
    surveys: tuple[Survey, ...] = ()
    events: list[Event] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether it is in progress."""
        return self.end is None


class Sessions:
    """All sessions of one appliance, by lsid.

    `lag`: seconds after a session's end for which its report still shows it in progress.
    """

    def __init__(self, seed: int, clock: Callable[[], float] = time.time) -> None:
        self.by_id: dict[str, Session] = {}
        self.clock = clock
        self.lag = 0.0
        self._random = random.Random(seed)  # noqa: S311 - ids of a stand-in

    def begin(self, lsid: str | None = None, **facts: object) -> Session:
        """A new session in progress, unless `end` is among the facts."""
        lsid = lsid or f"{self._random.getrandbits(128):032x}"
        start = facts.pop("start", int(self.clock()))
        session = Session(lsid, len(self.by_id) + 1, start, **facts)  # type: ignore[arg-type]
        self.by_id[lsid] = session
        return session

    def end(self, session: Session) -> None:
        """End a session now."""
        if session.end is None:
            session.end = int(self.clock())

    def ended(self, session: Session) -> int | None:
        """The session's end as a report knows it by now."""
        return session.end if session.end is not None and self.clock() >= session.end + self.lag else None

    def set_attributes(self, session: Session, values: dict[str, str]) -> str | None:
        """Set attributes, keeping those that are not named; the error's text when a limit is exceeded."""
        merged = {**session.attributes, **values}
        if any(len(value) > _FIELD_LIMIT for value in values.values()) or sum(map(len, merged.values())) > _ALL_LIMIT:
            return "The custom session attributes are too long."
        session.attributes = {name: value for name, value in merged.items() if value}
        return None

    def select(self, asked: dict[str, str]) -> list[Session] | None:
        """The sessions that a report's parameters select; None when they name an unknown lsid.

        Raises:
            ValueError: the parameters make no sense.

        """
        if "lsid" in asked or "lsids" in asked:
            wanted = [part.strip().lower() for part in asked.get("lsids", asked.get("lsid", "")).split(",")]
            if any(lsid not in self.by_id for lsid in wanted):
                return None
            return [self.by_id[lsid] for lsid in wanted]
        for name, value in (("start", lambda row: row.start), ("end", self.ended)):
            low = _moment(asked, name)
            if low is not None:
                scale = 86_400 if f"{name}_date" in asked else 1
                length = int(asked["duration"]) * scale
                return list(_between(self.by_id.values(), value, low, length))
        msg = "no selection"
        raise ValueError(msg)


def _moment(asked: dict[str, str], name: str) -> int | None:
    if f"{name}_time" in asked:
        return int(asked[f"{name}_time"])
    if f"{name}_date" in asked:
        return int(time.mktime(time.strptime(asked[f"{name}_date"], "%Y-%m-%d"))) - time.timezone
    return None


def _between(
    sessions: Iterable[Session], value: Callable[[Session], int | None], low: int, length: int
) -> Iterable[Session]:
    for session in sessions:
        moment = value(session)
        if moment is not None and moment >= low and (length == 0 or moment < low + length):
            yield session
