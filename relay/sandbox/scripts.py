"""Queue records as the instance's own scripts make them: `RESTMessage`, `RESTMessageV2`, `SOAPMessage`, and plain ones.

Each function gives the columns of an output record, ready to be inserted. Why strings are put together here as the
scripts do it, unescaped where they do not escape: a reader must be fed what is really written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

Pairs = Sequence[tuple[str, str]]
Record = dict[str, str]

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
_SOURCE_LENGTH = 255  # a longer URL travels as the parameter `source`
_ENTITIES = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_SECRET = "enc:4nOt4ReAdAbLeVaLuE=="  # what a MID server's key pair would decrypt


def parameters(pairs: Pairs) -> str:
    """The envelope of a payload: `<parameters>` with one `<parameter>` for each pair."""
    inside = "".join(f"<parameter name={_quoted(name)} value={_quoted(value)}/>" for name, value in pairs)
    return f"{PROLOG}<parameters>{inside}</parameters>"


def fields(pairs: Pairs) -> str:
    """The document within `message_headers` and `message_parameters`."""
    inside = "".join(f"<field name={_quoted(name)} value={_quoted(value)}/>" for name, value in pairs)
    return f"{PROLOG}<fields>{inside}</fields>" if inside else f"{PROLOG}<fields/>"


def rest_message(
    agent: str,
    method: str,
    url: str,
    *,
    headers: Pairs = (),
    query: Pairs = (),
    content: str = "",
    extra: Pairs = (),
    user: str = "",
) -> Record:
    """What `RESTMessage` (V1) writes: `content` only with post and put, `rest_*` with basic authentication."""
    pairs = [("message_headers", fields(headers)), ("message_parameters", fields(_encoded(query)))]
    pairs += _long(url)
    pairs += extra
    if user:
        pairs += [("rest_user", user), ("rest_password", _SECRET)]
    if method in {"post", "put"}:
        pairs.append(("content", content))
    return _output(agent, "RESTProbe", method, source=url, payload=parameters(pairs))


def rest_message_v2(
    agent: str,
    method: str,
    url: str,
    *,
    headers: Pairs = (),
    query: Pairs = (),
    content: str = "",
    extra: Pairs = (),
    topic: str = "RESTProbe",
) -> Record:
    """What `RESTMessageV2` writes: V1's parameters, `http_method`, and the Expedited priority."""
    pairs = [
        ("http_method", method),
        ("message_headers", fields(headers)),
        ("message_parameters", fields(_encoded(query))),
        ("skip_sensor", "true"),
        *_long(url),
        *extra,
    ]
    if content:
        pairs.append(("content", content))
    return {**_output(agent, topic, method, source=url, payload=parameters(pairs)), "priority": "1"}


def soap_message(agent: str, url: str, action: str, envelope: str, *, user: str = "") -> Record:
    """What `SOAPMessage` writes: nothing is escaped, and header names are attribute names."""
    login = f"<parameter name='soap_username' value='{user}'/><parameter name='soap_password' value='{_SECRET}'/>"
    payload = (
        f"<parameters><output>{envelope}</output>{login if user else ''}"
        '<parameter name="skip_sensor" value="true"/>'
        f"<httpHeaders><httpHeader SOAPAction='{action}'/></httpHeaders></parameters>"
    )
    return _output(agent, "SOAPProbe", action, source=url, payload=payload)


def typed(agent: str, operation: str, arguments: Pairs = (), *, priority: str = "2") -> Record:
    """A typed operation as a script of the site writes it: the operation is the record's name."""
    pairs = [*arguments, ("skip_sensor", "true")]
    return {**_output(agent, "BSeriesProbe", operation, payload=parameters(pairs)), "priority": priority}


def typed_v2(agent: str, operation: str, url: str, *, extra: Pairs = (), content: str = "") -> Record:
    """A typed operation by `RESTMessageV2` with its topic replaced: the name is the verb, arguments may be JSON."""
    return rest_message_v2(
        agent, "post", url, extra=[("operation", operation), *extra], content=content, topic="BSeriesProbe"
    )


def heartbeat(agent: str) -> Record:
    """What the instance's monitor writes."""
    return {**_output(agent, "HeartbeatProbe", "", payload=""), "priority": "0"}


def system_command(agent: str, command: str, pairs: Pairs = ()) -> Record:
    """A command for the agent itself."""
    payload = parameters(pairs) if pairs else ""
    return {**_output(agent, "SystemCommand", "", source=command, payload=payload), "priority": "0"}


def command(agent: str, line: str) -> Record:
    """A command line for a MID server's host."""
    return _output(agent, "Command", line, payload=parameters([("name", line), ("skip_sensor", "true")]))


def form(values: Mapping[str, str]) -> str:
    """A form body as scripts put it together."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in values.items())


def _output(agent: str, topic: str, name: str, *, source: str = "", payload: str = "") -> Record:
    return {
        "agent": agent,
        "topic": topic,
        "name": name,
        "source": source,
        "queue": "output",
        "state": "ready",
        "payload": payload,
    }


def _long(url: str) -> list[tuple[str, str]]:
    return [("source", url)] if len(url) > _SOURCE_LENGTH else []


def _encoded(pairs: Pairs) -> Pairs:
    return [(name, quote(value, safe="")) for name, value in pairs]


def _quoted(text: str) -> str:
    return quoteattr(text, _ENTITIES)
