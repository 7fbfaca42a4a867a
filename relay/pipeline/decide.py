"""Hands decisions on requests for approval to where these are kept; nothing is sent to the appliance for them here."""

from __future__ import annotations

import json

from relay.core.approval_settling import REFUSED, answer_of
from relay.core.errors import WorkError
from relay.core.policy_values import Allowed
from relay.core.record import Reply
from relay.pipeline.local import JSON_TYPE
from relay.pipeline.ports import Approvals


async def decide(approvals: Approvals | None, ruling: Allowed, record: str) -> Reply:
    """Settle the request that the ruling's arguments decide; the answer for who decided it.

    Why a repetition after a crash does no harm: a request knows the record that settled it.

    Raises:
        WorkError: BSR-4023 or BSR-4024, nothing was decided.
        StorageError: nobody knows.

    """
    answer = answer_of(ruling.arguments)
    appliance = ruling.request.appliance
    settled = "unknown" if approvals is None else await approvals.settle(appliance, answer, record)
    if settled in REFUSED:
        raise WorkError(REFUSED[settled], appliance)
    body = {"response_id": answer.response_id, "response": answer.response, "result": settled}
    return Reply(200, JSON_TYPE, json.dumps(body).encode())
