"""What records ask for, as they are read."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from relay.core.errors import WorkError
from relay.core.exchange import Request
from relay.core.record import Heartbeat, HttpCall, Record, SystemCommand, TypedCall
from relay.servicenow.payload import PayloadCodec, echo_of
from relay.servicenow.payload_shapes import MAX_PARAMETERS, MAX_PAYLOAD

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'


def parameters(*pairs: tuple[str, str]) -> str:
    rows = "".join(f"<parameter name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in pairs)
    return f"{PROLOG}<parameters>{rows}</parameters>"


def fields(*pairs: tuple[str, str]) -> str:
    rows = "".join(f"<field name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in pairs)
    return f"{PROLOG}<fields>{rows}</fields>"


def record(topic: str, payload: str, **columns: str) -> Record:
    return Record({"sys_id": "a" * 32, "topic": topic, "payload": payload, **columns})


def read(topic: str, payload: str = "", **columns: str) -> Request:
    return PayloadCodec().read(record(topic, payload, **columns))


def rest(*pairs: tuple[str, str], **columns: str) -> HttpCall:
    work = read("RESTProbe", parameters(*pairs), **{"name": "post", "source": "https://a.example/api", **columns}).work
    assert isinstance(work, HttpCall)
    return work


def typed(*pairs: tuple[str, str], **columns: str) -> TypedCall:
    work = read("BSeriesProbe", parameters(*pairs), **{"name": "get_api_info", **columns}).work
    assert isinstance(work, TypedCall)
    return work


def refused(topic: str, payload: str, **columns: str) -> WorkError:
    with pytest.raises(WorkError) as caught:
        read(topic, payload, **columns)
    return caught.value


# -- RESTProbe


def test_rest_as_v1_writes_it() -> None:
    """A RESTProbe of RESTMessage: verb in the record's name, URL in its source, headers and query as XML inside."""
    call = rest(
        ("message_headers", fields(("Accept", "application/json"), ("Content-Type", "application/json"))),
        ("message_parameters", fields(("q", "a%20b"), ("empty", ""))),
        ("skip_sensor", "true"),
        ("rest_user", "svc"),
        ("rest_password", "enc:xyz"),
        ("content", '{"a": 1}'),
        name="put",
    )
    assert call == HttpCall(
        "PUT",
        "https://a.example/api",
        (("Accept", "application/json"), ("Content-Type", "application/json")),
        (("q", "a%20b"), ("empty", "")),
        '{"a": 1}',
    )


def test_rest_as_v2_writes_it() -> None:
    """RESTMessageV2's `http_method` and `source` win over the record's own fields."""
    call = rest(("http_method", "GET"), ("source", " https://b.example/long "), name="post")
    assert (call.method, call.url) == ("GET", "https://b.example/long")


def test_rest_empty_payload() -> None:
    """An empty payload is a call of the record's verb and source."""
    for payload in ("", "  \n", "<parameters/>"):
        assert read("RESTProbe", payload, name="get", source="https://x.example/") == Request(
            HttpCall("GET", "https://x.example/"), ()
        )


def test_rest_value_as_text() -> None:
    """A parameter's value may stand in the element instead of the attribute; the attribute wins."""
    content, source = (
        "<parameter name='content'>a&amp;b</parameter>",
        "<parameter name='source' value='u'>v</parameter>",
    )
    payload = f"<parameters>{content}{source}</parameters>"
    assert read("RESTProbe", payload, name="get").work == HttpCall("GET", "u", body="a&b")
    assert read("RESTProbe", "<parameters><parameter name='source'/></parameters>", name="get", source="w").work == (
        HttpCall("GET", "w")
    )


