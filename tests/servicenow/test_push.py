"""Writing the queue: answers small and large, closed outputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.ecc_table import FakeInstance, answer
from support.server import RESET

from relay.core.errors import ServiceNowError
from relay.core.exchange import Inserted, NewInput, Taken

TABLE = "/api/now/table/ecc_queue"
AGENT = "mid.server.relay01"
BATCH = "/api/now/v1/batch"
LARGE = "<results>" + "ü" * 500_000 + "</results>"


def new(output: str, payload: str = "<results/>", **columns: str) -> NewInput:
    values = {"topic": "RESTProbe", "name": "get", "source": "https://a.example", "agent_correlator": "c"}
    return NewInput(output_sys_id=output, sys_id=output[::-1], payload=payload, **{**values, **columns})


def told(results: Any) -> list[Any]:
    """Results, as something that can be compared."""
    return [(r.number, r.maybe_sent) if isinstance(r, ServiceNowError) else type(r).__name__ for r in results]


@pytest.fixture
async def queue(connect: Any, fake: FakeInstance) -> Any:
    async with connect(fake) as (instance, server):
        fake.requests = server.requests  # type: ignore[attr-defined]
        yield instance.queue


async def test_insert(queue: Any, fake: FakeInstance) -> None:
    """An answer is a ready input of our agent that names its output; a single one is a plain request."""
    output = fake.output()
    (result,) = await queue.insert([new(output, "<ü/>")])
    assert result == Inserted(output[::-1], kept=True, created_by="svc")
    row = fake.tables["ecc_queue"][output[::-1]]
    assert {name: row[name] for name in ("agent", "queue", "state", "response_to", "topic", "name", "source")} == {
        "agent": AGENT,
        "queue": "input",
        "state": "ready",
        "response_to": output,
        "topic": "RESTProbe",
        "name": "get",
        "source": "https://a.example",
    }
    assert (row["agent_correlator"], row["payload"]) == ("c", "<ü/>")
    assert [request.path for request in fake.requests] == [TABLE]  # type: ignore[attr-defined]


async def test_credentials_in_a_url_are_not_repeated(queue: Any, fake: FakeInstance) -> None:
    """The column `source` of an answer has neither user nor password of the output's URL."""
    output = fake.output()
    source = "https://user:hunter2@a.example/api/command?action=x&password=hunter2"
    await queue.insert([new(output, source=source)])
    assert fake.tables["ecc_queue"][output[::-1]]["source"] == "https://a.example/api/command?action=x"


async def test_insert_many(queue: Any, fake: FakeInstance) -> None:
    """Several answers go in one batch."""
    outputs = [fake.output() for _ in range(20)]
    assert told(await queue.insert([new(output) for output in outputs])) == ["Inserted"] * 20
    assert [request.path for request in fake.requests] == [BATCH]  # type: ignore[attr-defined]


async def test_insert_by_bytes(queue: Any, fake: FakeInstance) -> None:
    """Batches are bounded by their bytes, too."""
    outputs = [fake.output() for _ in range(6)]
    assert told(await queue.insert([new(output, "x" * 450_000) for output in outputs])) == ["Inserted"] * 6
    sizes = [len(request.body) for request in fake.requests]  # type: ignore[attr-defined]
    assert len(sizes) == 2
    assert max(sizes) < 2_000_000


async def test_sys_id_not_kept(queue: Any, fake: FakeInstance) -> None:
    """An instance that chooses its own sys_id is told from one that keeps ours."""
    fake.keep_sys_id = False
    (result,) = await queue.insert([new(fake.output())])
    assert not result.kept
    assert result.sys_id in fake.tables["ecc_queue"]


async def test_inserted_before(queue: Any, fake: FakeInstance) -> None:
    """A refused insert whose answer is there already counts as inserted; other refusals stay."""
    outputs = [fake.output() for _ in range(3)]
    await queue.insert([new(outputs[0])])
    fake.add(sys_id=outputs[1][::-1], agent=AGENT, queue="input", state="ready", response_to="f" * 32)
    results = await queue.insert([new(output) for output in outputs])
    assert told(results) == ["Inserted", (2006, False), "Inserted"]
    assert results[0] == Inserted(outputs[0][::-1], kept=True)  # found, not made: nobody says who we are


