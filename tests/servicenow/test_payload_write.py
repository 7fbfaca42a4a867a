"""Answers as ServiceNow's own scripts read them."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import WorkError
from relay.core.exchange import Request
from relay.core.record import RECORD_FIELDS, Failure, Outcome, Record, Reply
from relay.servicenow.payload import PayloadCodec
from relay.servicenow.payload_shapes import MAX_PAYLOAD

SYS_ID = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Read:
    """What the instance's scripts take from an answer."""

    body: str
    status: str
    headers: list[tuple[str, str]]
    error: str
    parameters: dict[str, str]
    root: ET.Element


def as_the_instance_reads(payload: str) -> Read:
    """A reader modelled on the instance's scripts, on another XML library than the writer's."""
    root = ET.fromstring(payload.encode())  # noqa: S314 - our own writer's text
    assert root.tag == "results"
    rows = root.findall("parameters/parameter")
    names = [row.attrib["name"] for row in rows]
    assert len(names) == len(set(names)), "a reader takes the first of two, a person the last"
    parameters = {row.attrib["name"]: row.attrib["value"] for row in rows}
    headers = [(row.attrib["name"], row.attrib["value"]) for row in root.findall("httpHeaders/httpHeader")]
    assert len(headers) >= 2, "the instance's script loops wrongly over a single header"
    result = root.find("result")
    assert result is not None
    error = root.get("error") or result.get("error") or result.findtext("error") or ""
    body = "" if error else result.findtext("output", "")
    return Read(body, parameters["http_status_code"], headers, error, parameters, root)


def record(**columns: str) -> Record:
    return Record({"sys_id": SYS_ID, "topic": "RESTProbe", "queue": "output", "state": "processing", **columns})


def write(outcome: Outcome, *pairs: tuple[str, str], row: Record | None = None) -> Read:
    return as_the_instance_reads(PayloadCodec().write(row or record(), pairs, outcome, 268))


JSON = ("Content-Type", "application/json")


def test_success() -> None:
    """An HTTP answer is a result with body, status and headers, and no error."""
    read = write(Reply(201, (JSON, ("X-A", "1")), b'{"ok":true}'), ("skip_sensor", "true"))
    assert (read.body, read.status, read.error) == ('{"ok":true}', "201", "")
    assert read.headers == [JSON, ("X-A", "1"), ("Content-Length", "11")]
    assert read.parameters["skip_sensor"] == "true"
    assert (read.root.get("probe_time"), read.root.get("result_code")) == ("268", "0")
    assert "error" not in read.root.attrib


@pytest.mark.parametrize("status", [200, 204, 302, 401, 404, 500])
def test_any_status_is_a_result(status: int) -> None:
    """An HTTP answer of any status is no error."""
    read = write(Reply(status, (), b""))
    assert (read.status, read.error, read.body) == (str(status), "", "")


def test_failure() -> None:
    """No HTTP answer is an error on results and result, an error element and result code 900000."""
    read = write(Failure('BSR-3001: "down" & <out>'), ("skip_sensor", "true"))
    assert read.error == 'BSR-3001: "down" & <out>'
    result = read.root.find("result")
    assert result is not None
    assert result.get("error") == result.findtext("error") == read.root.get("error")
    assert read.root.get("result_code") == "900000"
    assert read.status == "0"
    assert read.parameters["skip_sensor"] == "true"


def test_echo() -> None:
    """All record fields but the payload are echoed as they were polled, and `ecc_queue` is the output's sys_id."""
    row = Record({name: f"value of {name}" for name in RECORD_FIELDS})
    read = write(Reply(200), ("a", "b"), ("source", "the longer one"), ("agent", "forged"), row=row)
    for name in set(RECORD_FIELDS) - {"payload", "state", "source"}:
        assert read.parameters[name] == f"value of {name}"
    assert "payload" not in read.parameters
    assert read.parameters["state"] == "ready"
    assert read.parameters["source"] == "the longer one"
    assert read.parameters["ecc_queue"] == row.sys_id
    assert read.parameters["a"] == "b"


