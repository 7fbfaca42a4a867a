"""A session as rows of ServiceNow: what is written where, under which key, and what is to be looked up for its links.

The mapping is a function of the report and the settings alone. Importing twice gives the same rows with the same keys:

- a session's key is made of the appliance's name and the lsid;
- a survey's key is made of whose it is and when it was filled in;
- an event's key is made of what happened, not of its place in the report, so that it stays the same when a later
  report holds more, or when other event types are selected. Events that are equal in everything are counted: the second
  of two equal chat messages is the second one in every report. Links are no part of a key (they are signed anew for
  each report), nor are display names where the report has a number for the person.

Each key is in the row (`key`), and its first 32 hexadecimal digits are the sys_id that the row wishes for.
Columns hold text as ServiceNow takes it; what has no column of its own is in `details`, as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal

from relay.core.instant import written
from relay.core.jobs import Json
from relay.core.session_report import Actor, Event, Moment, Participant, SessionReport, Survey, address_of, writable
from relay.core.session_surveys import is_told, survey_event, survey_identity
from relay.core.session_texts import attribute_lines, chat_lines, information_lines, shell_lines, survey_lines

SESSION_COLUMNS: Final = (
    "key",
    "lsid",
    "appliance",
    "session_type",
    "sequence",
    "start_time",
    "end_time",
    "duration",
    "external_key",
    "jump_group",
    "jumpoint",
    "endpoint_name",
    "endpoint_public_ip",
    "endpoint_private_ip",
    "endpoint_hostname",
    "endpoint_os",
    "primary_representative",
    "representatives",
    "file_transfer_count",
    "file_move_count",
    "file_delete_count",
    "chat_view_url",
    "chat_download_url",
    "recording_view_url",
    "recording_download_url",
    "command_shell_recordings",
    "custom_attributes",
    "chat_transcript",
    "system_information",
    "surveys",
    "details",
)
"""The relay's names of a session's columns; the links are `LINKS`. `duration` is in seconds, times are in UTC."""
EVENT_COLUMNS: Final = (
    "key",
    "session",
    "lsid",
    "appliance",
    "sequence",
    "event_type",
    "event_time",
    "performed_by",
    "destination",
    "body",
    "filename",
    "filesize",
    "data",
    "details",
)
"""The relay's names of an event's columns. `sequence` counts from 1 in the report; `data` is a JSON list of pairs."""

Link = Literal["task", "cmdb_ci", "user"]
LINKS: Final[tuple[Link, ...]] = ("task", "cmdb_ci", "user")
TASK_FIELD: Final = "snow_task_id"
CI_FIELD: Final = "snow_cmdb_ci_id"
_HEX: Final = frozenset("0123456789abcdef")
_SYS_ID: Final = 32


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ServiceNow. `fields` gives the table's name of a column where it is another than the relay's."""

    name: str
    fields: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """The table's name of a column."""
        return self.fields.get(name, name)


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What the configuration says of rows. `events` are the types that become rows, None means all of them."""

    appliance: str
    session: Table = Table("x_bsr_relay_session")
    event: Table = Table("x_bsr_relay_session_event")
    events: frozenset[str] | None = None
    associate_user: bool = True
    associate_ci: bool = True
    user_fields: tuple[str, ...] = ("user_name",)

    def selects(self, event_type: str) -> bool:
        """Whether events of this type are told of."""
        return self.events is None or event_type in self.events


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be written, unless there is one of its key. `values` are text, by the table's names of columns."""

    table: str
    key: str
    sys_id: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Which record a link leads to: the one whose `field` is exactly `value`. Two are no match."""

    link: Link
    table: str
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Place:
    """A record that a session belongs to. `table` is its own one: `incident`, though it was looked for as a task."""

    table: str
    sys_id: str


def started_outside(report: SessionReport) -> bool:
    """Whether nothing in the session leads back to ServiceNow: `import_external` decides about such a session."""
    return not (report.external_key or report.attribute(TASK_FIELD) or report.attribute(CI_FIELD))


def session_row(report: SessionReport, settings: RowSettings, links: Mapping[Link, str] | None = None) -> Row:
    """The session's own row. `links` are the sys_ids that the lookups found; a link that is not there is left as it is.

    Every other column is written, empty ones too, so that a later report corrects an earlier one.
    """
    key = _digest(["session", settings.appliance, report.lsid.lower()])
    values = {**_session_values(report), "key": key, "appliance": settings.appliance}
    values.update({str(link): sys_id for link, sys_id in (links or {}).items()})
    table = settings.session
    return Row(table.name, key, key[:_SYS_ID], {table.column(name): writable(value) for name, value in values.items()})


def event_rows(report: SessionReport, settings: RowSettings, session: str = "") -> Iterator[Row]:
    """The rows of the selected events, in the report's order, then those of exit surveys.

    `session` is the sys_id of the session's row where the instance gave it another than it wished for.
    """
    shared = {
        "session": session or session_row(report, settings).sys_id,
        "lsid": report.lsid,
        "appliance": settings.appliance,
    }
    table = settings.event
    for sequence, (key, event, details) in enumerate(_happened(report, settings.appliance), 1):
        if not settings.selects(event.type):
            continue
        values = {**_event_values(event, details), **shared, "key": key, "sequence": str(sequence)}
        columns = {table.column(name): writable(value) for name, value in values.items()}
        yield Row(table.name, key, key[:_SYS_ID], columns)


def _happened(report: SessionReport, appliance: str) -> Iterator[tuple[str, Event, Json]]:
    """Everything that becomes a row: its key, what it is, and all there is of it."""
    for key, event in zip(event_keys(report, appliance), report.events, strict=True):
        yield key, event, _beside_columns(event)
    surveys = [survey for survey in report.surveys if is_told(survey)]
    for key, survey in zip(_survey_keys(report, surveys, appliance), surveys, strict=True):
        yield key, survey_event(survey), asdict(survey)


def event_keys(report: SessionReport, appliance: str) -> Iterator[str]:
    """The key of each event, in the report's order, all of them different."""
    seen: Counter[str] = Counter()
    for event in report.events:
        what = _digest(_identity(event))
        seen[what] += 1
        yield _digest(["event", appliance, report.lsid.lower(), what, seen[what]])


