"""The queue's business rules, batches and attachments as a client meets them."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault

QUEUE = "/api/now/table/ecc_queue"
BATCH = "/api/now/v1/batch"


def put(box: Sandbox, **values: str) -> str:
    row = {"agent": box.agent, "topic": "RESTProbe", "name": "get", "queue": "output", **values}
    return box.servicenow.insert("ecc_queue", row)["sys_id"]


def state(box: Sandbox, sys_id: str) -> str:
    row = box.servicenow.tables.get("ecc_queue", sys_id)
    assert row is not None
    return row["state"]


def answer_to(box: Sandbox, output: str, **values: str) -> dict[str, str]:
    payload = "<results><parameters><parameter name='skip_sensor' value='true'/></parameters></results>"
    row = {"agent": box.agent, "topic": "RESTProbe", "queue": "input", "state": "ready", "response_to": output}
    return {**row, "payload": payload, **values}


def part(number: object, method: str, url: str, body: object = None) -> dict[str, Any]:
    headers = [{"name": "Accept", "value": "application/json"}, {"name": "Content-Type", "value": "application/json"}]
    made = {"id": number, "method": method, "url": url, "headers": headers}
    if body is not None:
        made["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return made


async def batch(client: httpx.AsyncClient, *parts: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(BATCH, json={"batch_request_id": 7, "rest_requests": list(parts)})
    assert answer.status_code == 200
    return dict(answer.json())


async def test_an_answer_closes_its_output(box: Sandbox, client: httpx.AsyncClient) -> None:
    """The insert of an input with `response_to` sets its output to `processed`; an update that sets it does not."""
    first, second = put(box), put(box)
    await client.post(QUEUE, json=answer_to(box, first))
    assert state(box, first) == "processed"
    answer = await client.post(QUEUE, json=answer_to(box, "", state="processing"))
    sys_id = answer.json()["result"]["sys_id"]
    await client.patch(f"{QUEUE}/{sys_id}", json={"response_to": second, "state": "ready"})
    assert state(box, second) == "ready"
    assert second in box.servicenow.answered


async def test_the_rules_can_be_off(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An instance without the rules leaves the output as it was, and the input too."""
    box.servicenow.rules.mark_outputs = False
    box.servicenow.rules.sensors = False
    output = put(box)
    answer = await client.post(QUEUE, json=answer_to(box, output, payload=""))
    assert state(box, output) == "ready"
    assert answer.json()["result"]["state"] == "ready"


