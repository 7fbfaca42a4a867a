"""Exit surveys: what a session says of them and what they say themselves, in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ApplianceError
from relay.core.jobs import Job
from relay.core.session_job import SESSION, SURVEY_TRIES, after_survey, after_survey_error
from relay.core.session_report import Actor, Event, Moment, Question, SessionReport, Survey
from relay.core.session_rows import RowSettings, event_rows
from relay.core.session_surveys import is_told, survey_event, surveyed, with_surveys

SAID = Survey("customer", "2")
QUESTIONS = (
    Question("1", label="Solved?", answers=("Yes", "No")),
    Question("2", header="Comment", answers=("",)),
    Question("3", name="q3"),
    Question("4"),
)
TOLD = Survey("customer", "", "AB", Moment(9), Actor("Jane", "customer", "2"), QUESTIONS)
REPORT = SessionReport("ab", surveys=(SAID, Survey("representative", "1")))


def kinds(report: SessionReport) -> list[tuple[str, str, bool]]:
    return [(one.by, one.number, is_told(one)) for one in report.surveys]


def test_whose_surveys_are_to_be_fetched() -> None:
    """Those of which the session's report names one."""
    assert surveyed(REPORT) == ["customer", "representative"]
    assert surveyed(replace(REPORT, surveys=(SAID,))) == ["customer"]
    assert surveyed(SessionReport("ab")) == []


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ((TOLD,), [("representative", "1", False), ("customer", "2", True)]),
        ((replace(TOLD, submitter=None),), [("representative", "1", False), ("customer", "2", True)]),
        ((replace(TOLD, lsid="other"),), [("representative", "1", False), ("customer", "2", False)]),
        ((), [("representative", "1", False), ("customer", "2", False)]),
        (
            (replace(TOLD, number="3"),),
            [("representative", "1", False), ("customer", "2", False), ("customer", "3", True)],
        ),
    ],
)
def test_what_is_told_takes_the_place_of_what_is_said(
    found: tuple[Survey, ...], kept: list[tuple[str, str, bool]]
) -> None:
    """By the participant's number, or where there is but one; what is of another session is left out."""
    assert kinds(with_surveys(REPORT, "customer", found)) == kept


def test_surveys_that_do_not_say_whose_they_are() -> None:
    """Of several nobody knows which is which: what is told stands for all that was said."""
    report = replace(REPORT, surveys=(SAID, replace(SAID, number="3")))
    nameless = replace(TOLD, submitter=None)
    assert kinds(with_surveys(report, "customer", (nameless, nameless))) == [("customer", "", True)] * 2


def test_nothing_that_was_said_is_lost() -> None:
    """What the session's report holds beside the number goes on in the survey, once."""
    said = replace(SAID, at=Moment(5), questions=QUESTIONS[:1], extra=(("a", "b"), ("c", "d")))
    told = replace(TOLD, at=None, questions=(), extra=(("c", "d"),))
    (survey,) = with_surveys(replace(REPORT, surveys=(said,)), "customer", (told,)).surveys
    assert (survey.at, survey.questions, survey.extra) == (Moment(5), QUESTIONS[:1], (("c", "d"), ("a", "b")))


def test_a_survey_as_an_event() -> None:
    """A line for each question, by whatever name it has, and each answer beside it."""
    event = survey_event(TOLD)
    assert event == Event(
        Moment(9),
        "Customer Exit Survey",
        TOLD.submitter,
        body="Solved?: Yes, No\nComment: \nq3: \n4: ",
        data=(("Solved?", "Yes"), ("Solved?", "No"), ("Comment", "")),
    )
    bare = survey_event(Survey("representative", "1", questions=QUESTIONS[3:]))
    assert (bare.type, bare.performed_by, bare.at) == (
        "Representative Exit Survey",
        Actor("", "representative", "1"),
        Moment(None),
    )


SURVEYS = st.lists(
    st.builds(
        Survey,
        st.sampled_from(["customer", "representative"]),
        st.sampled_from(["", "1", "2"]),
        at=st.none() | st.builds(Moment, st.integers(0, 2)),
        submitter=st.none() | st.builds(Actor, st.sampled_from(["A", "B"])),
        questions=st.sampled_from([(), QUESTIONS[:1]]),
    ),
    max_size=6,
).map(tuple)


@given(SURVEYS, st.lists(st.builds(Event, st.builds(Moment, st.integers(0, 2)), st.just("x")), max_size=3).map(tuple))
def test_each_survey_has_a_row_of_its_own(surveys: tuple[Survey, ...], events: tuple[Event, ...]) -> None:
    """Its key is unlike every other and stays when its words are told in another language or further events come."""
    settings = RowSettings("default")
    rows = list(event_rows(SessionReport("a", surveys=surveys, events=events), settings))
    told = [survey for survey in surveys if is_told(survey)]
    assert len({row.key for row in rows}) == len(rows) == len(events) + len(told)
    assert [row.values["sequence"] for row in rows] == [str(number + 1) for number in range(len(rows))]
    other = tuple(replace(one, questions=QUESTIONS[1:2] if one.questions else ()) for one in surveys)
    again = event_rows(SessionReport("a", surveys=other), settings)
    assert [row.key for row in again] == [row.key for row in rows[len(events) :]]


@pytest.mark.parametrize(
    ("error", "tries", "event"),
    [
        (None, SURVEY_TRIES - 1, "put off"),
        (None, SURVEY_TRIES, "fetched"),
        (ApplianceError(3001), SURVEY_TRIES - 1, "put off"),
        (ApplianceError(3001), SURVEY_TRIES, "fetched"),
        (ApplianceError(3019), 1, "fetched"),
        (ApplianceError(3007), 999, "put off"),
        (ApplianceError(3011), 999, "put off"),
    ],
)
def test_a_survey_holds_up_no_session(error: ApplianceError | None, tries: int, event: str) -> None:
    """It is waited for some minutes, or as long as the account's limits hold up everything."""
    assert after_survey_error(error, tries=tries).event == event


@pytest.mark.parametrize(
    ("state", "data", "event"),
    [
        (None, {}, "passed on"),
        ("LEFT", {}, "passed on"),
        ("DEAD", {}, "passed on"),
        ("NOTING", {}, "put off"),
        ("UNKEPT", {}, "put off"),
        ("DONE", {}, "asked again"),
        ("DONE", {"surveys": ["representative"], "fetched": 20.0}, "asked again"),
        ("DONE", {"surveys": ["customer"], "fetched": 9.0}, "asked again"),
        ("DONE", {"surveys": ["customer"], "fetched": 10.0}, "passed on"),
    ],
)
def test_what_becomes_of_the_news_of_a_survey(state: str | None, data: dict[str, Any], event: str) -> None:
    """A session that is home without it is imported again; one that has it, or will have it, is not."""
    job = state and Job("x", "session", state, 1, 2, "a", 0.0, 0, 0.0, 0.0, data)
    assert after_survey(job or None, by="customer", told=10.0) == event
    assert event in SESSION.rows["DONE" if event == "asked again" else "NOTICED"]
