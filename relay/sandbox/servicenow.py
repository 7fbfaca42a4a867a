"""The ServiceNow stand-in: the path of a request through it."""

from __future__ import annotations

import asyncio
import gzip
import uuid
from email.utils import formatdate

from relay.sandbox import attachments, batch, tableapi, vendor
from relay.sandbox.access import User, failure
from relay.sandbox.instance import Instance
from relay.sandbox.lanes import BATCH, classify
from relay.sandbox.web import Request, Response

_LARGEST_BODY = 10 * 1024 * 1024  # glide.rest.max_content_length
_WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_WORTH_PACKING = 2000  # bytes; a shorter answer is sent as it is


class ServiceNow(Instance):
    """An instance that answers requests. Its state is open to who holds the object."""

    def classify(self, request: Request) -> frozenset[str]:
        """The lanes of a request."""
        return classify(request)

    async def handle(self, request: Request) -> Response:
        """Answer one HTTP request."""
        self.requests.update(("all", *request.lanes))
        self.count(request)
        if self.knobs.latency:
            await asyncio.sleep(self.knobs.latency)
        response = await self._admitted(request)
        response.headers += [
            ("Date", formatdate(self.now(), usegmt=True)),
            ("Server", "ServiceNow"),
            ("X-Transaction-ID", uuid.uuid4().hex[:12]),
            ("X-Is-Logged-In", "false" if response.status == 401 else "true"),  # noqa: PLR2004 - the status says it
        ]
        if self.knobs.pack and "gzip" in request.header("accept-encoding"):
            _pack(response)
        self.log.append((request.method, request.path, response.status))
        return response

    async def dispatch(self, request: Request, user: User) -> Response:
        """Answer a request, or a part of a batch, within its transaction."""
        refusal = _negotiate(request)
        if refusal is not None:
            return refusal
        if request.path in BATCH and request.method == "POST" and not request.sub:
            return await batch.handle(self, request, lambda part: self.dispatch(part, user))
        cost = self.knobs.write_cost if request.method in _WRITES else self.knobs.read_cost
        if cost:
            await asyncio.sleep(cost)
        parts = tableapi.match(request.path)
        if parts is not None:
            return await tableapi.handle(self, request, user, parts)
        parts = attachments.match(request.path)
        if parts is not None:
            return await attachments.handle(self, request, user, parts)
        return failure(400, "Requested URI does not represent any resource", request.path)

    async def _admitted(self, request: Request) -> Response:
        if request.path == "/oauth_token.do":
            return self.access.token(request)
        if request.path in vendor.PATHS:
            return self.vendor.handle(self.tables, request)
        user = self.access.authenticate(request)
        if user is None:
            challenge = [("WWW-Authenticate", 'BASIC realm="Service-now"')]
            return failure(401, "User Not Authenticated", "Required to provide Auth information", challenge)
        refusal = self.rate.refuse(user.name, self.now())
        if refusal is not None:
            return refusal
        session, cookies = self.access.session(request, user)
        async with session.lock:
            session.requests += 1
            response = await self.dispatch(request, user)
        response.headers += cookies
        return response


def _negotiate(request: Request) -> Response | None:
    accept = request.header("accept")
    if not accept:
        return failure(400, "Accept header is missing", None)
    upload = attachments.match(request.path) is not None
    if not upload and not any(kind in accept for kind in ("application/json", "*/*", "application/*")):
        return failure(406, "Accept header not acceptable", accept)
    if request.method in {"POST", "PATCH", "PUT"}:
        if not request.media_type:
            return failure(400, "Content-Type header is missing", None)
        if request.media_type != "application/json" and not upload:
            return failure(415, "Unsupported media type", request.media_type)
        if request.size > _LARGEST_BODY and not upload:
            return failure(400, "Request body too large", "glide.rest.max_content_length exceeded")
    return None


def _pack(response: Response) -> None:
    if isinstance(response.body, bytes) and len(response.body) >= _WORTH_PACKING:
        response.body = gzip.compress(response.body, 1)
        response.headers.append(("Content-Encoding", "gzip"))
