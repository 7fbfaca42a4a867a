"""What leaves the network, field by field, for docs/security.md: made by the code that sends it, with nobody listening.

The parts that write to ServiceNow run here against a session that keeps what it is given; what goes to the appliance
comes from the catalog of operations. A field that this file does not describe ends the making of the page.
"""  # noqa: INP001  # a script, no package

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.appliance.approval_responses import body_of
from relay.core.approval_fields import RESPONSE_PATH
from relay.core.approval_values import Answer
from relay.core.catalog import CATALOG
from relay.core.checkpoint import parse_note
from relay.core.exchange import NewInput
from relay.core.jobs import Json
from relay.core.note import mark
from relay.core.operations import Operation
from relay.core.record import RECORD_FIELDS, Failure, Outcome, Record, Reply
from relay.core.secret import Secret
from relay.core.session_entries import NOTE as NOTE_OF_TASK
from relay.core.session_entries import SYSTEM
from relay.core.session_report import Event, Moment, Participant, SessionReport
from relay.core.session_rows import Place, RowSettings, event_rows, lookups, session_row
from relay.host.http import HttpClient, HttpRequest, Streamed, Target
from relay.servicenow import answer_writer, inspection, session_files
from relay.servicenow.agent import EccAgent
from relay.servicenow.anchor import TableAnchor
from relay.servicenow.auth_jwt import JwtGrant
from relay.servicenow.auth_oauth import ClientGrant, PasswordGrant
from relay.servicenow.batcher import Batcher
from relay.servicenow.calls import Call
from relay.servicenow.pull import Pull
from relay.servicenow.push import Push
from relay.servicenow.session import Lane, Shared
from relay.servicenow.sessions import SessionRecords
from relay.servicenow.tickets import task_calls, user_calls
from relay.servicenow.vendor import VENDOR_PATHS, Forwarding, VendorEvents, VendorPosts
from relay.servicenow.vendor_approvals import PATH as APPROVALS

ID = "0" * 32
_KEY = re.compile("[0-9a-f]{64}")
_ROWS = RowSettings("x", user_fields=("user_name",))
_TABLES = (_ROWS.event.name, _ROWS.session.name)
AGENT = "mid.server.NAME"
NOTE = (
    "bseries-relay/relay01\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— bseries-relay/relay01 "
    + "A" * 91
    + "=\n"
)

COLUMNS = {
    "sys_id": "made from the output's, so that a repeat is refused",
    "agent": "`mid.server.` and the relay's name",
    "queue": "`input`",
    "state": "`ready`, `processing` or `processed`",
    "topic": "the output's",
    "name": "the output's; in `ecc_agent` the relay's; in a journal the record's table",
    "source": "the output's, without user name and password",
    "response_to": "sys_id of the output",
    "agent_correlator": "the output's",
    "payload": "the answer, see below; `<see_attachment/>` for a large one",
    "version": "of the relay",
    "host_name": "this machine's",
    "status": "`Up`, `Paused` or `Down`",
    "last_refreshed": "time",
    "u_checkpoint": "a signed checkpoint: a name, a number of lines, a hash, a signature",
    "grant_type": "the way to sign in",
    "client_id": "as configured",
    "client_secret": "**secret**",
    "username": "as configured",
    "password": "**secret**",
    "refresh_token": "**secret**, from an earlier answer",
    "assertion": "**secret**: key id, client id, user, times, a random number, signed; the key stays here",
    "the file": "a large answer, see below",
    f"every column of {_TABLES[1]}": "what the appliance's report holds of the session, "
    "[column by column](sessions.md#tables-and-columns), with chat, system information and custom fields",
    f"every column of {_TABLES[0]}": "an event that `sessions.events` selects, whole, "
    "[column by column](sessions.md#tables-and-columns)",
    "work_notes": "the note as its [template](sessions.md#the-work-note) makes it",
    "element": "which journal: `comments`",
    "element_id": "sys_id of the configuration item",
    "value": "the endpoint's system information",
    "the recording": "the film or text as the appliance has it, with `sessions.recordings: attach`",
    "the request": "the appliance's request for approval, whole",
    "the event": "every variable and custom field of it, as the appliance posted them",
}
ECHOED = {
    "http_status_code": "of the appliance's answer; 0 without one",
    "output_encoding": "`base64` where the body is no text",
    "ecc_queue": "the output's sys_id",
}