def test_rest_value_as_elements() -> None:
    """A value that is given as child elements is their XML, whatever stands between them."""
    payload = (
        "<parameters><parameter name='content'>\n <a x='1'>b&amp;</a>c&lt;<d/> </parameter>"
        "<parameter name='message_headers'> <fields><field name='Accept' value='text/xml'/></fields>\n</parameter>"
        "<parameter name='message_parameters'><fields>\n<field name='q' value='1&amp;2'/></fields></parameter>"
        "</parameters>"
    )
    request = read("RESTProbe", payload, name="post", source="u")
    body = '<a x="1">b&amp;</a>c&lt;<d/>'
    assert request.work == HttpCall("POST", "u", (("Accept", "text/xml"),), (("q", "1&2"),), body)
    assert dict(request.parameters)["content"] == body
    assert dict(request.parameters)["message_headers"] == '<fields><field name="Accept" value="text/xml"/></fields>'


def test_secrets_in_child_elements_are_dropped() -> None:
    """What is given as child elements is cleaned of credentials like an attribute."""
    headers = "<fields><field name='Authorization' value='very-secret'/><field name='A' value='b'/></fields>"
    payload = f"<parameters><parameter name='message_headers'>{headers}</parameter></parameters>"
    request = read("RESTProbe", payload, name="get", source="u")
    assert isinstance(request.work, HttpCall)
    assert request.work.headers == (("A", "b"),)
    assert "very-secret" not in str(request)


@pytest.mark.parametrize("topic", ["RESTProbe", "SOAPProbe", "BSeriesProbe", "SystemCommand", "HeartbeatProbe"])
def test_the_number_of_parameters_is_bounded(topic: str) -> None:
    """200 different parameters are read, one more is refused, for every topic; the answer echoes none of them."""
    many = [(f"p{number}", "x") for number in range(MAX_PARAMETERS)]
    assert len(read(topic, parameters(*many), name="get", source="u").parameters) == MAX_PARAMETERS
    more = parameters(*many, ("one", "more"), ("skip_sensor", "true"))
    assert refused(topic, more, name="get", source="u").number == 4006
    assert echo_of(record(topic, more)) == (("skip_sensor", "true"),)


def test_rest_line_breaks() -> None:
    """Escaped line breaks and tabs of an attribute survive."""
    payload = "<parameters><parameter name = 'content' value = 'a&#10;b&#13;c&#9;d'/></parameters>"
    assert read("RESTProbe", payload, name="get", source="u").work == HttpCall("GET", "u", body="a\nb\rc\td")


def test_declared_encoding_means_nothing() -> None:
    """The record's field is text already: what its prolog says about an encoding is not applied again."""
    prolog = "\ufeff<?xml version='1.0' encoding='iso-8859-1'?>"
    payload = prolog + "<parameters><parameter name='content' value='ü€'/></parameters>"
    assert read("RESTProbe", payload, name="get", source="u").work == HttpCall("GET", "u", body="ü€")


@pytest.mark.parametrize("name", ["Authorization", "authorization ", "Cookie", "Proxy-Authorization", "X-UserToken"])
def test_secret_headers_are_dropped(name: str) -> None:
    """Headers that hold credentials are neither used nor echoed."""
    headers = fields((name, "very-secret"), ("Accept", "text/xml"))
    request = read("RESTProbe", parameters(("message_headers", headers)), name="get", source="u")
    assert isinstance(request.work, HttpCall)
    assert request.work.headers == (("Accept", "text/xml"),)
    assert "very-secret" not in str(request)
    assert dict(request.parameters)["message_headers"] == fields(("Accept", "text/xml"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "very-secret"),
        ("Password", "very-secret"),
        ("rest_password", "very-secret"),
        ("soap_username", "very-secret"),
        ("relay_signature", "very-secret"),
        ("other", "enc:very-secret"),
        ("other", " ENC:very-secret"),
    ],
)
def test_secret_parameters_are_dropped(name: str, value: str) -> None:
    """Parameters that hold credentials or the signature are neither used nor echoed, for any topic."""
    for topic in ("RESTProbe", "SOAPProbe", "BSeriesProbe", "SystemCommand", "HeartbeatProbe"):
        request = read(topic, parameters((name, value), ("skip_sensor", "true")), name="get", source="u")
        assert request.parameters == (("skip_sensor", "true"),)
        assert "very-secret" not in str(request)


