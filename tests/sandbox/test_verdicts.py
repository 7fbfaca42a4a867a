"""Later decisions on requests for approval: the records that bring them, and how an appliance takes them."""

from __future__ import annotations

import pytest

from relay.core.catalog import CATALOG
from relay.core.policy import ApplianceFacts, Policy
from relay.core.policy_values import Allowed
from relay.core.record import HttpCall, Record, TypedCall
from relay.core.urls import read_authority
from relay.sandbox.appliance import Appliance
from relay.sandbox.box import Sandbox
from relay.sandbox.playing import Playing
from relay.sandbox.sessionoracle import check_tickets
from relay.sandbox.tickets import RESPONSE_PATH, Ticket
from relay.sandbox.verdicts import PROBES, Verdict, later
from relay.servicenow.payload import PayloadCodec

from .conftest import Connect


def asked(box: Sandbox) -> Ticket:
    """A request that was posted just now."""
    ticket = Ticket("r1", {"ticket_id": "CHG1"}, 200)
    box.appliance.tickets.by_id["r1"] = ticket
    return ticket


@pytest.mark.parametrize("probe", PROBES)
async def test_a_later_decision_is_work_that_the_relay_understands(box: Sandbox, probe: str) -> None:
    """Each way in which a script writes one is the same operation, with the same arguments."""
    sys_id = Playing(box).actions["verdict"](
        "default", "r1", "allow", message="go & see", attributes={"snow_task_id": "t1"}, probe=probe
    )
    row = box.servicenow.tables.get("ecc_queue", sys_id)
    assert row is not None
    work = PayloadCodec().read(Record(row)).work
    assert isinstance(work, HttpCall | TypedCall)
    origins = frozenset({read_authority(box.appliance.url.removeprefix("https://"))})
    policy = Policy((ApplianceFacts("default", "pra", enabled=True, origins=origins),), CATALOG, ("approval-response",))
    ruling = policy.decide(work)
    assert isinstance(ruling, Allowed), ruling
    assert ruling.handed_over
    assert dict(ruling.arguments) == {
        "response_id": "r1",
        "response": "allow",
        "message": "go & see",
        "session.custom.snow_task_id": "t1",
    }


def test_no_such_way() -> None:
    """A way that no script has is refused."""
    with pytest.raises(ValueError, match="no probe 'soap'"):
        later("mid.server.x", Appliance("default"), Verdict("r1", "deny"), "soap")


async def test_a_decision_that_comes_too_late(box: Sandbox, connect: Connect) -> None:
    """Nobody waits for ever: a decision after that is answered 404 and counted, and the oracle tells of it."""
    ticket = asked(box)
    client = connect(box.appliance.url, headers={})
    body = {"response_id": "r1", "response": "deny"}
    assert (await client.post(RESPONSE_PATH, data=body)).status_code == 200
    assert 0 <= ticket.decisions[0].after < 20
    Playing(box).actions["decide"]("default", patience=0.0)
    assert (await client.post(RESPONSE_PATH, json=body)).status_code == 404
    assert (len(ticket.decisions), ticket.late) == (1, 1)
    assert [line.partition(": ")[2] for line in check_tickets([box.appliance])] == [
        "CHG1 r1: decided 1 times when nobody waited any more"
    ]