class Kept:
    """A session that keeps the calls and answers as an instance would that has nothing but what is asked for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def value(self, call: Call, _: int = 0) -> Json:
        """Keep and answer."""
        self.calls.append(call)
        path = urlsplit(call.target).path
        if call.method == "GET":
            row = {"sys_id": ID, "agent": AGENT, "queue": "output", "state": "processing"}
            listed = "sys_idIN" in unquote(call.target) or path.count("/") > 4  # noqa: PLR2004  # one row by its id
            if not listed:
                return {"result": []}
            return {"result": row if path.count("/") > 4 else [row]}  # noqa: PLR2004  # as above
        values = json.loads(call.content) if call.content.startswith(b"{") else {"size_bytes": str(len(call.content))}
        return {"result": {"sys_id": ID, "agent": AGENT, "queue": "input", "response_to": ID, **values}}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Kept]:
        """Itself."""
        yield self


def kept(act: Callable[[Lane], Coroutine[Any, Any, object]]) -> list[Call]:
    """The calls that something makes."""
    lane = Kept()
    asyncio.run(act(cast("Lane", lane)))
    return lane.calls


def servicenow() -> str:
    """The requests to ServiceNow."""
    answer = NewInput(ID, ID, "topic", "name", "source", "correlator", "payload")

    def pull(lane: Lane) -> Pull:
        return Pull(AGENT, lane, lane, lane, Batcher(1))

    def push(lane: Lane) -> Push:
        return Push(AGENT, lane, lane, Batcher(1))

    facts = {"version": "1", "host_name": "host"}
    acts: dict[str, Callable[[Lane], Coroutine[Any, Any, object]]] = {
        "ask for work": lambda lane: pull(lane).poll(1, []),
        "claim it": lambda lane: pull(lane).claim([ID]),
        "read back, find answers": lambda lane: pull(lane).find([ID]),
        "answer": lambda lane: push(lane).insert([answer]),
        "begin a large answer": lambda lane: push(lane).begin_large(answer),
        "end a large answer": lambda lane: push(lane).finish_large(ID, answer),
        "close": lambda lane: push(lane).close([ID]),
        "show the agent": lambda lane: EccAgent("NAME", lane, lambda: 0.0, facts).refresh("Up"),
        "anchor the audit log": lambda lane: TableAnchor("u_relay_checkpoint", "u_checkpoint", lane).write(
            parse_note(NOTE)
        ),
    }
    acts |= _of_sessions()
    rows = [(what, _request(call), _fields(call)) for what, act in acts.items() for call in kept(act)]
    rows += [(f"sign in: {what}", "`POST /oauth_token.do`", tuple(form)) for what, form in _grants()]
    asked = [*task_calls("task", "TICKET", ()), *task_calls("task", ID, ())[1:], *user_calls("USER", ("user_name",))]
    rows += [("look up a ticket, in one batch", _request(one.call), ()) for one in asked]
    rows += [(f"`doctor`: {what}", _request(call), ()) for what, call in _of_doctor().items()]
    rows += [("post an event on", how, ("the event",)) for how in _posts()]
    rows.append(("post a request for approval on", f"`POST {APPROVALS}`, likewise", ("the request",)))
    lines = ["| for | request | fields in it |", "|---|---|---|"]
    lines += [f"| {what} | {how} | {', '.join(f'`{name}`' for name in names)} |" for what, how, names in rows]
    used = dict.fromkeys(name for _, _, names in rows for name in names)
    lines += ["", "| field | holds |", "|---|---|"]
    lines += [f"| `{name}` | {COLUMNS[name]} |" for name in used]
    return "\n".join(lines)


def _of_sessions() -> dict[str, Callable[[Lane], Coroutine[Any, Any, object]]]:
    """What the import of a session asks for and writes."""
    report = SessionReport(
        ID,
        external_key="NUMBER",
        customers=(Participant("1", hostname="HOST"),),
        representatives=(Participant("2", username="USER"),),
        events=(Event(Moment(1), "File Upload"),),
    )
    task, item = Place("task", ID), Place("cmdb_ci", ID)

    def records(lane: Lane) -> SessionRecords:
        return SessionRecords((_ROWS.session, _ROWS.event), lane, Batcher(1), cast("Any", None))

    async def nothing() -> AsyncGenerator[bytes, None]:
        yield b""

    return {
        "look for a session's links": lambda lane: records(lane).find(lookups(report, _ROWS)),
        "write a session": lambda lane: records(lane).upsert(session_row(report, _ROWS)),
        "write its events": lambda lane: records(lane).insert(list(event_rows(report, _ROWS))),
        "write the work note": lambda lane: records(lane).note(task, "x"),
        "look for it": lambda lane: records(lane).entered(task, mark(ID), NOTE_OF_TASK.element),
        "tell the configuration item": lambda lane: records(lane).entry(item, "x", SYSTEM.element),
        "attach a recording": lambda lane: session_files.attach(lane, task, "x.mp4", Streamed(0, nothing), "video/mp4"),
    }


def _of_doctor() -> dict[str, Call]:
    """What `doctor` asks for, beside what the relay asks for as well."""
    return {
        "the way, without signing in": Call("HEAD", "/"),
        "the queue": inspection.queue_call(AGENT),
        "tables that the configuration names": inspection.parents_call(["TABLE"]),
        "their columns": inspection.dictionary_call(["TABLE"]),
        "a record of each": inspection.table_call("TABLE", ()),
        "other names": inspection.alike_call("TABLE"),
        "the agent": inspection.agent_call("NAME"),
        "any journal entry": inspection.journal_call(),
        "any attachment": inspection.attachment_call(),
        "the relay's user": inspection.user_call("USER", ()),
        "its roles": inspection.roles_call(ID),
    }


def _request(call: Call) -> str:
    parts = urlsplit(call.target)
    path = parts.path.replace(ID, "SYS_ID")
    asked = next(iter(parse_qs(parts.query).get("sysparm_query", [])), "").replace(ID, "SYS_ID").replace("^", " ^ ")
    asked = _KEY.sub("KEY", asked)
    told = f"; query `{asked}`" if asked else ""
    return f"`{call.method} {path}`{told}"


def _fields(call: Call) -> tuple[str, ...]:
    if call.stream is not None:
        return ("the recording",)
    for table in _TABLES if call.content else ():
        if f"/{table}" in urlsplit(call.target).path:
            return (f"every column of {table}",)
    if call.content and not call.content.startswith(b"{"):
        return ("the file",)
    return tuple(json.loads(call.content)) if call.content else ()


def _posts() -> Iterator[str]:
    """How an event of each product is posted on, with `sessions.mode: forward` or `both`."""
    for path in VENDOR_PATHS.values():
        sent: list[HttpRequest] = []

        async def send(_client: HttpClient, _lane: str, request: HttpRequest, sent: list[HttpRequest] = sent) -> Any:  # noqa: ANN401  # an answer as far as it is looked at
            sent.append(request)
            return SimpleNamespace(status=200, body=b"", header=lambda _name: None)

        target = Target("servicenow", "https://servicenow.example", ssl.create_default_context())
        shared = SimpleNamespace(target=target, timeout=1.0, now=lambda: None, send=send)
        events = VendorEvents(VendorPosts(cast("Shared", shared)), {"x": Forwarding(path, lambda: Secret("SECRET"))})
        asyncio.run(events.forward("x", path, {}))
        (request,) = sent
        asked = request.url.removeprefix(target.origin)
        lacking = "" if "Authorization" in dict(request.headers) else ", without `Authorization` and cookies"
        yield f"`{request.method} {asked}`{lacking}"


def _grants() -> Iterator[tuple[str, Mapping[str, object]]]:
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def secret() -> Secret:
        return Secret("x")

    by_user = PasswordGrant("id", secret, "user", secret)
    yield "`oauth_client`", ClientGrant("id", secret).fields()
    yield "`oauth_password`", by_user.fields()
    yield "`oauth_password`, later", by_user.refresh(Secret("x"))
    yield (
        "`oauth_jwt`",
        JwtGrant("id", secret, lambda: Secret(key.decode()), key_id="k", subject="s", now=lambda: 0.0).fields(),
    )


def answers() -> str:
    """What an answer's payload holds."""
    record = Record(dict.fromkeys(RECORD_FIELDS, "x"))
    replied = _written(record, Reply(200, (("Content-Type", "image/png"), ("X-Other", "x")), b"\x89PNG\xff"))
    failed = _written(record, Failure("BSR-1001: x"))
    lines = ["| part | holds |", "|---|---|"]
    lines.append("| `results/result/output` | the body of the appliance's answer, whole; empty without one |")
    lines.append("| `results/@error`, `results/result/error` | code, cause and detail of an error of the relay |")
    lines.append("| `results/@probe_time`, `@result_code` | milliseconds; `0` or `900000` |")
    own = [name for name in replied | failed if name not in RECORD_FIELDS]
    told = "; ".join(f"`{name}`: {ECHOED[name]}" for name in own)
    echoed = ", ".join(f"`{name}`" for name in replied if name in RECORD_FIELDS)
    lines.append(f"| `results/parameters` | the output's own columns back ({echoed}); its parameters back; {told} |")
    gone = ", ".join(f"`{name}`" for name in sorted(answer_writer._LEFT_OUT_HEADERS))  # noqa: SLF001  # what is told here
    lines.append(
        f"| `results/httpHeaders` | the appliance's answer headers except {gone}, those with `token` or "
        "`authorization` in their name, and those of the connection |"
    )
    return "\n".join(lines)


