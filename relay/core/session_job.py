"""The life of a session's import: its state table, and the decisions along it.

NOTICED     an event, the sweep or an administrator named the session; its report is not here yet
FETCHED     the whole report is on disk: it has an end time
WRITTEN     ServiceNow has the session's row and those of its events, and those journal entries that are done with
NOTING      a journal entry, the work note say, is on its way; nobody knows more until an answer or an error is stored
ASKING      the entry had an unknown outcome: ServiceNow is asked for its mark
NOTED       every journal has its entry, or there is none to have; recordings are to be kept
DONE        ServiceNow has everything; swept later, a tombstone stays
LEFT        not imported: started outside ServiceNow, and such sessions are left out; or it is another appliance's
DEAD        it cannot be imported as it is; waits for an administrator, the report is kept
UNKEPT      everything but the recordings is there; waits for an administrator

Why only journal entries have states for an unknown outcome: rows carry keys of their own, so that writing them twice
changes nothing, and so do attachments; a second work note is one that people see. Entries are written one after the
other, each from WRITTEN and back; which of them are done with is in the job's data (`core/session_entries.py`), so that
no way leads twice to the same one. No way leads from NOTED back to NOTING but over an end: an administrator may have a
session imported again, and what was said of its entries stays known then.
"""

from __future__ import annotations

from relay.core.errors import ApplianceError, RelayError, ServiceNowError
from relay.core.jobs import Job
from relay.core.machine import StateTable
from relay.core.queue import FORBIDDEN, FORBIDDEN_TRIES, LOOKS_FOR_ABSENT, LOOKS_WITHOUT_SIGHT, Verdict
from relay.core.retry import Backoff
from relay.core.session_report import SessionReport
from relay.core.session_rows import started_outside

NOTICED = "NOTICED"
FETCHED = "FETCHED"
WRITTEN = "WRITTEN"
NOTING = "NOTING"
ASKING = "ASKING"
NOTED = "NOTED"
DONE = "DONE"
LEFT = "LEFT"
DEAD = "DEAD"
UNKEPT = "UNKEPT"

SESSION = StateTable(
    kind="session",
    initial=NOTICED,
    rows={
        NOTICED: {
            "fetched": FETCHED,
            "still running": NOTICED,
            "not there yet": NOTICED,
            "put off": NOTICED,
            "started outside": LEFT,
            "elsewhere": LEFT,
            "given up": DEAD,
            "unreadable": DEAD,
            "report refused": DEAD,
            "passed on": DONE,
            "discarded": DONE,
        },
        FETCHED: {
            "written": WRITTEN,
            "part written": FETCHED,
            "put off": FETCHED,
            "rows refused": DEAD,
            "discarded": DONE,
        },
        WRITTEN: {
            "noting": NOTING,
            "noted before": WRITTEN,
            "all noted": NOTED,
            "put off": WRITTEN,
        },
        NOTING: {
            "noted": WRITTEN,
            "not noted": WRITTEN,
            "left out": WRITTEN,
            "note unknown": ASKING,
            "note refused": DEAD,
            "found at start": ASKING,
        },
        ASKING: {
            "found": WRITTEN,
            "absent": WRITTEN,
            "cannot be asked": WRITTEN,
            "put off": ASKING,
        },
        NOTED: {
            "kept": DONE,
            "part kept": NOTED,
            "part refused": NOTED,
            "put off": NOTED,
            "not kept": UNKEPT,
        },
        DEAD: {
            "retried": NOTICED,
            "discarded": DONE,
        },
        UNKEPT: {
            "retried": NOTED,
            "discarded": DONE,
        },
        DONE: {"asked again": NOTICED},
        LEFT: {"asked again": NOTICED},
    },
)

LOOK = Backoff(first=5.0, longest=300.0)
"""How long to wait before a report is fetched again: it lags behind the event by seconds, a session may take hours."""
MISSING_LIMIT = 3_600.0
"""Seconds that the appliance may not know a session that somebody named."""
RUNNING_LIMIT = 86_400.0
"""Seconds that a session may go on after it was named. One that goes on longer is found by the sweep when it ended."""
UNREADABLE_TRIES = 3
"""A report that was cut off on its way is whole the next time; one that is ill-formed stays so."""
REFUSED_TRIES = 10
"""Right after its end the appliance may answer for a session with an error; ten tries take some twenty minutes."""
SURVEY_LAG = 30.0
"""Seconds from the event that a survey was filled in until reports surely tell of it."""
SURVEY_TRIES = 8
"""Tries to get a survey, some four minutes; then the session comes home without what it says."""
RECORDING_TRIES = 5
"""One that ended early is whole the next time; what is no recording stays so."""
TRANSFER_TRIES = 50
"""Tries that got as far as to send something, some hours of them: something between the two sides may cut off what is
too large for it each time, and gigabytes must not go to and fro for ever."""
_UNREADABLE = 3009
_ERROR = 3019
_NO_END = 3020
_USELESS = frozenset({3008, 3013})
_NO_RECORDING = frozenset({3021, 3022})
_PACED = frozenset({3007, 3011})
_SIDES = frozenset(
    {2001, 2002, 2005, 2007, 2008, 2009, 2017, 2020, 2024, 2028, 3001, 3002, 3005, 3006, 3011, 3014, 3015, 3018}
)
"""The way to a side, its account or all of it fails. What came late or broke off may be about one session alone."""


