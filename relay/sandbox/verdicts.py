"""Decisions on requests for approval that ServiceNow makes later: records of the queue, as its scripts write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.sandbox import scripts
from relay.sandbox.device import Device
from relay.sandbox.scripts import Record
from relay.sandbox.tickets import RESPONSE_PATH

PROBES = ("form", "json", "typed")
"""The ways to write one: a post to the appliance by `RESTMessageV2`, with a form or JSON, or a typed operation."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision: `allow` or `deny`, a text for the person, custom attributes of the session by code name."""

    request_id: str
    response: str
    message: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def later(agent: str, appliance: Device, verdict: Verdict, probe: str = "form") -> Record:
    """The record that decides a request of an appliance.

    Raises:
        ValueError: no such probe.

    """
    values = {"response_id": verdict.request_id, "response": verdict.response}
    values |= {"message": verdict.message} if verdict.message else {}
    values |= {f"session.custom.{name}": value for name, value in verdict.attributes.items()}
    if probe == "typed":
        arguments = [("appliance", appliance.name), *values.items()]
        return scripts.typed(agent, "approval-response", arguments, priority="0")
    if probe not in PROBES:
        msg = f"no probe {probe!r}; one of {', '.join(PROBES)}"
        raise ValueError(msg)
    kind = "application/json" if probe == "json" else "application/x-www-form-urlencoded"
    content = json.dumps(values) if probe == "json" else scripts.form(values)
    url = f"{appliance.url}{RESPONSE_PATH}"
    return scripts.rest_message_v2(agent, "post", url, headers=[("Content-Type", kind)], content=content)
