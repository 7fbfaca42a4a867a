"""The relay's ServiceNow side against the sandbox's instance, with every trap and fault that it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from relay.config.load import load
from relay.config.model import ServiceNowSettings
from relay.core.errors import WorkError
from relay.core.exchange import Claimed, Done, Inserted, NewInput, Taken
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.servicenow.instance import Instance
from relay.servicenow.payload import PayloadCodec

AGENT = "mid.server.relay01"
WORK = "<parameters><parameter name='skip_sensor' value='true'/></parameters>"


@pytest.fixture
async def box(tmp_path: Any) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(tmp_path / "sandbox") as running:
        yield running


def settings_of(box: Sandbox, **changes: Any) -> ServiceNowSettings:
    return load(box.config_file, {}).settings.servicenow.model_copy(update=changes)


@pytest.fixture
async def instance(box: Sandbox) -> AsyncIterator[Instance]:
    connected = Instance.connect(settings_of(box, timeout=0.5), "relay01", SecretReader({}), Clock())
    yield connected
    await connected.aclose()


def output(box: Sandbox, **columns: str) -> str:
    row = {"agent": AGENT, "queue": "output", "state": "ready", "topic": "RESTProbe", "payload": WORK, "priority": "2"}
    return box.servicenow.insert("ecc_queue", {**row, **columns})["sys_id"]


def answer_to(sys_id: str, payload: str = "<results/>") -> NewInput:
    return NewInput(sys_id, sys_id[::-1], "RESTProbe", "get", "https://a.example", "", payload)


def answers(box: Sandbox, sys_id: str) -> list[Any]:
    rows = box.servicenow.tables.rows("ecc_queue")
    return [row for row in rows if row["queue"] == "input" and row["response_to"] == sys_id]


def state(box: Sandbox, sys_id: str) -> str:
    row = box.servicenow.tables.get("ecc_queue", sys_id)
    assert row is not None
    return row["state"]


async def test_a_record_s_life(box: Sandbox, instance: Instance) -> None:
    """Polled, claimed, answered, found, closed: each step is what the instance shows."""
    rows = [output(box, priority=str(number % 3)) for number in range(30)]
    page = await instance.queue.poll(100, [])
    assert {record.sys_id for record in page.records} == set(rows)
    assert [record.priority for record in page.records] == sorted(record.priority for record in page.records)
    claimed = await instance.queue.claim(rows)
    assert all(isinstance(result, Claimed) for result in claimed)
    assert {state(box, row) for row in rows} == {"processing"}
    assert len(await instance.queue.processing(100)) == 30
    inserted = await instance.queue.insert([answer_to(row) for row in rows])
    assert inserted == [Inserted(row[::-1], kept=True, created_by="svc.relay") for row in rows]
    assert set(await instance.queue.find(rows)) == set(rows)
    assert await instance.queue.close(rows) == [Done()] * 30
    assert {state(box, row) for row in rows} == {"processed"}
    assert not (await instance.queue.poll(100, [])).records
    assert sum(instance.requests.values()) <= 14


async def test_large(box: Sandbox, instance: Instance) -> None:
    """A large answer is an attachment of the right size, and an output's attachment can be read."""
    row = output(box)
    wished = answer_to(row, "<results>" + "x" * 600_000 + "</results>")
    sys_id = await instance.queue.begin_large(wished)
    assert answers(box, row) == []
    await instance.queue.finish_large(sys_id, wished)
    await instance.queue.finish_large(sys_id, wished)
    (found,) = answers(box, row)
    assert (found["payload"], found["state"]) == ("<see_attachment/>", "ready")
    record = (await instance.queue.read([sys_id]))[sys_id]
    assert await instance.queue.fetch_payload(record) == wished.payload


async def test_agent(box: Sandbox, instance: Instance) -> None:
    """The agent's row appears and follows the status."""
    for status in ("Up", "Paused", "Down"):
        await instance.agent.refresh(status)
        (row,) = [row for row in box.servicenow.tables.rows("ecc_agent") if row["name"] == "relay01"]
        assert row["status"] == status


async def test_foreign_rows(box: Sandbox, instance: Instance) -> None:
    """Rows of other agents that are mixed into a page are dropped and counted."""
    row = output(box)
    box.servicenow.faults.add(Fault("foreign", lane="poll", count=3))
    page = await instance.queue.poll(10, [])
    assert ([record.sys_id for record in page.records], page.foreign) == ([row], 3)


async def test_rows_are_work(box: Sandbox, instance: Instance) -> None:
    """What the sandbox makes as ServiceNow would is read as work, and its answers are written."""
    maker = box.maker()
    box.put(maker.mix(len(maker.kinds)))
    refused = []
    for record in (await instance.queue.poll(100, [])).records:
        try:
            PayloadCodec().read(record)
        except WorkError as error:
            refused.append((record["topic"], error.number))
    assert refused
    assert {number for _, number in refused} <= {4001, 4006}
    assert len(refused) < len(box.jobs) / 2


EVERY_FAULT = [
    Fault("hang"),
    Fault("reset"),
    *(Fault("status", status=status) for status in (400, 401, 403, 404, 429, 500, 502, 503)),
    Fault("page"),
    Fault("late", seconds=0.05),
    Fault("hang after"),
    Fault("reset after"),
    Fault("status after", status=500),
    Fault("status after", status=503),
    Fault("failure"),
    Fault("truncate"),
    Fault("cut"),
    Fault("bad gzip"),
    Fault("gzip bomb", size=20_000_000),
    Fault("content type", headers={"content-type": "text/html"}),
    Fault("missing", count=2),
    Fault("unserviced", count=1),
]


@pytest.mark.parametrize("number", [1, 4], ids=["alone", "batch"])
@pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda fault: f"{fault.action} {fault.status}")
@pytest.mark.parametrize("lane", ["push", "claim"])
async def test_maybe_sent_is_right(box: Sandbox, instance: Instance, fault: Fault, lane: str, number: int) -> None:
    """Whatever fails: a change said to be done is done, and one said not to be sent had no effect and never will."""
    if number == 1 and fault.action in {"missing", "unserviced"}:
        number = 2
    rows = [output(box) for _ in range(number)]
    set_fault = box.servicenow.faults.add(replace(fault, lane=lane))
    if lane == "push":
        results: list[Any] = list(await instance.queue.insert([answer_to(row) for row in rows]))
    else:
        results = list(await instance.queue.claim(rows))
    assert set_fault.fired == 1
    if fault.action == "late":
        await box.servicenow.tables.until(lambda: all(took_effect(box, lane, row) for row in rows))
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, Claimed | Inserted):
            assert took_effect(box, lane, row)
        elif isinstance(result, Taken) or not result.maybe_sent:
            assert not took_effect(box, lane, row)


def took_effect(box: Sandbox, lane: str, row: str) -> bool:
    return bool(answers(box, row)) if lane == "push" else state(box, row) == "processing"
