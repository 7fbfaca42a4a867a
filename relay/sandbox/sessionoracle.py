"""Conservation of sessions: whether every one came home exactly once, told from both stand-ins' state alone.

Violations are what must never be: a session, a selected event, a work note, an entry on a configuration item or a
recording there twice, something of a session that no appliance has, a decision sent twice. With `final` the relay had
all the time it needs, and what is missing is a violation too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from relay.sandbox.device import Device
from relay.sandbox.instance import Instance
from relay.sandbox.journal import TABLE as JOURNAL
from relay.sandbox.livesessions import Session
from relay.sandbox.rows import Row
from relay.sandbox.schema import EVENT, SESSION, VENDOR_EVENT
from relay.sandbox.sessionreport import people, story

_MARK = re.compile(r"\[session ([^\[\]]+)\]\s*\Z")
_TIES = ("snow_task_id", "snow_cmdb_ci_id", "external_key")  # a session without one was not started from ServiceNow
JOURNALS = {"notes": "work note on", "entries": "entry on item"}
INFORMATION = "System Information Retrieved"
SURVEYS = {"customer": "Customer Exit Survey", "representative": "Representative Exit Survey"}
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the relay was told to do with sessions, and where it writes them.

    Attributes:
        events: the selected event types; None: all.
        external: sessions that name neither a task nor a configuration item are imported too.
        recordings: what is kept of them; only `attach` is looked at.
        forward: events are handed on to the vendor's application.
        associate_ci: a configuration item is found by the endpoint's names too.
        session_table: where sessions are written to; nowhere when the instance has no such table.
        event_table: likewise for events.
        session: columns of a session's lsid, appliance and end.
        event: columns, or paths over references, of an event's lsid, appliance, type and time.

    """

    events: frozenset[str] | None = None
    external: bool = True
    recordings: Literal["link", "attach", "store", "none"] = "link"
    forward: bool = False
    associate_ci: bool = True
    session_table: str = SESSION
    event_table: str = EVENT
    session: tuple[str, str, str] = ("lsid", "appliance", "end_time")
    event: tuple[str, str, str, str] = ("session.lsid", "session.appliance", "event_type", "event_time")


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What became of the sessions.

    Attributes:
        sessions: how many ended.
        running: how many are in progress.
        imported: ended sessions with exactly one row.
        events: rows of events.
        notes: work notes on sessions.
        entries: entries on sessions in the journals of configuration items.
        attached: attachments that are recordings.
        violations: what must never be.

    """

    sessions: int
    running: int
    imported: int
    events: int
    notes: int
    entries: int
    attached: int
    violations: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing happened that must never be."""
        return not self.violations

    def facts(self) -> dict[str, Any]:
        """The summary as JSON."""
        return asdict(self)


def check_sessions(
    instance: Instance, appliances: Iterable[Device], terms: Terms | None = None, *, final: bool = False
) -> SessionSummary:
    """Judge the sessions of these appliances, whether an event told of them or not."""
    court = _Court(instance, terms or Terms(), final=final)
    known: set[Key] = set()
    for device in appliances:
        for session in device.sessions.by_id.values():
            known.add((session.lsid, device.name))
            court.judge(device, session)
        if court.terms.forward:
            court.forwarded(device)
    court.strangers(known)
    court.noted()
    return court.summary()


def check_tickets(appliances: Iterable[Device], *, final: bool = False) -> tuple[str, ...]:
    """What is wrong with the decisions on tickets.

    None or several for a request, one that came too late, one of nobody's request, or with a token.
    """
    wrong = []
    for device in appliances:
        wrong += [f"{device.name}: a decision on nobody's request {name!r}" for name in device.tickets.strangers]
        for ticket in device.tickets.by_id.values():
            name, count = f"{device.name}: {ticket.fields['ticket_id']} {ticket.request_id}", len(ticket.decisions)
            if count > 1 or (final and ticket.receipt == 200 and not count):  # noqa: PLR2004 - HTTP's OK
                wrong.append(f"{name}: decided {count} times")
            if ticket.late:
                wrong.append(f"{name}: decided {ticket.late} times when nobody waited any more")
            for one in ticket.decisions:
                wrong += [f"{name}: its decision carries a {what}" for what in one.carried]
                if one.response not in {"allow", "deny"}:
                    wrong.append(f"{name}: its decision is {one.response!r}")
    return tuple(wrong)


