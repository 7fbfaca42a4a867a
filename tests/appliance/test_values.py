"""The appliance's XML as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.appliance.values import JsonShaper
from relay.core.errors import ApplianceError
from relay.core.record import Reply
from relay.host.xml import DEEPEST, MOST_ATTRIBUTES

XML = (("Content-Type", "text/xml; charset=UTF-8"), ("Content-Length", "10"), ("X-Other", "kept"))


def shaped(body: str | bytes) -> object:
    """The JSON of an XML body."""
    raw = body.encode() if isinstance(body, str) else body
    reply = JsonShaper().to_json(Reply(200, XML, raw))
    assert reply.headers == (("Content-Type", "application/json"), ("X-Other", "kept"))
    return json.loads(reply.body)


@pytest.mark.parametrize(
    "namespace",
    [
        "",
        ' xmlns="http://www.bomgar.com/namespaces/API/reporting"',
        ' xmlns="https://www.beyondtrust.com/namespaces/API/reporting"',
    ],
)
def test_namespaces_do_not_show(namespace: str) -> None:
    """The same answer in any namespace, or none, gives the same JSON; one session is a list of one."""
    text = f'<?xml version="1.0"?><session_list{namespace}><session lsid="a1"><lseq>8</lseq></session></session_list>'
    assert shaped(text) == {"session_list": {"session": [{"@lsid": "a1", "lseq": "8"}]}}


def test_lists_texts_and_attributes() -> None:
    """List elements keep their shape when empty, repeated children become lists, text stands beside attributes."""
    text = (
        "<a><permissions/><permissions><permission name='x'>1</permission></permissions><b>1</b><b>2</b><b>3</b> t </a>"
    )
    assert shaped(text) == {
        "a": {
            "permissions": [{}, {"permission": [{"@name": "x", "#text": "1"}]}],
            "b": ["1", "2", "3"],
        }
    }
    assert shaped("<x> a <y/></x>") == {"x": {"y": "", "#text": "a"}}


def test_an_error_document() -> None:
    """An error document, in any language, is one member named error."""
    assert shaped("<error >n\u2019est disponible.</error>".encode()) == {"error": "n\u2019est disponible."}


@pytest.mark.parametrize("body", [b"<a>\x01b&#x1;&#31;c</a>", b"\xef\xbb\xbf<a>bc</a>"])
def test_forbidden_characters_are_left_out(body: bytes) -> None:
    """Characters that XML forbids, raw or as references, are left out instead of losing the answer."""
    assert shaped(body) == {"a": "bc"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (), b'{"already": "json"}'),
        Reply(200, (), b""),
        Reply(500, (("Content-Type", "text/html"),), b"<html><p>down</html>"),
    ],
)
def test_what_is_no_xml_is_unchanged(reply: Reply) -> None:
    """A reply whose body is not XML, or a page for people, passes as it is."""
    assert JsonShaper().to_json(reply) is reply


@pytest.mark.parametrize(
    "body",
    [
        b"<a><b></a>",
        b"<" + b"x" * 10,
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        b"<a>" * (DEEPEST + 1) + b"</a>" * (DEEPEST + 1),
    ],
)
def test_unreadable_xml_is_refused(body: bytes) -> None:
    """Ill-formed, typed or too deeply nested XML is BSR-3009, an executed call without a usable answer."""
    with pytest.raises(ApplianceError) as caught:
        JsonShaper().to_json(Reply(200, XML, body))
    assert caught.value.number == 3009
    assert caught.value.executed


@given(st.binary(max_size=200).map(lambda body: b"<" + body) | st.text("<>/ab&;\x01\"'= ", max_size=80).map(str.encode))
def test_any_bytes_are_json_or_a_code(body: bytes) -> None:
    """Whatever the appliance sends, the result is a reply or BSR-3009."""
    try:
        reply = JsonShaper().to_json(Reply(200, XML, body))
    except ApplianceError as error:
        number = error.number
    else:
        number = 0
        assert isinstance(reply.body, bytes)
    assert number in {0, 3009}


@pytest.mark.timeout(10)
def test_attributes_without_end_cost_no_time() -> None:
    """An answer of one element with 400,000 attributes is refused at once; read, it would stop the relay for hours."""
    element = "<a " + " ".join(f"a{number}=''" for number in range(400_000)) + "/>"
    with pytest.raises(ApplianceError) as caught:
        shaped(element)
    assert caught.value.number == 3009
    most = "<a " + " ".join(f"a{number}=''" for number in range(MOST_ATTRIBUTES)) + "/>"
    assert len(shaped(most)["a"]) == MOST_ATTRIBUTES  # type: ignore[index]  # an object
