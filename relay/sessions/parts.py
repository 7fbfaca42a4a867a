"""What the stages of a session's import share: the two sides, the store, and what the configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from relay.core.errors import ApplianceError, InternalError, RelayError
from relay.core.jobs import Job
from relay.core.note import Template
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.core.retry import Backoff
from relay.core.session_entries import JOURNALS
from relay.core.session_job import SESSION
from relay.core.session_report import SessionReport, without_recordings
from relay.core.session_rows import Link, Place, RowSettings
from relay.core.session_surveys import REPORTS as SURVEY_REPORTS
from relay.core.session_surveys import with_surveys
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger, Move
from relay.jobs.ports import Clock, Store
from relay.sessions.ports import Appliances, Keeper, Reader, Recordings, Records

KIND = SESSION.kind
PRIORITY = 2
"""Imports never go before anything that somebody waits for."""
REPORT = "report"
"""The body that is the report as it came."""
SURVEYS = {"customer": "customer survey", "representative": "representative survey"}
"""The bodies that are reports on exit surveys, by whose they are."""
GONE: Mapping[str, None] = dict.fromkeys((REPORT, *SURVEYS.values()))
"""As bodies of a move: what the appliance told is let go of."""
POST = "post"
"""The body that is a post of which nothing could be made."""
BY_HAND = "hand"
"""Whoever names a session wants that one: it is imported though sessions of its kind are left out."""
TROUBLE = Backoff(first=2.0, longest=300.0)
_LISTINGS = {"pra": "AccessSessionListing", "rs": "SupportSessionListing"}
_REPORTS = {"pra": "AccessSession", "rs": "SupportSession"}
LARGE = 256 * 1024
"""Bytes of a report from which a thread makes its rows; those of a smaller one take some milliseconds."""
HUGE = 1024 * 1024
"""Bytes of a report that waits until no other such one is unfolded: in memory it takes many times its size."""
PATIENCE = 60.0
"""Seconds that a job waits for that, before it makes room for others of its stage and comes again."""
T = TypeVar("T")
_OK = 200
_SERVER_ERRORS = 500


@dataclass(frozen=True, slots=True)
class Site:
    """What the configuration says of one appliance's sessions.

    Attributes:
        product: `pra` or `rs`.
        rows: what is written where.
        template: of the work note.
        import_external: sessions are imported that nothing leads back from.
        recordings: what is done with them.
        sweep: seconds between two looks for sessions that nobody told of; 0 is never: sessions of this appliance are
            not imported any more, and only what was taken before goes its way.

    """

    product: str
    rows: RowSettings
    template: Template
    import_external: bool = True
    recordings: Recordings = "link"
    sweep: float = 300.0


@dataclass(slots=True)
class Learned:
    """What was learned of the entries of a kind of journal since the start.

    Attributes:
        sight: this account has read an entry of its own, so that "absent" means something.
        noted: a record and the mark of an entry that it surely has; looking for it gives sight. Durable.
        stored: that entry was written in this life.

    """

    sight: bool = False
    noted: tuple[Place, str] | None = None
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a stage may use. `records` are by appliance, as `sites` are; `learned` is by journal.

    `settle`: seconds that ServiceNow may still work on a request that got no answer. `keeper`: None where no
    recordings are attached or stored. `room`: whether the disk has room for reports.
    """

    ledger: Ledger
    store: Store
    appliances: Appliances
    reader: Reader
    records: Mapping[str, Records]
    holds: Holds
    conditions: Conditions
    clock: Clock
    jitter: Callable[[], float]
    sites: Mapping[str, Site]
    settle: float
    keeper: Keeper | None = None
    room: Callable[[], bool] = lambda: True
    learned: Mapping[str, Learned] = field(default_factory=lambda: {name: Learned() for name in JOURNALS})
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever has a huge report unfolded."""

    @property
    def importing(self) -> list[str]:
        """The appliances whose sessions are imported."""
        return [name for name, site in self.sites.items() if site.sweep > 0]

    def fetches(self) -> bool:
        """Whether the appliances are asked for anything: what they tell must find room on the disk."""
        return self.open() and self.room()

    def open(self) -> bool:
        """Whether sessions are worked on: an ordinary pause does not stop them."""
        return not any(hold.everything for hold in self.holds.all().values())


def place_of(job: Job, link: Link) -> Place | None:
    """The record that a link of a job's session leads to, once it was looked up."""
    found = job.data["links"].get(link)
    return None if found is None else Place(*found)


def task_of(job: Job) -> Place | None:
    """The task that a job's session belongs to, once it was looked up."""
    return place_of(job, "task")


