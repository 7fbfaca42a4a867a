"""Every parser of foreign bytes, one row each: in comes anything, out comes a value or a RelayError, nothing else.

A new parser is a new row in `PARSERS`, or in `LOCAL` for files of this machine. `scripts/fuzz
SECONDS` goes on for longer than a test run may.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from support.mutations import EXAMPLES, json_texts, json_values, mutated, one_of_each, pick, rows_of, texts
from support.policies import ALL, LSID, TYPED_CALLS, URL, assert_sound
from support.sessionreports import ACCESS, SUPPORT, document

from relay.appliance.reports import read_sessions
from relay.appliance.token import error_name, read_token
from relay.appliance.values import JsonShaper
from relay.core import limits
from relay.core.errors import RelayError, ServiceNowError
from relay.core.exchange import NewInput
from relay.core.instant import epoch
from relay.core.limits import Usage
from relay.core.policy_values import Allowed
from relay.core.record import RECORD_FIELDS, Failure, HttpCall, Record, Reply, TypedCall
from relay.core.servertime import ServerClock
from relay.core.signature import Signed, check, parse
from relay.host.bodies import Body, BodyLimit
from relay.host.faults import FOREIGN, translate
from relay.host.network import Progress
from relay.host.tls import parse_pin
from relay.servicenow import attachments, batch, calls, rows
from relay.servicenow.answers import fault_error, value_of
from relay.servicenow.auth_oauth import token_of
from relay.servicenow.json_reader import JsonError, parse_strict
from relay.servicenow.payload import PayloadCodec, echo_of

from .local import LOCAL
from .parser import Parser

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SYS_ID = "0123456789abcdef" * 2
AGENT = "mid.server.relay01"


# -- queue records ---------------------------------------------------------------------------------------------------

PAYLOADS = (
    (
        '<?xml version="1.0" encoding="UTF-8"?><parameters><parameter name="http_method" value="post"/>'
        f'<parameter name="source" value="{URL}/api/command?action=get_api_info"/>'
        '<parameter name="message_headers" value="&lt;fields&gt;&lt;field name=&quot;Content-Type&quot; '
        'value=&quot;application/json&quot;/&gt;&lt;/fields&gt;"/><parameter name="message_parameters" '
        'value="&lt;fields&gt;&lt;field name=&quot;lsid&quot; value=&quot;a%20b&quot;/&gt;&lt;/fields&gt;"/>'
        '<parameter name="content" value="{&quot;password&quot;: 1, &quot;a&quot;: [1, &quot;enc:x&quot;]}"/>'
        '<parameter name="skip_sensor" value="true"/></parameters>'
    ),
    (
        f'<parameters><parameter name="lsid" value="{LSID}"/><parameter name="appliance" value="default"/>'
        '<parameter name="content">{"attributes": {"external_key": "INC1"}}</parameter>'
        '<parameter name="format" value="xml"/><parameter name="rest_x" value="enc:abc"/></parameters>'
    ),
    (
        '<parameters><output><?xml version="1.0"?><soap:Envelope xmlns:soap="http://s.example/">'
        "<soap:Body>a & b<lsid>1</lsid></soap:Body></soap:Envelope></output><httpHeaders><httpHeader A='text/xml'/>"
        "</httpHeaders></parameters>"
    ),
    "",
)
COLUMNS = st.fixed_dictionaries(
    {
        "topic": pick("RESTProbe", "BSeriesProbe", "SOAPProbe", "SystemCommand", "HeartbeatProbe", "Probe"),
        "payload": texts(*PAYLOADS),
        "name": texts("post", "session-attributes", "get_api_info", "EndSession", ""),
        "source": texts(f"{URL}/api/command.ns", "pauseMid", ""),
    }
)


def read_payload(columns: dict[str, str]) -> None:
    """Reads a record, decides on it as the relay would, and writes the answer, which must be XML."""
    record = Record({"sys_id": SYS_ID, **columns})
    codec = PayloadCodec()
    written = codec.write(record, echo_of(record), Failure("BSR-4006: bad"), 1)
    assert etree.fromstring(written.encode("utf-8")).tag == "results"
    work = codec.read(record).work
    if isinstance(work, HttpCall | TypedCall):
        decision = ALL.decide(work)
        if isinstance(decision, Allowed):
            assert_sound(ALL, decision)


def write_answer(found: dict[str, Any]) -> None:
    """Writes an appliance's reply as an answer, which must be XML whatever the reply holds."""
    record = Record(dict.fromkeys(RECORD_FIELDS, "x"))
    written = PayloadCodec().write(record, (), Reply(200, tuple(found["headers"]), found["body"]), 1)
    assert etree.fromstring(written.encode("utf-8")).tag == "results"


# -- policy ----------------------------------------------------------------------------------------------------------


def decide_http(found: dict[str, Any]) -> None:
    """Judges a call by its URL, headers, query and body."""
    decision = ALL.decide(HttpCall(**found))
    if isinstance(decision, Allowed):
        assert_sound(ALL, decision)