def test_echo_hides_credentials() -> None:
    """Credentials in the record's own fields, the signature and forged results of ours are not echoed."""
    row = record(source="https://u:very-secret@a.example/?password=very-secret", name="enc:very-secret")
    read = write(Reply(200), ("relay_signature", "v1"), ("http_status_code", "999"), ("output_encoding", "x"), row=row)
    assert read.parameters["source"] == "https://a.example/"
    assert "name" not in read.parameters
    assert "relay_signature" not in read.parameters
    assert "output_encoding" not in read.parameters
    assert read.status == "200"


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "WWW-Authenticate",
        "Proxy-Authenticate",
        "Proxy-Foo",
        "X-Auth-Token",
        "Authorization",
        "Transfer-Encoding",
        "Content-Encoding",
        "Connection",
        "Content-Length",
    ],
)
def test_headers_left_out(name: str) -> None:
    """Cookies, tokens and what describes the connection alone are left out of the headers."""
    read = write(Reply(200, ((name, "very-secret"), ("A", "b"), ("A", "c")), b"xyz"))
    assert read.headers == [("A", "b"), ("A", "c"), ("Content-Length", "3")]


def test_two_headers_at_least() -> None:
    """An answer without headers still has two."""
    assert len(write(Reply(200)).headers) == 2
    assert len(write(Failure("BSR-3001: x")).headers) == 2


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", "ü€".encode(), "ü€"),
        ("text/xml; charset=UTF-8", b"\xef\xbb\xbf<a/>", "<a/>"),
        ("text/html; charset=iso-8859-1", "ü".encode("latin-1"), "ü"),
        ('text/html; charset="windows-1252"', "€".encode("cp1252"), "€"),
        ("text/plain; charset=utf-16", "ü".encode("utf-16"), "ü"),
        ("text/xml", "<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>".encode("latin-1"), None),
        ("application/octet-stream; charset=utf-8", b"abc", "abc"),
        ("", b"abc", "abc"),
        ("nonsense", b"abc", "abc"),
        ("application/problem+json", b"{}", "{}"),
        ("text/plain\x00; charset\n=utf-8", b"abc", "abc"),
    ],
)
def test_text(content_type: str, body: bytes, text: str | None) -> None:
    """A body that is text is decoded by its charset, by its XML declaration, or as UTF-8."""
    read = write(Reply(200, (("content-type", content_type),), body))
    assert read.body == (text if text is not None else body.decode("latin-1"))
    assert "output_encoding" not in read.parameters


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b"text in truth"),
        ("application/zip", b"PK\x03\x04"),
        ("application/octet-stream", b"abc"),
        ("text/plain", b"\xff\xfe\xfd"),
        ("text/plain; charset=utf-7", b"abc"),
        ("text/plain; charset=unicode_escape", b"abc"),
        ("text/plain; charset=rot13", b"abc"),
        ("text/plain; charset=nonsense", b"abc"),
        ("", b"\xff"),
    ],
)
def test_not_text(content_type: str, body: bytes) -> None:
    """A body that is not text, or whose charset is none, is base64 and says so."""
    headers = (("Content-Type", content_type),) if content_type else ()
    read = write(Reply(200, headers, body))
    assert read.parameters["output_encoding"] == "base64"
    assert base64.b64decode(read.body, validate=True) == body


def test_forbidden_characters() -> None:
    """Characters that XML 1.0 forbids are replaced, everywhere."""
    forbidden = "a\x00b\x08c\ufffed\uffff\x1b"
    read = write(Reply(200, (JSON, ("X", forbidden)), forbidden.encode()), ("p", forbidden + "\ud800"))
    shown = "a\ufffdb\ufffdc\ufffdd\ufffd\ufffd"
    assert read.body == shown
    assert read.parameters["p"] == shown + "\ufffd"
    assert ("X", shown) in read.headers
    assert write(Failure(forbidden)).error == shown


