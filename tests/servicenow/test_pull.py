"""Reading the queue: polls, claims, rows read back, answers found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.ecc_table import FakeInstance, answer
from support.server import RESET, Reply, Request, Response

from relay.core.errors import ServiceNowError
from relay.core.exchange import Claimed, Page
from relay.core.record import RECORD_FIELDS, Record
from relay.servicenow import pull
from relay.servicenow.payload_shapes import MAX_PAYLOAD
from relay.servicenow.rows import UNREADABLE

TABLE = "/api/now/table/ecc_queue"
AGENT = "mid.server.relay01"
BATCH = "/api/now/v1/batch"


def ids(records: Any) -> list[str]:
    return [record.sys_id for record in records]


def told(results: Any) -> list[Any]:
    """Results, as something that can be compared."""
    shown: list[Any] = []
    for result in results:
        if isinstance(result, ServiceNowError):
            shown.append((result.number, result.maybe_sent))
        else:
            shown.append(type(result).__name__)
    return shown


@pytest.fixture
async def queue(connect: Any, fake: FakeInstance) -> Any:
    async with connect(fake) as (instance, server):
        fake.requests = server.requests  # type: ignore[attr-defined]
        yield instance.queue


# -- poll


async def test_poll(queue: Any, fake: FakeInstance) -> None:
    """A poll brings our ready outputs by priority, then oldest, complete, and nothing else."""
    old = fake.output(payload="<parameters/>", topic="RESTProbe")
    new, urgent = fake.output(), fake.output(priority="0")
    fake.output(agent="mid.server.other")
    fake.output(state="processing")
    fake.output(queue="input")
    page = await queue.poll(10, [])
    assert ids(page.records) == [urgent, old, new]
    assert (page.more, page.bare, page.foreign) == (False, (), 0)
    assert set(page.records[1].fields) == set(RECORD_FIELDS)
    assert page.records[1].payload == "<parameters/>"


async def test_poll_query(queue: Any, fake: FakeInstance) -> None:
    """The poll asks exactly by agent, queue and state, in order, and for our columns only."""
    await queue.poll(7, [])
    request = fake.requests[0]  # type: ignore[attr-defined]
    assert request.query == {
        "sysparm_query": f"agent={AGENT}^queue=output^state=ready"
        "^ORDERBYpriority^ORDERBYsys_created_on^ORDERBYsequence^ORDERBYsys_id",
        "sysparm_limit": "7",
        "sysparm_no_count": "true",
        "sysparm_suppress_pagination_header": "true",
        "sysparm_fields": ",".join(RECORD_FIELDS),
        "sysparm_exclude_reference_link": "true",
    }


async def test_poll_more(queue: Any, fake: FakeInstance) -> None:
    """A full page says that there may be more."""
    for _ in range(3):
        fake.output()
    assert (await queue.poll(3, [])).more
    assert not (await queue.poll(4, [])).more


async def test_poll_leaves_out(queue: Any, fake: FakeInstance) -> None:
    """Records to be left out are left out by the instance; as many as fit, the others here."""
    rows = [fake.output() for _ in range(200)]
    page = await queue.poll(100, rows[:199])
    target = fake.requests[0].target  # type: ignore[attr-defined]
    assert target.count(",") - len(RECORD_FIELDS) < pull.LEFT_OUT
    assert len(target) < 8000
    assert ids(page.records) == [rows[199]]
    assert page.foreign == 0


async def test_poll_topics(queue: Any, fake: FakeInstance) -> None:
    """A poll can be restricted to some topics."""
    fake.output(topic="RESTProbe")
    beat = fake.output(topic="HeartbeatProbe")
    page = await queue.poll(10, ["f" * 32], ["HeartbeatProbe", "SystemCommand"])
    assert ids(page.records) == [beat]


def page_of(*rows: dict[str, str]) -> Reply:
    return answer(200, {"result": list(rows)})


OURS = {"sys_id": "a" * 32, "agent": AGENT, "queue": "output", "state": "ready"}


@pytest.mark.parametrize(
    "foreign",
    [
        {"agent": "mid.server.RELAY01"},
        {"agent": "mid.server.other"},
        {"queue": "input"},
        {"state": "processing"},
        {"state": ""},
        {"sys_id": "b"},
        {"sys_id": "../../x"},
        {"sys_id": "B" * 32},
    ],
)
async def test_foreign_rows(queue: Any, fake: FakeInstance, foreign: dict[str, str]) -> None:
    """Rows that were not asked for are dropped and counted; a page of nothing else is an error."""
    other = {**OURS, "sys_id": "b" * 32, **foreign}
    fake.next("GET", TABLE, page_of(other, OURS, other))
    page = await queue.poll(10, [])
    assert (ids(page.records), page.foreign) == (["a" * 32], 2)
    fake.next("GET", TABLE, page_of(other))
    with pytest.raises(ServiceNowError) as caught:
        await queue.poll(10, [])
    assert caught.value.number == 2019


async def test_row_twice(queue: Any, fake: FakeInstance) -> None:
    """A row that comes twice in one page is one record."""
    fake.next("GET", TABLE, page_of(OURS, OURS))
    assert ids((await queue.poll(10, [])).records) == ["a" * 32]


async def test_odd_values(queue: Any, fake: FakeInstance) -> None:
    """References as objects, nulls, numbers and lone surrogates become text."""
    row = {
        **OURS,
        "sys_domain": {"link": "x", "value": "global"},
        "name": None,
        "sys_mod_count": 3,
        "source": "\ud800ü",
    }
    body = json.dumps({"result": [row]}).encode()
    fake.next("GET", TABLE, Response(200, body, {"content-type": "application/json"}))
    (record,) = (await queue.poll(10, [])).records
    assert record.fields["sys_domain"] == "global"
    assert record.fields["name"] == ""
    assert record.fields["sys_mod_count"] == "3"
    assert record.fields["source"] == "\ufffdü"


@pytest.mark.parametrize("value", [None, [], {}, {"result": None}, {"result": {}}, {"result": [1]}])
async def test_no_rows(queue: Any, fake: FakeInstance, value: Any) -> None:
    """JSON of another shape is an error."""
    fake.next("GET", TABLE, answer(200, value))
    with pytest.raises(ServiceNowError) as caught:
        await queue.poll(10, [])
    assert caught.value.number == 2011


async def test_page_too_large(queue: Any, fake: FakeInstance) -> None:
    """A page over the byte cap is asked for again with half the limit, and says that there is more."""
    for _ in range(8):
        fake.output(payload="x" * 900_000)
    page = await queue.poll(8, [])
    limits = [request.query["sysparm_limit"] for request in fake.requests]  # type: ignore[attr-defined]
    assert limits == ["8", "4"]
    assert (len(page.records), page.more, page.bare) == (4, True, ())


async def test_row_too_large(queue: Any, fake: FakeInstance) -> None:
    """A single row over the byte cap is read without its payload, so that it blocks nobody."""
    huge = fake.output(payload="x" * (pull.PAGE_BYTES + 1))
    fake.output()
    page = await queue.poll(4, [])
    assert (page.records, ids(page.bare), page.more) == ((), [huge], True)
    assert page.bare[0].payload == ""
    assert page.bare[0]["agent"] == AGENT


async def test_hidden_rows_do_not_block(queue: Any, fake: FakeInstance) -> None:
    """A page full of rows that access rules hide does not hide what is behind it for good."""
    fake.hidden = {fake.output() for _ in range(6)}
    behind = [fake.output(), fake.output()]
    found: list[str] = []
    for _ in range(pull.DEEPER_EVERY * 4):
        page: Page = await queue.poll(2, [])
        for record in page.records:
            found.append(record.sys_id)
            fake.tables["ecc_queue"][record.sys_id]["state"] = "processed"
    assert found == behind


async def test_looking_deeper_is_rare(queue: Any, fake: FakeInstance) -> None:
    """An idle poll costs one request, and one more every twelfth time."""
    for _ in range(24):
        await queue.poll(10, [])
    assert len(fake.requests) == 26  # type: ignore[attr-defined]


async def test_impossible_agent(connect: Any, fake: FakeInstance) -> None:
    """What cannot stand in a query is an error, not everybody's rows."""
    async with connect(fake) as (instance, server):
        instance.queue.poll.__self__._agent = "a^b"
        with pytest.raises(ServiceNowError) as caught:
            await instance.queue.poll(10, [])
        assert caught.value.number == 2015
        assert server.requests == []