async def test_an_input_without_skip_sensor_ends_in_error(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An input that does not say `skip_sensor` becomes `error`, except for topics that sensors leave alone."""
    row = (await client.post(QUEUE, json=answer_to(box, put(box), payload="<results/>"))).json()["result"]
    assert (row["state"], row["error_string"]) == ("error", "No sensors defined")
    heartbeat = answer_to(box, put(box), payload="<results/>", topic="HeartbeatProbe")
    assert (await client.post(QUEUE, json=heartbeat)).json()["result"]["state"] == "ready"


async def test_queue_processing_marks_outputs(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An input of topic `queue.processing` sets the listed ready outputs to `processing`."""
    first, done = put(box), put(box, state="processed")
    listed = "".join(f'<sys_id state="processing">{sys_id}</sys_id>' for sys_id in (first, done, "0" * 32))
    row = {"agent": box.agent, "topic": "queue.processing", "queue": "input", "payload": f"<a>{listed}</a>"}
    await client.post(QUEUE, json=row)
    assert (state(box, first), state(box, done)) == ("processing", "processed")


async def test_answers_to_inputs_and_to_nothing_change_nothing(box: Sandbox, client: httpx.AsyncClient) -> None:
    """Only an output is closed by an answer."""
    other = put(box, queue="input", state="ready", topic="HeartbeatProbe")
    await client.post(QUEUE, json=answer_to(box, other))
    await client.post(QUEUE, json=answer_to(box, "0" * 32))
    assert state(box, other) == "ready"


async def test_a_batch_is_served_out_of_order(box: Sandbox, client: httpx.AsyncClient) -> None:
    """Each part is answered once with its id as text, in no promised order."""
    rows = [put(box) for _ in range(12)]
    orders = set()
    for _ in range(3):
        result = await batch(client, *(part(n, "PATCH", f"{QUEUE}/{row}", {"name": "z"}) for n, row in enumerate(rows)))
        ids = [row["id"] for row in result["serviced_requests"]]
        assert sorted(ids, key=int) == [str(number) for number in range(12)]
        assert result["unserviced_requests"] == []
        orders.add(tuple(ids))
    assert len(orders) > 1
    assert result["batch_request_id"] == "7"
    assert box.servicenow.served["batch"] == 3
    assert (box.servicenow.served["other"], box.servicenow.requests["other"]) == (36, 3)


async def test_parts_of_a_batch_answer_like_requests(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A part has status, text, headers and a base64 body; headers can be left out."""
    box.servicenow.knobs.shuffle = False
    bare = {**part("b", "GET", f"{QUEUE}/{put(box)}"), "exclude_response_headers": True}
    result = await batch(client, part("a", "POST", QUEUE, {"name": "n"}), bare, part("c", "GET", f"{QUEUE}/none"))
    first, second, third = result["serviced_requests"]
    assert (first["status_code"], first["status_text"]) == (201, "Created")
    assert {"name": "Content-Type", "value": "application/json;charset=UTF-8"} in first["headers"]
    assert json.loads(base64.b64decode(first["body"]))["result"]["name"] == "n"
    assert second["headers"] == []
    assert third["status_code"] == 404


async def test_a_batch_has_a_quota_of_time(box: Sandbox, client: httpx.AsyncClient) -> None:
    """What is left when the quota is used up is listed as unserviced and not done."""
    box.servicenow.knobs.write_cost = 0.02
    box.servicenow.knobs.batch_quota = 0.03
    rows = [put(box) for _ in range(6)]
    result = await batch(client, *(part(row, "PATCH", f"{QUEUE}/{row}", {"state": "processing"}) for row in rows))
    served = [row["id"] for row in result["serviced_requests"]]
    assert 0 < len(served) < 6
    assert sorted(served + result["unserviced_requests"]) == sorted(rows)
    assert {row for row in rows if state(box, row) == "processing"} == set(served)


async def test_faults_of_a_batch(box: Sandbox, client: httpx.AsyncClient) -> None:
    """Answers can be missing though the parts were done, parts unserviced, and single parts fail."""
    rows = [put(box) for _ in range(4)]
    parts = [part(row, "PATCH", f"{QUEUE}/{row}", {"state": "processing"}) for row in rows]
    missing = box.servicenow.faults.add(Fault("missing", lane="claim", count=3))
    result = await batch(client, *parts)
    assert (len(result["serviced_requests"]), missing.fired) == (1, 1)
    assert all(state(box, row) == "processing" for row in rows)
    box.servicenow.faults.add(Fault("unserviced", lane="batch", count=1))
    result = await batch(client, *parts)
    assert (len(result["serviced_requests"]), len(result["unserviced_requests"])) == (1, 3)
    box.servicenow.faults.add(Fault("status after", sub=True, method="POST", status=500))
    result = await batch(client, part("x", "POST", QUEUE, {"name": "after"}))
    assert result["serviced_requests"][0]["status_code"] == 500
    assert box.servicenow.tables.find("ecc_queue", "name=after")
    box.servicenow.faults.add(Fault("reset", sub=True, lane="push"))
    result = await batch(client, part("x", "POST", QUEUE, {"name": "never"}))
    assert result["serviced_requests"] == result["unserviced_requests"] == []
    assert not box.servicenow.tables.find("ecc_queue", "name=never")


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"rest_requests":[{}]}', b'{"rest_requests":[{"url":1}]}'])
async def test_a_bad_batch(client: httpx.AsyncClient, body: bytes) -> None:
    """What is not a batch is refused as a whole."""
    answer = await client.post(BATCH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_a_part_of_a_batch_has_a_size_limit(client: httpx.AsyncClient) -> None:
    """A part of more than 5 MB is refused alone; a batch within a batch is none."""
    inner = part("in", "POST", BATCH, {"rest_requests": []})
    result = await batch(client, part("big", "POST", QUEUE, {"payload": "x" * 5_300_000}), inner)
    assert {row["id"]: row["status_code"] for row in result["serviced_requests"]} == {"big": 400, "in": 400}


async def test_attachments(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A file is uploaded to a row, found by query, described, read and deleted."""
    sys_id = put(box)
    place = {"table_name": "ecc_queue", "table_sys_id": sys_id, "file_name": "payload"}
    url = "/api/now/attachment/file"
    answer = await client.post(url, params=place, content=b"<results/>", headers={"Content-Type": "text/xml"})
    stored = answer.json()["result"]
    assert answer.status_code == 201
    assert (stored["size_bytes"], stored["content_type"]) == ("10", "text/xml")
    query = {"sysparm_query": f"table_name=ecc_queue^table_sys_id={sys_id}"}
    listed = (await client.get("/api/now/attachment", params=query)).json()["result"]
    assert [row["sys_id"] for row in listed] == [stored["sys_id"]]
    one = f"/api/now/attachment/{stored['sys_id']}"
    assert (await client.get(one)).json()["result"]["file_name"] == "payload"
    assert (await client.get(stored["download_link"], headers={"Accept": "text/xml"})).content == b"<results/>"
    assert (await client.put(one, content=b"1", headers={"Content-Type": "text/xml"})).status_code == 405
    box.servicenow.hidden.add(sys_id)
    assert (await client.get(one)).status_code == 404
    assert (await client.get("/api/now/attachment", params=query)).json()["result"] == []
    box.servicenow.hidden.clear()
    assert (await client.delete(one)).status_code == 204
    assert (await client.get(one)).status_code == 404


@pytest.mark.parametrize(
    ("place", "headers", "status"),
    [
        ({"table_name": "ecc_queue", "file_name": "payload"}, {"Content-Type": "a/b"}, 400),
        ({"table_name": "ecc_queue", "table_sys_id": "x", "file_name": "payload"}, {}, 400),
        ({"table_name": "ecc_queue", "table_sys_id": "x", "file_name": "payload"}, {"Content-Type": "a/b"}, 404),
        ({"table_name": "nothing", "table_sys_id": "x", "file_name": "payload"}, {"Content-Type": "a/b"}, 404),
    ],
)
async def test_bad_uploads(
    client: httpx.AsyncClient, place: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """An upload needs a row that exists, a name and a content type."""
    answer = await client.post("/api/now/attachment/file", params=place, content=b"x", headers=headers)
    assert answer.status_code == status


async def test_somebody_sets_rows_back(box: Sandbox) -> None:
    """An administrator can set processed rows back to ready; unknown ones are left alone."""
    sys_id = put(box, state="processed")
    box.servicenow.set_back([sys_id, "unknown"])
    assert state(box, sys_id) == "ready"


@pytest.mark.parametrize("rival", ["off", "claims", "answers"])
async def test_another_poller(box: Sandbox, client: httpx.AsyncClient, rival: str) -> None:
    """A rival of the same agent takes rows right after a poll was answered, or answers them too."""
    box.servicenow.knobs.rival = rival  # type: ignore[assignment]
    first, second = put(box, priority="0"), put(box)
    query = {"sysparm_query": f"agent={box.agent}^queue=output^state=ready^ORDERBYpriority"}
    page = (await client.get(QUEUE, params=query)).json()["result"]
    assert [row["state"] for row in page] == ["ready", "ready"]
    assert state(box, first) == {"off": "ready", "claims": "processing", "answers": "processed"}[rival]
    assert state(box, second) == "ready"
    assert len(box.servicenow.tables.find("ecc_queue", f"response_to={first}")) == (rival == "answers")
    await client.get(QUEUE, params={"sysparm_query": "state=processing"})


async def test_foreign_rows(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A list can hold rows that nobody asked for."""
    box.servicenow.faults.add(Fault("foreign", lane="poll", count=2))
    put(box)
    query = {"sysparm_query": f"agent={box.agent}^queue=output^state=ready"}
    page = (await client.get(QUEUE, params=query)).json()["result"]
    assert [row["agent"] for row in page] == ["mid.server.somebody-else"] * 2 + [box.agent]
