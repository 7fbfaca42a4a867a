"""The oracle of sessions: a good import passes, and everything that must never be is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.sandbox.attachments import File, attach
from relay.sandbox.device import Device
from relay.sandbox.instance import Instance
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.livesessions import Session
from relay.sandbox.outbound import Message
from relay.sandbox.schema import EVENT, SESSION, VENDOR_EVENT
from relay.sandbox.sessionoracle import SessionSummary, Terms, check_sessions, check_tickets
from relay.sandbox.sessionreport import story
from relay.sandbox.tickets import Decision, Ticket

SELECTED = frozenset({"Chat Message", "Session End"})
TERMS = Terms(events=SELECTED, recordings="attach")


class World:
    """An instance with a task, and an appliance with a session that names it, one that names nothing, one that runs."""

    def __init__(self) -> None:
        self.instance, self.device = Instance(), Device("default")
        self.task = self.instance.insert("incident", {})
        lives = Lives(self.device)
        script = Script(film=10, shells=(5,), attributes={"external_key": self.task["number"]})
        self.named = lives.ended(script)
        self.unnamed = lives.ended(Script(shells=(20,)))
        self.running = lives.begin()

    def row(self, session: Session) -> str:
        end = "" if session.end is None else self.instance.tables.stamp(session.end)
        values = {"lsid": session.lsid, "appliance": "default", "end_time": end}
        return self.instance.insert(SESSION, values)["sys_id"]

    def bring(self, session: Session) -> str:
        """Import a session as it should be."""
        row = self.row(session)
        for event in story(session, session.end):
            if event.kind in SELECTED:
                self.event(row, event.kind, event.timestamp)
        for film in filter(None, (session.recording, *session.shells)):
            attach(self.instance, (SESSION, row), File("film", b"".join(film.pieces())), "relay")
        return row

    def event(self, session: str, kind: str, moment: int) -> None:
        values = {"session": session, "event_type": kind, "event_time": self.instance.tables.stamp(moment)}
        self.instance.insert(EVENT, values)

    def note(self, session: Session, owner: str = "") -> None:
        row = self.instance.tables.get("task", owner or self.task["sys_id"])
        assert row is not None
        self.instance.update("task", row, {"work_notes": f"A session.\n[session {session.lsid}]\n"})

    def tell(self, session: Session, item: str) -> None:
        """An entry in the journal of a configuration item."""
        values = {"name": "cmdb_ci", "element": "comments", "element_id": item}
        self.instance.insert("sys_journal_field", {**values, "value": f"Disk\n[session {session.lsid}]"})

    def check(self, terms: Terms = TERMS, *, final: bool = True) -> SessionSummary:
        return check_sessions(self.instance, [self.device], terms, final=final)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def home(world: World) -> World:
    """Both ended sessions came home; what else is in the journal is none of theirs."""
    world.instance.update("incident", world.task, {"work_notes": f"see [session {world.unnamed.lsid}] of today"})
    for session in (world.named, world.unnamed):
        world.bring(session)
    world.note(world.named)
    return world


def test_a_good_import(home: World) -> None:
    """Rows, events, the note and recordings once each are good; a running session may be there or not."""
    summary = home.check()
    assert summary.good, summary.violations
    assert (summary.sessions, summary.running, summary.imported, summary.notes, summary.attached) == (2, 1, 2, 1, 3)
    assert summary.events == len(list(home.instance.tables.rows(EVENT))) > 2
    home.row(home.running)
    assert home.check().good


def test_nothing_yet(world: World) -> None:
    """What is missing is wrong only at the end, and everything is named."""
    assert world.check(final=False).good
    violations = "\n".join(world.check().violations)
    for what in ("its row", "event 'Session End'", "its work note"):
        assert f"{what}" in violations
    assert world.running.lsid not in violations


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda w: w.row(w.named), "its row is there 2 times instead of 1"),
        (lambda w: (w.row(w.running), w.row(w.running)), "its row is there 2 times instead of 1"),
        (lambda w: w.note(w.named), "is there 2 times instead of 1"),
        (lambda w: w.note(w.unnamed), "is there 1 times instead of 0"),
        (lambda w: w.note(w.named, w.instance.insert("problem", {})["sys_id"]), "is there 1 times instead of 0"),
        (
            lambda w: w.event(w.row(w.running), "File Upload", 1),
            "event 'File Upload' of 1970-01-01 00:00:01 is there 1",
        ),
        (lambda w: w.instance.insert(SESSION, {"lsid": "x", "appliance": "default"}), "a row of a session that nobody"),
        (lambda w: w.instance.insert(SESSION, {"lsid": w.named.lsid}), "a row of a session that nobody"),
        (lambda w: w.event("", "Session End", 1), "a event of a session that nobody has"),
        (
            lambda w: attach(w.instance, ("incident", "x"), File("film", b"".join(w.named.recording.pieces())), "x"),
            "its recording 0 is there 2 times",
        ),
    ],
)
def test_what_must_never_be(home: World, spoil: Callable[[World], object], told: str) -> None:
    """Everything that is there twice, or belongs to nothing, is found, at any time."""
    spoil(home)
    assert any(told in one for one in home.check(final=False).violations), home.check(final=False).violations


def test_a_row_without_its_end(home: World) -> None:
    """A session that ended has its end in its row when all is done."""
    [row] = home.instance.tables.find(SESSION, f"lsid={home.named.lsid}")
    home.instance.update(SESSION, row, {"end_time": ""})
    assert home.check(final=False).good
    assert [one for one in home.check().violations if "no end" in one]


def test_events_by_time(home: World) -> None:
    """An event with another time than it has is one too many and one too few."""
    [row] = [row for row in home.instance.tables.rows(EVENT) if row["event_type"] == "Session End"][:1]
    home.instance.update(EVENT, row, {"event_time": "2020-01-01 00:00:00"})
    assert len(home.check().violations) == 2


def test_only_sessions_from_servicenow(world: World) -> None:
    """Without `external` only sessions that name something of the instance are wanted."""
    terms = Terms(events=SELECTED, recordings="attach", external=False)
    world.bring(world.named)
    world.note(world.named)
    assert world.check(terms).good
    world.bring(world.unnamed)
    assert any(world.unnamed.lsid in one for one in world.check(terms, final=False).violations)


@pytest.mark.parametrize(
    ("attributes", "item"),
    [
        ({"snow_cmdb_ci_id": "sys_id"}, {}),
        ({"snow_cmdb_ci_id": "db01"}, {"name": "DB01"}),
        ({}, {"host_name": "web99"}),
        ({}, {"fqdn": "WEB99"}),
        ({}, {"name": "web99"}),
    ],
)
def test_a_configuration_item_is_told_once(world: World, attributes: dict[str, str], item: dict[str, str]) -> None:
    """The item that a session names, or that has a name of its endpoint, has one entry on its system information."""
    found = world.instance.insert("cmdb_ci", {"name": "other", **item})["sys_id"]
    attributes = {name: found if value == "sys_id" else value for name, value in attributes.items()}
    script = Script(kinds=("System Information Retrieved",), endpoint="web99", attributes=attributes)
    session = Lives(world.device, seed=3).ended(script)
    world.bring(session)
    for other in (world.named, world.unnamed):
        world.bring(other)
    world.note(world.named)
    assert world.check().good, world.check().violations  # it is not selected
    terms = Terms(events=SELECTED | {"System Information Retrieved"}, recordings="attach")
    for row in world.instance.tables.find(SESSION, f"lsid={session.lsid}"):
        for event in session.events:
            world.event(row["sys_id"], event.kind, event.timestamp) if "System" in event.kind else None
    assert [one for one in world.check(terms).violations if f"entry on item {found}" in one]
    world.instance.knobs.journal_insert = False
    assert world.check(terms).good
    world.instance.knobs.journal_insert = True
    world.tell(session, found)
    assert (world.check(terms).violations, world.check(terms).entries) == ((), 1)
    alone = Terms(events=terms.events, recordings="attach", associate_ci=False)
    assert world.check(alone).good is bool(attributes)
    world.tell(session, found)
    assert any("there 2 times instead of 1" in one for one in world.check(terms, final=False).violations)
    world.tell(world.unnamed, found)
    assert any(world.unnamed.lsid in one for one in world.check(terms, final=False).violations)


def test_surveys_are_events(world: World) -> None:
    """An exit survey of an ended session of Remote Support has a row of its own, where its kind is selected."""
    device = Device("appliance2", product="rs")
    session = Lives(device, seed=1).ended()
    terms = Terms(events=frozenset({"Customer Exit Survey"}))
    row = world.instance.insert(SESSION, {"lsid": session.lsid, "appliance": "appliance2", "end_time": "x"})["sys_id"]
    told = sum(event.kind == "Customer Exit Survey" for event in session.events)
    for event in session.events:
        if event.kind == "Customer Exit Survey":
            world.event(row, event.kind, event.timestamp)
    [violation] = check_sessions(world.instance, [device], terms, final=True).violations
    assert "event 'Customer Exit Survey'" in violation
    world.event(row, "Customer Exit Survey", session.surveys[0].timestamp)
    summary = check_sessions(world.instance, [device], terms, final=True)
    assert (summary.violations, summary.events) == ((), told + 1)


def test_without_tables(world: World) -> None:
    """An instance without the session tables gets the note and the recordings on the task; nothing else is missing."""
    for table in (SESSION, EVENT):
        world.instance.tables.drop(table)
    world.note(world.named)
    for film in (world.named.recording, *world.named.shells):
        assert film is not None
        attach(world.instance, ("incident", world.task["sys_id"]), File("film", b"".join(film.pieces())), "relay")
    assert world.check().violations == ()
    assert any("its recording" in one for one in world.check(Terms(recordings="link"), final=False).violations)


def test_the_task_of_a_session(world: World) -> None:
    """A task is named by its sys_id in the attribute before its number in the external key; an unknown one is none."""
    other = world.instance.insert("problem", {})
    world.named.attributes = {"snow_task_id": other["sys_id"], "external_key": world.task["number"]}
    world.bring(world.named)
    world.bring(world.unnamed)
    world.note(world.named, other["sys_id"])
    assert world.check().good
    world.named.attributes = {"snow_task_id": "0" * 32, "external_key": "INC999"}
    assert not world.check(final=False).good


def test_the_same_lsid_on_two_appliances(home: World) -> None:
    """Sessions of two appliances may have the same lsid."""
    other = Device("appliance2")
    twin = other.sessions.begin(home.named.lsid, end=1, attributes=dict(home.named.attributes))
    assert not check_sessions(home.instance, [home.device, other], TERMS, final=True).good
    row = home.instance.insert(SESSION, {"lsid": twin.lsid, "appliance": "appliance2", "end_time": "x"})["sys_id"]
    home.event(row, "Session End", 1)
    home.note(twin)
    assert check_sessions(home.instance, [home.device, other], TERMS, final=True).violations == ()


def test_events_that_were_handed_on(home: World) -> None:
    """An event that was answered 200 must have reached the vendor's endpoint as it was."""
    terms = Terms(events=SELECTED, recordings="attach", forward=True)
    fields = {"event": "access_session_end", "lsid": "x"}
    home.device.outbound.messages.append(Message("relay", fields, 0.0, "delivered"))
    home.device.outbound.messages.append(Message("relay", {"event": "lost"}, 0.0, "dropped"))
    assert home.check(terms, final=False).good
    assert len(home.check(terms).violations) == 1
    home.instance.insert(VENDOR_EVENT, {"fields": '{"lsid": "x", "event": "access_session_end"}'})
    assert home.check(terms).good


def test_decisions() -> None:
    """Each request that got a receipt is decided once, by a plain answer; nobody else's is."""
    device = Device("default")
    ticket = Ticket("r", {"ticket_id": "CHG1"}, 200)
    device.tickets.by_id["r"] = ticket
    device.tickets.by_id["s"] = Ticket("s", {"ticket_id": "CHG2"}, "refused")
    assert check_tickets([device]) == ()
    assert [one.partition(": ")[2] for one in check_tickets([device], final=True)] == ["CHG1 r: decided 0 times"]
    ticket.decisions.append(Decision("deny", "no", "application/json", {}))
    assert check_tickets([device], final=True) == ()
    ticket.decisions.append(Decision("maybe", "", "application/json", {}, ("cookie",)))
    device.tickets.strangers.append("x")
    assert len(check_tickets([device])) == 4
