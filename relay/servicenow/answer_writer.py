"""The answer's payload, in the shape that ServiceNow's own scripts read.

    /results/result/output                                        the body, read when there is no error
    /results/parameters/parameter[@name='http_status_code']       the status
    /results/httpHeaders/httpHeader[@name][@value]                the headers
    /results/@error, /results/result/@error, /results/result/error

The reader of REST inputs throws without `<httpHeaders>` and loops wrongly over a single `<httpHeader>`: there are
always two at least. An HTTP answer of any status is a result without error; no HTTP answer is an error.

Why text is put together here and not by an XML library: forbidden characters must be replaced one by one, and an
answer of 5 MiB is written in one pass.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Final

from relay.core.record import RECORD_FIELDS, Failure, Outcome, Record, Reply
from relay.servicenow import body_text, leave_out
from relay.servicenow.payload_shapes import NOT_ECHOED, OVERRIDES, is_encrypted

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL: Final = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')  # whatever either of the two below changes

_LEFT_OUT_HEADERS: Final = frozenset(
    {"set-cookie", "set-cookie2", "www-authenticate", "authentication-info", "authorization", "cookie"}
)
# They describe the connection or a content encoding that is undone by now.
_HOP_HEADERS: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length", "te", "trailer", "upgrade"}
)

FAILED: Final = "900000"
"""`result_code` of a probe that failed, as MID servers write it."""


def text(value: str) -> str:
    """Character data: what XML 1.0 forbids is replaced by U+FFFD."""
    if not _SPECIAL.search(value):
        return value
    # A chain of replacements is several times faster over megabytes than one translation.
    plain = _FORBIDDEN.sub("\ufffd", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("\r", "&#13;")


def attribute(value: str) -> str:
    """An attribute's value, quoted. Line breaks and tabs survive being read."""
    if not _SPECIAL.search(value):
        return f'"{value}"'
    return f'"{text(value).replace(chr(34), "&quot;").replace(chr(10), "&#10;").replace(chr(9), "&#9;")}"'


def write(record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int) -> str:
    """The answer to `record`.

    Args:
        record: the output, as it was read.
        parameters: of its payload, without secrets.
        outcome: what came of it.
        milliseconds: how long it took.

    """
    echoed = _echo(record, parameters)
    if isinstance(outcome, Failure):
        error = attribute(outcome.text)
        opening = f'error={error} probe_time="{milliseconds}" result_code="{FAILED}"'
        result = f"<result error={error}><output/><error>{text(outcome.text)}</error></result>"
        echoed["http_status_code"] = "0"
        headers: list[tuple[str, str]] = []
    else:
        opening = f'probe_time="{milliseconds}" result_code="0"'
        output, encoding = _output(outcome)
        result = f"<result><output>{text(output)}</output></result>"
        echoed["http_status_code"] = str(outcome.status)
        if encoding:
            echoed["output_encoding"] = encoding
        headers = _headers(outcome)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><results {opening}>{result}'
        f"<parameters>{_rows('parameter', echoed.items())}</parameters>"
        f"<httpHeaders>{_rows('httpHeader', _at_least_two(headers, record))}</httpHeaders></results>"
    )


def _rows(element: str, pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<{element} name={attribute(name)} value={attribute(value)}/>" for name, value in pairs)


def _echo(record: Record, parameters: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The record's fields and its own parameters, each name once: a second one could contradict the first.

    `state` is the one that the row had when it was polled, as MID servers echo it.
    """
    made = {name: record[name] for name in RECORD_FIELDS if name in record.fields and name != "payload"}
    if "source" in made:
        made["source"] = leave_out.url_to_show(made["source"])
    if "state" in made:
        made["state"] = "ready"
    made = {name: value for name, value in made.items() if not is_encrypted(value)}
    for name, value in parameters:
        if name not in NOT_ECHOED and (name not in RECORD_FIELDS or name in OVERRIDES):
            made[name] = value
    if record["topic"] == "HeartbeatProbe":
        made.setdefault("mid_operational_state", "Up")
    made["ecc_queue"] = record.sys_id
    return made


def _output(reply: Reply) -> tuple[str, str]:
    """The text of `<output>` and, when it is not the body itself, how it is encoded."""
    content_type = _header(reply, "content-type")
    found = body_text.decode(reply.body, content_type) if reply.body else ""
    return (found, "") if found is not None else (base64.b64encode(reply.body).decode(), "base64")


def _header(reply: Reply, wanted: str) -> str:
    return next((value for name, value in reply.headers if name.casefold() == wanted), "")


def _headers(reply: Reply) -> list[tuple[str, str]]:
    """The answer's headers without cookies, tokens and what no longer describes the body."""
    kept = [(name, value) for name, value in reply.headers if not _is_left_out(name.casefold())]
    return [*kept, ("Content-Length", str(len(reply.body)))]


def _is_left_out(name: str) -> bool:
    return (
        name in _LEFT_OUT_HEADERS
        or name in _HOP_HEADERS
        or name.startswith("proxy-")
        or "token" in name
        or "authorization" in name
    )


def _at_least_two(headers: list[tuple[str, str]], record: Record) -> list[tuple[str, str]]:
    spare = [("X-BSeries-Relay", "1"), ("X-BSeries-Relay-Record", record.sys_id)]
    return headers + spare[: max(0, 2 - len(headers))]