async def test_inserted_before_unknown(queue: Any, fake: FakeInstance) -> None:
    """Where it cannot be learned whether a refused insert was done before, it may have been."""
    outputs = [fake.output(), fake.output()]
    await queue.insert([new(outputs[0])])
    fake.next("GET", TABLE, answer(500, {}))
    results = await queue.insert([new(output) for output in outputs])
    assert told(results) == [(2008, True), "Inserted"]


@pytest.mark.parametrize("column", ["response_to", "agent"])
async def test_dropped_column(queue: Any, fake: FakeInstance, column: str) -> None:
    """An answer whose columns the instance dropped silently is refused work, not a success."""
    fake.read_only = {column}
    assert told(await queue.insert([new(fake.output())])) == [(2015, False)]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(500, {}), (2008, True)),
        (RESET, (2004, True)),
        (answer(429, {}), (2007, False)),
        (answer(400, {"error": {"message": "rule"}}), (2015, False)),
        (answer(201, {"result": {"response_to": "x"}}), (2011, True)),
        (answer(201, {"result": []}), (2011, True)),
    ],
)
async def test_insert_fails(queue: Any, fake: FakeInstance, reply: Any, expected: Any) -> None:
    """Each failure says whether the answer may be there."""
    fake.next("POST", TABLE, reply)
    assert told(await queue.insert([new(fake.output())])) == [expected]


# -- large answers


async def test_large(queue: Any, fake: FakeInstance) -> None:
    """A large answer is inserted as nobody's, gets its payload as attachment, and becomes the answer by one update."""
    output = fake.output()
    seen: list[tuple[str, str, str]] = []
    sys_id = await queue.begin_large(new(output, LARGE))
    row = fake.tables["ecc_queue"][sys_id]
    seen.append((row["state"], row["response_to"], row["payload"]))
    await queue.finish_large(sys_id, new(output, LARGE))
    row = fake.tables["ecc_queue"][sys_id]
    seen.append((row["state"], row["response_to"], row["payload"]))
    assert seen == [("processing", "", "<see_attachment/>"), ("ready", output, "<see_attachment/>")]
    (attachment,) = fake.attachments.values()
    assert (attachment["table_sys_id"], attachment["file_name"]) == (sys_id, "payload")
    assert fake.files[attachment["sys_id"]] == LARGE.encode()
    methods = [request.method for request in fake.requests]  # type: ignore[attr-defined]
    assert methods == ["POST", "GET", "GET", "POST", "PATCH"]


async def test_large_again(queue: Any, fake: FakeInstance) -> None:
    """Every part of a large answer may be repeated: one record, one attachment, one update."""
    output = fake.output()
    for _ in range(2):
        sys_id = await queue.begin_large(new(output, LARGE))
        await queue.finish_large(sys_id, new(output, LARGE))
    assert len(fake.attachments) == 1
    fake.tables["ecc_queue"][sys_id]["state"] = "processed"
    await queue.finish_large(sys_id, new(output, LARGE))
    assert fake.tables["ecc_queue"][sys_id]["state"] == "processed"
    assert [request.method for request in fake.requests].count("PATCH") == 1  # type: ignore[attr-defined]


async def test_large_after_a_broken_upload(queue: Any, fake: FakeInstance) -> None:
    """What a broken upload left is deleted, a whole one is kept."""
    output = fake.output()
    sys_id = await queue.begin_large(new(output, LARGE))
    fake.attach(sys_id, b"half")
    whole = fake.attach(sys_id, LARGE.encode())
    fake.attach(sys_id, LARGE.encode())
    await queue.finish_large(sys_id, new(output, LARGE))
    assert list(fake.attachments) == [whole["sys_id"]]
    assert not any(request.path.endswith("/file") for request in fake.requests)  # type: ignore[attr-defined]


async def test_large_leftover_vanishes(queue: Any, fake: FakeInstance) -> None:
    """A leftover that is gone before it is deleted is as good."""
    output = fake.output()
    sys_id = await queue.begin_large(new(output, LARGE))
    half = fake.attach(sys_id, b"half")
    fake.next("DELETE", f"/api/now/attachment/{half['sys_id']}", answer(404, {}))
    await queue.finish_large(sys_id, new(output, LARGE))
    assert fake.tables["ecc_queue"][sys_id]["state"] == "ready"


