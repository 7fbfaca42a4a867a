"""Posts: whose they are, what they say, and that a repetition is known."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import ListenerError
from relay.core.posts import (
    LONGEST_BODY,
    LONGEST_NAME,
    MOST_FIELDS,
    PATHS,
    TOKEN,
    Content,
    Owner,
    Sender,
    expected,
    owner_of,
    post_of,
    read_form,
)
from relay.core.secret import Secret

FORM = "application/x-www-form-urlencoded"
NEAR, FAR = ip_address("10.1.2.3"), ip_address("192.0.2.9")
NETWORK = (ip_network("10.1.2.0/24"),)
FIELDS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda name: name != TOKEN),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    min_size=1,
    max_size=8,
)


def form(body: bytes, media_type: str = FORM) -> Content:
    return Content(media_type, body)


def query(token: str) -> bytes:
    return f"{TOKEN}={quote(token, safe='')}".encode()


def refused(number: int, content: Content) -> str:
    with pytest.raises(ListenerError) as caught:
        read_form(content)
    assert caught.value.number == number
    return caught.value.detail


# ---- whose


def test_source_and_token_must_both_be_right() -> None:
    """Where an appliance is known by both, either alone is refused, with the code of what was wrong."""
    senders = (Sender("default", NETWORK, Secret("right token")),)
    assert owner_of(senders, NEAR, query("right token")) == Owner("default")
    for source, text, number in (
        (NEAR, query("wrong token"), 6003),
        (NEAR, b"", 6003),
        (NEAR, query(""), 6003),
        (FAR, query("right token"), 6002),
        (FAR, b"", 6002),
    ):
        with pytest.raises(ListenerError) as caught:
            owner_of(senders, source, text)
        assert caught.value.number == number


def test_one_of_the_two_is_enough_when_only_one_is_configured() -> None:
    """Networks alone do not look at the token, a token alone not at the source; neither lets nobody in."""
    assert owner_of((Sender("a", NETWORK),), NEAR, query("whatever")) == Owner("a")
    assert owner_of((Sender("a", (), Secret("t")),), FAR, query("t")) == Owner("a")
    with pytest.raises(ListenerError):
        owner_of((Sender("a"),), NEAR, query(""))
    with pytest.raises(ListenerError):
        owner_of((), NEAR, query(""))


def test_the_token_decides_before_the_source() -> None:
    """A post belongs to the appliance whose token matches, else to the one whose network is the closest."""
    wide, narrow, by_token = (
        Sender("wide", (ip_network("10.0.0.0/8"),)),
        Sender("narrow", NETWORK),
        Sender("token", (), Secret("t")),
    )
    assert owner_of((wide, narrow, by_token), NEAR, query("t")) == Owner("token")
    assert owner_of((wide, narrow, by_token), NEAR, query("x")) == Owner("narrow")
    assert owner_of((wide, narrow, by_token), ip_address("10.9.9.9"), b"") == Owner("wide")


def test_appliances_that_cannot_be_told_apart_are_all_named() -> None:
    """With one token and one list for several, the first is the owner and the others are told."""
    senders = [Sender(name, NETWORK, Secret("t")) for name in ("a", "b", "c")]
    assert owner_of(senders, NEAR, query("t")) == Owner("a", ("b", "c"))


def test_the_token_is_read_in_either_meaning_of_a_plus_sign() -> None:
    """A token of base64 counts however it was pasted into the URL."""
    token = "ab+c/d=="
    senders = (Sender("a", (), Secret(token)),)
    for written in (token, quote(token, safe=""), quote_plus(token)):
        assert owner_of(senders, FAR, f"x=1&{TOKEN}={written}&y".encode()) == Owner("a")
    spaced = (Sender("a", (), Secret("a b")),)
    assert owner_of(spaced, FAR, f"{TOKEN}=a+b".encode()) == Owner("a")


@pytest.mark.parametrize(
    "text",
    [
        b"outbound_event_token=t&outbound_event_token=t",
        b"outbound_event_token=x&outbound_event_token=t",
        b"outbound_event_token=x&outbound_event%5Ftoken=t",
        b"Outbound_Event_Token=t",
        b"token=t",
        b"outbound_event_token",
        b"outbound_event_token=t%00",
        b"outbound_event_token=t;",
        b"outbound_event_token=\xff",
    ],
)
def test_a_token_is_given_once_and_exactly(text: bytes) -> None:
    """Two tokens, another spelling of the name, or anything added is wrong."""
    with pytest.raises(ListenerError) as caught:
        owner_of((Sender("a", (), Secret("t")),), NEAR, text)
    assert caught.value.number == 6003
    assert "t" not in caught.value.detail


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_only_the_token_itself_is_right(token: str, other: str) -> None:
    """No other text passes, whatever both hold."""
    senders = (Sender("a", (), Secret(token)),)
    text = f"{TOKEN}=".encode() + quote(other.encode("utf-8", "surrogatepass"), safe="").encode()
    if token == other:
        assert owner_of(senders, NEAR, text) == Owner("a")
    else:
        with pytest.raises(ListenerError):
            owner_of(senders, NEAR, text)


def test_addresses_that_nobody_posts_from_are_known() -> None:
    """An address is expected when it is in a list, or when some appliance is known by its token alone."""
    assert expected((Sender("a", NETWORK),), NEAR)
    assert not expected((Sender("a", NETWORK), Sender("b")), FAR)
    assert expected((Sender("a", NETWORK), Sender("b", (), Secret("t"))), FAR)


# ---- what


@given(FIELDS)
def test_a_form_is_read_as_it_was_written(fields: dict[str, str]) -> None:
    """Any fields that a form can hold come back, whichever way they are encoded."""
    assert read_form(form(urlencode(fields).encode())) == fields
    assert read_form(form(urlencode(fields, quote_via=quote).encode(), f"{FORM.upper()} ; charset=UTF-8")) == fields


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(body: bytes) -> None:
    """Nothing but the two codes comes out of the form parser, and what it reads it would read again."""
    try:
        fields = read_form(form(body))
    except ListenerError as error:
        assert error.number == 6004  # noqa: PT017 - either outcome is right
    else:
        assert not fields or read_form(form(urlencode(fields).encode())) == fields


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it is empty"),
        (b"&&", "it is empty"),
        (b"a=1&b=%zz", "field 2 has a broken escape"),
        (b"a=%4", "field 1 has a broken escape"),
        (b"a=%", "field 1 has a broken escape"),
        (b"a=%ff", "field 1 is not UTF-8"),
        (b"a=\xff", "field 1 is not UTF-8"),
        (b"a=%ed%a0%80", "field 1 is not UTF-8"),
        (b"=1", "the name of field 1 has 0 characters"),
        (b"n" * (LONGEST_NAME + 1) + b"=1", "the name of field 1 has 256 characters"),
        (b"a=1&a=2", "field 2 has the name of another one, and another value"),
        (b"&".join(b"a%d=" % number for number in range(MOST_FIELDS + 1)), "it has more than 500 fields"),
        (b"\x1f\x8b\x08\x00secret", "field 1 is not UTF-8"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, says: str) -> None:
    """A broken escape, wrong bytes, a name twice with two values and the like are named without being repeated."""
    assert refused(6004, form(body)) == says


def test_limits_are_limits() -> None:
    """The largest form is read, one byte or field more is not."""
    whole = b"a=" + b"x" * (LONGEST_BODY - 2)
    assert len(read_form(form(whole))["a"]) == LONGEST_BODY - 2
    assert refused(6005, form(whole + b"x")) == "more than 262144 bytes"
    assert len(read_form(form(b"&".join(b"a%d=" % number for number in range(MOST_FIELDS))))) == MOST_FIELDS
    assert read_form(form(b"n" * LONGEST_NAME)) == {"n" * LONGEST_NAME: ""}


def test_other_types_are_refused() -> None:
    """JSON, XML and forms of several parts are not guessed at; a missing type is taken for a form."""
    for kind in ("application/json", "text/xml", "multipart/form-data; boundary=x", "text/plain"):
        assert refused(6004, form(b"a=1", kind)) == f"it is not of the type {FORM}"
    assert read_form(form(b"a=1", "")) == {"a": "1"}


def test_a_name_twice_with_one_value_is_one_field() -> None:
    """A repetition that changes nothing is no reason to refuse an event."""
    assert read_form(form(b"a=1&b=2&a=1")) == {"a": "1", "b": "2"}


def test_the_token_is_never_kept() -> None:
    """A token in the form is no field of the post."""
    assert read_form(form(b"a=1&outbound_event_token=t")) == {"a": "1"}


# ---- a post


def test_a_post_has_what_was_posted() -> None:
    """Appliance, path, kind, fields and time are those of the post."""
    post = post_of(Owner("a", ("b",)), "/events", form(b"event=x&lsid=1"), 12.5)
    assert (post.appliance, post.others, post.path, post.kind) == ("a", ("b",), "/events", "event")
    assert (post.fields, post.received, post.code, post.raw) == ({"event": "x", "lsid": "1"}, 12.5, None, b"")
    assert "lsid" not in repr(post)
    assert "lsid" not in repr(form(b"event=x&lsid=1"))


def test_every_path_has_its_kind() -> None:
    """Our paths and the vendor's mean events or requests for approval."""
    found = {path: post_of(Owner("a"), path, form(b"a=1"), 0.0).kind for path in PATHS}
    assert found == {
        "/events": "event",
        "/api/x_bmgr_bomgar_pam/outbound_event/session_end": "event",
        "/x_bmgr_bomgar_pam_bomgar_post.do": "event",
        "/x_bmgr_bomgar_inte_bomgar_post.do": "event",
        "/approvals": "approval",
        "/x_bmgr_bomgar_pam_bomgar_endpoint_approval.do": "approval",
    }


