"""The settings of sessions and approvals: what becomes of the appliance's events and of its requests for approval."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from relay.config.leaves import Choice, Duration, Known, Size, Text, WordOr
from relay.config.section import Boolean, Check, Column, Conflict, DottedColumn, File, Section, Table
from relay.config.template import NoteTemplate
from relay.core.approval_decision import MESSAGE_WORDS
from relay.core.approval_fields import REQUEST_FIELDS, RESPONSE_PATH
from relay.core.jobs import Json
from relay.core.recordings import DEFAULT_PATTERN, PATTERN, problem_of
from relay.core.session_rows import EVENT_COLUMNS, LINKS, SESSION_COLUMNS


class TableMapping(Section):
    """A table of ServiceNow and those of its columns that are not called as the relay calls them."""

    table: Table = Field(description="The table's name.")
    fields: Mapping[Column, Column] = Field(default={}, description="The relay's name of a column, and the table's.")


class SessionTables(Section):
    """The tables that sessions are written to."""

    session: TableMapping = Field(
        default=TableMapping(table="x_bsr_relay_session"), description="One row for each session."
    )
    event: TableMapping = Field(
        default=TableMapping(table="x_bsr_relay_session_event"), description="One row for each selected event."
    )

    def checks(self) -> tuple[Check, ...]:
        """What is mapped are columns that the relay has."""
        return self._session, self._event

    def _session(self) -> Iterator[Conflict]:
        yield from _strangers("session", self.session.fields, (*SESSION_COLUMNS, *LINKS))

    def _event(self) -> Iterator[Conflict]:
        yield from _strangers("event", self.event.fields, EVENT_COLUMNS)


def _strangers(table: str, mapped: Iterable[str], columns: Sequence[str]) -> Iterator[Conflict]:
    """Names that are mapped and mean no column: their values would go nowhere."""
    for name in mapped:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            meant = f"did you mean '{near[0]}'?" if near else "docs/sessions.md has those that there are"
            yield Conflict(f"the relay has no column '{name}'; {meant}", (table, "fields", name))


EventType = Annotated[str, Text("an event type", example="File Upload", longest=80)]
EventTypes = tuple[EventType, ...]


TABLES_AT = WordOr("auto", "none", other=SessionTables, called="a map of session and event")
EVENTS_AT = WordOr("all", other=EventTypes, called="a list of event types")


class SessionSettings(Section):
    """What becomes of the appliance's session events."""

    mode: Annotated[Literal["import", "forward", "both", "off"], Choice("import", "forward", "both", "off")] = Field(
        default="import", description="Write sessions to ServiceNow's tables, hand the events on, both, or nothing."
    )
    tables: Annotated[Literal["auto", "none"] | SessionTables, TABLES_AT] = Field(
        default="auto",
        description="auto: rows when ServiceNow has the tables; none: notes and attachments only; or a map.",
    )
    import_external: Boolean = Field(default=True, description="Import sessions that were not started from ServiceNow.")
    associate_user: Boolean = Field(default=True, description="Link the session to the ServiceNow user.")
    associate_ci: Boolean = Field(default=True, description="Link the session to the configuration item.")
    events: Annotated[Literal["all"] | EventTypes, EVENTS_AT] = Field(
        default=(
            "Session Note Added",
            "File Upload",
            "File Download",
            "System Information Retrieved",
            "Screen Recording",
        ),
        description="Event types that are written, or all.",
    )
    note: Annotated[str, NoteTemplate()] | None = Field(
        default=None, description="The work note, a template: docs/sessions.md. Absent: the built-in one."
    )
    recordings: Annotated[Literal["link", "attach", "store", "none"], Choice("link", "attach", "store", "none")] = (
        Field(
            default="link",
            description="link: in row and note; attach: at ServiceNow; store: as files in recording_folder; or none.",
        )
    )
    recording_bytes: Annotated[int, Size("1MiB")] = Field(
        default=4 << 30,
        description="The largest recording that is attached or stored. ServiceNow has its own limit for attachments.",
    )
    recording_folder: File | None = Field(
        default=None,
        examples=["/srv/recordings"],
        description="Where store puts files. It must be there, and writable: under systemd by ReadWritePaths.",
    )
    recording_name: Annotated[
        str, Text("a relative path; {appliance}, {date} and the like stand for values", PATTERN, DEFAULT_PATTERN, 255)
    ] = Field(
        default=DEFAULT_PATTERN,
        description="How store names files. In braces: appliance, lsid, name (screen, shell-0), ext, and of the day in "
        "UTC on which the session ended date, year, month. A file's SHA-256 is beside it, as sha256sum -c reads it.",
    )
    nothing_found: tuple[Annotated[str, Text("the appliance's words", longest=500)], ...] = Field(
        default=(),
        examples=[["No Support report information matching your chosen criteria is available."]],
        description="Errors of the appliance that mean that there is no such session. Known without being listed in "
        "English, French, German, Spanish, Italian, Portuguese, Dutch.",
    )
    sweep: Annotated[float, Duration("1s")] = Field(
        default=300.0, description="Time between looks for sessions whose end event never came."
    )

    def checks(self) -> tuple[Check, ...]:
        """Recordings that are stored have a place and names of their own."""
        return self._folder, self._names

    def _folder(self) -> Iterator[Conflict]:
        if self.recordings == "store" and self.recording_folder is None:
            yield Conflict("recordings: store needs recording_folder", lacking=True)

    def _names(self) -> Iterator[Conflict]:
        problem = problem_of(self.recording_name)
        if problem is not None:
            yield Conflict(problem, ("recording_name",))


