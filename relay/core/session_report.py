"""A session as the appliance reports it: every element and event, those that nobody knows among them.

Nothing of a report is lost on the way here: what has no attribute of its own is in `extra`, as a path below the
element (`team_list/team@id`) and its text. Texts are as they came; a number or a time that cannot be read is None, and
its text is in `extra`.

Product differences do not show: Privileged Remote Access calls the users of a session representatives and the endpoint
a customer as well, and the namespace is gone. A file's name and size stand in `files`, whether the report has them as
elements (older releases) or among the event's data values.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

Pairs = tuple[tuple[str, str], ...]
"""Names and values, in order; a name may stand more than once."""

LATEST: Final = 253_402_300_799
"""The last second of the year 9999."""
_SECONDS: Final = re.compile(r"([0-9]{1,12})(?:\.[0-9]+)?", re.ASCII)
_CLOCK: Final = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])", re.ASCII)
_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+", re.ASCII)
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time: seconds since the epoch, None when it cannot be read, and its text (ISO 8601 with offset)."""

    seconds: int | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """Something with an id: a jump group, a jumpoint, a public site, a team. `kind`: shared or personal."""

    name: str
    id: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, or to whom. `number` links to a participant of the report (`gsnumber`); 0 is the system.

    `kind`: system, customer, representative or everyone, as it came.
    """

    name: str
    kind: str = ""
    number: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file that an event is about. `size` is in bytes, as it came."""

    name: str
    size: str = ""


