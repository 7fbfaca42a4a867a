"""What a session gives to a note: every name that a template may use, with its meaning and its value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from relay.core.session_report import Participant, SessionReport, address_of
from relay.core.session_texts import NOTE, attribute_lines, information_lines, shell_lines, shown_time, survey_lines

SINGLE: Final[Mapping[str, str]] = {
    "appliance": "the appliance's name in the configuration",
    "lsid": "the session's id",
    "type": "the session's type as the appliance calls it",
    "sequence": "the session's number",
    "start": "when it began, in UTC",
    "end": "when it ended, in UTC",
    "duration": "how long it was, HH:MM:SS",
    "external_key": "the external key",
    "jump_group": "the Jump group",
    "jumpoint": "the Jumpoint",
    "public_site": "the public site (Remote Support)",
    "endpoint": "the endpoint's or primary customer's name",
    "hostname": "the endpoint's host name",
    "os": "the endpoint's operating system",
    "public_ip": "the endpoint's public address",
    "private_ip": "the endpoint's private address",
    "representative": "the primary user's display name",
    "files_transferred": "how many files were transferred",
    "files_moved": "how many files were moved",
    "files_deleted": "how many files were deleted",
    "chat": "the link to the chat",
    "recording": "the link to the screen recording",
}
LISTS: Final[Mapping[str, str]] = {
    "representatives": "everybody who took part on the appliance's side",
    "customers": "everybody on the other side, when there are more than the endpoint itself",
    "attributes": "the custom fields",
    "files": "what was done with files: uploads, downloads, moves, deletions",
    "notes": "the notes that were written in the session",
    "information": "the endpoint's system information",
    "surveys": "exit surveys, questions and answers (Remote Support)",
    "shell_recordings": "links to recordings of command shells",
}
_LINK: Final = re.compile(r"https://[!-Z\\^-~]+", re.ASCII)  # what can be seen, without square brackets
_LINKED: Final = re.compile(r"(.*: )(https://\S+)", re.ASCII)


def note_values(report: SessionReport, appliance: str) -> dict[str, str | tuple[str, ...]]:
    """A value for each name of `SINGLE`, a list for each of `LISTS`; as they came, nothing made harmless yet."""
    endpoint = report.endpoint or Participant("")
    counts = (report.file_transfer_count, report.file_move_count, report.file_delete_count)
    transferred, moved, deleted = (str(count) if count else "" for count in counts)
    named = report.primary_customer.name if report.primary_customer else ""
    lead = report.lead.name if report.lead else ""
    customers = tuple(one.name for one in report.customers if one != report.endpoint)
    return {
        "appliance": appliance,
        "lsid": report.lsid,
        "type": report.type,
        "sequence": report.sequence,
        "start": shown_time(report.started),
        "end": "" if report.running else shown_time(report.ended),
        "duration": _duration(report),
        "external_key": report.external_key,
        "jump_group": report.jump_group.name if report.jump_group else "",
        "jumpoint": report.jumpoint.name if report.jumpoint else "",
        "public_site": report.public_site.name if report.public_site else "",
        "endpoint": named or endpoint.name,
        "hostname": endpoint.hostname,
        "os": endpoint.os,
        "public_ip": address_of(endpoint.public_ip),
        "private_ip": address_of(endpoint.private_ip),
        "representative": lead or (report.primary_rep.name if report.primary_rep else ""),
        "files_transferred": transferred,
        "files_moved": moved,
        "files_deleted": deleted,
        "chat": _link(report.chat_view_url),
        "recording": _link(report.recording_view_url or report.recording_download_url),
        "representatives": tuple(_person(one) for one in report.representatives),
        "customers": (endpoint.name, *customers) if customers else (),
        "attributes": tuple(attribute_lines(report)),
        "files": tuple(_files(report)),
        "notes": tuple(event.body for event in report.events if event.type == NOTE and event.body.strip()),
        "information": tuple(information_lines(report)),
        "surveys": tuple(survey_lines(report)),
        "shell_recordings": tuple(
            line for line in shell_lines(report) if (found := _LINKED.fullmatch(line)) and _link(found[2])
        ),
    }


def _duration(report: SessionReport) -> str:
    if (seconds := report.duration_seconds) is None:
        return ""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _person(one: Participant) -> str:
    return f"{one.name} ({one.username})" if one.username not in {"", one.name} else one.name


def _files(report: SessionReport) -> Iterator[str]:
    for event in report.events:
        for file in event.files:
            yield f"{event.type}: {file.name}" + (f" ({file.size} bytes)" if file.size else "")


def _link(url: str) -> str:
    """A link that a person may follow; anything else is none."""
    return url if _LINK.fullmatch(url) else ""
