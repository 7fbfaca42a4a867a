"""The appliance's ticket system: what it asks before a session may start, and the decisions that come back.

The request is a form post; its answer is only a receipt. The decision comes as a second request, a form or JSON, to
the `response_url` that the request named, without a token.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from relay.sandbox.poster import FORM_TYPE, NoAnswerError, Way, post
from relay.sandbox.web import Request, Response, text_response

RESPONSE_PATH = "/api/endpoint_approval"
_CUSTOM = "session.custom."
JUMP_ITEM = {
    "computer_name": "web01",
    "type": "Jump Client",
    "comments": "",
    "group": "Servers",
    "tag": "",
    "jumpoint_name": "",
    "public_ip": "192.0.2.7",
    "private_ip": "10.0.0.4",
}
USER = {
    "id": "1",
    "username": "admin",
    "public_display_name": "Admin",
    "private_display_name": "Admin",
    "email_address": "admin@example.com",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it came.

    `carried` names what a decision must not carry and did: a query, a token, a cookie. `after`: seconds since the
    request.
    """

    response: str
    message: str
    media_type: str
    attributes: Mapping[str, str]
    carried: tuple[str, ...] = ()
    after: float = 0.0


@dataclass(slots=True)
class Ticket:
    """A request that was posted.

    `receipt` is the status it was answered with, or why there was no answer. `late` counts decisions that came when
    nobody waited any more. `posted` is when it was, monotonic seconds.
    """

    request_id: str
    fields: dict[str, str]
    receipt: int | str = ""
    receipt_body: str = ""
    decisions: list[Decision] = field(default_factory=list)
    late: int = 0
    posted: float = field(default_factory=time.monotonic)

    def facts(self) -> dict[str, Any]:
        """The ticket as JSON."""
        return asdict(self)


class Tickets:
    """The tickets of one appliance.

    Attributes:
        by_id: the requests.
        strangers: ids of decisions that answer no request.
        accepts: media types that a decision may have; another is answered 415.
        status: what a decision is answered with.
        patience: seconds for which somebody waits for a decision; a later one is answered 404.

    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.by_id: dict[str, Ticket] = {}
        self.strangers: list[str] = []
        self.accepts = {FORM_TYPE, "application/json"}
        self.status = 200
        self.patience = 60.0
        self._wake = wake

    async def ask(
        self,
        way: Way,
        ticket_id: str,
        response_url: str,
        jump_item: Mapping[str, str] | None = None,
        user: Mapping[str, str] | None = None,
    ) -> Ticket:
        """Post a request once; `jump_item` and `user` replace some of the usual facts. Returns after the receipt."""
        ticket = Ticket(secrets.token_hex(16), {})
        ticket.fields = {"request_id": ticket.request_id, "ticket_id": ticket_id, "response_url": response_url}
        ticket.fields |= {f"jump_item.{name}": value for name, value in {**JUMP_ITEM, **(jump_item or {})}.items()}
        ticket.fields |= {f"user.{name}": value for name, value in {**USER, **(user or {})}.items()}
        self.by_id[ticket.request_id] = ticket
        try:
            ticket.receipt, body = await post(way, ticket.fields)
            ticket.receipt_body = body.decode("utf-8", "replace")
        except NoAnswerError as problem:
            ticket.receipt = str(problem)
        self._wake()
        return ticket

    def answer(self, request: Request) -> Response:
        """Take a decision."""
        if request.method != "POST":
            return text_response(405, "Method not allowed")
        if request.media_type not in self.accepts:
            return text_response(415, "Unsupported media type")
        fields = _fields(request)
        ticket = self.by_id.get(fields.get("response_id", ""))
        if ticket is None:
            self.strangers.append(fields.get("response_id", ""))
            return text_response(404, "Unknown request")
        after = time.monotonic() - ticket.posted
        if after > self.patience:
            ticket.late += 1
            self._wake()
            return text_response(404, "The request has expired")
        carried = [name for name in ("authorization", "cookie") if request.header(name)]
        decision = Decision(
            fields.get("response", ""),
            fields.get("message", ""),
            request.media_type,
            {name.removeprefix(_CUSTOM): value for name, value in fields.items() if name.startswith(_CUSTOM)},
            (*carried, *(("query",) if request.query else ())),
            after,
        )
        ticket.decisions.append(decision)
        self._wake()
        return text_response(self.status, "")


def _fields(request: Request) -> dict[str, str]:
    if request.media_type == FORM_TYPE:
        return request.form()
    try:
        value = json.loads(request.body)
    except ValueError:
        return {}
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, dict) else {}
