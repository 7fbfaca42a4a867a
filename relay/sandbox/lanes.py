"""Says what a request to the ServiceNow stand-in is about."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from relay.sandbox.vendor import PATHS
from relay.sandbox.web import Request, split_target

BATCH = frozenset({"/api/now/v1/batch", "/api/now/batch"})
_PLACES = (
    ("/oauth_token.do", "token"),
    ("/attachment", "attachment"),
    ("/table/ecc_agent", "agent"),
    ("/table/ecc_queue", "queue"),
)


def classify(request: Request) -> frozenset[str]:
    """The lanes of a request; those of a batch are `batch` and the lanes of its parts.

    `poll` asks for ready outputs, `claim` sets one to `processing`, `push` inserts or completes an input, `close` sets
    an output to `processed`, `read` is any other look at the queue. `forward` is a post to the vendor's application.
    """
    if request.path in PATHS:
        return frozenset({"forward"})
    if request.path in BATCH:
        return frozenset({"batch"}).union(*(classify(part) for part in parts(request) or ()))
    lane = next((lane for pattern, lane in _PLACES if pattern in request.path), "other")
    return frozenset({_queue(request) if lane == "queue" else lane})


def _queue(request: Request) -> str:
    if request.method == "GET":
        return "poll" if "state=ready" in request.parameters.get("sysparm_query", "") else "read"
    return "push" if request.method == "POST" else _change(request.body)


def _change(body: bytes) -> str:
    try:
        values = json.loads(body)
        state = str(values.get("state"))
    except (ValueError, AttributeError):
        return "other"
    if "response_to" in values:
        return "push"
    return {"processing": "claim", "processed": "close"}.get(state, "other")


def parts(request: Request) -> list[Request] | None:
    """The requests within a batch, or None when it is not one; read once."""
    if request.inner is None:
        try:
            request.inner = [_part(item) for item in json.loads(request.body)["rest_requests"]]
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            return None
    return request.inner


def _part(item: Mapping[str, Any]) -> Request:
    path, query = split_target(item["url"])
    headers = {pair["name"].lower(): pair["value"] for pair in item.get("headers", [])}
    body = base64.b64decode(item.get("body", ""), validate=True)
    part = Request(item["method"].upper(), path, query, headers, body, sub=True)
    part.id = str(item["id"])
    part.bare = item.get("exclude_response_headers") is True
    return part