# -- claim


async def test_claim(queue: Any, fake: FakeInstance) -> None:
    """Claims of several records go in one batch; each answer is the row as it is now."""
    rows = [fake.output(payload=f"<p{number}/>") for number in range(3)]
    results = await queue.claim(rows)
    assert told(results) == ["Claimed"] * 3
    assert [result.record.payload for result in results] == ["<p0/>", "<p1/>", "<p2/>"]
    assert {row["state"] for row in fake.tables["ecc_queue"].values()} == {"processing"}
    assert results[0].record["sys_updated_by"] == "svc"
    assert [request.path for request in fake.requests] == [BATCH]  # type: ignore[attr-defined]


async def test_claim_one(queue: Any, fake: FakeInstance) -> None:
    """A single claim is a plain request, without the payload when that is not wanted."""
    row = fake.output(payload="x")
    (result,) = await queue.claim([row], payload=False)
    assert isinstance(result, Claimed)
    assert "payload" not in result.record.fields
    (request,) = fake.requests  # type: ignore[attr-defined]
    assert (request.method, json.loads(request.body)) == ("PATCH", {"state": "processing"})


async def test_claim_none(queue: Any, fake: FakeInstance) -> None:
    """Claiming nothing asks nothing."""
    assert await queue.claim([]) == []
    assert fake.requests == []  # type: ignore[attr-defined]


