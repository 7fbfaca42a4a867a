"""How a session stands, and what becomes of it when somebody asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.jobs import Job, Tombstone
from relay.core.session_job import SESSION
from relay.core.session_standing import AFRESH, NEW, OPEN, afresh, standing, trouble, when_asked


def job_in(state: str, not_before: float = 0.0, **data: Any) -> Job:
    return Job("j", "session", state, 1, 2, "default", not_before, 0, 1.0, 1.0, data)


def stone_of(outcome: str) -> Tombstone:
    return Tombstone("j", "session", outcome, "", 1.0)


@pytest.mark.parametrize(
    ("job", "stone", "expected"),
    [
        (None, None, "unknown"),
        (None, stone_of("DONE"), "home"),
        (None, stone_of("LEFT"), "left out"),
        (None, stone_of("discarded"), "discarded"),
        (job_in("DONE"), None, "home"),
        (job_in("DONE", discarded="why"), None, "discarded"),
        (job_in("LEFT"), None, "left out"),
        (job_in("DEAD"), None, "failed"),
        (job_in("UNKEPT"), None, "failed"),
        (job_in("NOTICED", looks=1), None, "running"),
        *(
            (job_in(state), None, "under way")
            for state in ("NOTICED", "FETCHED", "WRITTEN", "NOTING", "ASKING", "NOTED")
        ),
    ],
)
def test_how_a_session_stands(job: Job | None, stone: Tombstone | None, expected: str) -> None:
    """Its job says so, or what is remembered of it; those that are on their way go on by themselves."""
    assert standing(job, stone) == expected
    waits = job is not None and job.state not in {"DONE", "LEFT", "DEAD", "UNKEPT"}
    assert (standing(job, stone) in OPEN) == waits


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (None, None),
        (job_in("DONE", code=3022), None),
        (job_in("DEAD", code=3009), 3009),
        (job_in("DEAD"), None),
        (job_in("NOTICED", failed=[3001, 4]), 3001),
        (job_in("NOTICED", failed=["odd", 4]), None),
    ],
)
def test_what_a_session_waits_or_failed_with(job: Job | None, expected: int | None) -> None:
    """The code is told of what waits or failed, and not of what is done."""
    assert trouble(job) == expected


@pytest.mark.parametrize(
    ("job", "stone", "of_all", "of_named"),
    [
        (None, None, NEW, NEW),
        (None, stone_of("DONE"), "", NEW),
        (job_in("DONE"), None, "", "asked again"),
        (job_in("LEFT"), None, "", "asked again"),
        (job_in("DEAD"), None, "retried", "retried"),
        (job_in("UNKEPT"), None, "retried", "retried"),
        (job_in("NOTICED", looks=2), None, "still running", "still running"),
        (job_in("NOTICED", by="hand"), None, "", ""),
        (job_in("NOTICED", by="sweep"), None, "put off", "put off"),
        (job_in("NOTICED", 9.0, by="hand"), None, "put off", "put off"),
        (job_in("FETCHED", by="sweep"), None, "", ""),
        (job_in("WRITTEN"), None, "", ""),
    ],
)
def test_what_becomes_of_it(job: Job | None, stone: Tombstone | None, of_all: str, of_named: str) -> None:
    """What is done with is imported again only when that is meant; what is on its way looks now, at most."""
    assert when_asked(job, stone, anew=False, by="hand") == of_all
    assert when_asked(job, stone, anew=True, by="hand") == of_named
    if job is not None:
        assert {of_all, of_named} - {""} <= set(SESSION.rows[job.state])


def test_what_was_written_is_not_forgotten() -> None:
    """A job that begins again keeps which journal entries stand, and what was known at first."""
    assert not {"noted", "known", "kept", "row", "due"} & set(AFRESH)
    assert afresh("hand") == {**dict.fromkeys(AFRESH), "by": "hand"}