def after_report(
    report: SessionReport | None, *, waited: float, import_external: bool, elsewhere: bool = False
) -> Verdict:
    """Decide about a report that was read; None is the appliance's "nothing found".

    `waited`: seconds since the session was named. `elsewhere`: another appliance, whose it may be as well, has it. What
    leads back to ServiceNow may be set while a session goes on, so that whether it was started outside is asked at its
    end.
    """
    if report is None and elsewhere:
        return Verdict("elsewhere")
    if report is None:
        return Verdict("not there yet") if waited < MISSING_LIMIT else Verdict("given up", _NO_END)
    if report.running:
        return Verdict("still running") if waited < RUNNING_LIMIT else Verdict("given up", _NO_END)
    if not import_external and started_outside(report):
        return Verdict("started outside")
    return Verdict("fetched")


def after_fetch_error(error: ApplianceError, *, tries: int) -> Verdict:
    """Decide about a report that could not be had. `tries` counts failures of this code in a row, this one included.

    What may pass by itself, or when somebody mends the appliance or its configuration, waits for any time.
    """
    if error.number in _USELESS or (error.number == _ERROR and tries >= REFUSED_TRIES):
        return Verdict("report refused", error.number)
    if error.number == _UNREADABLE and tries >= UNREADABLE_TRIES:
        return Verdict("unreadable", error.number)
    return Verdict("put off")


def after_survey_error(error: ApplianceError | None, *, tries: int) -> Verdict:
    """Decide about an exit survey that could not be had; None is the appliance's "nothing found".

    `tries` counts failures, this one included. Surveys may lag behind the session's report. A permission that is
    missing holds up nothing; the account's limits hold up the whole import anyway.
    """
    if error is not None and error.number in _PACED:
        return Verdict("put off")
    passes = error is None or error.retryable
    return Verdict("put off" if passes and tries < SURVEY_TRIES else "fetched")


def after_survey(session: Job | None, *, by: str, told: float) -> str:
    """Decide about an event that an exit survey was filled in, some time after it came.

    Args:
        session: the session's own job.
        by: whose survey.
        told: when the event came.

    Returns:
        `passed on`: nothing is to be done, the session's import has the survey or will have it; `asked again`: the
        session is to be imported again; `put off`: it is under way, nobody knows with or without the survey.

    """
    if session is None or session.state in {LEFT, DEAD}:
        return "passed on"
    if session.state != DONE:
        return "put off"
    there = by in session.data.get("surveys", ()) and session.data.get("fetched", 0.0) >= told
    return "passed on" if there else "asked again"


def of_the_side(error: RelayError) -> bool:
    """Whether a step that failed with this error says of other sessions that theirs would fail now as well."""
    return error.number in _SIDES


def after_rows_error(error: ServiceNowError, *, tries: int) -> Verdict:
    """Decide about rows that could not be written, or may not have been. `tries` counts failures, this one included."""
    return Verdict("put off") if _passes(error, tries) else Verdict("rows refused", error.number)


def before_note(*, known: bool, found: bool | None) -> str:
    """The event that an outstanding journal entry calls for.

    Args:
        known: ServiceNow had the session before this job first wrote it, so that a former job may have written the
            entry.
        found: its mark stands in the journal; None when this cannot be read. Asked only when known.

    """
    if not known or found is False:
        return "noting"
    return "noted before"  # where it cannot be seen, no entry is better than a second one


def after_note_error(error: ServiceNowError, *, tries: int, needed: bool = True) -> Verdict:
    """Decide about a journal entry whose write failed. `tries` counts failures, this one included.

    `needed`: an import without this entry is not done. One that is not needed does not wait for a missing right.
    """
    if error.maybe_sent:
        return Verdict("note unknown")
    if _passes(error, tries if needed else FORBIDDEN_TRIES):
        return Verdict("not noted")
    return Verdict("note refused", error.number) if needed else Verdict("left out")


def after_look(*, found: bool | None, looks: int, sight: bool) -> str:
    """The event after ServiceNow was asked for the mark of a journal entry.

    Args:
        found: it is there; None when this account cannot read the journal.
        looks: how often it was not found, this time included.
        sight: this account has read an entry of its own in such a journal since the start, so that "absent" means
            something.

    """
    if found is None or (not found and not sight and looks >= LOOKS_WITHOUT_SIGHT):
        return "cannot be asked"
    if found:
        return "found"
    return "absent" if sight and looks >= LOOKS_FOR_ABSENT else "put off"


def after_recording_error(error: RelayError, *, tries: int, transfers: int) -> Verdict:
    """Decide about a recording that could not be kept. One that is gone or too large is given up at once.

    The appliance's other words may mean that it is not ready yet.

    Args:
        error: why not.
        tries: failures of this recording, this one included.
        transfers: those of them after something was sent.

    """
    patience = REFUSED_TRIES if error.number == _ERROR else RECORDING_TRIES
    hopeless = error.number in _NO_RECORDING or transfers >= TRANSFER_TRIES
    if not hopeless and (error.retryable or tries < patience):
        return Verdict("put off")
    return Verdict("part refused", error.number)


def _passes(error: ServiceNowError, tries: int) -> bool:
    """Whether it may pass; a missing role gets some minutes to be mended before it is a refusal."""
    return error.maybe_sent or (error.retryable and not (error.number == FORBIDDEN and tries >= FORBIDDEN_TRIES))