@dataclass(frozen=True, slots=True)
class Category:
    """A category of an endpoint's system information: a table. `columns` may be empty; a row is names and values."""

    name: str
    columns: Pairs = ()
    rows: tuple[Pairs, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a session.

    Attributes:
        at: when.
        type: its kind, an open list (`Chat Message`, `File Upload`, ...); "" when it has none.
        body: what was said or noted, readable: of a body in base64 the text that it holds.
        encoded_body: the base64 as it came, "" when there is none.
        data: names and values; they differ by the type.

    """

    at: Moment
    type: str
    performed_by: Actor | None = None
    destination: Actor | None = None
    body: str = ""
    encoded_body: str = ""
    files: tuple[File, ...] = ()
    data: Pairs = ()
    system_information: tuple[Category, ...] = ()
    extra: Pairs = ()


@dataclass(frozen=True, slots=True)
class Participant:
    """An endpoint or customer, or a user of the appliance, who took part.

    Attributes:
        number: what events call it (`gsnumber`).
        public_ip, private_ip: as they came, with port, `Unknown` or ""; `address_of` reads them.
        owner, primary, invited: whether the report says so.
        seconds_involved: None when it does not say.
        info: what a customer wrote about itself: name, company, company_code, issue, details.

    """

    number: str
    id: str = ""
    username: str = ""
    display_name: str = ""
    public_display_name: str = ""
    private_display_name: str = ""
    public_ip: str = ""
    private_ip: str = ""
    hostname: str = ""
    os: str = ""
    owner: bool = False
    primary: bool = False
    invited: bool = False
    seconds_involved: int | None = None
    info: Pairs = ()
    extra: Pairs = ()

    @property
    def name(self) -> str:
        """The name to show: the display name, else the user name, else the host name."""
        return self.display_name or self.username or self.hostname


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a survey and what was answered."""

    id: str
    kind: str = ""
    name: str = ""
    label: str = ""
    header: str = ""
    answers: tuple[str, ...] = ()
    extra: Pairs = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """An exit survey. `by`: customer or representative. In a session's report it may say no more than who gave it."""

    by: str
    number: str = ""
    lsid: str = ""
    at: Moment | None = None
    submitter: Actor | None = None
    questions: tuple[Question, ...] = ()
    extra: Pairs = ()


@dataclass(frozen=True, slots=True)
class ShellRecording:
    """The recording of a command shell; `instance` counts from 0."""

    instance: str
    view_url: str = ""
    download_url: str = ""
    extra: Pairs = ()


@dataclass(frozen=True, slots=True)
class CustomAttribute:
    """A custom field of the session."""

    code_name: str
    value: str
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class SessionReport:
    """A session. `ended` is None while it runs (see `running`).

    Links are there only when it ended, and what they lead to exists.
    """

    lsid: str
    type: str = ""
    sequence: str = ""
    started: Moment | None = None
    ended: Moment | None = None
    duration: str = ""
    external_key: str = ""
    attributes: tuple[CustomAttribute, ...] = ()
    jumpoint: Named | None = None
    jump_group: Named | None = None
    public_site: Named | None = None
    teams: tuple[Named, ...] = ()
    chat_view_url: str = ""
    chat_download_url: str = ""
    recording_view_url: str = ""
    recording_download_url: str = ""
    shell_recordings: tuple[ShellRecording, ...] = ()
    file_transfer_count: int | None = None
    file_move_count: int | None = None
    file_delete_count: int | None = None
    primary_customer: Actor | None = None
    primary_rep: Actor | None = None
    customers: tuple[Participant, ...] = ()
    representatives: tuple[Participant, ...] = ()
    surveys: tuple[Survey, ...] = ()
    events: tuple[Event, ...] = ()
    extra: Pairs = ()

    def attribute(self, code_name: str) -> str:
        """The value of a custom field, "" without it. Code names are the same in any case."""
        wanted = code_name.casefold()
        return next((one.value.strip() for one in self.attributes if one.code_name.casefold() == wanted), "")

    @property
    def running(self) -> bool:
        """Whether it has no end yet; an end at the epoch is none either."""
        return self.ended is None or self.ended.seconds == 0

    @property
    def endpoint(self) -> Participant | None:
        """The primary customer: the endpoint of the session."""
        return _primary(self.customers, self.primary_customer)

    @property
    def lead(self) -> Participant | None:
        """The primary representative."""
        return _primary(self.representatives, self.primary_rep)

    @property
    def duration_seconds(self) -> int | None:
        """What the report says, else end less start; None when neither can be read."""
        if (said := clock_seconds(self.duration)) is not None:
            return said
        if self.running or not self.started or not self.ended:
            return None
        if self.started.seconds is None or self.ended.seconds is None:
            return None
        return max(0, self.ended.seconds - self.started.seconds)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a listing of sessions."""

    lsid: str
    has_recording: bool


def without_recordings(report: SessionReport) -> SessionReport:
    """The report without its recordings and what leads to them."""
    return replace(report, recording_view_url="", recording_download_url="", shell_recordings=())


def _primary(all_of_them: tuple[Participant, ...], named: Actor | None) -> Participant | None:
    """Who is named by number, else marked, else alone or first."""
    if named is not None and named.number:
        for one in all_of_them:
            if one.number == named.number:
                return one
    return next((one for one in all_of_them if one.primary), all_of_them[0] if all_of_them else None)


def read_seconds(text: str) -> int | None:
    """UNIX seconds, None when the text is none or beyond the year 9999."""
    found = _SECONDS.fullmatch(text.strip())
    return None if found is None or int(found[1]) > LATEST else int(found[1])


def read_moment(timestamp: str, text: str) -> Moment | None:
    """The time of an element with `@timestamp` and ISO text; None when both are empty. Without offset it is UTC."""
    timestamp, text = timestamp.strip(), text.strip()
    if not timestamp and not text:
        return None
    seconds = read_seconds(timestamp)
    if seconds is None and text:
        try:
            found = datetime.fromisoformat(text)
            seconds = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            seconds = None
        if seconds is not None and not 0 <= seconds <= LATEST:
            seconds = None
    return Moment(seconds, text or timestamp)


def clock_seconds(text: str) -> int | None:
    """The seconds of `HH:MM:SS`, which may exceed a day; None when it is none."""
    found = _CLOCK.fullmatch(text.strip())
    return None if found is None else int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])


def address_of(text: str) -> str:
    """The IP address in `a.b.c.d:port`, `[ipv6]:port` or an address alone; "" in `Unknown`, in any language."""
    text = text.strip()
    found = _PORT.fullmatch(text)
    bare = (found[1] or found[2]) if found else text
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return ""
    return bare


def decoded(encoded: str) -> str:
    """The text in a body of base64, without what no field can show; "" when it is no base64."""
    try:
        raw = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return writable(raw.decode("utf-8", "replace"))


def writable(text: str) -> str:
    """The text with each character that XML 1.0 forbids replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)