_PLACEHOLDER: Final = re.compile("%([A-Za-z]{1,40})%")


class OverrideSettings(Section):
    """One check of a ticket that replaces the built-in ones: a task's field against a value or the request."""

    field: DottedColumn = Field(description="The task's column.")
    comparator: Annotated[Literal["equal", "less", "greater"], Choice("equal", "less", "greater")] = Field(
        description="How the column must compare."
    )
    value: Annotated[str, Text("a value in quotes", example="3", longest=255)] | None = Field(
        default=None, description="With this value."
    )
    reference: Annotated[str, Known("a part of the appliance's request", *REQUEST_FIELDS)] | None = Field(
        default=None,
        examples=["jump_item.computer_name"],
        description="With this part of the appliance's request.",
    )
    message: Annotated[str, Text("the denial's text", example="The task is for another computer")] = Field(
        description="The denial. %TaskFieldName%, %ComparatorSymbol% and %FieldValue% are replaced."
    )

    def checks(self) -> tuple[Check, ...]:
        """The column is compared with one thing, and the denial holds what it means to hold."""
        return self._one, self._words

    def _one(self) -> Iterator[Conflict]:
        if (self.value is None) == (self.reference is None):
            yield Conflict("exactly one of value and reference")

    def _words(self) -> Iterator[Conflict]:
        for name in _PLACEHOLDER.findall(self.message):
            if name not in MESSAGE_WORDS:
                near = difflib.get_close_matches(name, MESSAGE_WORDS, n=1)
                meant = f"did you mean '%{near[0]}%'?" if near else f"there are %{'%, %'.join(MESSAGE_WORDS)}%"
                yield Conflict(f"nothing stands for '%{name}%'; {meant}", ("message",))


OVERRIDES_EXAMPLE: Json = [
    {
        "field": "state",
        "comparator": "less",
        "value": "3",
        "message": "The task's state is %TaskFieldName%; it must be %ComparatorSymbol% %FieldValue%",
    },
    {
        "field": "cmdb_ci.name",
        "comparator": "equal",
        "reference": "jump_item.computer_name",
        "message": "The task is for another computer",
    },
]


MOST_RULES = 100
PLAIN_PATH = r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+"
"""Segments that nobody could read in two ways."""
OTHER_PATHS = ("/api/command", "/api/reporting", "/api/config/", "/oauth2/", "/check_health")