async def test_claim_lost(queue: Any, fake: FakeInstance) -> None:
    """A row that is gone or addressed to another agent by now is taken."""
    gone, moved, mine = "f" * 32, fake.output(agent="mid.server.other"), fake.output()
    assert told(await queue.claim([gone, moved, mine])) == ["Taken", "Taken", "Claimed"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**OURS, "state": "processing"}, "Claimed"),
        ({**OURS, "state": "ready"}, (2006, False)),
        ({**OURS, "state": "error"}, "Taken"),
        ({**OURS, "state": "processing", "queue": "input"}, "Taken"),
        ({**OURS, "state": "processing", "sys_id": "b" * 32}, (2019, True)),
        ([], (2011, True)),
    ],
)
async def test_claim_answers(queue: Any, fake: FakeInstance, row: Any, expected: Any) -> None:
    """What the claim's own answer shows decides: a dropped write is an error, another state is somebody else's."""
    fake.next("PATCH", f"{TABLE}/a+", answer(200, {"result": row}))
    assert told(await queue.claim(["a" * 32])) == [expected]


async def test_claim_partly_served(queue: Any, fake: FakeInstance) -> None:
    """What a batch left over was not claimed, what it did not mention may have been; the next batch is smaller."""

    def spoil(whole: dict[str, Any]) -> dict[str, Any]:
        served = [part for part in whole["serviced_requests"] if part["id"] == "0"]
        return {**whole, "serviced_requests": served, "unserviced_requests": ["1"]}

    fake.spoil_batch = spoil
    rows = [fake.output() for _ in range(3)]
    assert told(await queue.claim(rows)) == ["Claimed", (2012, False), (2012, True)]
    assert queue.batch_size(urgent=False) == 10


async def test_claim_broken(queue: Any, fake: FakeInstance) -> None:
    """A batch whose answer never came leaves every claim unknown."""
    fake.next("POST", BATCH, RESET)
    assert told(await queue.claim([fake.output(), fake.output()])) == [(2004, True)] * 2
    assert queue.batch_size(urgent=False) == 10


