"""ECC payloads: what a record asks for, and the answer's text. Shapes are in `payload_shapes`.

Everything read here is untrusted. Whatever the record holds, the result is a `Request` or a `WorkError`, so that every
record can be answered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from xml.sax.saxutils import escape

from lxml import etree

from relay.core.errors import WorkError
from relay.core.exchange import Request
from relay.core.jobs import Json
from relay.core.record import Heartbeat, HttpCall, Outcome, Record, SystemCommand, TypedCall, Work
from relay.host.xml import XmlError
from relay.servicenow import answer_writer, json_reader, leave_out, xml_reader
from relay.servicenow.payload_shapes import (
    MAX_PARAMETERS,
    MAX_PAYLOAD,
    NOT_ECHOED,
    RESERVED,
    SALVAGED,
    SHAPES,
    SIGNATURE,
    Shape,
    is_encrypted,
    is_secret_name,
)

_METHOD: Final = re.compile(r"[A-Za-z]{1,16}\Z")
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{0,64}\Z")
_ENVELOPE_PROLOG: Final = re.compile(r"(<output\s*>\s*)<\?xml\s[^<>]*\?>")
_ATTRIBUTE: Final = re.compile(
    r"""<parameter\s+name\s*=\s*["'](\w{1,64})["']\s+value\s*=\s*["']([^"'<>&]*)["']\s*/?>"""
)

Pairs = tuple[tuple[str, str], ...]


class PayloadCodec:
    """Reads and writes ECC payloads; holds nothing."""

    def read(self, record: Record) -> Request:
        """What the record asks for.

        Raises:
            WorkError: BSR-4001, 4004, 4005, 4006 or 4007; the record is answered with it.

        """
        shape = SHAPES.get(record["topic"])
        if shape is None:
            raise WorkError(4001, f"topic {record['topic'][:64]!r}")
        root = _root(record.payload, soap=shape.kind == "soap")
        given = _parameters(root)
        _refuse_repeated(given, shape)
        try:
            pairs = dict(given)
            return Request(_work(shape, record, root, pairs), _to_echo(given), pairs.get(SIGNATURE))
        except (XmlError, json_reader.JsonError) as error:
            raise WorkError(4006, str(error)) from None

    def write(self, record: Record, parameters: Sequence[tuple[str, str]], outcome: Outcome, milliseconds: int) -> str:
        """The answer's payload. Total: every outcome has one.

        Without `parameters` those of the record's own payload are echoed, as far as they can be read.
        """
        return answer_writer.write(record, parameters or echo_of(record), outcome, milliseconds)


def echo_of(record: Record) -> Pairs:
    """The parameters that an answer to this record repeats, whatever state its payload is in. Never raises."""
    if len(record.payload) > MAX_PAYLOAD:
        return ()
    try:
        return _to_echo(_parameters(_root(record.payload, soap=record["topic"] == "SOAPProbe")))
    except WorkError:
        found = dict(_ATTRIBUTE.findall(record.payload))
        return tuple((name, found[name]) for name in sorted(SALVAGED & found.keys()) if _PLAIN_VALUE.match(found[name]))


def _root(payload: str, *, soap: bool) -> etree._Element:
    """The `<parameters>` element; an empty payload has an empty one."""
    if len(payload) > MAX_PAYLOAD or len(payload.encode("utf-8", "replace")) > MAX_PAYLOAD:
        raise WorkError(4007)
    if not payload.strip():
        return etree.Element("parameters")
    number = 4001 if soap else 4006  # a SOAPProbe that cannot be made out is like one that no operation takes
    try:
        root = (
            xml_reader.parse_leniently(_ENVELOPE_PROLOG.sub(r"\1", payload, count=1))
            if soap
            else xml_reader.parse(payload)
        )
    except XmlError as error:
        raise WorkError(number, str(error)) from None
    if root.tag != "parameters":
        raise WorkError(number, "its root is not <parameters>")
    return root


def _parameters(root: etree._Element) -> Pairs:
    """The `<parameter name value>` elements; a value may stand in the element instead, as text or as XML."""
    found: list[tuple[str, str]] = []
    names: set[str] = set()
    for element in root.iterchildren("parameter"):
        name = element.get("name", "").strip()
        value = element.get("value")
        if not name:
            raise WorkError(4006, "a parameter has no name")
        names.add(name)
        if len(names) > MAX_PARAMETERS:
            raise WorkError(4006, f"it has more than {MAX_PARAMETERS} parameters")
        found.append((name, _inside(element) if value is None else value))
    return tuple(found)


def _inside(element: etree._Element) -> str:
    """An element's content: its text, or as XML when it has child elements. Space around these means nothing."""
    if len(element) == 0:
        return element.text or ""
    before = escape(element.text or "")
    return (before + "".join(etree.tostring(child, encoding="unicode") for child in element)).strip()


def _refuse_repeated(given: Pairs, shape: Shape) -> None:
    """Of two values for one thing nobody can say which is meant."""
    for name, count in Counter(name for name, _ in given).items():
        if count > 1 and (shape.once is None or name in shape.once):
            raise WorkError(4006, f"the parameter {name[:64]!r} is given twice")


def _work(shape: Shape, record: Record, root: etree._Element, given: Mapping[str, str]) -> Work:
    match shape.kind:
        case "http":
            return _http_call(record, given)
        case "soap":
            return _soap_call(record, root, given)
        case "typed":
            return _typed_call(record, given)
        case "command":
            return SystemCommand(record["source"].strip())
        case _:
            return Heartbeat()


# -- RESTProbe -------------------------------------------------------------------------------------------------------


def _http_call(record: Record, given: Mapping[str, str]) -> HttpCall:
    method = given.get("http_method", "").strip() or record["name"].strip()
    if not _METHOD.match(method):
        raise WorkError(4006, "no HTTP method in http_method or the record's name")
    headers = leave_out.headers(_fields(given.get("message_headers", "")))
    return HttpCall(
        method=method.upper(),
        url=_url(record, given),
        headers=headers,
        query=leave_out.query(_fields(given.get("message_parameters", ""))),
        body=leave_out.body(_unencrypted(given.get("content", "")), _content_type(headers)),
    )


def _url(record: Record, given: Mapping[str, str], missing: int = 4006) -> str:
    url = given.get("source", "").strip() or record["source"].strip()
    if not url:
        raise WorkError(missing, "no URL in the parameter or the field 'source'")
    return leave_out.url(url)


def _fields(document: str) -> Pairs:
    """The pairs of a `<fields><field name value/></fields>` document."""
    if not document.strip() or is_encrypted(document):
        return ()
    rows = xml_reader.parse(document).iterchildren("field")
    return tuple((row.get("name", ""), row.get("value", "")) for row in rows if row.get("name", "").strip())


def _content_type(headers: Pairs) -> str:
    return next((value for name, value in headers if name.strip().casefold() == "content-type"), "")


def _unencrypted(value: str) -> str:
    return "" if is_encrypted(value) else value


# -- SOAPProbe -------------------------------------------------------------------------------------------------------


def _soap_call(record: Record, root: etree._Element, given: Mapping[str, str]) -> HttpCall:
    headers = [
        (str(name), str(value))
        for group in root.iterchildren("httpHeaders")
        for row in group.iterchildren("httpHeader")
        for name, value in row.attrib.items()
    ]
    return HttpCall(
        method="POST",
        url=_url(record, given, missing=4001),
        headers=leave_out.headers(headers),
        body="".join(_inside(output) for output in root.iterchildren("output")),
        soap_action=record["name"].strip(),
    )


# -- BSeriesProbe ----------------------------------------------------------------------------------------------------


def _typed_call(record: Record, given: Mapping[str, str]) -> TypedCall:
    operation = given.get("operation", "").strip() or record["name"].strip()
    if not operation:
        raise WorkError(4006, "no operation in the parameter 'operation' or the record's name")
    arguments: dict[str, Json] = {
        name: value for name, value in given.items() if name not in RESERVED and not _is_secret(name, value)
    }
    for name, value in _content_arguments(given.get("content", "")).items():
        if name in arguments:
            raise WorkError(4006, f"the argument {name[:64]!r} is given twice")
        arguments[name] = value
    return TypedCall(operation, arguments, given.get("appliance", "").strip() or None, _format(given.get("format", "")))


def _content_arguments(content: str) -> dict[str, Json]:
    if not content.strip() or is_encrypted(content):
        return {}
    value = json_reader.parse_strict(content)
    if not isinstance(value, dict):
        raise WorkError(4006, "content is not a JSON object")
    kept = leave_out.members(value)
    for name in RESERVED & kept.keys():
        raise WorkError(4005, f"{name!r} in content is a reserved name")
    return kept


def _format(text: str) -> Literal["json", "xml"]:
    match text.strip().casefold():
        case "" | "json":
            return "json"
        case "xml":
            return "xml"
        case _:
            raise WorkError(4004, "format is json or xml")


# -- echo ------------------------------------------------------------------------------------------------------------


def _is_secret(name: str, value: str) -> bool:
    return is_secret_name(name) or is_encrypted(value)


def _to_echo(given: Pairs) -> Pairs:
    """The parameters without credentials; what cannot be cleaned is left out as a whole."""
    content_type = ""
    for name, value in given:
        if name == "message_headers":
            content_type = _content_type(_fields_or_none(value) or ())
    cleaned = (
        (name, _shown(name, value, content_type))
        for name, value in given
        if name not in NOT_ECHOED and not _is_secret(name, value)
    )
    return tuple((name, value) for name, value in cleaned if value is not None)


def _shown(name: str, value: str, content_type: str) -> str | None:
    match name:
        case "message_headers" | "message_parameters":
            fields = _fields_or_none(value)
            if fields is None:
                return None
            kept = leave_out.headers(fields) if name == "message_headers" else leave_out.query(fields)
            return value if kept == fields else leave_out.fields_document(kept)
        case "content":
            return leave_out.body_to_show(value, content_type)
        case "source":
            return leave_out.url_to_show(value)
        case _:
            return value


def _fields_or_none(document: str) -> Pairs | None:
    try:
        return _fields(document)
    except XmlError:
        return None