def decide_typed(found: dict[str, Any]) -> None:
    """Judges a typed call whose arguments came as JSON."""
    try:
        arguments = parse_strict(json.dumps(found["arguments"]))
    except JsonError:
        return
    if isinstance(arguments, dict):
        decision = ALL.decide(TypedCall(found["operation"], arguments, found["appliance"]))
        if isinstance(decision, Allowed):
            assert_sound(ALL, decision)


# -- ServiceNow ------------------------------------------------------------------------------------------------------

ROW = {
    "sys_id": SYS_ID,
    "agent": AGENT,
    "queue": "output",
    "state": "processing",
    "response_to": "a" * 32,
    "sys_created_by": {"link": "https://a", "value": "svc"},
    "payload": PAYLOADS[0],
}
ERROR = {"error": {"message": "Transaction cancelled", "detail": None}, "status": "failure"}
SERVED = {
    "batch_request_id": "1",
    "serviced_requests": [
        {"id": "0", "body": "eyJyZXN1bHQiOnt9fQ==", "status_code": 200, "status_text": "OK", "execution_time": 3},
        {"id": "1", "body": "", "status_code": "204", "execution_time": 3},
    ],
    "unserviced_requests": [{"id": "2"}, "3"],
}
TOKEN = {"access_token": "abc.def", "token_type": "Bearer", "expires_in": 1799, "refresh_token": "r", "scope": "x"}
DATES = ("Sun, 22 Nov 2026 06:00:00 GMT", "Sunday, 22-Nov-26 06:00:00 GMT", "Sun Nov 22 06:00:00 2026", "120", "")


def read_rows(found: dict[str, Any]) -> None:
    """Reads an answer of the Table API as each of its callers does."""
    value = value_of(found["status"], found["body"], content_type=found["kind"], retry_after=found["after"], now=1.0)
    for row in calls.rows_of(value):
        rows.record_of(row)
    rows.matching(calls.rows_of(value), {"agent": (AGENT,)})


def read_change(part: Any) -> None:
    """Reads what a change of a row answers, claim, insert and close alike."""
    wished = NewInput("a" * 32, SYS_ID, "RESTProbe", "post", "", "", "<results/>")
    for outcome in (rows.claimed(AGENT, SYS_ID, part), rows.inserted(AGENT, wished, part), rows.closed(SYS_ID, part)):
        if isinstance(outcome, Exception):
            assert isinstance(outcome, ServiceNowError)
    found, _ = rows.matching([calls.row_of(part)], {"response_to": ("a" * 32,)})
    for row in found:
        rows.found_input(row)


def read_batch(body: bytes) -> None:
    """Reads a batch's answer; there is one outcome for each call."""
    served = batch.decode(4, value_of(200, body, content_type="application/json"))
    assert len(served.parts) == 4
    assert 0 <= served.seconds < 1e9


class _Lane:
    """A lane of sessions whose answer is at hand."""

    def __init__(self, value: Any) -> None:
        self._value = value

    async def value(self, _call: object, _limit: int = 0) -> Any:
        return self._value


def read_attachments(value: Any) -> None:
    """Reads what an instance tells of attachments."""
    asked = attachments.of_row(_Lane(value), "ecc_queue", SYS_ID, "payload")  # type: ignore[arg-type]
    try:
        asked.send(None)
    except StopIteration:
        return
    finally:
        asked.close()


def read_token_answers(body: bytes) -> None:
    """Reads a token endpoint's answer on either side."""
    read_token(body, 1.0)
    error_name(body)
    token_of(value_of(200, body, content_type="application/json"))


def read_times(text: str) -> None:
    """Reads a header or column that should be a time or a number."""
    limits.retry_after(text, 1.0)
    limits.observe(Usage(), 1.0, text, text, 1)
    ServerClock().heard(text, 1.0, 1.0)
    epoch(text)
    value_of(429, b"", retry_after=text, now=1.0)


# -- the appliance ---------------------------------------------------------------------------------------------------

REPORTS = (
    (
        b'<?xml version="1.0" encoding="UTF-8"?><session_list xmlns="https://www.beyondtrust.com/namespaces/API/reporting">'
        b'<session lsid="a1"><lseq>8</lseq><primary_rep id="1">a\xc3\xa9</primary_rep><custom_attributes/>'
        b"<session_details><event timestamp='1'>\x01&#x1;</event></session_details></session></session_list>"
    ),
    b'<?xml version="1.0" encoding="ISO-8859-1"?><error xmlns="x">n\xe9</error>',
    "<?xml version='1.0' encoding='UTF-16'?><a b='1'>x</a>".encode("utf-16"),
    b"{}",
)


def shape(body: bytes) -> None:
    """Turns an appliance's XML into JSON, which must be JSON."""
    reply = JsonShaper().to_json(Reply(200, (("Content-Type", "text/xml"),), body))
    if reply.headers[0] == ("Content-Type", "application/json"):
        json.loads(reply.body)