@pytest.mark.parametrize("status", [400, 403, 404, 413])
async def test_no_batch_api(queue: Any, fake: FakeInstance, status: int) -> None:
    """Where the Batch API is missing, forbidden or finds a batch too large, each call goes by itself."""
    fake.next("POST", BATCH, answer(status, {}))
    assert told(await queue.claim([fake.output(), fake.output()])) == ["Claimed"] * 2


async def test_batches_by_size(connect: Any, fake: FakeInstance) -> None:
    """More claims than a batch may hold go in several; quick ones let the size grow to the most."""
    async with connect(fake, poll={"interval": "5s", "batch": 50}) as (instance, server):
        rows = [fake.output() for _ in range(60)]
        assert told(await instance.queue.claim(rows)) == ["Claimed"] * 60
        assert len(server.requests) == 3
        assert instance.queue.batch_size(urgent=False) == 40
        await instance.queue.claim(rows)
        assert len(server.requests) == 5
        assert instance.queue.batch_size(urgent=False) == 50
        assert instance.queue.batch_size(urgent=True) == 5
        fake.execution_time = 1000
        await instance.queue.claim(rows)
        assert instance.queue.batch_size(urgent=False) < 50


# -- read, processing, find


async def test_read(queue: Any, fake: FakeInstance) -> None:
    """Rows are read back complete, in pieces; those that are gone or hidden are absent."""
    rows = [fake.output(payload=f"<p{number}/>") for number in range(60)]
    fake.hidden = {rows[3]}
    found = await queue.read([*rows, "f" * 32])
    assert set(found) == set(rows) - {rows[3]}
    assert found[rows[59]].payload == "<p59/>"
    assert len(fake.requests) == 3  # type: ignore[attr-defined]


async def test_read_too_large(queue: Any, fake: FakeInstance) -> None:
    """Rows that are too large together are read in smaller pieces, one that is so by itself without its payload."""
    rows = [fake.output(payload="x" * 2_000_000) for _ in range(3)]
    huge = fake.output(payload="x" * (pull.PAGE_BYTES + 1))
    found = await queue.read([*rows, huge])
    assert {len(found[row].payload) for row in rows} == {2_000_000}
    assert found[huge].payload == UNREADABLE


async def test_read_fails(queue: Any, fake: FakeInstance) -> None:
    """Any other failure is one."""
    fake.next("GET", TABLE, answer(500, {}))
    with pytest.raises(ServiceNowError) as caught:
        await queue.read(["a" * 32])
    assert caught.value.number == 2008


async def test_processing(queue: Any, fake: FakeInstance) -> None:
    """Outputs in `processing` are ours alone, oldest first, complete, without those left out."""
    known, old, new = (fake.output(state="processing", payload="<p/>") for _ in range(3))
    fake.output(state="processing", agent="mid.server.other")
    fake.output()
    found: list[Record] = await queue.processing(10, [known])
    assert ids(found) == [old, new]
    assert found[0].payload == "<p/>"


async def test_processing_too_large(queue: Any, fake: FakeInstance) -> None:
    """A huge row in `processing` is told from one with an empty payload."""
    fake.output(state="processing", payload="x" * (pull.PAGE_BYTES + 1))
    (found,) = await queue.processing(10)
    assert found.payload == UNREADABLE


def add_answer(fake: FakeInstance, output: str, **columns: str) -> str:
    return fake.add(**{"agent": AGENT, "queue": "input", "state": "ready", "response_to": output, **columns})


async def test_find(queue: Any, fake: FakeInstance) -> None:
    """Answers are found by the output they belong to, with their author; the oldest of several."""
    outputs = [fake.output() for _ in range(150)]
    first = add_answer(fake, outputs[0], state="processed", sys_created_by="svc.other")
    add_answer(fake, outputs[0])
    last = add_answer(fake, outputs[149])
    found = await queue.find(outputs)
    assert set(found) == {outputs[0], outputs[149]}
    assert (found[outputs[0]].sys_id, found[outputs[0]].created_by) == (first, "svc.other")
    assert (found[outputs[0]].state, found[outputs[0]].output_sys_id) == ("processed", outputs[0])
    assert found[outputs[149]].sys_id == last
    assert all(len(request.target) < 8000 for request in fake.requests)  # type: ignore[attr-defined]


