"""Reads answers exactly as the instance's own scripts do, with their quirks.

A body is read only where there is no error; a reader of an answer without `<httpHeaders>` throws, and with a single
`<httpHeader>` it loops over nothing; `<see_attachment/>` means an attachment named `payload`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from relay.sandbox import attachments
from relay.sandbox.instance import Instance
from relay.sandbox.rows import Row

SEE_ATTACHMENT = "<see_attachment/>"
_REST = frozenset({"RESTProbe", "BSeriesProbe", "SOAPProbe"})
_WORTH_LOOPING = 2  # XMLHelper makes one child an object and only several an array


class Threw(Exception):  # noqa: N818 - what a script of the instance would do
    """The instance's script throws on this answer; the text says where."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller on the instance gets: status 0 where there is none; `parameters` are the echoed ones."""

    sys_id: str
    status: int
    headers: dict[str, str]
    body: str
    error: str
    parameters: dict[str, str] = field(default_factory=dict)


def answers(instance: Instance, output_sys_id: str) -> list[Row]:
    """The inputs that answer an output: those with its sys_id in `response_to`."""
    return [row for row in instance.tables.find("ecc_queue", f"response_to={output_sys_id}") if row["queue"] == "input"]


def read(instance: Instance, row: Row) -> Answer:
    """Read one input.

    Raises:
        Threw: the instance's script would throw.

    """
    root = _document(instance, row)
    found = {node.get("name", ""): node.get("value", "") for node in root.iterfind("parameters/parameter")}
    error = root.get("error") or _attribute(root, "result", "error") or (root.findtext("result/error") or "")
    headers = root.findall("httpHeaders/httpHeader")
    if row["topic"] in _REST and root.find("httpHeaders") is None:
        raise Threw("record.httpHeaders is undefined")
    if len(headers) < _WORTH_LOOPING:
        headers = []
    status = found.get("http_status_code", "")
    return Answer(
        sys_id=row["sys_id"],
        status=int(status) if status.isascii() and status.isdecimal() else 0,
        headers={node.get("name", ""): node.get("value", "") for node in headers},
        body="" if error else (root.findtext("result/output") or ""),
        error=error,
        parameters=found,
    )


def _document(instance: Instance, row: Row) -> etree._Element:
    payload = row["payload"].encode()
    if row["payload"] == SEE_ATTACHMENT:
        content = attachments.payload(instance, row["sys_id"])
        if content is None:
            raise Threw("Payload attachment is missing or exceeds the limit of 5242880 bytes")
        payload = content
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(payload, parser)
    except etree.XMLSyntaxError as broken:
        msg = f"the payload is not XML: {broken.msg}"
        raise Threw(msg) from None
    if root.tag != "results":
        msg = f"the root is <{root.tag}>, not <results>"
        raise Threw(msg)
    return root


def _attribute(root: etree._Element, path: str, name: str) -> str:
    node = root.find(path)
    return node.get(name, "") if node is not None else ""
