"""Requests for approval posted on to the vendor's application: as they came, many at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

import pytest
from support.server import HANG, Reply, Request, Response

from relay.approvals.ports import Forwarder
from relay.core import approval_values
from relay.core.errors import ConfigError, ServiceNowError
from relay.core.secret import Secret
from relay.sandbox.box import Sandbox
from relay.sandbox.schema import VENDOR_APPROVAL
from relay.servicenow.instance import Instance
from relay.servicenow.vendor import VENDOR_PATHS, Forwarding
from relay.servicenow.vendor_approvals import AT_ONCE, PATH, VendorApprovals

FIELDS = {
    "request_id": "r1",
    "ticket_id": "CHG1^ORx=1",
    "response_url": "https://a/x?y",
    "user.id": "zo\u00eb &+",
}


def asked(path: str = "/approvals") -> approval_values.Request:
    return approval_values.Request("default", "r1", "CHG1", "https://a/x?y", path, FIELDS, 0.0)


def approvals(instance: Instance, token: str = "") -> Forwarder:
    way = Forwarding(VENDOR_PATHS["pra"], (lambda: Secret(token)) if token else None)
    return VendorApprovals(instance.vendor, {"default": way})


@pytest.mark.parametrize("path", ["/approvals", PATH])
async def test_a_request_arrives_as_it_came(connect: Any, path: str) -> None:
    """Every field, at the application's own path, with the appliance's token and without an account."""
    async with connect(lambda _: Response(200, b"decision")) as (instance, server):
        assert await approvals(instance, "t&1").forward(asked(path)) == b"decision"
        assert await approvals(instance).forward(asked(path)) == b"decision"
    first, second = server.requests
    assert (first.path, first.query, first.form) == (PATH, {"outbound_event_token": "t&1"}, FIELDS)
    assert (second.path, second.query, second.form) == (PATH, {}, FIELDS)
    assert not {"authorization", "cookie"} & set(first.headers)


@pytest.mark.parametrize("decides", ["later", "allow", "deny"])
async def test_the_application_decides(box: Sandbox, instance: Instance, decides: Any) -> None:
    """An immediate decision is in the body of the answer; of a later one there is only a receipt."""
    box.servicenow.vendor.decides = decides
    body = await approvals(instance).forward(asked())
    (row,) = box.servicenow.tables.rows(VENDOR_APPROVAL)
    assert json.loads(row["fields"]) == FIELDS
    assert body == b"" if decides == "later" else json.loads(body)["response"] == decides


async def test_many_at_once(connect: Any) -> None:
    """No person waits for another's request, up to a number; who is cancelled leaves a free place."""
    gate, full = asyncio.Event(), asyncio.Event()

    async def answer(_: Request) -> Reply:
        if len(server.requests) == AT_ONCE:
            full.set()
        await gate.wait()
        return Response(200)

    async with connect(answer) as (instance, server):
        forwarder = approvals(instance)
        tasks = [asyncio.create_task(forwarder.forward(asked())) for _ in range(AT_ONCE + 1)]
        await full.wait()
        assert len(server.requests) == AT_ONCE
        for task in tasks[:3]:
            task.cancel()
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True] * 3 + [False] * (
            AT_ONCE - 2
        )
        assert await asyncio.gather(*(forwarder.forward(asked()) for _ in range(AT_ONCE))) == [b""] * AT_ONCE


@pytest.mark.parametrize(
    ("reply", "number", "maybe_sent"),
    [(Response(403), 2027, False), (Response(404), 2027, False), (Response(500), 2008, True), (HANG, 2003, True)],
)
async def test_what_is_not_taken(connect: Any, reply: Reply, number: int, maybe_sent: bool) -> None:
    """An application that is closed or missing is told apart from one of which nobody knows."""
    async with connect(lambda _: reply, timeout="500ms") as (instance, _):
        with pytest.raises(ServiceNowError) as caught:
            await approvals(instance).forward(asked())
    assert (caught.value.number, caught.value.maybe_sent) == (number, maybe_sent)


async def test_a_token_that_cannot_be_read(connect: Any) -> None:
    """Nothing is sent without the token that should go along."""

    def lost() -> NoReturn:
        raise ConfigError(1009, "gone")

    async with connect(lambda _: Response(200)) as (instance, server):
        forwarder = VendorApprovals(instance.vendor, {"default": Forwarding(PATH, lost)})
        with pytest.raises(ServiceNowError) as caught:
            await forwarder.forward(asked())
        assert not server.requests
    assert (caught.value.number, caught.value.maybe_sent) == (2027, False)
    assert "BSR-1009" in caught.value.text
