"""The exception tree and the registry behind it."""

from __future__ import annotations

import pytest

from relay.core.errors import (
    ApplianceError,
    ConfigError,
    InternalError,
    ListenerError,
    RelayError,
    ServiceNowError,
    StorageError,
    WorkError,
)
from relay.core.record import Reply

FAMILIES = [ConfigError, ServiceNowError, ApplianceError, WorkError, StorageError, ListenerError, InternalError]


def test_an_error_says_its_code_cause_and_detail() -> None:
    """The text of an error is its code, the registry's cause and this occurrence's detail."""
    error = ServiceNowError(2003, "30 s")
    assert (error.code, error.number) == ("BSR-2003", 2003)
    assert error.text == str(error) == "BSR-2003: ServiceNow did not answer in time: 30 s"
    assert WorkError(4009).text == "BSR-4009: the operation's own rate limit is reached"


def test_an_error_answers_what_a_caller_may_do() -> None:
    """Retryable and hint come from the registry, the rest from who raised it."""
    error = ServiceNowError(2007, maybe_sent=True, after=3.0)
    assert error.retryable
    assert error.hint == error.entry.fix
    assert error.maybe_sent
    assert error.after == 3.0
    assert not ServiceNowError(2015).retryable
    assert not ServiceNowError(2015).maybe_sent


@pytest.mark.parametrize("family", FAMILIES)
def test_a_class_takes_only_codes_of_its_own_family(family: type[RelayError]) -> None:
    """A class refuses the codes of every other class."""
    for other in FAMILIES:
        if other is not family:
            with pytest.raises(ValueError, match="does not belong"):
                family(other.family.start + 1)


def test_a_number_that_is_not_registered_cannot_be_raised() -> None:
    """Every error has its row in the registry."""
    with pytest.raises(KeyError):
        WorkError(4999)


@pytest.mark.parametrize(
    ("number", "executed"), [(3008, True), (3009, True), (3013, True), (3003, False), (3001, False)]
)
def test_an_appliance_error_tells_whether_the_call_was_made(number: int, executed: bool) -> None:
    """Only an answer that is of no use proves that the call was made."""
    assert ApplianceError(number).executed is executed


def test_an_appliance_error_keeps_the_reply_that_said_no() -> None:
    """A 429 stays with its error, for a caller that gives up."""
    reply = Reply(429)
    assert ApplianceError(3007, reply=reply).reply is reply
    assert ApplianceError(3007).reply is None