def test_heartbeat() -> None:
    """A heartbeat's answer says how the agent is, `Up` unless the relay says otherwise."""
    row = record(topic="HeartbeatProbe")
    assert write(Reply(200), row=row).parameters["mid_operational_state"] == "Up"
    paused = write(Reply(200), ("mid_operational_state", "Paused"), row=row)
    assert paused.parameters["mid_operational_state"] == "Paused"


def test_echo_of_refused_work() -> None:
    """An answer to a record that could not be read echoes what its payload holds all the same."""
    payload = (
        '<parameters><parameter name="skip_sensor" value="true"/><parameter name="rest_user" value="u"/></parameters>'
    )
    read = write(Failure("BSR-4001: x"), row=record(topic="Other", payload=payload))
    assert read.parameters["skip_sensor"] == "true"
    assert "rest_user" not in read.parameters


def test_echo_of_ill_formed_work() -> None:
    """Of an ill-formed payload only a few harmless parameters are echoed, so that no sensor is looked for."""
    payload = (
        "<parameters><parameter name='skip_sensor' value='true'/><parameter name='a' value='b&c'/>"
        "<parameter name='rest_password' value='very-secret'/><parameter name='workflow' value='ö ö'/></parameters>"
    )
    read = write(Failure("BSR-4006: x"), row=record(topic="RESTProbe", payload=payload))
    assert read.parameters["skip_sensor"] == "true"
    assert not {"a", "rest_password", "workflow"} & read.parameters.keys()


def test_echo_of_broken_fields() -> None:
    """Headers that are no XML are not echoed, since nobody can tell whether they hold credentials."""
    payload = (
        '<parameters><parameter name="message_headers" value="&lt;fields"/><parameter name="skip_sensor" value="true"/>'
        "</parameters>"
    )
    read = write(Failure("BSR-4006: x"), row=record(payload=payload))
    assert "message_headers" not in read.parameters
    assert read.parameters["skip_sensor"] == "true"


def test_echo_of_huge_work() -> None:
    """A payload that is too large is not echoed at all."""
    payload = '<parameters><parameter name="skip_sensor" value="true"/></parameters>' + " " * MAX_PAYLOAD
    assert "skip_sensor" not in write(Failure("BSR-4007: x"), row=record(payload=payload)).parameters


# -- properties

XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40)
ANY_TEXT = st.text(max_size=40)
PLAIN_NAME = st.from_regex(r"p_[A-Za-z0-9_]{1,10}", fullmatch=True)


def visible(text: str) -> str:
    """What is left of any text after a writer and a reader of XML 1.0."""
    return "".join(
        character
        if character in "\t\n\r"
        or "\x20" <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character > "\uffff"
        else "\ufffd"
        for character in text
    )


@given(
    body=ANY_TEXT,
    status=st.integers(100, 599),
    headers=st.lists(st.tuples(PLAIN_NAME, ANY_TEXT), max_size=4),
    pairs=st.dictionaries(PLAIN_NAME, ANY_TEXT, max_size=4),
    source=ANY_TEXT,
)
def test_round_trip(body: str, status: int, headers: list[tuple[str, str]], pairs: dict[str, str], source: str) -> None:
    """Body, status, headers and parameters of any answer are read back as they were, forbidden characters replaced."""
    raw = body.encode("utf-8", "replace")
    read = write(Reply(status, tuple(headers), raw), *pairs.items(), row=record(name=source))
    expected = visible(raw.decode("utf-8-sig"))
    assert read.body == expected
    assert read.status == str(status)
    kept = [(name, visible(value)) for name, value in headers if "token" not in name.lower()]
    assert read.headers[: len(kept)] == kept
    assert {name: read.parameters[name] for name in pairs} == {name: visible(value) for name, value in pairs.items()}