def _survey_keys(report: SessionReport, surveys: Sequence[Survey], appliance: str) -> Iterator[str]:
    """The key of each survey, all of them different."""
    seen: Counter[str] = Counter()
    for survey in surveys:
        what = _digest(survey_identity(survey))
        seen[what] += 1
        yield _digest(["survey", appliance, report.lsid.lower(), what, seen[what]])


def lookups(report: SessionReport, settings: RowSettings) -> tuple[Lookup, ...]:
    """What is to be looked up, in order: for each link the first that finds exactly one record counts."""
    found = [*_task_lookups(report), *_ci_lookups(report, by_name=settings.associate_ci)]
    name = report.lead.username if report.lead else ""
    if settings.associate_user and name:
        found += [Lookup("user", "sys_user", column, name) for column in settings.user_fields]
    return tuple(dict.fromkeys(found))


def _task_lookups(report: SessionReport) -> Iterator[Lookup]:
    """Incidents, changes, problems, requests, their items and calls are all tasks."""
    for value in (report.attribute(TASK_FIELD), report.external_key.strip()):
        if value:
            yield Lookup("task", "task", "sys_id" if _is_sys_id(value) else "number", value)


def _ci_lookups(report: SessionReport, *, by_name: bool) -> Iterator[Lookup]:
    if given := report.attribute(CI_FIELD):
        yield Lookup("cmdb_ci", "cmdb_ci", "sys_id" if _is_sys_id(given) else "name", given)
    if not by_name:
        return
    endpoint = report.endpoint
    if host := endpoint.hostname if endpoint else "":
        for column in ("host_name", "fqdn", "name"):
            yield Lookup("cmdb_ci", "cmdb_ci", column, host)
    if name := _endpoint_name(report):
        yield Lookup("cmdb_ci", "cmdb_ci", "name", name)


def _endpoint_name(report: SessionReport) -> str:
    named = report.primary_customer.name if report.primary_customer else ""
    return named or (report.endpoint.name if report.endpoint else "")


