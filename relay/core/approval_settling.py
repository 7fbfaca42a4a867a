"""A decision of ServiceNow's own on a request for approval: how it comes as work, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

from relay.core.approval_values import Answer, Response
from relay.core.jobs import Json

Settled = Literal["accepted", "unknown", "closed"]
"""What became of a decision: `accepted` also when the same record brings it again, `unknown` where no such request was
forwarded, `closed` where the request is decided already, by another record or by its deadline."""

ATTRIBUTE: Final = "session.custom."

REFUSED: Final[Mapping[Settled, int]] = {"unknown": 4023, "closed": 4024}
"""The codes of decisions that are not accepted."""


def answer_of(arguments: Mapping[str, Json]) -> Answer:
    """The decision that the judged arguments of an `approval-response` are."""
    return Answer(
        response_id=str(arguments["response_id"]),
        response=cast("Response", arguments["response"]),
        message=str(arguments.get("message", "")),
        attributes={
            name.removeprefix(ATTRIBUTE): str(value) for name, value in arguments.items() if name.startswith(ATTRIBUTE)
        },
    )