def unpack(found: dict[str, Any]) -> None:
    """Decodes a body of some content encoding, within its bounds."""
    limit = BodyLimit(1000, 5000)
    try:
        body = Body(found["encoding"], limit)
        body.feed(found["body"])
        while body.step():
            assert body.size <= limit.most
        assert len(body.finish()) <= limit.keep
    except FOREIGN as error:
        raise fault_error(translate(error, Progress(), limit), None) from None


SIGNATURE = "v1.2026-11.1795330000.5f08b46b6cea4fbe8b1d53713123e29e.La0BiD-IwzDOMo0uece9Gk6omNA0kuXQ5qgcZRxwE8U"


def judge_signature(found: Any) -> None:
    """Reads a signature and judges it; nothing that was not signed with the key passes."""
    work = Signed(
        AGENT, "default", "terminate", {"lsid": LSID, found["by"]: found["value"]}, found["value"], found["by"]
    )
    check(parse(found["signature"]), b"k" * 32, work, now=1795330000.0, oldest=120.0)
    pytest.fail("a forged signature passed")


PARSERS = (
    *LOCAL,
    Parser("queue record", COLUMNS, read_payload),
    Parser(
        "signature",
        one_of_each(signature=texts(SIGNATURE, "v1....", ""), by=texts("admin", ""), value=texts("INC1", "")),
        judge_signature,
    ),
    Parser(
        "answer's payload",
        one_of_each(
            body=mutated(*REPORTS, gzip.compress(b"x")),
            headers=st.lists(
                st.tuples(texts("Content-Type", "X-A"), texts("text/xml; charset=utf-8", "a")), max_size=3
            ),
        ),
        write_answer,
    ),
    Parser(
        "HTTP call",
        one_of_each(
            method=texts("GET", "post"),
            url=texts(
                f"{URL}/api/command?action=get_api_info",
                f"{URL}/api/config/v1/jump-item/shell-jump/7?name=web%201",
                "https://PRA.local:8443/api/reporting.ns",
                f"{URL}/site/a/x%20y",
                "https://[::1]:443/check_health",
            ),
            headers=st.lists(
                st.tuples(texts("Content-Type", "SOAPAction"), texts("application/json", "EndSession")), max_size=2
            ).map(tuple),
            query=st.lists(st.tuples(texts("lsid", "action"), texts(LSID, "a%20b")), max_size=3).map(tuple),
            body=texts(f"action=get_session_attributes&lsid={LSID}", '{"count": 3, "tags": ["x"]}', "<a/>", ""),
        ),
        decide_http,
    ),
    Parser(
        "typed call",
        one_of_each(
            operation=texts(*(call.operation for call in TYPED_CALLS)),
            appliance=st.none() | texts("default"),
            arguments=json_values(*(dict(call.arguments) for call in TYPED_CALLS)),
        ),
        decide_typed,
    ),
    Parser(
        "Table API answer",
        one_of_each(
            status=pick(200, 200, 200, 201, 204, 301, 401, 404, 429, 500, 999),
            body=json_texts({"result": [ROW, ROW]}, ERROR, {"result": []}),
            kind=st.none() | texts("application/json;charset=UTF-8", "text/html"),
            after=st.none() | texts(*DATES),
        ),
        read_rows,
    ),
    Parser("change of a row", json_values({"result": ROW}), read_change),
    Parser("batch answer", json_texts(SERVED), read_batch),
    Parser(
        "attachments",
        json_values(
            {
                "result": [
                    {
                        "sys_id": SYS_ID,
                        "size_bytes": "12",
                        "table_name": "ecc_queue",
                        "table_sys_id": SYS_ID,
                        "file_name": "payload",
                    }
                ]
            }
        ),
        read_attachments,
    ),
    Parser("token answer", json_texts(TOKEN, {"error": "access_denied"}), read_token_answers),
    Parser("times and numbers in headers", texts(*DATES, "2026-11-22 06:00:00"), read_times),
    Parser("appliance's XML", mutated(*REPORTS), shape),
    Parser("session report", mutated(document(ACCESS, SUPPORT), *REPORTS), lambda raw: list(read_sessions(raw))),
    Parser(
        "encoded body",
        one_of_each(
            encoding=texts("gzip", "identity", "", "br"),
            body=mutated(gzip.compress(b"text " * 100), gzip.compress(b"") * 3, gzip.compress(bytes(9000)), b"plain"),
        ),
        unpack,
    ),
    Parser("pin", texts("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), parse_pin),
    Parser(
        "record's columns",
        rows_of("sys_id", "agent", "queue", "state", "response_to", "size_bytes", seeds=(SYS_ID, AGENT, "ready", "7")),
        lambda row: rows.matching([row], {"agent": (AGENT,), "queue": ("output",)}),
    ),
)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_value_or_a_relay_error_never_anything_else(parser: Parser) -> None:
    """Whatever this parser is given, it gives a value or raises a RelayError."""

    @settings(max_examples=EXAMPLES)
    @given(parser.inputs)
    def check(found: Any) -> None:
        with contextlib.suppress(RelayError):
            parser.read(found)

    check()