@given(FIELDS, st.randoms())
def test_a_repetition_has_the_same_id(fields: dict[str, str], random: object) -> None:
    """The order of the fields, their encoding and the time make no other post."""
    turned = list(fields.items())
    random.shuffle(turned)  # type: ignore[attr-defined]
    first = post_of(Owner("a"), "/events", form(urlencode(fields).encode()), 1.0)
    again = post_of(Owner("a", ("b",)), "/events", form(urlencode(turned, quote_via=quote).encode(), ""), 2.0)
    assert first.id == again.id
    assert len(first.id) == 64


def test_different_posts_have_different_ids() -> None:
    """Another appliance, path, name, value, or border between name and value makes another id."""
    found = [
        post_of(Owner(owner), path, form(body), 0.0).id
        for owner in ("a", "b")
        for path in ("/events", "/approvals")
        for body in (b"ab=c", b"a=bc", b"ab=c&d=", b"ab=c&e=", b"%", b"%%", b"\xff")
    ]
    assert len(set(found)) == len(found) == 28


def test_what_cannot_be_read_is_kept_with_its_code() -> None:
    """A bad post says why it is bad, and holds what was posted; a repetition has the same id."""
    post = post_of(Owner("a"), "/events", form(b"a=%zz"), 1.0)
    assert (post.code, post.detail, post.raw, post.fields) == (6004, "field 1 has a broken escape", b"a=%zz", {})
    assert post_of(Owner("a"), "/events", form(b"a=%zz", "text/plain"), 2.0).id == post.id
    large = post_of(Owner("a"), "/events", form(b"x" * (LONGEST_BODY + 1)), 1.0)
    assert (large.code, len(large.raw)) == (6005, LONGEST_BODY)
