"""The Reporting API of the appliance stand-in."""

from __future__ import annotations

import io
import time
import zipfile

from relay.sandbox import sessionreport, xml
from relay.sandbox.device import Device
from relay.sandbox.films import Film
from relay.sandbox.livesessions import Session
from relay.sandbox.web import Response

Form = dict[str, str]

NOTHING_FOUND = {
    "en": "No Support report information matching your chosen criteria is available.",
    "fr": "Aucune information de rapport de support correspondant à vos critères n’est disponible.",  # noqa: RUF001 - verbatim
    "de": "Es sind keine Support-Berichtsdaten verfügbar, die Ihren Kriterien entsprechen.",
}
WRONG_LSID = {"en": "Invalid lsid.", "fr": "lsid non valide.", "de": "Ungültige lsid."}
EXPIRED = {
    "en": "This recording has expired and can no longer be viewed or downloaded.",
    "fr": "Cet enregistrement a expiré et ne peut plus être visionné ni téléchargé.",
    "de": "Diese Aufzeichnung ist abgelaufen und kann nicht mehr angezeigt oder heruntergeladen werden.",
}
BAD_PARAMETER = {
    "en": "Missing or invalid parameter.",
    "fr": "Paramètre manquant ou non valide.",
    "de": "Fehlender oder ungültiger Parameter.",
}
_LISTED = {"SupportTeam": "team_list", "Team": "team_activity_list", "JumpItem": "jump_item_event_list"}


def handle(appliance: Device, form: Form) -> Response:
    """Answer a call of the Reporting API."""
    kind = form.get("generate_report", "")
    appliance.executed(kind)
    family = {"pra": "Access", "rs": "Support"}[appliance.product]
    if kind in {f"{family}Session", f"{family}SessionListing", f"{family}SessionSummary"}:
        return _sessions(appliance, kind.removeprefix(family), form)
    if kind in {f"{family}SessionRecording", "CommandShellRecording"}:
        return _recording(appliance, form, shell=kind == "CommandShellRecording")
    if kind in {"SupportCustExitSurvey", "SupportRepExitSurvey"} and appliance.product == "rs":
        return _surveys(appliance, form, "customer" if "Cust" in kind else "representative")
    return _other(appliance, kind)


def _other(appliance: Device, kind: str) -> Response:
    if kind == "VaultAccountActivity":
        return _vault(appliance)
    if kind in {"EndpointLicenseUsage", "LicenseUsage", "Syslog"}:
        return Response(200, [("Content-Type", "application/zip")], _zip(kind))
    if kind in _LISTED:
        return xml.respond(xml.root(appliance.dialect, "reporting", _LISTED[kind]))
    return xml.error(appliance.dialect, "reporting", f"Invalid report type: {kind}")


def _select(appliance: Device, form: Form) -> list[Session] | Response:
    try:
        found = appliance.sessions.select(form)
    except (ValueError, KeyError):
        return _error(appliance, BAD_PARAMETER)
    if found is None:
        return _error(appliance, WRONG_LSID)
    return found or _error(appliance, NOTHING_FOUND)


def _error(appliance: Device, texts: dict[str, str]) -> Response:
    return xml.error(appliance.dialect, "reporting", texts[appliance.language])


def _surveys(appliance: Device, form: Form, by: str) -> Response:
    if form.get("report_type") not in {"rep", "team", "site"}:
        return _error(appliance, BAD_PARAMETER)
    found = _select(appliance, form)
    if isinstance(found, Response):
        return found
    document = sessionreport.surveys(appliance, found, by)
    return xml.respond(document) if document else _error(appliance, NOTHING_FOUND)


def _sessions(appliance: Device, kind: str, form: Form) -> Response:
    found = _select(appliance, form)
    if isinstance(found, Response):
        return found
    if kind == "SessionListing":
        rows = [
            f'<session_summary lsid="{row.lsid}" has_recording="{int(row.recording is not None)}"  />\n'
            for row in found
        ]
        return xml.respond(xml.root(appliance.dialect, "reporting", "session_summary_list", "\n", *rows))
    if kind == "SessionSummary":
        total = sum((row.end or int(time.time())) - row.start for row in found)
        summary = xml.element(
            "summary", xml.text("session_count", len(found)), xml.text("total_duration", sessionreport.clock(total))
        )
        return xml.respond(xml.root(appliance.dialect, "reporting", "summary_list", summary))
    return Response(200, [("Content-Type", xml.XML_TYPE)], sessionreport.write(appliance, found))


def _recording(appliance: Device, form: Form, *, shell: bool) -> Response:
    session = appliance.sessions.by_id.get(form.get("lsid", "").lower())
    if session is None:
        return _error(appliance, WRONG_LSID)
    film = _shell(session, form) if shell else session.recording
    if film is None or session.expired:
        return _error(appliance, EXPIRED)
    kind = "text/plain" if shell else "video/mp4"
    return Response(200, [("Content-Type", kind)], film.pieces(), size=film.size if film.told else None)


def _shell(session: Session, form: Form) -> Film | None:
    number = form.get("recording_id", form.get("instance", "0"))
    shells = dict(enumerate(session.shells))
    return shells.get(int(number)) if number.isascii() and number.isdecimal() else None


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
