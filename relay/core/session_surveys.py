"""Exit surveys of Remote Support: what a session's report says of them, and what reports of their own tell.

A session's report names who filled in a survey; questions and answers stand in a report of their own, one for each kind
of survey. A survey is an event of the session as well: a row of its own, under a key that stays the same whatever
language its questions are told in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from relay.core.jobs import Json
from relay.core.session_report import Actor, Event, Moment, Pairs, SessionReport, Survey

REPORTS: Final = {"customer": "SupportCustExitSurvey", "representative": "SupportRepExitSurvey"}
"""The report of each kind of survey."""
KINDS: Final = {"customer": "Customer Exit Survey", "representative": "Representative Exit Survey"}
"""The event type of each."""


def surveyed(report: SessionReport) -> list[str]:
    """The kinds of surveys that were filled in: whose."""
    return [by for by in REPORTS if any(survey.by == by for survey in report.surveys)]


def with_surveys(report: SessionReport, by: str, found: Iterable[Survey]) -> SessionReport:
    """The report with what the surveys of a kind hold, in the place of what it says of them."""
    told = [survey for survey in found if survey.lsid.lower() in {"", report.lsid.lower()}]
    said = [survey for survey in report.surveys if survey.by == by]
    others = tuple(survey for survey in report.surveys if survey.by != by)
    whole = [_joined(survey, said) for survey in told]
    known = {survey.number for survey in whole}
    # One that is told of without saying whose it is may be any of those that were named.
    left = said if not whole else [survey for survey in said if "" not in known and survey.number not in known]
    return replace(report, surveys=(*others, *left, *whole))


def survey_event(survey: Survey) -> Event:
    """The survey as an event: who answered and when; `body` has a line for each question, `data` each answer."""
    return Event(
        at=survey.at or Moment(None),
        type=KINDS.get(survey.by, ""),
        performed_by=survey.submitter or Actor("", survey.by, survey.number),
        body="\n".join(f"{asked}: {', '.join(answers)}" for asked, answers in _answered(survey)),
        data=_pairs(survey),
    )


def is_told(survey: Survey) -> bool:
    """Whether there is more of it than that it was filled in."""
    return survey.at is not None or bool(survey.questions)


def survey_identity(survey: Survey) -> Json:
    """What makes it this survey: whose it is and when it was filled in."""
    who = survey.number or (survey.submitter.number or survey.submitter.name if survey.submitter else "")
    return [survey.by, who, survey.at.seconds if survey.at is not None else None]


def _joined(survey: Survey, said: Collection[Survey]) -> Survey:
    """A survey with whatever else the session's report says of it."""
    number = survey.number or (survey.submitter.number if survey.submitter else "")
    meant = [one for one in said if one.number == number] if number else (list(said) if len(said) == 1 else [])
    if not meant:
        return replace(survey, number=number)
    [first, *_] = meant
    return replace(
        survey,
        number=number or first.number,
        at=survey.at or first.at,
        submitter=survey.submitter or first.submitter,
        questions=survey.questions or first.questions,
        extra=(*survey.extra, *(pair for pair in first.extra if pair not in survey.extra)),
    )


def _answered(survey: Survey) -> Iterable[tuple[str, tuple[str, ...]]]:
    return [(one.label or one.header or one.name or one.id, one.answers) for one in survey.questions]


def _pairs(survey: Survey) -> Pairs:
    return tuple((asked, answer) for asked, answers in _answered(survey) for answer in answers)