@pytest.mark.parametrize("topic", ["RESTProbe", "SOAPProbe", "BSeriesProbe"])
def test_the_signature_is_kept_apart(topic: str) -> None:
    """A signature is taken over as it stands, is no argument, and is absent where the record has none."""
    for value in ("v1.k.1.nonce123.mac", "", " v1 "):
        request = read(topic, parameters(("relay_signature", value)), name="get", source="u")
        assert request.signature == value
        assert request.work == read(topic, parameters(), name="get", source="u").work
    assert read(topic, parameters(), name="get", source="u").signature is None
    with pytest.raises(WorkError) as error:
        read(topic, parameters(("relay_signature", "a"), ("relay_signature", "a")), name="get", source="u")
    assert error.value.number == 4006


def test_secrets_in_query_and_form_are_dropped() -> None:
    """Legacy credentials in the query, the URL and a form body are dropped; the rest stays byte for byte."""
    request = read(
        "RESTProbe",
        parameters(
            ("message_headers", fields(("content-type", "application/x-www-form-urlencoded; charset=utf-8"))),
            ("message_parameters", fields(("username", "very-secret"), ("action", "a%2Fb"))),
            ("content", "action=x&pass%77ord=very-secret&b=%20+"),
            ("source", "https://a.example/api?password=very-secret&a=b#c"),
        ),
        name="post",
    )
    assert isinstance(request.work, HttpCall)
    assert request.work.query == (("action", "a%2Fb"),)
    assert request.work.body == "action=x&b=%20+"
    assert request.work.url == "https://a.example/api?a=b#c"
    assert "very-secret" not in str(request)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://a.example/?password=x", "https://a.example/"),
        ("https://a.example/?", "https://a.example/?"),
        ("https://a.example/", "https://a.example/"),
        ("https://a.example/#?password=x", "https://a.example/#"),
    ],
)
def test_urls_without_credentials(text: str, kept: str) -> None:
    """Dropping a URL's credentials leaves everything else."""
    assert rest(("source", text)).url == kept


def test_user_info_is_not_echoed() -> None:
    """`user:password@` stays in the call for the policy to refuse, and out of the echo."""
    request = read("RESTProbe", parameters(("source", "https://u:very-secret@a.example/x")), name="get")
    assert isinstance(request.work, HttpCall)
    assert request.work.url == "https://u:very-secret@a.example/x"
    assert request.parameters == (("source", "https://a.example/x"),)


def test_form_without_content_type() -> None:
    """A body that looks like a form and says nothing else is treated as one."""
    assert rest(("content", "grant_type=client_credentials&client_id=a&client_secret=b")).body == (
        "grant_type=client_credentials&client_id=a"
    )


def test_secrets_in_json() -> None:
    """Credentials at the top of a JSON body are dropped; deeper ones keep the body out of the echo."""
    request = read("RESTProbe", parameters(("content", '{"password": "p", "a": [1, "ü"]}')), name="post", source="u")
    assert request.work == HttpCall("POST", "u", body='{"a":[1,"ü"]}')
    assert dict(request.parameters)["content"] == '{"a":[1,"ü"]}'
    for content in ('{"a": {"password": "p"}}', '[{"x": "enc:1"}]', '{"password": "p"'):
        request = read("RESTProbe", parameters(("content", content)), name="post", source="u")
        assert request == Request(HttpCall("POST", "u", body=content), ())


def test_harmless_bodies_are_echoed() -> None:
    """A body without credentials is echoed as it is."""
    for content in ('{"a": 1}', "[1]", "<a/>", "text = other"):
        request = read("RESTProbe", parameters(("content", content)), name="post", source="u")
        assert request == Request(HttpCall("POST", "u", body=content), (("content", content),))


def test_encrypted_fields() -> None:
    """What is encrypted for somebody else counts as absent."""
    assert rest(("message_headers", "enc:abc"), ("content", "enc:abc")) == HttpCall("POST", "https://a.example/api")


