"""The appliance stand-in: Remote Support or Privileged Remote Access."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

from relay.sandbox import command, configuration, reporting
from relay.sandbox.accounts import Account, access_denied, over_limit
from relay.sandbox.device import Device, Product
from relay.sandbox.tickets import RESPONSE_PATH
from relay.sandbox.web import Request, Response, json_response, text_response
from relay.sandbox.xml import error

_COMMAND = frozenset({"/api/command", "/api/command.ns"})
_LANES = {"/oauth2/token": "token", RESPONSE_PATH: "decision"}
_OPEN = frozenset({"/check_health", *_LANES})
_REPORTING = frozenset({"/api/reporting", "/api/reporting.ns"})


class Appliance(Device):
    """An appliance that answers requests. Its state is open to who holds the object."""

    def __init__(self, name: str, product: Product = "pra", seed: int = 0) -> None:
        super().__init__(name, product, seed)
        self.configuration = configuration.initial()

    def classify(self, request: Request) -> frozenset[str]:
        """The lanes of a request: which API, and the action or report."""
        if request.path in _COMMAND:
            return frozenset({"command", _form(request).get("action", "")})
        if request.path in _REPORTING:
            return frozenset({"reporting", _form(request).get("generate_report", "")})
        if request.path.startswith(configuration.PREFIX):
            return frozenset({"config"})
        return frozenset({_LANES.get(request.path, "other")})

    async def handle(self, request: Request) -> Response:
        """Answer one HTTP request; the connection is closed after it."""
        self.requests.update(("all", *request.lanes))
        if request.header("connection").lower() != "close":
            self.keep_alive += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        response = self._answer(request)
        response.headers += [("Date", formatdate(usegmt=True)), ("Server", "Bomgar"), ("Connection", "close")]
        self.log.append((request.method, request.path, response.status))
        return response

    def _answer(self, request: Request) -> Response:
        if request.path in _OPEN:
            return self._open(request)
        if not request.path.startswith("/api/"):
            return text_response(404, "<html><body>Not found</body></html>", "text/html; charset=UTF-8")
        account = self.accounts.owner(request)
        if account is None:
            return access_denied()
        if not account.count(time.monotonic()):
            return over_limit(account)
        response = self._api(request, account)
        response.headers += account.headers()
        return response

    def _open(self, request: Request) -> Response:
        """What is answered without a token."""
        if request.path == "/check_health":
            self.executed("liveness")
            return text_response(200 if self.healthy else 500, "1" if self.healthy else "0")
        return self.accounts.token(request) if request.path == "/oauth2/token" else self.tickets.answer(request)

    def _api(self, request: Request, account: Account) -> Response:
        if request.path.startswith(configuration.PREFIX):
            if not account.configuration:
                return json_response(403, {"message": "Forbidden"})
            return configuration.handle(self, request)
        if request.path not in _COMMAND | _REPORTING:
            return text_response(404, "<html><body>Not found</body></html>", "text/html; charset=UTF-8")
        return self._xml_api(request, account, "command" if request.path in _COMMAND else "reporting")

    def _xml_api(self, request: Request, account: Account, api: str) -> Response:
        if request.method not in {"GET", "POST"} or request.media_type not in {"", "application/x-www-form-urlencoded"}:
            return error(self.dialect, api, "Invalid request.", 400)
        if api == "command":
            return command.handle(self, account, _form(request))
        if not account.reporting:
            return error(self.dialect, api, "You do not have permission to use the Reporting API.", 403)
        return reporting.handle(self, _form(request))


def _form(request: Request) -> dict[str, str]:
    if request.method == "POST":
        return {**request.parameters, **request.form()}
    return request.parameters
