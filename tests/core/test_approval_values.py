"""What is made of a post, and where answers may go."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.approval_request import UnanswerableError, job_of, request_of, restored, stored
from relay.core.approval_values import Compared, Door, Request, Task, Value, shown
from relay.core.posts import Content, Owner, Post, post_of
from relay.core.refusal import Refusal

FORM = "application/x-www-form-urlencoded"
URL = "https%3A%2F%2Faccess.example.com%2Fapi%2Fendpoint_approval"
GOOD = f"request_id=r1&ticket_id=CHG0001&response_url={URL}&user.username=jdoe&jump_item.computer_name=web01"


def posted(body: str, media_type: str = FORM) -> Post:
    """A post as the listener makes it."""
    return post_of(Owner("default"), "/approvals", Content(media_type, body.encode()), 7.0)


def test_a_form_is_a_request() -> None:
    """With everything that was posted."""
    request = request_of(posted(GOOD + "&extra=%C3%A4"))
    assert (request.appliance, request.request_id, request.ticket_id) == ("default", "r1", "CHG0001")
    assert request.response_url == "https://access.example.com/api/endpoint_approval"
    assert (request.user, request.computer, request.received, request.flaw) == ("jdoe", "web01", 7.0, "")
    assert request.fields["extra"] == "\u00e4"


def test_what_is_absent_is_empty_and_still_a_request() -> None:
    """It is denied with its reason, for which only the id and the way back are needed."""
    request = request_of(posted(f"request_id=r1&response_url={URL}"))
    assert (request.ticket_id, request.user, request.computer, request.flaw) == ("", "", "", "")


@pytest.mark.parametrize(
    "twice", ["ticket_id=CHG0002", "user.username=root", "jump_item.computer_name=db01", "x=1&x=2"]
)
def test_a_field_with_two_values_is_a_flaw(twice: str) -> None:
    """Nobody can tell which is meant, so neither is taken."""
    request = request_of(posted(f"{GOOD}&{twice}&outbound_event_token=secret"))
    assert request.flaw == f"it says {twice.partition('=')[0]} more than once"
    assert twice.partition("=")[0] not in request.fields
    assert "secret" not in str(dict(request.fields))
    assert restored(stored(request)) == request


def test_a_form_that_is_broken_elsewhere_is_a_flaw() -> None:
    """An escape that is none, or text that is no UTF-8."""
    assert request_of(posted(GOOD + "&x=%zz")).flaw == "it cannot be read"
    assert request_of(posted(GOOD + "&x=%ff")).flaw == "it cannot be read"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f"response_url={URL}&ticket_id=1", "no request_id"),
        (f"request_id=&response_url={URL}", "no request_id"),
        ("request_id=r1&ticket_id=1", "no response_url"),
        ("request_id=r1&response_url=", "no response_url"),
        (f"{GOOD}&request_id=r2", "no request_id"),
        (f"{GOOD}&response_url=https%3A%2F%2Fevil.example.com", "no response_url"),
        ("", "no request_id"),
        ('{"request_id":"r1"}', "no request_id"),
        (f"request_id={'r' * 256}&response_url={URL}", "characters"),
        (f"request_id=r%0A1&response_url={URL}", "not visible ASCII"),
        (f"request_id=r%00&response_url={URL}", "not visible ASCII"),
        (f"request_id=+4711&response_url={URL}", "not visible ASCII"),
        (f"request_id=4711%20&response_url={URL}", "not visible ASCII"),
        (f"request_id=%EF%BC%94711&response_url={URL}", "not visible ASCII"),
    ],
)
def test_who_cannot_be_answered_is_told_so(body: str, why: str) -> None:
    """The id and the way back must be there, once, and plain."""
    with pytest.raises(UnanswerableError, match=why):
        request_of(posted(body))


def test_another_media_type_is_still_looked_through() -> None:
    """A form under another name is denied; JSON says no id."""
    assert request_of(posted(GOOD, "text/plain")).flaw == "it cannot be read"
    with pytest.raises(UnanswerableError):
        request_of(posted('{"request_id":"r1"}', "application/json"))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_a_request_comes_back_from_the_store(fields: dict[str, str]) -> None:
    """As it was, whatever characters it holds."""
    said = {"request_id": "r", "response_url": "u", **fields}
    request = Request("a", said["request_id"], said.get("ticket_id", ""), said["response_url"], "/approvals", said, 1.5)
    assert restored(stored(request)) == request


def test_two_requests_are_told_apart_by_what_they_say() -> None:
    """And jobs by appliance and id."""
    one, other = request_of(posted(GOOD)), request_of(posted(GOOD.replace("web01", "db01")))
    assert one.digest == request_of(posted(GOOD)).digest != other.digest
    assert job_of("a", "r") == job_of("a", "r")
    assert len({job_of("a", "r"), job_of("b", "r"), job_of("a", "r2")}) == 3


def test_a_task_says_what_came_back() -> None:
    """What did not come back is empty, and known to be absent."""
    task = Task({"sys_class_name": Value("incident", "Incident"), "number": Value("")})
    assert (task.table, task.sys_id, task["number"]) == ("incident", "", "")
    assert "sys_id" not in task.values


def test_text_for_people_is_bounded_and_plain() -> None:
    """What cannot be printed is a question mark."""
    assert shown("a\x1b[31m\u202eb\ud800\n") == "a?[31m?b??"
    assert shown("x" * 81) == "x" * 77 + "..."
    assert shown("x" * 80) == "x" * 80
    assert Compared("task.state", "3", "less", "3", holds=False).line == "task.state: '3' < '3': no"


def test_a_door_makes_the_url_of_its_own_parts() -> None:
    """Any of the appliance's names, at the one path."""
    door = Door(frozenset({("a.example.com", 443), ("[::1]", 8443)}), "/api/endpoint_approval")
    assert (
        door.check("https://A.example.com/api/endpoint_approval") == "https://a.example.com:443/api/endpoint_approval"
    )
    assert door.check("https://[::1]:8443/api/endpoint_approval") == "https://[::1]:8443/api/endpoint_approval"
    for url in ("https://[::1]/api/endpoint_approval", "https://a.example.com/api", "https://a.example.com"):
        with pytest.raises(Refusal):
            door.check(url)


PIECES = st.sampled_from(
    [b"request_id=r1", f"response_url={URL}".encode(), b"ticket_id=1", b"%", b"&", b"=", b"\xff", b"%ff"]
)


@given(st.lists(PIECES | st.binary(max_size=4), max_size=12).map(b"&".join), st.sampled_from([FORM, "", "text/plain"]))
@settings(max_examples=300)
def test_any_bytes_are_a_request_or_nobodys(body: bytes, media_type: str) -> None:
    """Nothing else comes of them; a request that has one can be stored, compared and answered."""
    post = post_of(Owner("default"), "/approvals", Content(media_type, body), 7.0)
    try:
        request = request_of(post)
    except UnanswerableError:
        return
    assert restored(stored(request)) == request
    assert len(request.digest) == 64
    assert (post.code is None) == (request.flaw == "")


@given(st.text() | st.text(alphabet="htps:/@.?#%\\[]a1", max_size=40))
@settings(max_examples=300)
def test_no_text_leads_elsewhere(url: str) -> None:
    """Whatever it is, it is refused or leads to the one place."""
    door = Door(frozenset({("a", 443)}), "/a")
    try:
        assert door.check(url) == "https://a:443/a"
    except Refusal:
        assert url != "https://a/a"