def _written(record: Record, outcome: Outcome) -> dict[str, str]:
    root = ET.fromstring(answer_writer.write(record, (), outcome, 1))  # noqa: S314  # written a line before
    return {one.get("name", ""): one.get("value", "") for one in root.iter("parameter")}


def appliance() -> str:
    """The requests to the appliance."""
    lines = ["| operation | request | arguments that the work may fill |", "|---|---|---|"]
    lines += [_row(operation) for operation in CATALOG if not operation.handed_over]
    sent = parse_qs(body_of(Answer("x", "allow", "x", {"*": "x"}), "form").decode())
    names = ", ".join(f"`{name}`" for name in sent)
    lines += ["", "Without any token, once for each request for approval:", ""]
    lines += ["| for | request | what the task, ServiceNow or the configuration fills |", "|---|---|---|"]
    lines.append(f"| the decision | `POST {RESPONSE_PATH}` or `approvals.response_path` | {names} |")
    return "\n".join(lines)


def _row(operation: Operation) -> str:
    fixed = "".join(f" {name}={value}" for name, value in operation.fixed)
    names = ", ".join(f"`{argument.label}`" for argument in _sent(operation)) or "none"
    anchor = f"[`{operation.name}`](operations.md#{operation.name})"
    return f"| {anchor} | `{'/'.join(operation.methods)} {operation.path}{fixed}` | {names} |"


def _sent(operation: Operation) -> Sequence[Any]:
    return operation.arguments
