"""What the flow of sessions needs of the two sides; the adapters are wired in by the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.core.session_report import Listed, SessionReport, Survey
from relay.core.session_rows import Link, Lookup, Place, Row


class Appliances(Protocol):
    """The appliances, each with its own account and limits."""

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now.

        Raises:
            ApplianceError: not now; `after` says in how many seconds, when that is known.

        """
        ...

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send the call once.

        Raises:
            ApplianceError: no usable HTTP answer.

        """
        ...


class Reader(Protocol):
    """Reads the appliances' reports; a long one without holding up anything else."""

    async def session(self, document: bytes, lsid: str) -> SessionReport | None:
        """The session that was asked for; None when the appliance says that there is none.

        Raises:
            ApplianceError: BSR-3009 it cannot be read, BSR-3019 the appliance's words for an error.

        """
        ...

    async def surveys(self, document: bytes, by: str) -> Sequence[Survey]:
        """Every exit survey of a report on those of customers or representatives.

        Raises:
            ApplianceError: as `session`.

        """
        ...

    async def listing(self, document: bytes) -> Sequence[Listed]:
        """Every line of a listing.

        Raises:
            ApplianceError: as `session`.

        """
        ...


class Records(Protocol):
    """ServiceNow's records for one appliance. Raises nothing but `ServiceNowError`.

    An error without `maybe_sent` changed nothing and never will.
    """

    async def tables(self) -> bool:
        """Whether rows are written: ServiceNow has the tables, or the configuration says so."""
        ...

    async def find(self, lookups: Sequence[Lookup]) -> Mapping[Link, Place]:
        """The record for each link: that of the first of its lookups that finds exactly one."""
        ...

    async def has(self, row: Row) -> bool:
        """Whether there is a row of this key. Asked before the first write, so that a repetition is known as one."""
        ...

    async def upsert(self, row: Row) -> str:
        """Write the row, insert or update by its key; returns its sys_id.

        May be repeated; after an unknown outcome not before that request has surely ended at ServiceNow.
        """
        ...

    async def insert(self, rows: Sequence[Row]) -> None:
        """Insert those rows whose key is not there yet. May be repeated as `upsert`.

        Raises:
            ServiceNowError: not all of them are there; of several errors one with `maybe_sent`, if there is one.

        """
        ...

    async def note(self, task: Place, text: str) -> None:
        """Add a work note to the task. Must not be repeated.

        Raises:
            ServiceNowError: `maybe_sent` tells whether the note may be there.

        """
        ...

    async def entry(self, record: Place, text: str, element: str) -> None:
        """Add an entry to another journal of a record, which no field of it leads to. As `note`."""
        ...

    async def entered(self, record: Place, mark: str, element: str) -> bool | None:
        """Whether an entry of this journal of a record ends in the mark; None when this account is refused its entries.

        An account that is silently shown none gets False too: see `Learned.sight`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of a session.

    Attributes:
        appliance: whose it is.
        lsid: of which session.
        name: tells it apart from others of the session: `screen`, `shell 0`.
        row: the sys_id of the session's row, "" where no rows are written.
        task: the session's task, None without one.
        ended: when the session ended, seconds since the epoch by the report; None when that cannot be read.

    """

    appliance: str
    lsid: str
    name: str
    row: str
    task: Place | None
    ended: int | None = None


class Keeper(Protocol):
    """Keeps recordings: attaches them, or stores them in a folder."""

    async def keep(self, recording: Recording) -> None:
        """Fetch it and keep it. May be repeated as `upsert`: no second copy comes about.

        Raises:
            ApplianceError: it could not be fetched.
            ServiceNowError: it could not be attached.
            StorageError: it could not be stored.

        """
        ...


Recordings = Literal["link", "attach", "store", "none"]
"""What is done with recordings: links are in the row and the note anyway, unless it is `none`."""