@given(body=st.binary(max_size=60), content_type=st.one_of(st.just(""), ANY_TEXT, st.just("text/plain")))
def test_any_bytes(body: bytes, content_type: str) -> None:
    """Any bytes of any content type come out as text or as their base64, and nothing raises."""
    read = write(Reply(200, (("Content-Type", content_type),), body))
    if "output_encoding" in read.parameters:
        assert base64.b64decode(read.body, validate=True) == body


@given(text=ANY_TEXT, payload=ANY_TEXT)
def test_any_failure(text: str, payload: str) -> None:
    """Every error has an answer, whatever the record's payload is."""
    read = write(Failure("BSR-9001: " + text), row=record(payload=payload))
    assert read.error == visible("BSR-9001: " + text)


# -- reading whole, cut and damaged

SAMPLES = {
    "RESTProbe": (
        '<?xml version="1.0" encoding="UTF-8"?><parameters><parameter name="http_method" value="post"/><parameter '
        'name="message_headers" value="&lt;fields&gt;&lt;field name=&quot;Accept&quot; value=&quot;x&quot;/&gt;'
        '&lt;/fields&gt;"/><parameter name="content" value="{&quot;a&quot;:1}"/></parameters>'
    ),
    "BSeriesProbe": (
        '<parameters><parameter name="operation" value="session_key"/><parameter name="content" '
        'value="{&quot;type&quot;: [1, 2.5, null]}"/></parameters>'
    ),
    "SOAPProbe": (
        "<parameters><output><?xml version='1.0'?><s:E xmlns:s='u'><s:B/></s:E></output><parameter name='soap_user' "
        "value='U'/><httpHeaders><httpHeader A='B'/></httpHeaders></parameters>"
    ),
}


def judged(topic: str, payload: str) -> Request | WorkError:
    """What became of reading; anything but these two is a fault."""
    row = Record({"sys_id": SYS_ID, "topic": topic, "name": "post", "source": "https://a.example/", "payload": payload})
    try:
        result: Request | WorkError = PayloadCodec().read(row)
    except WorkError as error:
        result = error
    read = write(Failure(result.text) if isinstance(result, WorkError) else Reply(200), row=row)
    assert read.parameters["ecc_queue"] == SYS_ID
    return result


@pytest.mark.parametrize("topic", SAMPLES)
def test_cut_at_every_character(topic: str) -> None:
    """A payload cut anywhere is read or refused, and answered in any case; only the whole one is work."""
    sample = SAMPLES[topic]
    assert isinstance(judged(topic, sample), Request)
    for end in range(1, len(sample)):
        result = judged(topic, sample[:end])
        assert isinstance(result, WorkError)
        assert result.number == (4001 if topic == "SOAPProbe" else 4006)


@given(
    topic=st.sampled_from(sorted(SAMPLES)),
    start=st.integers(0, 400),
    length=st.integers(0, 10),
    junk=st.one_of(st.text(max_size=6), st.sampled_from(["<!DOCTYPE a>", "&a;", "]]>", "<![CDATA[", "\x00", "\ud800"])),
)
def test_damaged(topic: str, start: int, length: int, junk: str) -> None:
    """A damaged payload is a request or a refusal, never anything else."""
    sample = SAMPLES[topic]
    judged(topic, sample[:start] + junk + sample[start + length :])


@given(topic=st.sampled_from([*SAMPLES, "SystemCommand", "HeartbeatProbe", "Other"]), payload=st.text(max_size=60))
def test_garbage(topic: str, payload: str) -> None:
    """Garbage is a request or a refusal, never anything else."""
    judged(topic, payload)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "content_type",
    ["text/plain; charset*=us-ascii''%00", "text/plain; charset*=punycode''a%00", 'text/plain;"' + ";" * 90_000],
    ids=["NUL", "codec", "long"],
)
def test_any_content_type_has_an_answer(content_type: str) -> None:
    """Whatever the appliance calls its answer, the answer is written, and soon."""
    read = write(Reply(200, (("Content-Type", content_type),), b"hello"))
    assert (read.body, read.parameters.get("output_encoding")) in {("hello", None), ("aGVsbG8=", "base64")}
