"""Makes sessions as they happen on an appliance: who took part, what was done, what was recorded.

The same seed makes the same sessions. `begin` leaves one running; `end` ends it as the appliance does, with the events
that only an ended session has. Of both the appliance's recipients of outbound events are told; of a session that
`ended` made they are not: its event never came.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.sandbox import scenes
from relay.sandbox.device import Device
from relay.sandbox.films import Film
from relay.sandbox.happenings import EVERYONE, SYSTEM, Event, Participant, Party, Survey
from relay.sandbox.livesessions import Session
from relay.sandbox.outbound import What

_SURVEYS: Mapping[str, What] = {
    "representative": "rep_exit_survey_completed",
    "customer": "customer_exit_survey_completed",
}
_PACE = 7  # seconds between two events


@dataclass(frozen=True, slots=True)
class Script:
    """What a session shall be like.

    Attributes:
        events: how many events it has besides its start and end.
        kinds: their types, each in turn; empty: every type there is.
        film: bytes of its screen recording; 0: none.
        shells: bytes of the recording of each of its command shells.
        attributes: custom attributes and `external_key`.
        damaged: its report holds a character that XML forbids.
        expired: its recordings are gone, though the report names them.
        endpoint: host name of the endpoint; empty: any.
        user: user name of the representative who owns it; empty: any.

    """

    events: int = 12
    kinds: Sequence[str] = ()
    film: int = 0
    shells: Sequence[int] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    damaged: bool = False
    expired: bool = False
    endpoint: str = ""
    user: str = ""


class Lives:
    """Makes the sessions of one appliance."""

    def __init__(self, device: Device, seed: int = 0) -> None:
        self._device = device
        self._random = random.Random(f"{device.name}/{seed}")  # noqa: S311 - the same sessions again are what is wanted

    def begin(self, script: Script | None = None, start: int | None = None) -> Session:
        """A session in progress, by default begun long enough ago for its events."""
        session = self._made(script or Script(), start)
        self._device.outbound.say("begin", session)
        for one in session.representatives:
            self._device.outbound.say("member_added", session, type="representative", name=one.display_name)
        return session

    def end(self, session: Session, moment: int | None = None) -> None:
        """End a session, by default now; one that ended stays as it is."""
        if session.active:
            self._finish(session, int(self._device.sessions.clock()) if moment is None else moment)
            for survey in session.surveys:
                self._device.outbound.say(_SURVEYS[survey.by], session)
            self._device.outbound.say("end", session)

    def ended(self, script: Script | None = None, start: int | None = None) -> Session:
        """A session that ended after its last event."""
        script = script or Script()
        session = self._made(script, start)
        self._finish(session, session.start + (script.events + 2) * _PACE)
        return session

    def _made(self, script: Script, start: int | None) -> Session:
        start = int(self._device.sessions.clock()) - (script.events + 3) * _PACE if start is None else start
        customers, representatives = self._customers(script), self._representatives(script)
        facts = self._place()
        session = self._device.sessions.begin(
            self._lsid(),
            start=start,
            attributes=dict(script.attributes),
            endpoint=customers[0].username,
            user=representatives[0].username,
            customers=customers,
            representatives=representatives,
            recording=Film(script.film, self._random.getrandbits(32)) if script.film else None,
            shells=tuple(Film(size, self._random.getrandbits(32)) for size in script.shells),
            damaged=script.damaged,
            expired=script.expired,
            **facts,
        )
        kinds = script.kinds or scenes.REPEATED
        for number in range(script.events):
            session.events.append(self._event(session, kinds[number % len(kinds)], start + (number + 1) * _PACE))
        return session

    def _finish(self, session: Session, end: int) -> None:
        session.end = end
        if not session.representatives:  # made for a report alone: nobody takes part in it
            return
        owner = _party(session.representatives[0], "representative")
        if session.recording is not None:
            session.events.append(Event(end, "Screen Recording", owner))
        if self._device.product == "rs":
            answers = (("How satisfied are you?", "Très satisfait & happy"), ("Comment", ""))
            customer = session.customers[0]
            session.surveys = (
                Survey("customer", customer.username, customer.gsnumber, end, answers),
                Survey("representative", owner.name, owner.gsnumber, end, answers[:1]),
            )
        session.events.append(Event(end, "Conference Member Departed", owner))

    def _lsid(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _customers(self, script: Script) -> tuple[Participant, ...]:
        host = script.endpoint or self._random.choice(scenes.MACHINES)
        info = (
            ("name", "Zoë"),
            ("company", "A & B"),
            ("company_code", ""),
            ("issue", "Printer"),
            ("details", "<none>"),
        )
        return (self._machine(Participant(2, host, hostname=host, info=info if self._device.product == "rs" else ())),)

    def _representatives(self, script: Script) -> tuple[Participant, ...]:
        people = [(script.user, script.user.title())] if script.user else [self._random.choice(scenes.PEOPLE)]
        if self._random.random() < 0.5:  # noqa: PLR2004 - every other session
            people.append(("guest", "Invited Guest"))
        made = [
            Participant(1 + 2 * number, username, display, id=1 + number, owner=not number, invited=bool(number))
            for number, (username, display) in enumerate(people)
        ]
        return tuple(self._machine(one) for one in made)

    def _machine(self, one: Participant) -> Participant:
        choose = self._random.choice
        public, private = choose(scenes.ADDRESSES), choose(scenes.ADDRESSES)
        return replace(one, public_ip=public, private_ip=private, os=choose(scenes.SYSTEMS))

    def _place(self) -> dict[str, object]:
        jumpoint = self._random.choice((None, (-1, ""), (3, "Rechenzentrum Süd")))
        if self._device.product == "pra":
            return {"jumpoint": jumpoint, "group_id": self._random.choice((-1, 1, 7))}
        return {"jump_group": "", "site": "Default", "teams": ("Service Desk", "Éclair")}

    def _event(self, session: Session, kind: str, moment: int) -> Event:
        owner, endpoint = _party(session.representatives[0], "representative"), _party(session.customers[0], "customer")
        event = Event(moment, kind, owner, data=self._data(kind))
        if kind in scenes.WRITTEN:
            return self._written(event, owner)
        if kind in scenes.FILED:
            by, to = (endpoint, owner) if "Download" in kind else (owner, endpoint)
            return self._filed(replace(event, by=by, to=to))
        if kind == "Files Shared":
            return replace(event, to=EVERYONE, files=scenes.FILES)
        if kind == "System Information Retrieved":
            return replace(event, system=scenes.SYSTEM_INFORMATION)
        if kind == "Conference Owner Changed":
            return replace(event, by=None, to=Party("Pre-start Conference"))
        return event

    def _written(self, event: Event, owner: Party) -> Event:
        to = EVERYONE if event.kind == "Chat Message" else None
        if to and self._random.random() < 0.25:  # noqa: PLR2004 - a quarter of the chat comes from the system
            return replace(event, by=SYSTEM, to=to, body=scenes.NOTICES[self._device.language].format(owner.name))
        return replace(event, to=to, body=self._random.choice(scenes.TEXTS))

    def _filed(self, event: Event) -> Event:
        name, size = self._random.choice(scenes.FILES)
        if self._device.product == "rs":
            return replace(event, filename=name, filesize=str(size))
        return replace(event, data=(("filename", name), ("filesize", str(size))))

    def _data(self, kind: str) -> tuple[tuple[str, str], ...]:
        if kind == "Special Action Executed":
            return (("action_name", scenes.ACTIONS[self._device.language]),)
        names = scenes.DATA.get(kind, "").split()
        return tuple((name, scenes.VALUES.get(name, f"{name} of {kind}")) for name in names)


def _party(one: Participant, kind: str) -> Party:
    return Party(one.display_name if kind == "representative" else one.username, kind, one.gsnumber)
