"""What answers of the instance mean."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ServiceNowError
from relay.host.exchange import FaultKind
from relay.host.http import HttpFault
from relay.servicenow.answers import fault_error, value_of

JSON = "application/json;charset=UTF-8"
NOW = 784111777.0
FAILURE = json.dumps({"error": {"message": "m", "detail": "very-secret"}, "status": "failure"}).encode()


def error_of(status: int, body: bytes = b"", **known: Any) -> ServiceNowError:
    with pytest.raises(ServiceNowError) as caught:
        value_of(status, body, **known)
    return caught.value


@pytest.mark.parametrize("status", [200, 201])
def test_success(status: int) -> None:
    """A 2xx with JSON is its value, with or without a known content type."""
    assert value_of(status, b'{"result": []}', content_type=JSON) == {"result": []}
    assert value_of(status, b'{"result": []}', content_type="application/vnd.x+json") == {"result": []}
    assert value_of(status, b'{"result": []}') == {"result": []}


def test_no_content() -> None:
    """An empty answer is None."""
    assert value_of(204, b"", content_type="") is None
    assert value_of(200, b"") is None


@pytest.mark.parametrize(
    ("status", "number", "maybe_sent"),
    [
        (301, 2009, False),
        (302, 2009, False),
        (400, 2015, False),
        (401, 2005, False),
        (403, 2006, False),
        (404, 2016, False),
        (405, 2015, False),
        (407, 2024, False),
        (408, 2003, True),
        (413, 2015, False),
        (429, 2007, False),
        (500, 2008, True),
        (502, 2008, True),
        (503, 2008, True),
        (199, 2008, True),
    ],
)
def test_statuses(status: int, number: int, maybe_sent: bool) -> None:
    """Each status has its code, and only one that may follow an effect says that it may have been executed."""
    for body in (b"", FAILURE, b"<html>"):
        error = error_of(status, body, content_type=JSON)
        assert (error.number, error.maybe_sent) == (number, maybe_sent)
        assert "very-secret" not in error.text


def test_message() -> None:
    """The error's message is shown on one line, its detail is not."""
    body = json.dumps({"error": {"message": "a\nb\x1b[31m", "detail": "very-secret"}}).encode()
    assert error_of(400, body).detail == "HTTP 400: a b [31m"
    assert error_of(400, b'{"error": "text"}').detail == "HTTP 400: text"
    assert error_of(400, b'{"error": 1}').detail == "HTTP 400"
    assert error_of(400, b"{").detail == "HTTP 400"
    assert error_of(400, b"{" + b" " * 70000).detail == "HTTP 400"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:40:37 GMT", 0.0),
        ("999999999", 3600.0),
        ("soon", 10.0),
        ("-5", 10.0),
        ("٣", 10.0),
        (None, 10.0),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    """A 429's Retry-After is seconds or a date, bounded; without one there is a default."""
    assert error_of(429, b"", retry_after=header, now=NOW).after == seconds


def test_retry_after_elsewhere() -> None:
    """A 503's Retry-After counts, too; a date without a clock does not."""
    assert error_of(503, b"", retry_after="3").after == 3.0
    assert error_of(503, b"").after is None
    assert error_of(503, b"", retry_after="Sun, 06 Nov 1994 08:50:37 GMT").after is None


def test_hibernation() -> None:
    """The page of a hibernating instance is a 200 that did nothing."""
    page = b"<html><head><title>Instance Hibernating page</title></head></html>"
    error = error_of(200, page, content_type="text/html")
    assert (error.number, error.maybe_sent) == (2009, False)
    assert error_of(200, page).number == 2009


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "", "application/jsonp"])
def test_no_json(content_type: str) -> None:
    """Any other 200 that is no JSON is a page in the API's place, of which nobody knows what it did."""
    error = error_of(200, b"{}", content_type=content_type)
    assert (error.number, error.maybe_sent) == (2009, True)


@pytest.mark.parametrize("body", [b'{"result": [{"a"', b"", b"nonsense", b"[" * 5000, b"\xff\xfe\xfd"])
def test_truncated(body: bytes) -> None:
    """A 200 whose JSON is not complete may have been executed."""
    error = error_of(200, body, content_type=JSON)
    assert (error.number, error.maybe_sent) == (2011, True)


def test_depth() -> None:
    """JSON that nests deeper than any answer does is not believed."""
    assert value_of(200, b'{"a":' * 31 + b"1" + b"}" * 31, content_type=JSON) is not None
    assert error_of(200, b'{"a":' * 33 + b"1" + b"}" * 33, content_type=JSON).number == 2011


@pytest.mark.parametrize("extra", [{}, {"result": [{"sys_id": "1"}]}])
def test_cancelled(extra: dict[str, Any]) -> None:
    """A 200 that ends in `"status":"failure"` was cancelled on the way."""
    body = json.dumps({**extra, "error": {"message": "Transaction cancelled"}, "status": "failure"}).encode()
    error = error_of(200, body, content_type=JSON)
    assert (error.number, error.maybe_sent, error.detail) == (2010, True, "Transaction cancelled")


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("connect", 2001),
        ("tls", 2002),
        ("proxy", 2020),
        ("account", 2024),
        ("timeout", 2003),
        ("broken", 2004),
        ("too large", 2014),
        ("undecodable", 2011),
        ("egress", 2001),
    ],
)
@pytest.mark.parametrize("maybe_sent", [False, True])
def test_faults(kind: FaultKind, number: int, maybe_sent: bool) -> None:
    """Each fault of the connection has its code and keeps what is known of the effect."""
    error = fault_error(HttpFault(kind, "d", maybe_sent=maybe_sent), None)
    assert (error.number, error.maybe_sent, error.detail) == (number, maybe_sent, "d")


@pytest.mark.parametrize("headers", [(), (("X", "y"), ("Retry-After", "7"))])
def test_cut_refusal(headers: tuple[tuple[str, str], ...]) -> None:
    """A refusal whose body was cut off is a refusal still: it was not executed."""
    error = fault_error(HttpFault("broken", "d", maybe_sent=True, status=429, headers=headers), None)
    assert (error.number, error.maybe_sent, error.after) == (2007, False, 7.0 if headers else 10.0)


@given(
    status=st.integers(100, 599), body=st.binary(max_size=40), content_type=st.one_of(st.none(), st.text(max_size=20))
)
def test_anything(status: int, body: bytes, content_type: str | None) -> None:
    """Whatever comes is a value or a ServiceNowError."""
    with contextlib.suppress(ServiceNowError):
        value = value_of(status, body, content_type=content_type)
        assert 200 <= status < 300
        assert value is None or json.loads(body) == value