async def test_large_leftover_stays(queue: Any, fake: FakeInstance) -> None:
    """A leftover that cannot be deleted stops the answer, since it could be read in its place."""
    output = fake.output()
    sys_id = await queue.begin_large(new(output, LARGE))
    half = fake.attach(sys_id, b"half")
    fake.next("DELETE", f"/api/now/attachment/{half['sys_id']}", answer(403, {}))
    with pytest.raises(ServiceNowError) as caught:
        await queue.finish_large(sys_id, new(output, LARGE))
    assert caught.value.number == 2006
    assert fake.tables["ecc_queue"][sys_id]["response_to"] == ""


async def test_large_upload_stored_short(queue: Any, fake: FakeInstance) -> None:
    """An upload that was stored with another size is not called done."""
    output = fake.output()
    sys_id = await queue.begin_large(new(output, LARGE))
    fake.next("POST", "/api/now/attachment/file", answer(201, {"result": {"sys_id": "a" * 32, "size_bytes": "7"}}))
    with pytest.raises(ServiceNowError) as caught:
        await queue.finish_large(sys_id, new(output, LARGE))
    assert (caught.value.number, caught.value.maybe_sent) == (2011, True)


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        (answer(500, {}), 2008),
        (answer(403, {}), 2006),
        (answer(201, {"result": {}}), 2011),
    ],
)
async def test_large_begin_fails(queue: Any, fake: FakeInstance, reply: Any, number: int) -> None:
    """A record that was not inserted is an error."""
    fake.next("POST", TABLE, reply)
    with pytest.raises(ServiceNowError) as caught:
        await queue.begin_large(new(fake.output(), LARGE))
    assert caught.value.number == number


async def test_large_dropped_column(queue: Any, fake: FakeInstance) -> None:
    """An update whose columns were dropped silently did not make the answer."""
    output = fake.output()
    sys_id = await queue.begin_large(new(output, LARGE))
    fake.read_only = {"response_to"}
    with pytest.raises(ServiceNowError) as caught:
        await queue.finish_large(sys_id, new(output, LARGE))
    assert caught.value.number == 2006


async def test_large_record_gone(queue: Any, fake: FakeInstance) -> None:
    """A record that is gone is told as gone."""
    with pytest.raises(ServiceNowError) as caught:
        await queue.finish_large("f" * 32, new(fake.output(), LARGE))
    assert caught.value.number == 2016


# -- closing


async def test_close(queue: Any, fake: FakeInstance) -> None:
    """Only outputs that are still open are written to; gone and foreign ones are taken."""
    done = fake.output(state="processed")
    failed = fake.output(state="error")
    still, ready = fake.output(state="processing"), fake.output()
    foreign = fake.output(agent="mid.server.other")
    results = await queue.close([done, failed, still, ready, "f" * 32, foreign])
    assert told(results) == ["Done", "Done", "Done", "Done", "Taken", "Taken"]
    assert isinstance(results[5], Taken)
    states = {sys_id: row["state"] for sys_id, row in fake.tables["ecc_queue"].items()}
    assert states == {done: "processed", failed: "error", still: "processed", ready: "processed", foreign: "ready"}
    look, write = fake.requests  # type: ignore[attr-defined]
    assert look.method == "GET"
    assert len(json.loads(write.body)["rest_requests"]) == 2


async def test_close_nothing_open(queue: Any, fake: FakeInstance) -> None:
    """Where the instance's own rule closed everything, one look is all."""
    assert told(await queue.close([fake.output(state="processed") for _ in range(150)])) == ["Done"] * 150
    assert len(fake.requests) == 2  # type: ignore[attr-defined]


async def test_close_look_fails(queue: Any, fake: FakeInstance) -> None:
    """When the look fails, every output has that error."""
    fake.next("GET", TABLE, answer(503, {}))
    assert told(await queue.close([fake.output(), fake.output()])) == [(2008, True)] * 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(404, {}), "Taken"),
        (answer(500, {}), (2008, True)),
        (answer(200, {"result": None}), (2011, True)),
    ],
)
async def test_close_fails(queue: Any, fake: FakeInstance, reply: Any, expected: Any) -> None:
    """Each output that could not be closed says why; one that vanished is as good as closed."""
    output = fake.output()
    fake.next("PATCH", f"{TABLE}/{output}", reply)
    assert told(await queue.close([output])) == [expected]


async def test_close_dropped(queue: Any, fake: FakeInstance) -> None:
    """A write to `state` that was dropped silently is an error."""
    fake.read_only = {"state"}
    assert told(await queue.close([fake.output()])) == [(2006, False)]
