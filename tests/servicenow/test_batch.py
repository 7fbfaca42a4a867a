"""Batches: each part judged by itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ServiceNowError
from relay.servicenow.batch import LONGEST, Part, decode, encode, encoded_size
from relay.servicenow.batcher import split
from relay.servicenow.calls import Call, get_row, insert_row, update_row


def served(number: Any, value: Any, status: Any = 200, **more: Any) -> dict[str, Any]:
    body = base64.b64encode(json.dumps(value).encode()).decode()
    return {"id": number, "body": body, "status_code": status, "status_text": "x", "execution_time": 8, **more}


def told(part: Part) -> Any:
    """A part, as something that can be compared."""
    return (part.number, part.maybe_sent) if isinstance(part, ServiceNowError) else part


def test_encode() -> None:
    """A batch is a post whose parts carry method, URL, headers and a body in base64."""
    call = encode([insert_row("ecc_queue", {"a": "ü"}, ["sys_id"]), get_row("ecc_queue", "a" * 32, ["sys_id"])])
    assert (call.method, call.target, call.content_type) == ("POST", "/api/now/v1/batch", "application/json")
    first, second = json.loads(call.content)["rest_requests"]
    assert json.loads(base64.b64decode(first.pop("body"))) == {"a": "ü"}
    assert first == {
        "id": "0",
        "exclude_response_headers": True,
        "method": "POST",
        "url": "/api/now/table/ecc_queue?sysparm_fields=sys_id&sysparm_exclude_reference_link=true",
        "headers": [
            {"name": "Accept", "value": "application/json"},
            {"name": "Content-Type", "value": "application/json"},
        ],
    }
    assert "body" not in second
    assert second["headers"] == [{"name": "Accept", "value": "application/json"}]
    assert second["url"].startswith(f"/api/now/table/ecc_queue/{'a' * 32}?")


def test_any_order_and_kind_of_id() -> None:
    """Answers come in any order, with ids as text or number; the time is the instance's own."""
    value = {"serviced_requests": [served("2", "c"), served(0, "a"), served("1", "b", "201")]}
    outcome = decode(3, value)
    assert outcome.parts == ["a", "b", "c"]
    assert outcome.whole
    assert outcome.seconds == pytest.approx(0.024)


@pytest.mark.parametrize("left_over", [["1"], [1], [{"id": "1"}], [{"id": 1}]])
def test_left_over(left_over: list[Any]) -> None:
    """A part that is listed as left over was not executed; one that is nowhere may have been."""
    outcome = decode(3, {"serviced_requests": [served("0", "a")], "unserviced_requests": left_over})
    assert [told(part) for part in outcome.parts] == ["a", (2012, False), (2012, True)]
    assert not outcome.whole


def test_contradictions() -> None:
    """A part that is answered twice, or answered and left over, is unknown."""
    value = {
        "serviced_requests": [served("0", "a"), served("0", "b"), served("1", "c")],
        "unserviced_requests": ["1"],
    }
    assert [told(part) for part in decode(2, value).parts] == [(2012, True), (2012, True)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (served("0", {"error": {"message": "m"}}, 404), (2016, False)),
        (served("0", {"error": {"message": "m"}}, 429), (2007, False)),
        (served("0", {}, 500), (2008, True)),
        (served("0", {"status": "failure"}), (2010, True)),
        (served("0", None, body=base64.b64encode(b'{"result": {"a').decode()), (2011, True)),
        (served("0", None, body=base64.b64encode(b'{"result": {}}').decode()[:-1]), (2011, True)),
        (served("0", None, body=base64.b64encode(b" <html>Instance Hibernating page").decode()), (2009, False)),
        (served("0", None, body="ü"), (2011, True)),
        (served("0", None, 204, body=None), None),
        (served("0", None, None), (2012, True)),
        (served("0", None, True), (2012, True)),
        (served("0", None, "2x"), (2012, True)),
        (served("0", "a", execution_time="long"), "a"),
        (served("0", "a", execution_time=-5), "a"),
        (served("0", "a", execution_time=10**400), "a"),
        (served("0", "a", execution_time=float("inf")), "a"),
    ],
)
def test_parts(entry: dict[str, Any], expected: Any) -> None:
    """Each part is judged like a whole answer: status, cut-off bodies, pages, cancelled transactions."""
    assert told(decode(1, {"serviced_requests": [entry]}).parts[0]) == expected


@pytest.mark.parametrize("value", [None, [], {}, {"serviced_requests": None}, {"result": []}])
def test_no_batch(value: Any) -> None:
    """An answer that is no batch's leaves everything unknown."""
    with pytest.raises(ServiceNowError) as caught:
        decode(2, value)
    assert told(caught.value) == (2011, True)


JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.sampled_from(["0", "1"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "body", "status_code", "execution_time"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(serviced=st.lists(JUNK, max_size=4), unserviced=JUNK)
def test_any_entries(serviced: list[Any], unserviced: Any) -> None:
    """Whatever the entries are, there is one outcome for each part, and what is not answered is unknown."""
    outcome = decode(2, {"serviced_requests": serviced, "unserviced_requests": unserviced})
    assert len(outcome.parts) == 2
    assert outcome.seconds >= 0


@given(sizes=st.lists(st.sampled_from([10, 100_000, 700_000, 3_000_000]), max_size=12), most=st.integers(1, 5))
def test_split(sizes: list[int], most: int) -> None:
    """Groups keep the order, hold at most so many calls, and stay under the size unless one call alone is over it."""
    calls = [Call("POST", f"/{number}", bytes(size)) for number, size in enumerate(sizes)]
    groups = list(split(calls, most))
    assert [call for group in groups for call in group] == calls
    for group in groups:
        assert 1 <= len(group) <= most
        assert len(group) == 1 or sum(map(encoded_size, group)) <= LONGEST
        assert len(group) == 1 or len(encode(group).content) <= LONGEST


def test_update_target() -> None:
    """Nothing of a sys_id can leave its segment of the path."""
    assert update_row("t", "a/../b?c", {}, ["x"]).target.startswith("/api/now/table/t/a%2F..%2Fb%3Fc?")
