"""What an event says."""

from __future__ import annotations

import pytest

from relay.core.session_events import is_end, job_of, lsid_of, survey_of


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("support_conference_end", True),
        ("access_session_end", True),
        ("Access Session End", True),
        ("session_end", True),
        ("session-ended", True),
        ("", True),
        ("support_conference_begin", False),
        ("support_conference_member_departed", False),
        ("obsession_end", False),
        ("access_session_endpoint", False),
    ],
)
def test_the_end_of_a_session_is_known_in_every_spelling(name: str, end: bool) -> None:
    """An end is an end whatever product and release call it, and nothing else is."""
    assert is_end({"event": name}) is end


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("support_conference_rep_exit_survey_completed", "representative"),
        ("support_conference_customer_exit_survey_completed", "customer"),
        ("Customer Exit Survey", "customer"),
        ("support_conference_end", ""),
        ("exit_survey", ""),
        ("", ""),
    ],
)
def test_whose_survey_was_filled_in(name: str, by: str) -> None:
    """In every spelling; nothing else is a survey."""
    assert survey_of({"event": name}) == by


def test_an_event_without_a_name_was_sent_to_tell_of_the_end() -> None:
    """The vendor's own path takes nothing but ends."""
    assert is_end({"lsid": "a"})


@pytest.mark.parametrize(("given", "lsid"), [(" ab ", "ab"), ("", ""), ("a" * 256, ""), ("a\nb", ""), ("\ud800", "")])
def test_only_what_can_be_an_lsid_is_one(given: str, lsid: str) -> None:
    """Spaces around it do not count; what is too long or cannot be shown is none."""
    assert lsid_of({"lsid": given}) == lsid
    assert not lsid_of({})


def test_a_session_has_one_job_for_each_appliance() -> None:
    """The case of an lsid makes no other session; the appliance does."""
    assert job_of("a", "AB") == job_of("a", "ab") != job_of("b", "ab")
