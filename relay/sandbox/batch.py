"""The Batch API: many requests in one, served in no promised order, under a quota of time."""

from __future__ import annotations

import base64
import json
import time
from http import HTTPStatus
from typing import Any

from relay.sandbox.access import failure
from relay.sandbox.behave import Handle
from relay.sandbox.instance import Instance
from relay.sandbox.lanes import classify, parts
from relay.sandbox.web import Broken, Request, Response, json_response

_LARGEST_OUTPUT = 10_000_000
_LARGEST_PART = 5_242_880


async def handle(instance: Instance, request: Request, dispatch: Handle) -> Response:
    """Serve a batch; `dispatch` answers one of its parts."""
    inner = parts(request)
    if inner is None:
        return failure(400, "Exception while reading request", "Invalid batch request")
    queue = list(inner)
    if instance.knobs.shuffle:
        instance.random.shuffle(queue)
    cap = request.quirks.get("unserviced", len(queue))
    started, size = time.monotonic(), 0
    served: list[dict[str, Any]] = []
    left: list[str] = []
    for part in queue:
        spent = time.monotonic() - started
        if len(served) >= cap or spent >= instance.knobs.batch_quota or size > _LARGEST_OUTPUT:
            left.append(part.id)
            continue
        began = time.monotonic()
        try:
            answer = await _serve(instance, part, dispatch)
        except Broken:
            continue
        served.append(_answer(part, answer, time.monotonic() - began))
        size += len(served[-1]["body"])
    del served[: request.quirks.get("missing", 0)]
    result = {
        "batch_request_id": str(json.loads(request.body).get("batch_request_id", "")),
        "serviced_requests": served,
        "unserviced_requests": left,
    }
    return json_response(200, result)


async def _serve(instance: Instance, part: Request, dispatch: Handle) -> Response:
    if len(part.body) > _LARGEST_PART:
        return failure(400, "Request body too large", "glide.rest.batch.max.inputSize exceeded")
    part.lanes = classify(part)
    instance.count(part)
    return await instance.behaviour.run(instance.faults.take(part), part, dispatch)


def _answer(part: Request, answer: Response, seconds: float) -> dict[str, Any]:
    return {
        "id": part.id,
        "body": base64.b64encode(answer.whole()).decode(),
        "status_code": answer.status,
        "status_text": HTTPStatus(answer.status).phrase,
        "headers": [] if part.bare else [{"name": name, "value": value} for name, value in answer.headers],
        "execution_time": int(seconds * 1000),
    }