@pytest.mark.parametrize("name", ["http_method", "source", "message_headers", "message_parameters", "content"])
def test_rest_ambiguous(name: str) -> None:
    """A RESTProbe that gives a meaningful parameter twice is refused."""
    error = refused("RESTProbe", parameters((name, ""), (name, "")), name="get", source="u")
    assert error.number == 4006


def test_rest_other_duplicates() -> None:
    """Other parameters may come twice."""
    assert rest(("skip_sensor", "a"), ("skip_sensor", "b")).method == "POST"


@pytest.mark.parametrize(
    ("pairs", "columns"),
    [
        ((), {"name": "", "source": "u"}),
        ((), {"name": "ge t", "source": "u"}),
        ((("http_method", "G\nET"),), {"name": "get", "source": "u"}),
        ((), {"name": "get", "source": " "}),
        ((("message_headers", "no xml"),), {"name": "get", "source": "u"}),
        ((("message_parameters", "<fields>"),), {"name": "get", "source": "u"}),
    ],
)
def test_rest_incomplete(pairs: tuple[tuple[str, str], ...], columns: Mapping[str, str]) -> None:
    """A RESTProbe without a verb or URL, or with broken XML inside, is refused as not well-formed."""
    assert refused("RESTProbe", parameters(*pairs), **columns).number == 4006


# -- BSeriesProbe


def test_typed() -> None:
    """A BSeriesProbe's parameters are its arguments; what RESTMessageV2 adds and what the relay reads are not."""
    call = typed(
        ("http_method", "post"),
        ("message_headers", ""),
        ("message_parameters", ""),
        ("content", " "),
        ("source", "x"),
        ("skip_sensor", "true"),
        ("workflow", "w"),
        ("execution_sys_id", "e"),
        ("rest_user", "r"),
        ("relay_signature", "s"),
        ("operation", "session_key"),
        ("appliance", " default "),
        ("format", "XML"),
        ("lsid", "1"),
        ("username", "u"),
        ("other", "enc:1"),
        name="post",
    )
    assert call == TypedCall("session_key", {"lsid": "1"}, "default", "xml")


def test_typed_by_name() -> None:
    """Without a parameter `operation` the record's name is the operation; no appliance and JSON are the defaults."""
    assert typed(name=" get_api_info ") == TypedCall("get_api_info", {}, None, "json")


def test_typed_json_arguments() -> None:
    """A JSON object in `content` gives arguments with their types, beside those of other parameters."""
    content = json.dumps({"ids": [1, "a"], "deep": {"x": None}, "password": "p", "enc": "enc:1"})
    assert typed(("content", content), ("a", "b")).arguments == {"a": "b", "ids": [1, "a"], "deep": {"x": None}}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        "1",
        "nonsense",
        '{"a": 1, "a": 2}',
        '{"x": {"a": 1, "a": 2}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": ' + "9" * 5000 + "}",
        nested(33),
        nested(100_000),
        '{"lsid": "2"}',
    ],
)
def test_typed_bad_content(content: str) -> None:
    """JSON that is no object, ambiguous, not finite, not text, too deep, or repeats an argument is refused."""
    assert refused("BSeriesProbe", parameters(("content", content), ("lsid", "1")), name="x").number == 4006


def test_typed_reserved_in_content() -> None:
    """A reserved name in the JSON object is an unknown argument."""
    assert refused("BSeriesProbe", parameters(("content", '{"operation": "x"}')), name="x").number == 4005


@pytest.mark.parametrize("name", ["lsid", "skip_sensor", "operation", "rest_user"])
def test_typed_duplicates(name: str) -> None:
    """A typed call that gives any parameter twice is refused."""
    assert refused("BSeriesProbe", parameters((name, "1"), (name, "1")), name="x").number == 4006


def test_typed_bad_format() -> None:
    """A format other than json and xml is not acceptable."""
    assert refused("BSeriesProbe", parameters(("format", "csv")), name="x").number == 4004


def test_typed_without_operation() -> None:
    """A typed call without an operation is refused."""
    assert refused("BSeriesProbe", parameters(("operation", " ")), name=" ").number == 4006