class RuleSettings(Section):
    """Which checks tickets of some tables or Jump Groups must pass. The first rule that fits a request is the only one.

    A rule without `tables` fits every table, one without `jump_groups` every group.
    """

    tables: tuple[Table, ...] = Field(
        default=(),
        examples=[["change_request"]],
        description="Tables of tasks that it is for, not those that extend them. Absent: any. A check of a column that "
        "only such a table has needs a rule that names the table.",
    )
    jump_groups: tuple[Annotated[str, Text("the name of a Jump Group", example="Servers", longest=255)], ...] = Field(
        default=(), examples=[["Servers"]], description="Jump Groups that it is for. Absent: any."
    )
    overrides: tuple[OverrideSettings, ...] = Field(
        default=(), description="As overrides of approvals, which they replace. Absent: those."
    )
    window: Boolean = Field(
        default=False,
        description="Demand also that now lies between the planned start and end of the change. "
        "A task that has no such dates is denied.",
    )
    grace: Annotated[float, Duration("0s", "7d")] | None = Field(
        default=None, examples=["15m"], description="So much before and after count too. Absent: none."
    )

    def checks(self) -> tuple[Check, ...]:
        """Whoever writes a grace period wants a window."""
        return (self._grace,)

    def shadows(self, other: RuleSettings) -> bool:
        """Whether every request that another rule is for fits this one too."""
        ours = ((self.tables, other.tables), (self.jump_groups, other.jump_groups))
        return all(not mine or (theirs and set(theirs) <= set(mine)) for mine, theirs in ours)

    def _grace(self) -> Iterator[Conflict]:
        if self.grace is not None and not self.window:
            yield Conflict("grace means nothing without window: true", ("grace",))


RULES_EXAMPLE: Json = [
    {"tables": ["change_request"], "window": True, "grace": "15m"},
    {
        "tables": ["incident"],
        "jump_groups": ["Workstations"],
        "overrides": [{"field": "active", "comparator": "equal", "value": "true", "message": "The incident is closed"}],
    },
]


class ApprovalSettings(Section):
    """How the appliance's requests for approval are decided."""

    mode: Annotated[Literal["evaluate", "forward", "off"], Choice("evaluate", "forward", "off")] = Field(
        default="evaluate", description="Check the ticket here, hand the request on to ServiceNow, or refuse."
    )
    deadline: Annotated[float, Duration("100ms", "1h")] = Field(
        default=20.0, description="No answer from ServiceNow in this time is a denial."
    )
    response_path: Annotated[str, Text("a plain path", PLAIN_PATH, RESPONSE_PATH, longest=255)] = Field(
        default=RESPONSE_PATH, description="The only path of the appliance that a decision may be sent to."
    )
    overrides: tuple[OverrideSettings, ...] = Field(
        default=(),
        examples=[OVERRIDES_EXAMPLE],
        description="Checks that replace those of the configuration item, the approval and the state.",
    )
    rules: tuple[RuleSettings, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        examples=[RULES_EXAMPLE],
        description="Other checks for some tables or Jump Groups; the first rule that fits counts.",
    )
    encoding: Annotated[Literal["form", "json"], Choice("form", "json")] = Field(
        default="form", description="How a decision is sent. One that is refused so is sent the other way, once."
    )
    remember: Annotated[float, Duration("0s", "1h")] = Field(
        default=0.0,
        description="An equal request within this time after one that was allowed is decided by what ServiceNow "
        "answered to that one. 0s: always ask. A denial is never remembered.",
    )

    def checks(self) -> tuple[Check, ...]:
        """Where decisions are taken is no other API of the appliance, and every rule can be the first that fits."""
        return self._own_path, self._in_reach

    def _in_reach(self) -> Iterator[Conflict]:
        for nth, rule in enumerate(self.rules):
            before = next((one for one in range(nth) if self.rules[one].shadows(rule)), None)
            if before is not None:
                yield Conflict(f"this rule is never used: rules[{before}] fits whatever it fits", ("rules", nth))

    def _own_path(self) -> Iterator[Conflict]:
        if self.response_path.startswith(OTHER_PATHS):
            yield Conflict("an API of the appliance has this path; decisions have one of their own", ("response_path",))
