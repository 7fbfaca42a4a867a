"""What SOAPProbes ask for, as they are read."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from relay.core.errors import WorkError
from relay.core.exchange import Request
from relay.core.record import HttpCall
from relay.servicenow.payload_shapes import MAX_PAYLOAD

from .test_payload_read import BOMB, FILE, read, refused

SOAP = (
    '<parameters><output>{prolog}<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    "a&amp;b</soap:Body></soap:Envelope></output><parameter name='soap_username' value='very-secret'/>"
    "<parameter name='soap_password' value='enc:very-secret'/><parameter name=\"skip_sensor\" value=\"true\"/>"
    "<httpHeaders><httpHeader Accept='text/xml' Authorization='very-secret'/><httpHeader X-A='1'/></httpHeaders>"
    "</parameters>"
)
ENVELOPE = '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>a&amp;b</soap:Body></soap:Envelope>'


@pytest.mark.parametrize("prolog", ["", "<?xml version='1.0' encoding='UTF-8'?>", '\n<?xml version="1.0"?>'])
def test_soap(prolog: str) -> None:
    """A SOAPProbe: inline envelope with or without its own prolog, headers by attribute name, the action by name."""
    request = read("SOAPProbe", SOAP.format(prolog=prolog), name=" urn:act ", source="https://a.example/soap")
    assert request == Request(
        HttpCall(
            "POST",
            "https://a.example/soap",
            (("Accept", "text/xml"), ("X-A", "1")),
            body=ENVELOPE,
            soap_action="urn:act",
        ),
        (("skip_sensor", "true"),),
    )


def test_soap_escaped() -> None:
    """An envelope that was escaped into the output is unescaped."""
    work = read("SOAPProbe", "<parameters><output>&lt;a/&gt;</output></parameters>", source="u").work
    assert isinstance(work, HttpCall)
    assert (work.body, work.soap_action) == ("<a/>", "")


@pytest.mark.parametrize(
    ("payload", "body", "echo"),
    [
        ("<parameter name='a' value='b&c'/>", "", (("a", "b&c"),)),
        ("<parameter name='a' value='b<c'/><output><x>y</x></output>", "<x>y</x>", (("a", "b<c"),)),
        ("<output><x>a & b &nbsp; &lt;&#38;</x></output>", "<x>a &amp; b &amp;nbsp; &lt;&amp;</x>", ()),
        ("<output><x>y</output>", "<x>y</x>", ()),
    ],
)
def test_soap_that_was_put_together_without_escaping(
    payload: str, body: str, echo: tuple[tuple[str, str], ...]
) -> None:
    """What the instance did not escape is read as it was meant, as far as it can be made out."""
    request = read("SOAPProbe", f"<parameters>{payload}</parameters>", name="act", source="u")
    assert request == Request(HttpCall("POST", "u", body=body, soap_action="act"), echo)


def test_soap_without_a_url_is_no_work_of_the_relay() -> None:
    """A SOAPProbe that says no address fits no operation."""
    assert refused("SOAPProbe", "<parameters/>", name="act").number == 4001


@pytest.mark.parametrize(
    "start", ["&", "<", "<a ", "</b>", "a='1' ", "<![CDATA[", "\x01", "&#1;", "<a:b/>", "]]>", "<?xml "]
)
def test_lenient_reading_costs_little(start: str) -> None:
    """A mebibyte of what cannot be read is given up, or read, in a moment."""
    payload = "<parameters>" + start * ((MAX_PAYLOAD - 20) // len(start))
    began = time.process_time()
    with suppress(WorkError):
        read("SOAPProbe", payload, source="u")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "payload",
    [
        "text",
        "<results/>",
        "<see_attachment/>",
        "<parameters>\ud800</parameters>",
        BOMB,
        FILE,
        "<parameters>" + "<a>" * 100 + "</a>" * 100 + "</parameters>",
        "<parameters>" + "<a/>" * 20_001 + "</parameters>",
        "enc:AAAA",
    ],
)
def test_soap_that_cannot_be_made_out(payload: str) -> None:
    """A SOAPProbe that is no `<parameters>` at all, has a DOCTYPE or no bounds is like one that no operation takes."""
    assert refused("SOAPProbe", payload, name="act", source="u").number == 4001
