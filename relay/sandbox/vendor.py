"""The endpoints of the vendor's own application in the instance: outbound events and requests for approval.

They take form posts without a login, as the appliance sends them; what came in is kept as rows of the tables
`VENDOR_EVENT` and `VENDOR_APPROVAL`, every post one row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from relay.sandbox.access import failure
from relay.sandbox.rows import Tables
from relay.sandbox.schema import VENDOR_APPROVAL, VENDOR_EVENT
from relay.sandbox.web import Request, Response, json_response, text_response

EVENT_PATHS = frozenset(
    {
        "/api/x_bmgr_bomgar_pam/outbound_event/session_end",
        "/x_bmgr_bomgar_pam_bomgar_post.do",
        "/x_bmgr_bomgar_inte_bomgar_post.do",
    }
)
APPROVAL_PATH = "/x_bmgr_bomgar_pam_bomgar_endpoint_approval.do"
PATHS = EVENT_PATHS | {APPROVAL_PATH}
_TOKEN = "outbound_event_token"


@dataclass(slots=True)
class Vendor:
    """How the vendor's application is set up.

    Attributes:
        installed: the instance has it.
        event_token: what an event's query must hold as `outbound_event_token`; "" takes every event.
        decides: what its approval endpoint answers at once: a decision, or `later`, which is only a receipt.

    """

    installed: bool = True
    event_token: str = ""
    decides: Literal["later", "allow", "deny"] = "later"

    def handle(self, tables: Tables, request: Request) -> Response:
        """Answer a post to one of `PATHS`."""
        if not self.installed:
            return failure(400, "Requested URI does not represent any resource", request.path)
        if request.method != "POST":
            return failure(405, f"Method not supported: {request.method}", "")
        token, form = request.parameters.get(_TOKEN, ""), request.form()
        common = {"path": request.path, "token": token, "fields": json.dumps(form, sort_keys=True)}
        if request.path == APPROVAL_PATH:
            asked = {name: form.get(name, "") for name in ("request_id", "ticket_id", "response_url")}
            tables.insert(VENDOR_APPROVAL, {**common, **asked}, "guest")
            return self._decision(asked["request_id"])
        if self.event_token and token != self.event_token:
            return failure(403, "User Not Authorized", "The outbound event token is wrong")
        tables.insert(VENDOR_EVENT, {**common, "event": form.get("event", ""), "lsid": form.get("lsid", "")}, "guest")
        return text_response(200, "")

    def _decision(self, request_id: str) -> Response:
        if self.decides == "later":
            return text_response(200, "")
        message = "" if self.decides == "allow" else "The change is not approved."
        return json_response(200, {"response_id": request_id, "response": self.decides, "message": message})