async def test_find_ours_only(queue: Any, fake: FakeInstance) -> None:
    """A row of another agent, or an output, is no answer of ours."""
    output = fake.output()
    add_answer(fake, output, agent="mid.server.other")
    add_answer(fake, output, queue="output")
    assert await queue.find([output]) == {}
    assert await queue.find([]) == {}


async def test_find_column_missing(queue: Any, fake: FakeInstance) -> None:
    """Where `response_to` cannot be read, "absent" is not concluded."""
    fake.next("GET", TABLE, page_of({**OURS, "queue": "input", "response_to": ""}))
    with pytest.raises(ServiceNowError) as caught:
        await queue.find(["c" * 32])
    assert caught.value.number == 2019


async def test_find_many(queue: Any, fake: FakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are more answers than one page holds, fewer outputs are asked about at once."""
    monkeypatch.setattr(pull, "FOUND_AT_ONCE", 3)
    outputs = [fake.output() for _ in range(4)]
    answers = [add_answer(fake, output) for output in outputs]
    found = await queue.find(outputs)
    assert [found[output].sys_id for output in outputs] == answers
    assert len(fake.requests) == 3  # type: ignore[attr-defined]


# -- attachments


async def test_fetch_payload(queue: Any, fake: FakeInstance) -> None:
    """An output's payload that was too large for its field is the attachment `payload`."""
    row = fake.output()
    fake.attach(row, b"other", name="other")
    fake.attach(row, "<ü/>".encode())
    assert await queue.fetch_payload(Record({"sys_id": row})) == "<ü/>"


async def test_fetch_payload_missing(queue: Any, fake: FakeInstance) -> None:
    """A missing attachment is gone for good."""
    with pytest.raises(ServiceNowError) as caught:
        await queue.fetch_payload(Record({"sys_id": fake.output()}))
    assert (caught.value.number, caught.value.retryable) == (2016, False)


async def test_fetch_payload_too_large(queue: Any, fake: FakeInstance) -> None:
    """A payload larger than a record may carry is not downloaded; what comes back is refused for its size."""
    row = fake.output()
    fake.attach(row, b"x", size=MAX_PAYLOAD + 1)
    assert len(await queue.fetch_payload(Record({"sys_id": row}))) > MAX_PAYLOAD
    assert not any(request.path.endswith("/file") for request in fake.requests)  # type: ignore[attr-defined]


async def test_fetch_payload_lies_about_size(queue: Any, fake: FakeInstance) -> None:
    """An attachment that is larger than it said is not read to its end, and refused for its size as well."""
    row = fake.output()
    fake.attach(row, b"x" * (MAX_PAYLOAD + 1), size=5)
    assert len(await queue.fetch_payload(Record({"sys_id": row}))) > MAX_PAYLOAD


async def test_foreign_attachments(queue: Any, fake: FakeInstance) -> None:
    """Attachments of other rows are not taken."""
    other = {"sys_id": "a" * 32, "table_name": "incident", "table_sys_id": "b" * 32, "file_name": "payload"}
    fake.next("GET", "/api/now/attachment", page_of(other))
    with pytest.raises(ServiceNowError) as caught:
        await queue.fetch_payload(Record({"sys_id": fake.output()}))
    assert caught.value.number == 2019


async def test_file_fails(queue: Any, fake: FakeInstance) -> None:
    """A file that cannot be had is an error."""
    row = fake.output()
    attachment = fake.attach(row, b"x")

    def gone(_request: Request) -> Reply:
        return answer(404, {})

    fake.next("GET", f"/api/now/attachment/{attachment['sys_id']}/file", gone)
    with pytest.raises(ServiceNowError) as caught:
        await queue.fetch_payload(Record({"sys_id": row}))
    assert caught.value.number == 2016
