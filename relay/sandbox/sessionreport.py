"""Writes the session report, piece by piece, so that one of any size needs no memory."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from relay.sandbox import xml
from relay.sandbox.device import Device
from relay.sandbox.happenings import EVERYONE, Category, Event, Participant, Party
from relay.sandbox.livesessions import Session

_CHAT = "The quick brown fox jumps over the lazy dog while the support representative waits for the progress bar. "
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ADMIN = Party("Admin", "representative", 1)
_COUNTED = {"transfer": ("File Upload", "File Download"), "move": ("File Moved",), "delete": ("File Deleted",)}


def story(session: Session, end: int | None) -> Iterator[Event]:
    """All events of a session in the report's order; `end` as the report knows it."""
    yield Event(session.start, "Session Start")
    yield from session.events
    if session.damaged:
        yield Event(session.start, "Chat Message", _ADMIN, EVERYONE, "hello\x0b", raw=True)
    for message in session.chat:
        yield Event(session.start, "Chat Message", _ADMIN, EVERYONE, message)
    size = 0
    while size < session.bulk:
        event = Event(session.start, "Chat Message", _ADMIN, EVERYONE, _CHAT * 20)
        size += 8 * len(_event(event))
        for _ in range(8):
            yield event
    if end is not None:
        yield Event(end, "Session End")


def write(appliance: Device, sessions: Sequence[Session]) -> Iterator[bytes]:
    """A report on these sessions, as UTF-8."""
    space = xml.NAMESPACES[appliance.dialect].format("reporting")
    named = f" xmlns={quoteattr(space)}" if space else ""
    yield f'{xml.PROLOG}<session_list{named} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'.encode()
    for session in sessions:
        end = appliance.sessions.ended(session)
        yield _head(appliance, session, end).encode()
        for event in story(session, end):
            yield _event(event).encode()
        yield b"</session_details>\n</session>\n"
    yield b"</session_list>\n"


def surveys(appliance: Device, sessions: Sequence[Session], by: str) -> str:
    """The exit surveys of these sessions that were filled in by a `customer` or a `representative`; "" when none."""
    found = []
    for session in sessions:
        for survey in session.surveys:
            if survey.by == by:
                questions = [
                    xml.element(
                        "question",
                        xml.text("type", "radio"),
                        xml.text("name", f"q{number}"),
                        xml.text("label", label),
                        xml.text("report_header", label),
                        xml.element("answer_list", xml.text("answer", answer)),
                        id=number,
                    )
                    for number, (label, answer) in enumerate(survey.answers, 1)
                ]
                who = xml.text("submitted_by", survey.name, type=by, gsnumber=survey.gsnumber)
                listed = xml.element("question_list", *questions)
                found.append(xml.element("exit_survey", who, listed, lsid=session.lsid, ts=survey.timestamp))
    return xml.root(appliance.dialect, "reporting", "exit_survey_list", *found) if found else ""


def people(session: Session) -> tuple[tuple[Participant, ...], tuple[Participant, ...]]:
    """The customers and the representatives of a session."""
    endpoint = Participant(2, session.endpoint, hostname=session.endpoint, os="Windows Server 2022 Datacenter (21H2)")
    address = "[2001:db8:ec57:b230:f188:56c5:7089:d987]:56722"
    user = Participant(1, session.user, public_ip=address, private_ip="Unknown", owner=True)
    return session.customers or (endpoint,), session.representatives or (user,)


def _head(appliance: Device, session: Session, end: int | None) -> str:
    customers, representatives = people(session)
    owner = next((one for one in representatives if one.owner), None)
    attributes = [
        xml.text("custom_attribute", value, display_name=name.replace("_", " ").title(), code_name=name)
        for name, value in session.attributes.items()
        if name != "external_key"
    ]
    parts = [
        f'<session lsid="{session.lsid}">\n',
        xml.text("session_type", "support"),
        xml.text("lseq", session.lseq),
        xml.text("start_time", _iso(session.start), timestamp=session.start),
        "<end_time/>" if end is None else xml.text("end_time", _iso(end), timestamp=end),
        xml.text("duration", "" if end is None else clock(end - session.start)),
        xml.text("external_key", session.attributes.get("external_key", "")),
        xml.element("custom_attributes", *attributes),
        *(() if end is None else _links(appliance, session)),
        *_counts(session),
        xml.text("primary_customer", customers[0].username, gsnumber=customers[0].gsnumber),
        *(() if session.jumpoint is None else (xml.text("jumpoint", session.jumpoint[1], id=session.jumpoint[0]),)),
        *_place(appliance, session),
        *(
            ()
            if owner is None
            else (xml.text("primary_rep", owner.display_name, gsnumber=owner.gsnumber, id=owner.id),)
        ),
        xml.element("customer_list", *(_customer(one, appliance.product) for one in customers)),
        xml.element("rep_list", *(_representative(one, session, end) for one in representatives)),
        *_survey_lists(session),
        "<session_details>\n",
    ]
    return "\n".join(parts)


