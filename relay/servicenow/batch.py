"""Several calls in one request: ServiceNow's Batch API, `POST /api/now/v1/batch`.

The parts are served in no promised order, the answers come in any order, and what the instance's quota left over is
listed in `unserviced_requests`. Each part is judged by itself: what is neither answered nor listed is unknown.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.errors import ServiceNowError
from relay.core.jobs import Json
from relay.servicenow.answers import value_of
from relay.servicenow.calls import JSON_TYPE, Call

Part = Json | ServiceNowError
"""What became of one call: the JSON of its answer, or why there is none."""

PATH: Final = "/api/now/v1/batch"
LONGEST: Final = 2_000_000
"""Bytes of one encoded batch; the instance takes 5 MB, but it holds all of it in memory several times over."""
FRAME: Final = 400
"""Bytes that a part costs beside its body and target."""

LONGEST_TIME: Final = 600_000
"""Milliseconds. No part is believed to have taken longer than ten minutes."""

MOST_VALUES: Final = 2_000
"""Values in the answer to one part: a row of any table, or an error."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Served:
    """A batch's outcome. `seconds`: what the instance measured; `whole`: it served every part."""

    parts: list[Part]
    seconds: float
    whole: bool


def encoded_size(call: Call) -> int:
    """About how many bytes a call takes in a batch."""
    return len(call.content) * 4 // 3 + len(call.target) + FRAME


def encode(calls: Sequence[Call]) -> Call:
    """One call that carries all of `calls`; their ids are their positions."""
    requests = [
        {
            "id": str(number),
            "exclude_response_headers": True,
            "method": call.method,
            "url": call.target,
            "headers": [
                {"name": "Accept", "value": JSON_TYPE},
                *([{"name": "Content-Type", "value": call.content_type}] if call.content_type else []),
            ],
            **({"body": base64.b64encode(call.content).decode()} if call.content else {}),
        }
        for number, call in enumerate(calls)
    ]
    body = {"batch_request_id": str(next(_numbers)), "rest_requests": requests}
    return Call("POST", PATH, json.dumps(body, separators=(",", ":")).encode(), JSON_TYPE)


def decode(count: int, value: Json) -> Served:
    """What became of each of `count` calls.

    Raises:
        ServiceNowError: BSR-2011, the answer is no batch's.

    """
    if not isinstance(value, dict) or not isinstance(value.get("serviced_requests"), list):
        raise ServiceNowError(2011, "no answer of the Batch API", maybe_sent=True)
    parts: dict[int, Part] = {}
    seconds = 0.0
    for served in value["serviced_requests"]:
        number = _number(served) if isinstance(served, dict) else None
        if number is None or not 0 <= number < count:
            continue
        seconds += _seconds(served)
        # Two answers to one call contradict each other: neither is believed.
        parts[number] = _unknown("answered twice") if number in parts else _part(served)
    left_over = value.get("unserviced_requests")
    for unserved in left_over if isinstance(left_over, list) else []:
        number = _number(unserved)
        if number is not None:
            parts[number] = (
                _unknown("answered and left over") if number in parts else ServiceNowError(2012, "left over")
            )
    missing = _unknown("no answer to this part")
    listed = [parts.get(number, missing) for number in range(count)]
    whole = not any(isinstance(part, ServiceNowError) and part.number == missing.number for part in listed)
    return Served(listed, seconds, whole)


def _unknown(detail: str) -> ServiceNowError:
    return ServiceNowError(2012, detail, maybe_sent=True)


def _number(entry: Json) -> int | None:
    """The id of a part: text or number, by itself or in an object."""
    found = entry.get("id") if isinstance(entry, dict) else entry
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= 9:  # noqa: PLR2004  # a number that fits
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _seconds(served: Json) -> float:
    found = served.get("execution_time")
    return max(0.0, min(found, LONGEST_TIME) / 1000) if isinstance(found, int | float) else 0.0


def _part(served: Json) -> Part:
    status = served.get("status_code")
    if isinstance(status, str) and status.isascii() and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool):
        return _unknown("a part without a status")
    try:
        return value_of(status, _body(served.get("body")), most=MOST_VALUES)
    except ServiceNowError as error:
        return error


def _body(encoded: Json) -> bytes:
    """A part's body. One that is cut off makes no JSON, and is judged as that."""
    if not isinstance(encoded, str):
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b"cut off"