def _session_values(report: SessionReport) -> dict[str, str]:
    endpoint = report.endpoint or Participant("")
    duration = report.duration_seconds
    counts = (report.file_transfer_count, report.file_move_count, report.file_delete_count)
    transferred, moved, deleted = ("" if count is None else str(count) for count in counts)
    return {
        "lsid": report.lsid,
        "session_type": report.type,
        "sequence": report.sequence,
        "start_time": _time(report.started),
        "end_time": "" if report.running else _time(report.ended),
        "duration": "" if duration is None else str(duration),
        "external_key": report.external_key,
        "jump_group": report.jump_group.name if report.jump_group else "",
        "jumpoint": report.jumpoint.name if report.jumpoint else "",
        "endpoint_name": _endpoint_name(report),
        "endpoint_public_ip": address_of(endpoint.public_ip),
        "endpoint_private_ip": address_of(endpoint.private_ip),
        "endpoint_hostname": endpoint.hostname,
        "endpoint_os": endpoint.os,
        "primary_representative": _lead_name(report),
        "representatives": "\n".join(_with_account(one) for one in report.representatives),
        "file_transfer_count": transferred,
        "file_move_count": moved,
        "file_delete_count": deleted,
        "chat_view_url": report.chat_view_url,
        "chat_download_url": report.chat_download_url,
        "recording_view_url": report.recording_view_url,
        "recording_download_url": report.recording_download_url,
        "command_shell_recordings": "\n".join(shell_lines(report)),
        "custom_attributes": "\n".join(attribute_lines(report)),
        "chat_transcript": _lines(chat_lines(report)),
        "system_information": _lines(information_lines(report)),
        "surveys": "\n".join(survey_lines(report)),
        "details": _json(_whole(asdict(replace(report, events=())))),
    }


def _lines(lines: Iterable[str]) -> str:
    """Lines as one text. In UTF-8 meanwhile: as text, one rare character lets each byte of a long one take four."""
    whole = bytearray()
    for line in lines:
        whole += line.encode("utf-8", "surrogatepass") + b"\n"
    del whole[-1:]
    return whole.decode("utf-8", "surrogatepass")


def _lead_name(report: SessionReport) -> str:
    if report.lead is not None:
        return _with_account(report.lead)
    return report.primary_rep.name if report.primary_rep else ""


def _with_account(one: Participant) -> str:
    return f"{one.name} ({one.username})" if one.username and one.username != one.name else one.name


def _beside_columns(event: Event) -> Json:
    whole = asdict(event)
    for name in ("type", "body", "data"):  # these have a column that holds them whole
        del whole[name]
    return whole


def _event_values(event: Event, details: Json) -> dict[str, str]:
    return {
        "event_type": event.type,
        "event_time": _time(event.at),
        "performed_by": event.performed_by.name if event.performed_by else "",
        "destination": event.destination.name if event.destination else "",
        "body": event.body,
        "filename": "\n".join(one.name for one in event.files),
        "filesize": "\n".join(one.size for one in event.files),
        "data": _json(event.data) if event.data else "",
        "details": _json(_whole(details)),
    }


def _identity(event: Event) -> Json:
    return [
        event.at.text if event.at.seconds is None else event.at.seconds,
        event.type,
        _who(event.performed_by),
        _who(event.destination),
        event.body,
        event.encoded_body,
        [[one.name, one.size] for one in event.files],
        _but_links(event.data),
        [[one.name, one.columns, one.rows] for one in event.system_information],
        _but_links(event.extra),
    ]


def _who(actor: Actor | None) -> Json:
    return actor and [actor.kind, actor.number or actor.name]


def _but_links(pairs: tuple[tuple[str, str], ...]) -> Json:
    return [pair for pair in pairs if not pair[0].lower().endswith("url")]


def _whole(value: Json) -> Json:
    """A value without what is empty in it."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items() if one or (one == 0 and one is not False)}
    return [_whole(one) for one in value] if isinstance(value, list | tuple) else value


def _time(moment: Moment | None) -> str:
    return "" if moment is None or moment.seconds is None else written(moment.seconds)


def _is_sys_id(value: str) -> bool:
    return len(value) == _SYS_ID and set(value.lower()) <= _HEX


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _digest(value: Json) -> str:
    """The SHA-256 of a value's one form in ASCII, which every text has, whatever is in it."""
    form = json.dumps(["bseries-relay", value], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(form.encode("ascii")).hexdigest()
