"""What an answer of the instance means: its JSON value, or the error that it is.

The same judgement serves whole answers and the parts of a batch. What it must get right is `maybe_sent`: False only
where the instance refused before it did anything.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from relay.core.errors import ServiceNowError
from relay.core.jobs import Json
from relay.core.servertime import http_date
from relay.host.http import HttpFault
from relay.servicenow import json_reader

PATIENCE: Final = 10.0
"""Seconds to wait after a 429 that names none: exhausted semaphores clear sooner than a rate limit's hour."""
LONGEST_WAIT: Final = 3600.0
"""Seconds. The rate limit rules of an instance count by the hour: no honest Retry-After is longer."""

_REFUSED: Final = {401: 2005, 403: 2006, 404: 2016, 407: 2024, 429: 2007}
_FAULTS: Final = {
    "connect": 2001,
    "tls": 2002,
    "proxy": 2020,
    "account": 2024,
    "timeout": 2003,
    "broken": 2004,
    "too large": 2014,
    "undecodable": 2011,
    "egress": 2001,
}
_HIBERNATION: Final = b"Instance Hibernating page"
_UNSHOWN: Final = re.compile(r"[^ -~\u00a1-\ud7ff\ue000-\uffef]+")


def value_of(
    status: int,
    body: bytes,
    *,
    content_type: str | None = None,
    retry_after: str | None = None,
    now: float | None = None,
    most: int = json_reader.MOST_VALUES,
) -> Json:
    """The JSON value of an answer, None of an empty one.

    Args:
        status: the HTTP status.
        body: the decoded body.
        content_type: None where it is not known; then the body tells whether it is JSON.
        retry_after: the header's value.
        now: the instance's clock, for a Retry-After that is a date.
        most: values that it may hold.

    Raises:
        ServiceNowError: the answer is no success.

    """
    check_status(status, body, retry_after=retry_after, now=now)
    if status == 204 or (not body and content_type is None):  # noqa: PLR2004  # No Content
        return None
    if not _is_json(content_type, body):
        _refuse_page(body)
    try:
        value = json_reader.parse(body, most=most)
    except json_reader.JsonTooLargeError:
        raise ServiceNowError(2014, f"more than {most} values", maybe_sent=True) from None
    except json_reader.JsonError:
        raise ServiceNowError(2011, f"{len(body)} bytes", maybe_sent=True) from None
    if isinstance(value, dict) and (value.get("status") == "failure" or ("error" in value and "result" not in value)):
        raise ServiceNowError(2010, message_of(value), maybe_sent=True)
    return value


def check_status(status: int, body: bytes, *, retry_after: str | None = None, now: float | None = None) -> None:
    """Raise what a status that is no success means.

    Raises:
        ServiceNowError: any status but 2xx.

    """
    if 200 <= status < 300:  # noqa: PLR2004  # HTTP statuses are their own names
        return
    detail = f"HTTP {status}"
    if message := _message_in(body):
        detail += f": {message}"
    after = _wait(retry_after, now)
    if status in _REFUSED:
        wait = after if after is not None or status != 429 else PATIENCE  # noqa: PLR2004  # as above
        raise ServiceNowError(_REFUSED[status], detail, after=wait)
    if 300 <= status < 400:  # noqa: PLR2004  # as above
        raise ServiceNowError(2009, detail)
    if status == 408:  # noqa: PLR2004  # as above
        raise ServiceNowError(2003, detail, maybe_sent=True, after=after)
    if 400 <= status < 500:  # noqa: PLR2004  # as above
        raise ServiceNowError(2015, detail)
    raise ServiceNowError(2008, detail, maybe_sent=True, after=after)


def refuse_hibernation(body: bytes) -> None:
    """Raise when a body is the page of an instance that sleeps.

    Raises:
        ServiceNowError: BSR-2009; nothing was done.

    """
    if _HIBERNATION in body:
        raise ServiceNowError(2009, "the instance hibernates")


def fault_error(fault: HttpFault, now: float | None) -> ServiceNowError:
    """The error that a request without a usable answer is.

    A refusal whose body was cut off or too large is a refusal still.
    """
    if fault.status in _REFUSED:
        header = next((value for name, value in fault.headers if name.lower() == "retry-after"), None)
        try:
            check_status(fault.status, b"", retry_after=header, now=now)
        except ServiceNowError as error:
            return error
    return ServiceNowError(_FAULTS[fault.kind], fault.detail, maybe_sent=fault.maybe_sent)


def message_of(value: Json) -> str:
    """The message of an error document, one short printable line; "" when there is none.

    Its `detail` is left out: it may quote the record.
    """
    error = value.get("error") if isinstance(value, dict) else None
    text = error.get("message") if isinstance(error, dict) else error
    return _UNSHOWN.sub(" ", text)[:200].strip() if isinstance(text, str) else ""


def _message_in(body: bytes) -> str:
    if len(body) > 65536 or body[:1] != b"{":  # noqa: PLR2004  # an error document is small
        return ""
    try:
        return message_of(json_reader.parse(body))
    except json_reader.JsonError:
        return ""


def _is_json(content_type: str | None, body: bytes) -> bool:
    if content_type is None:
        return body.lstrip()[:1] != b"<"
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _refuse_page(body: bytes) -> NoReturn:
    """A page in the API's place: of a hibernating instance it is sure that nothing was done, of others it is not."""
    refuse_hibernation(body)
    raise ServiceNowError(2009, maybe_sent=True)


def _wait(retry_after: str | None, now: float | None) -> float | None:
    """Seconds that a Retry-After asks for: it is a number of them, or a date."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), LONGEST_WAIT)
    date = http_date(text)
    return None if date is None or now is None else min(max(0.0, date - now), LONGEST_WAIT)
