"""Answers that are small on the wire and large in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from support.peak import peak

from relay.core.errors import ServiceNowError
from relay.core.record import RECORD_FIELDS
from relay.servicenow import json_reader
from relay.servicenow.answers import value_of
from relay.servicenow.batch import MOST_VALUES, decode
from relay.servicenow.session import ANSWER_BYTES

PIECES: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "lists": (2, lambda _: b"[]"),
    "objects": (3, lambda number: b'{"%d":0}' % number),
    "texts": (2, lambda number: b'"%d"' % number),
    "numbers": (1, lambda number: b"%d.5" % number),
    "nests": (6, lambda _: b'{"a":{"b":{}}}'),
}
"""How many values a piece with its comma counts for, and the piece."""


def read(body: bytes) -> object:
    return value_of(200, body, content_type="application/json")


def bomb(name: str, values: int) -> bytes:
    """An answer of so many small values."""
    cost, piece = PIECES[name]
    return b'{"result":[' + b",".join(map(piece, range(values // cost))) + b"]}"


@pytest.mark.parametrize("name", PIECES)
def test_the_largest_answer_of_small_values_is_refused_unread(name: str) -> None:
    """As many small values as fit into an answer are BSR-2014, and cost hardly any memory."""
    body = bomb(name, 1_300_000)
    assert 1_000_000 < len(body) <= ANSWER_BYTES
    before = peak(anew=True)
    with pytest.raises(ServiceNowError) as caught:
        read(body)
    assert caught.value.number == 2014
    assert caught.value.maybe_sent
    assert peak() - before < 8 * 1024 * 1024


@pytest.mark.parametrize("name", PIECES)
def test_what_is_just_read_is_bounded_in_memory(name: str) -> None:
    """The worst answer within the bound costs less than 64 MiB."""
    with pytest.raises(ServiceNowError):
        read(bomb(name, json_reader.MOST_VALUES + 50))
    body = bomb(name, json_reader.MOST_VALUES - 10)
    before = peak(anew=True)
    read(body)
    assert peak() - before < 64 * 1024 * 1024


def test_a_full_page_of_rows_is_read() -> None:
    """A thousand rows with every column, references as objects, pass; so do commas and brackets within texts."""
    row = {name: {"link": "https://a/b", "value": "x"} for name in RECORD_FIELDS}
    assert read(json.dumps({"result": [row] * 1000}).encode()) == {"result": [row] * 1000}
    text = '[{,"\\' * 400_000
    assert read(json.dumps({"result": text}).encode()) == {"result": text}


def test_a_part_of_a_batch_holds_no_more_than_a_row() -> None:
    """A part with more values than any row has is an error of that part alone."""
    many = base64.b64encode(json.dumps({"result": [0] * (MOST_VALUES + 10)}).encode()).decode()
    few = base64.b64encode(b'{"result":{}}').decode()
    parts = [{"id": number, "status_code": 200, "body": body} for number, body in enumerate((many, few))]
    served = decode(2, {"serviced_requests": parts})
    assert isinstance(served.parts[0], ServiceNowError)
    assert served.parts[0].number == 2014
    assert served.parts[1] == {"result": {}}


def test_parts_that_were_not_asked_for_are_not_read() -> None:
    """Only the parts that were sent have an answer, whatever else the instance lists."""
    body = base64.b64encode(b'{"result":{}}').decode()
    parts = [{"id": number, "status_code": 200, "body": body, "execution_time": 5} for number in (-1, 0, 1, 10**9)]
    served = decode(1, {"serviced_requests": parts})
    assert (served.parts, served.seconds) == ([{"result": {}}], 0.005)
