"""What happens in a session, and who takes part: the values that a report is written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relay.core.session_event_types import EVENT_TYPES

KINDS: Final = EVENT_TYPES
"""Every event type that reports were seen to hold."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who did something or to whom it was done. `type`: system, customer, representative or everyone."""

    name: str
    type: str = "system"
    gsnumber: int = 0


SYSTEM: Final = Party("Privileged Remote Access")
EVERYONE: Final = Party("All", "everyone")


@dataclass(frozen=True, slots=True)
class Category:
    """A part of an endpoint's system information: a table with the names of its columns, and its rows."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a report; what is empty has no element.

    Attributes:
        timestamp: UNIX seconds.
        kind: the event type.
        by: who did it.
        to: to whom.
        body: text. With characters that XML forbids it is written as `encoded_body`, unless `raw`.
        filename: of a file, as a child element, as older appliances write it.
        filesize: likewise.
        files: names and sizes of several files.
        data: names and values.
        system: system information.
        raw: the body is written as it is, which makes the report ill-formed when XML forbids a character of it.

    """

    timestamp: int
    kind: str
    by: Party | None = None
    to: Party | None = None
    body: str = ""
    filename: str = ""
    filesize: str = ""
    files: tuple[tuple[str, int], ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    system: tuple[Category, ...] = ()
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in a session: a representative, or the endpoint as `customer`. What is None has no element.

    Addresses are `a.b.c.d:port`, `[ipv6]:port`, `Unknown`, or missing. `info` are the answers of who asked for support.
    """

    gsnumber: int
    username: str
    display_name: str = "Admin"
    public_ip: str | None = "192.0.2.7:61606"
    private_ip: str | None = "10.0.0.4"
    hostname: str | None = None
    os: str | None = "Unknown"
    id: int = 1
    owner: bool = False
    invited: bool = False
    info: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """An exit survey that was filled in: by a `customer` or `representative`, at a time, questions and answers."""

    by: str
    name: str
    gsnumber: int
    timestamp: int
    answers: tuple[tuple[str, str], ...]
