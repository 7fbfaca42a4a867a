"""The Reporting API of the appliance stand-in."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

from relay.sandbox import xml
from relay.sandbox.device import Device
from relay.sandbox.livesessions import Session
from relay.sandbox.web import Response

Form = dict[str, str]

NOTHING_FOUND = {
    "en": "No Support report information matching your chosen criteria is available.",
    "fr": "Aucune information de rapport de support correspondant à vos critères n’est disponible.",  # noqa: RUF001 - verbatim
    "de": "Es sind keine Support-Berichtsdaten verfügbar, die Ihren Kriterien entsprechen.",
}
_EXPIRED = "This recording has expired and can no longer be viewed or downloaded."
_CHAT = "The quick brown fox jumps over the lazy dog while the support representative waits for the progress bar. "
_LISTED = {"SupportTeam": "team_list", "Team": "team_activity_list", "JumpItem": "jump_item_event_list"}


def handle(appliance: Device, form: Form) -> Response:
    """Answer a call of the Reporting API."""
    kind = form.get("generate_report", "")
    appliance.executed(kind)
    family = {"pra": "Access", "rs": "Support"}[appliance.product]
    if kind in {f"{family}Session", f"{family}SessionListing", f"{family}SessionSummary"}:
        return _sessions(appliance, kind.removeprefix(family), form)
    if kind in {f"{family}SessionRecording", "CommandShellRecording"}:
        return _recording(appliance, form)
    return _other(appliance, kind)


def _other(appliance: Device, kind: str) -> Response:
    if kind == "VaultAccountActivity":
        return _vault(appliance)
    if kind in {"EndpointLicenseUsage", "LicenseUsage", "Syslog"}:
        return Response(200, [("Content-Type", "application/zip")], _zip(kind))
    if kind in {"SupportCustExitSurvey", "SupportRepExitSurvey"} and appliance.product == "rs":
        return _nothing(appliance)
    if kind in _LISTED:
        return xml.respond(xml.root(appliance.dialect, "reporting", _LISTED[kind]))
    return xml.error(appliance.dialect, "reporting", f"Invalid report type: {kind}")


def _sessions(appliance: Device, kind: str, form: Form) -> Response:
    try:
        found = appliance.sessions.select(form)
    except (ValueError, KeyError):
        return xml.error(appliance.dialect, "reporting", "Missing or invalid parameter.")
    if found is None:
        return xml.error(appliance.dialect, "reporting", "Invalid lsid.")
    if not found:
        return _nothing(appliance)
    if kind == "SessionListing":
        rows = [f'<session_summary lsid="{row.lsid}" has_recording="{int(bool(row.recording))}"  />\n' for row in found]
        return xml.respond(xml.root(appliance.dialect, "reporting", "session_summary_list", "\n", *rows))
    if kind == "SessionSummary":
        total = sum((row.end or int(time.time())) - row.start for row in found)
        summary = xml.element(
            "summary", xml.text("session_count", len(found)), xml.text("total_duration", _clock(total))
        )
        return xml.respond(xml.root(appliance.dialect, "reporting", "summary_list", summary))
    return Response(200, [("Content-Type", xml.XML_TYPE)], _report(appliance, found))


def _nothing(appliance: Device) -> Response:
    return xml.error(appliance.dialect, "reporting", NOTHING_FOUND[appliance.language])


def _recording(appliance: Device, form: Form) -> Response:
    session = appliance.sessions.by_id.get(form.get("lsid", "").lower())
    if session is None:
        return xml.error(appliance.dialect, "reporting", "Invalid lsid.")
    if not session.recording:
        return xml.error(appliance.dialect, "reporting", _EXPIRED)
    return Response(200, [("Content-Type", "video/mp4")], session.recording)


def _vault(appliance: Device) -> Response:
    activity = xml.element(
        "vault_account_activity",
        xml.text("performed_by", "Admin", id=1, type="representative"),
        xml.text("data", next(iter(appliance.sessions.by_id), "")),
        timestamp=int(time.time()),
        event_type="Credentials Used",
        account="administrator",
    )
    return xml.respond(xml.root(appliance.dialect, "reporting", "vault_account_activity_list", activity))


def _zip(kind: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{kind}.csv", "day,count\n2026-01-01,3\n")
    return packed.getvalue()


def _report(appliance: Device, sessions: list[Session]) -> Iterator[bytes]:
    """The session report, piece by piece, so that one of any size needs no memory."""
    space = xml.NAMESPACES[appliance.dialect].format("reporting")
    named = f" xmlns={quoteattr(space)}" if space else ""
    yield f'{xml.PROLOG}<session_list{named} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'.encode()
    for session in sessions:
        yield _head(appliance, session).encode()
        yield from _events(session)
        yield b"</session_details>\n</session>\n"
    yield b"</session_list>\n"


def _head(appliance: Device, session: Session) -> str:
    end = session.end
    attributes = [
        xml.text("custom_attribute", value, display_name=name.replace("_", " ").title(), code_name=name)
        for name, value in session.attributes.items()
        if name != "external_key"
    ]
    rep = [xml.text(name, "Admin") for name in ("display_name", "public_display_name", "private_display_name")]
    parts = [
        f'<session lsid="{session.lsid}">\n',
        xml.text("session_type", "support"),
        xml.text("lseq", session.lseq),
        xml.text("start_time", _iso(session.start), timestamp=session.start),
        "<end_time/>" if end is None else xml.text("end_time", _iso(end), timestamp=end),
        xml.text("duration", "" if end is None else _clock(end - session.start)),
        xml.text("external_key", session.attributes.get("external_key", "")),
        xml.element("custom_attributes", *attributes),
        "" if end is None else xml.text("session_chat_view_url", f"{_link(appliance, session)}&dl_action=chat&view=1"),
        "" if end is None else xml.text("session_chat_download_url", f"{_link(appliance, session)}&dl_action=chat"),
        *(xml.text(f"file_{kind}_count", 0) for kind in ("transfer", "move", "delete")),
        xml.text("primary_customer", session.endpoint, gsnumber=2),
        xml.text("jump_group", session.jump_group, type="shared", id=1),
        xml.text("primary_rep", "Admin", gsnumber=1, id=1),
        "<customer_list>",
        xml.element(
            "customer",
            xml.text("username", session.endpoint),
            xml.text("public_ip", "192.0.2.7:61606"),
            xml.text("private_ip", "10.0.0.4"),
            xml.text("hostname", session.endpoint),
            xml.text("os", "Windows Server 2022 Datacenter (21H2)"),
            gsnumber=2,
        ),
        "</customer_list><rep_list>",
        xml.element(
            "representative",
            xml.text("username", session.user),
            *rep,
            xml.text("public_ip", "[2001:db8:ec57:b230:f188:56c5:7089:d987]:56722"),
            xml.text("private_ip", "Unknown"),
            xml.text("os", "Unknown"),
            xml.text("session_owner", 1),
            xml.text("seconds_involved", 0 if end is None else end - session.start),
            gsnumber=1,
            id=1,
        ),
        "</rep_list>\n<session_details>\n",
    ]
    return "\n".join(part for part in parts if part)


def _events(session: Session) -> Iterator[bytes]:
    yield f'<event timestamp="{session.start}" event_type="Session Start" >\n\n    </event>\n'.encode()
    damage = "\x0b" if session.damaged else ""
    for message in session.chat or ((f"hello{damage}",) if damage else ()):
        yield _chat(session.start, xml.text("body", message))
    size = 0
    while size < session.bulk:
        event = _chat(session.start, xml.text("body", _CHAT * 20)) * 8
        size += len(event)
        yield event
    if session.end is not None:
        yield f'<event timestamp="{session.end}" event_type="Session End" >\n\n    </event>\n'.encode()


def _chat(timestamp: int, body: str) -> bytes:
    who = xml.text("performed_by", "Admin", type="representative", gsnumber=1)
    to = xml.text("destination", "All", type="everyone", gsnumber=0)
    return xml.element("event", who, to, body, timestamp=timestamp, event_type="Chat Message").encode()


def _link(appliance: Device, session: Session) -> str:
    return f"{appliance.url}/session_download?lsid=l%3D{session.lsid}%3Bh%3D{'0' * 40}%3Bt%3Dsd%3Bm%3Dchat"


def _iso(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moment))


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