class _Court:
    def __init__(self, instance: Instance, terms: Terms, *, final: bool) -> None:
        self.tables = instance.tables
        self.terms = terms
        self.final = final
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.rows = self._grouped(terms.session_table, terms.session)
        self.events = self._grouped(terms.event_table, terms.event)
        self.notes, self.expected = self._marked("work_notes"), dict[str, Counter[str]]()
        self.entries, self.informed = self._marked("comments"), dict[str, Counter[str]]()
        self.open = instance.knobs.journal_insert
        self.digests = Counter(row["hash"] for row in self.tables.rows("sys_attachment"))

    def _grouped(self, table: str, columns: Sequence[str]) -> dict[Key, list[Row]]:
        found: dict[Key, list[Row]] = {}
        if table in self.tables.tables:
            for row in self.tables.rows(table):
                lsid, appliance = (self.tables.value(table, row, column) for column in columns[:2])
                found.setdefault((lsid, appliance), []).append(row)
        return found

    def _marked(self, element: str) -> dict[str, Counter[str]]:
        """By lsid, the records with an entry in this journal that ends in a session's mark, and how many each has."""
        found: dict[str, Counter[str]] = {}
        for row in self.tables.rows(JOURNAL):
            mark = _MARK.search(row["value"])
            if mark is not None and row["element"] == element:
                found.setdefault(mark[1], Counter())[row["element_id"]] += 1
        return found

    def judge(self, device: Device, session: Session) -> None:
        end, task = device.sessions.ended(session), self._task(session)
        running = end is None
        wanted = not running and (self.terms.external or any(session.attributes.get(name) for name in _TIES))
        self.counts["running" if running else "sessions"] += 1
        name, key = f"{device.name} {session.lsid}", (session.lsid, device.name)
        rows = self.rows.get(key, [])
        there = self.terms.session_table in self.tables.tables
        self._times(f"{name}: its row", len(rows), int((running or wanted) and there), must=wanted)
        self.counts["imported"] += wanted and len(rows) == 1
        if self.final and wanted and any(not row.get(self.terms.session[2]) for row in rows):
            self._violation(f"{name}: its row has no end")
        told = Counter((event.kind, self.tables.stamp(event.timestamp)) for event in story(session, end))
        told.update((SURVEYS[one.by], self.tables.stamp(one.timestamp)) for one in session.surveys if not running)
        self._events(name, key, told, wanted=wanted, running=running)
        if wanted and task is not None:
            self.expected.setdefault(session.lsid, Counter())[task["sys_id"]] += 1
        item = self._item(session)
        informs = (self.terms.events is None or INFORMATION in self.terms.events) and _has_information(session)
        if wanted and informs and item is not None:
            self.informed.setdefault(session.lsid, Counter())[item["sys_id"]] += 1
        if session.recording is not None or session.shells:
            self._films(name, session, attached=wanted and (bool(rows) or task is not None))

    def _events(self, name: str, key: Key, told: Counter[Key], *, wanted: bool, running: bool) -> None:
        rows = self.events.get(key, [])
        self.counts["events"] += len(rows)
        there = self.terms.event_table in self.tables.tables and (wanted or running)
        _, _, kind_column, time_column = self.terms.event
        found = Counter((row.get(kind_column, ""), row.get(time_column, "")) for row in rows)
        for kind, moment in sorted(found.keys() | told.keys()):
            selected = there and (self.terms.events is None or kind in self.terms.events)
            expected = told[kind, moment] if selected else 0
            self._times(f"{name}: event '{kind}' of {moment}", found[kind, moment], expected, must=wanted)

    def _films(self, name: str, session: Session, *, attached: bool) -> None:
        films = (session.recording, *session.shells)
        wanted = attached and self.terms.recordings == "attach" and not session.expired
        for number, film in enumerate(films):
            if film is not None:
                found = self.digests[film.sha256()]
                self.counts["attached"] += found
                self._times(f"{name}: its recording {number}", found, int(wanted), must=True)

    def forwarded(self, device: Device) -> None:
        """Every event that was answered 200 must be at the vendor's endpoint, with every variable it had."""
        rows = [json.loads(row["fields"]) for row in self.tables.rows(VENDOR_EVENT)]
        for message in device.outbound.messages:
            if self.final and message.state == "delivered" and message.fields not in rows:
                lsid, event = message.fields.get("lsid", ""), message.fields["event"]
                self._violation(f"{device.name} {lsid}: its event '{event}' was not handed on")

    def strangers(self, known: set[Key]) -> None:
        """Whatever is there belongs to a session of one of the appliances."""
        for what, found in (("row", self.rows), ("event", self.events)):
            for key in sorted(found.keys() - known):
                self._violation(f"{' '.join(reversed(key))}: a {what} of a session that nobody has")

    def noted(self) -> None:
        """Each session has one work note on the task that it names, one entry on its item, and there is no other."""
        for what, found, expected, must in (
            ("notes", self.notes, self.expected, True),
            ("entries", self.entries, self.informed, self.open),
        ):
            for lsid in sorted(found.keys() | expected.keys()):
                there, due = found.get(lsid, Counter()), expected.get(lsid, Counter())
                self.counts[what] += there.total()
                for owner in sorted(there.keys() | due.keys()):
                    name = f"{lsid}: its {JOURNALS[what]} {owner}"
                    self._times(name, there[owner], due[owner], must=must)

    def summary(self) -> SessionSummary:
        names = ("sessions", "running", "imported", "events", "notes", "entries", "attached")
        return SessionSummary(**{name: self.counts[name] for name in names}, violations=tuple(self.violations))

    def _task(self, session: Session) -> Row | None:
        """The task that a session names, by sys_id or number: by its attribute, else by the external key."""
        for name in ("snow_task_id", "external_key"):
            value = session.attributes.get(name, "")
            row = self.tables.get("task", value) if value else None
            if value and row is None:
                row = next((one for one in self.tables.rows("task") if one["number"] == value), None)
            if row is not None:
                return row
        return None

    def _item(self, session: Session) -> Row | None:
        """The configuration item that a session names by sys_id or name, else the one that its endpoint's names fit."""
        named = session.attributes.get("snow_cmdb_ci_id", "")
        asked = [("sys_id", named), ("name", named)]
        if self.terms.associate_ci:
            endpoint, *_ = people(session)[0]
            host = endpoint.hostname or ""
            asked += [("host_name", host), ("fqdn", host), ("name", host), ("name", endpoint.username)]
        for column, value in asked:
            rows = self.tables.rows("cmdb_ci") if value else ()
            fitting = [row for row in rows if row.get(column, "").casefold() == value.casefold()]
            if len(fitting) == 1:
                return fitting[0]
        return None

    def _times(self, what: str, found: int, expected: int, *, must: bool) -> None:
        if found > expected or (self.final and must and found < expected):
            self._violation(f"{what} is there {found} times instead of {expected}")

    def _violation(self, text: str) -> None:
        self.violations.append(text)


def _has_information(session: Session) -> bool:
    return any(event.kind == INFORMATION and event.system for event in session.events)