def _links(appliance: Device, session: Session) -> Iterator[str]:
    yield xml.text("session_chat_view_url", f"{_link(appliance, session, 'chat')}&dl_action=chat&view=1")
    yield xml.text("session_chat_download_url", f"{_link(appliance, session, 'chat')}&dl_action=chat")
    if session.recording is not None:
        yield xml.text("session_recording_view_url", f"{_link(appliance, session, 'flash')}&dl_action=view&view=1")
        yield xml.text("session_recording_download_url", f"{_link(appliance, session, 'flash')}&dl_action=download")
    shells = [
        xml.element(
            "command_shell_recording",
            xml.text("download_url", f"{_link(appliance, session, 'shell')}&instance={number}&dl_action=download"),
            xml.text("view_url", f"{_link(appliance, session, 'shell')}&instance={number}&dl_action=view"),
            instance=number,
        )
        for number in range(len(session.shells))
    ]
    if shells:
        yield xml.element("command_shell_recordings", *shells)


def _counts(session: Session) -> list[str]:
    kinds = [event.kind for event in session.events]
    return [
        xml.text(f"file_{name}_count", sum(kind in counted for kind in kinds)) for name, counted in _COUNTED.items()
    ]


def _place(appliance: Device, session: Session) -> Iterator[str]:
    if appliance.product == "pra" or session.jump_group:
        yield xml.text("jump_group", session.jump_group, type="shared", id=session.group_id)
    if appliance.product == "rs":
        yield xml.text("public_site", session.site or "Default", id=1)
        teams = [xml.text("team", name, id=number) for number, name in enumerate(session.teams, 1)]
        yield xml.element("team_list", *teams)


def _customer(one: Participant, product: str) -> str:
    facts = [
        xml.text("username", one.username),
        *_machine(one),
        *((xml.text("primary_cust", 1),) if product == "rs" else ()),
        *((xml.element("info", *(xml.text(name, value) for name, value in one.info)),) if one.info else ()),
    ]
    return xml.element("customer", *facts, gsnumber=one.gsnumber)


def _representative(one: Participant, session: Session, end: int | None) -> str:
    names = [
        xml.text(name, one.display_name) for name in ("display_name", "public_display_name", "private_display_name")
    ]
    return xml.element(
        "representative",
        xml.text("username", one.username),
        *names,
        *_machine(one),
        xml.text("session_owner", int(one.owner)),
        xml.text("seconds_involved", 0 if end is None else end - session.start),
        *((xml.text("invited", 1),) if one.invited else ()),
        gsnumber=one.gsnumber,
        id=one.id,
    )


def _machine(one: Participant) -> list[str]:
    facts = {"public_ip": one.public_ip, "private_ip": one.private_ip, "hostname": one.hostname, "os": one.os}
    return [xml.text(name, value) for name, value in facts.items() if value is not None]


def _survey_lists(session: Session) -> Iterator[str]:
    for by, short in (("customer", "cust"), ("representative", "rep")):
        numbers = [survey.gsnumber for survey in session.surveys if survey.by == by]
        if numbers:
            yield xml.element(
                f"{short}_survey_list", *(xml.element(f"{short}_exit_survey", gsnumber=number) for number in numbers)
            )


@lru_cache(maxsize=64)  # a large report repeats its events
def _event(event: Event) -> str:
    parts = [
        xml.text(name, party.name, type=party.type, gsnumber=party.gsnumber)
        for name, party in (("performed_by", event.by), ("destination", event.to))
        if party is not None
    ]
    if event.body and (event.raw or not _FORBIDDEN.search(event.body)):
        parts.append(f"<body>{escape(event.body)}</body>")
    elif event.body:
        parts.append(xml.text("encoded_body", base64.b64encode(event.body.encode()).decode()))
    parts += [
        xml.text(name, value) for name, value in (("filename", event.filename), ("filesize", event.filesize)) if value
    ]
    if event.files:
        files = (
            xml.element("file", xml.text("filename", name), xml.text("filesize", size)) for name, size in event.files
        )
        parts.append(xml.element("files", *files))
    if event.data:
        parts.append(xml.element("data", *(xml.element("value", name=name, value=value) for name, value in event.data)))
    if event.system:
        parts.append(xml.element("system_information", *map(_category, event.system)))
    return xml.element("event", "\n\n", *parts, "\n", timestamp=event.timestamp, event_type=event.kind) + "\n"


def _category(one: Category) -> str:
    columns = xml.element("description", *(xml.element("field", name=name) for name in one.columns))
    rows = (
        xml.element("row", *(xml.text("field", value, name=name) for name, value in zip(one.columns, row, strict=True)))
        for row in one.rows
    )
    return xml.element("category", columns, xml.element("data", *rows), name=one.name)


def _link(appliance: Device, session: Session, kind: str) -> str:
    return f"{appliance.url}/session_download?lsid=l%3D{session.lsid}%3Bh%3D{'0' * 40}%3Bt%3Dsd%3Bm%3D{kind}"


def _iso(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moment))


def clock(seconds: int) -> str:
    """A length as reports write it: `HH:MM:SS`, more than 24 hours too."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