# -- the agent's own


def test_heartbeat() -> None:
    """A heartbeat needs no payload."""
    assert read("HeartbeatProbe") == Request(Heartbeat(), ())


def test_system_command() -> None:
    """A system command is the record's source."""
    assert read("SystemCommand", source=" pauseMid ") == Request(SystemCommand("pauseMid"), ())


# -- refusals


@pytest.mark.parametrize("topic", ["Command", "", "restprobe", "JavascriptProbe", "x" * 500])
def test_other_topics(topic: str) -> None:
    """Every other topic is work that the relay does not do, whatever its payload."""
    assert refused(topic, "<<<").number == 4001


BOMB = '<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><parameters><parameter name="x" value="&b;"/></parameters>'
FILE = (
    '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/hosts">]><parameters><parameter name="c">&a;</parameter></parameters>'
)


@pytest.mark.parametrize(
    "payload",
    [
        "text",
        "<parameters>",
        "<parameters/><parameters/>",
        "<results/>",
        "<see_attachment/>",
        "<parameters><parameter value='x'/></parameters>",
        "<parameters><parameter name=' '/></parameters>",
        "<parameters>&nbsp;</parameters>",
        "<parameters>\x00</parameters>",
        "<parameters>\ud800</parameters>",
        "<!DOCTYPE parameters><parameters/>",
        BOMB,
        FILE,
        "<parameters>" + "<a>" * 100 + "</a>" * 100 + "</parameters>",
        "<parameters>" + "<a/>" * 20_001 + "</parameters>",
        "<parameters " + " ".join(f"a{n}='1'" for n in range(65)) + "/>",
        "enc:AAAA",
    ],
)
def test_ill_formed(payload: str) -> None:
    """A payload that is no well-formed `<parameters>` within the limits is refused as that, for every topic but one."""
    for topic in ("RESTProbe", "BSeriesProbe", "SystemCommand", "HeartbeatProbe"):
        assert refused(topic, payload, name="get", source="u").number == 4006


@pytest.mark.parametrize("payload", ["x" * (MAX_PAYLOAD + 1), "ü" * (MAX_PAYLOAD // 2 + 1)])
def test_too_large(payload: str) -> None:
    """A payload of more than 1 MiB is refused by its size, in bytes."""
    assert refused("RESTProbe", payload).number == 4007


def test_errors_quote_nothing() -> None:
    """What is refused is not repeated in the error."""
    error: Any = refused("RESTProbe", "<parameters><very-secret")
    assert "very-secret" not in error.text


FORM = ("message_headers", fields(("Content-Type", "application/x-www-form-urlencoded")))


def test_overlong_forms_are_left_to_the_policy() -> None:
    """A URL or form of thousands of `&` is not gone through: the policy refuses it by its length, no answer has it."""
    address = "https://a.example/api?password=hunter2" + "&" * 80_000
    form = "password=hunter2" + "&" * 80_000
    began = time.process_time()
    request = read("RESTProbe", parameters(FORM, ("source", address), ("content", form)), name="POST")
    assert time.process_time() - began < 0.5
    assert isinstance(request.work, HttpCall)
    assert (request.work.url, request.work.body) == (address, form)
    assert "hunter2" not in str(request.parameters)
    guessed = parameters(("source", "https://a/"), ("content", "a=b&password=hunter2" + "&" * 80_000))
    untyped = read("RESTProbe", guessed, name="POST")
    assert "hunter2" not in str(untyped.parameters)


def test_nested_values_without_end_are_refused_at_once() -> None:
    """Hundreds of thousands of lists in `content` are refused before they are read, whatever is done with them."""
    content = "{" + ",".join(f'"{number}":[[[[[[[[1]]]]]]]]' for number in range(20_000)) + "}"
    began = time.process_time()
    with pytest.raises(WorkError) as caught:
        read("BSeriesProbe", parameters(("operation", "health"), ("content", content)))
    assert caught.value.number == 4006
    assert time.process_time() - began < 0.5