def delay(parts: Parts, tries: int, error: RelayError) -> float:
    """Seconds to wait after an error: as long as its request may still have an effect, at least."""
    wait = TROUBLE.delay(tries, parts.jitter(), error.after)
    return max(wait, parts.settle) if error.maybe_sent else wait


async def report_on(parts: Parts, appliance: str, lsid: str) -> bytes:
    """The answer to the question for one session.

    Raises:
        ApplianceError: there is none.

    """
    return (await _asked(parts, appliance, _REPORTS[_product(parts, appliance)], (("lsid", lsid),))).body


async def survey_on(parts: Parts, appliance: str, lsid: str, by: str) -> bytes:
    """The answer to the question for one session's exit surveys of a kind.

    Raises:
        ApplianceError: there is none.

    """
    name = SURVEY_REPORTS[by]
    return (await _asked(parts, appliance, name, (("lsid", lsid), ("report_type", "rep")))).body


async def listing_of(parts: Parts, appliance: str, since: int, seconds: int = 0) -> Reply:
    """The answer to the question which sessions ended within so many seconds from `since` on, seconds since the epoch.

    0 seconds: until now.

    Raises:
        ApplianceError: there is none.

    """
    times = (("end_time", str(since)), ("duration", str(seconds)))
    return await _asked(parts, appliance, _LISTINGS[_product(parts, appliance)], times)


@dataclass(frozen=True, slots=True)
class Stored:
    """A report, and whether it is so large that what is made of it is made in a thread."""

    report: SessionReport
    large: bool

    async def make(self, work: Callable[[], T]) -> T:
        """What `work` makes of the report, without holding up anything else."""
        return await asyncio.to_thread(work) if self.large else work()


class BusyError(Exception):
    """A huge report is at work, and will be for a while: `aside` is the move of a job that finds it so."""


def aside(job: Job) -> Move:
    """The job comes again later, as it is."""
    return Move(job, "put off", wait=PATIENCE)


@asynccontextmanager
async def unfolding(parts: Parts, size: int) -> AsyncIterator[None]:
    """While a report of so many bytes is unfolded: of huge ones one at a time. Keep nothing of it beyond.

    Raises:
        BusyError: it is not its turn within `PATIENCE`. One that waited longer would seem stuck.

    """
    if size <= HUGE:
        yield
        return
    try:
        await asyncio.wait_for(parts.turn.acquire(), PATIENCE)
    except TimeoutError:
        raise BusyError from None
    try:
        yield
    finally:
        parts.turn.release()


@asynccontextmanager
async def stored(parts: Parts, job: Job) -> AsyncIterator[Stored]:
    """The report of a job that has one, with its surveys, and without what the configuration wants nothing of.

    Keep nothing of it beyond: of huge ones there is one at a time.

    Raises:
        BusyError: see `unfolding`.

    """
    bodies = await _bodies(parts, job)
    size = sum(map(len, bodies.values()))
    if size > HUGE:  # whoever waits for its turn holds nothing meanwhile
        bodies.clear()
    async with unfolding(parts, size):
        bodies = bodies or await _bodies(parts, job)
        report = await parts.reader.session(bodies.pop(REPORT), job.data["lsid"])
        if report is None:
            raise InternalError(9001, f"the report of the session {job.data['lsid']} holds none")
        for by in job.data.get("surveys", ()):
            report = with_surveys(report, by, await parts.reader.surveys(bodies.pop(SURVEYS[by]), by))
        report = without_recordings(report) if parts.sites[job.lane].recordings == "none" else report
        yield Stored(report, size > LARGE)


async def _bodies(parts: Parts, job: Job) -> dict[str, bytes]:
    """The report of a job and those on its surveys."""
    found: dict[str, bytes] = {}
    for name in (REPORT, *(SURVEYS[by] for by in job.data.get("surveys", ()))):
        (document,) = await parts.store.bodies([job.id], name)
        if document is None:
            raise InternalError(9001, f"the {name} of the session {job.data['lsid']} is not in the store")
        found[name] = document
    return found


def _product(parts: Parts, appliance: str) -> str:
    return parts.sites[appliance].product


async def _asked(parts: Parts, appliance: str, name: str, more: tuple[tuple[str, str], ...]) -> Reply:
    request = ApplianceRequest(
        appliance=appliance,
        operation=name,
        method="GET",
        path="/api/reporting",
        query=(("generate_report", name), *more),
        safe=True,
        urgency="patient",
    )
    await parts.appliances.admit(request)
    reply = await parts.appliances.call(request)
    if reply.status != _OK:
        number = 3004 if reply.status >= _SERVER_ERRORS else 3019
        raise ApplianceError(number, f"{appliance}: status {reply.status} for {name}")
    return reply
