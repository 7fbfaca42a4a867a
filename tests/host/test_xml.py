"""Foreign XML: what passes, and that everything else is one kind of error."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.host.xml import DEEPEST, LONGEST_PROLOG, MOST_ATTRIBUTES, XmlError, XmlSource, read_xml

SOURCE = XmlSource(most_elements=100)


@pytest.mark.parametrize(
    "raw",
    [
        b"<a>" * DEEPEST + b"</a>" * DEEPEST,
        b"<a>" + b"<b/>" * 99 + b"</a>",
        b"<a " + b" ".join(b"a%d=''" % number for number in range(MOST_ATTRIBUTES)) + b"/>",
    ],
)
def test_what_is_just_within_the_limits_is_read(raw: bytes) -> None:
    """Depth, number of elements and attributes are read up to their limits."""
    assert read_xml(raw, SOURCE).tag == "a"


@pytest.mark.parametrize(
    "raw",
    [
        b"<a>" * (DEEPEST + 1) + b"</a>" * (DEEPEST + 1),
        b"<a>" + b"<b/>" * 100 + b"</a>",
        b"<a " + b" ".join(b"a%d=''" % number for number in range(MOST_ATTRIBUTES + 1)) + b"/>",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'.encode("utf-16"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_however_it_is_read(raw: bytes) -> None:
    """More than a limit, or a document type in any encoding, is refused, by a recovering reading too."""
    for recover in (False, True):
        with pytest.raises(XmlError) as caught:
            read_xml(raw, XmlSource(100, recover=recover))
        assert not caught.value.malformed


@pytest.mark.parametrize("recover", [False, True])
def test_the_declarations_of_a_document_type_are_not_read(*, recover: bool) -> None:
    """Two megabytes of them took a minute and more; they are refused before a tenth of a second's worth is read."""
    declared = b"".join(b" x%x ID #IMPLIED" % number for number in range(130_000))
    started = time.process_time()
    with pytest.raises(XmlError) as caught:
        read_xml(b"<!DOCTYPE a [<!ATTLIST a" + declared + b">]><a/>", XmlSource(100, recover=recover))
    assert not caught.value.malformed
    assert time.process_time() - started < 1


def test_an_element_may_come_late_but_not_later() -> None:
    """A comment before the first element may be long, up to a limit; what follows that element has none of the kind."""
    near = b"<!--" + b"x" * (LONGEST_PROLOG - 100) + b"--><a>" + b"y" * LONGEST_PROLOG + b"</a>"
    assert len(read_xml(near, SOURCE).text or "") == LONGEST_PROLOG
    with pytest.raises(XmlError, match="too late"):
        read_xml(b"<!--" + b"x" * LONGEST_PROLOG + b"--><a/>", SOURCE)


@pytest.mark.parametrize("raw", [b"<a>&#xD800;</a>", b"<a b='&#xDFFF;'/>", b"<a><b/>x&#xD800;</a>"])
def test_half_a_character_is_no_text(raw: bytes) -> None:
    """A reference to a surrogate is refused however it is read: nothing could say what it is."""
    for recover in (False, True):
        with pytest.raises(XmlError):
            read_xml(raw, XmlSource(100, recover=recover))


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("raw", [b"", b"no xml", b"<"])
def test_what_holds_no_element_is_malformed(raw: bytes, recover: bool) -> None:
    """Where nothing can be made out the error says that it is not well-formed."""
    with pytest.raises(XmlError) as caught:
        read_xml(raw, XmlSource(100, recover=recover))
    assert caught.value.malformed


@given(st.binary(max_size=200) | st.text("<>/ab&;\x01\"'= !DOCTYPE[]", max_size=80).map(str.encode), st.booleans())
def test_any_bytes_are_an_element_or_one_kind_of_error(raw: bytes, recover: bool) -> None:
    """Whatever the bytes, the result is an element or an XmlError."""
    try:
        found: object = read_xml(raw, XmlSource(100, recover=recover)).tag
    except XmlError as error:
        found = str(error)
    assert isinstance(found, str)
