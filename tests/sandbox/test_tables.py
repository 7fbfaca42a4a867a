"""The Table API, traps included, as a client sees it."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from relay.sandbox.access import User
from relay.sandbox.box import Sandbox

QUEUE = "/api/now/table/ecc_queue"


def put(box: Sandbox, **values: str) -> str:
    row = {"agent": box.agent, "topic": "RESTProbe", "name": "get", "queue": "output", **values}
    return box.servicenow.insert("ecc_queue", row)["sys_id"]


async def names(client: httpx.AsyncClient, query: str, table: str = "ecc_queue", **more: str) -> list[str]:
    answer = await client.get(f"/api/now/table/{table}", params={"sysparm_query": query, **more})
    return [row["name"] for row in answer.json()["result"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=a", ["a"]),
        ("name=A", ["a"]),
        ("name!=a", ["b", "c", "10", "9"]),
        ("nameINa,c", ["a", "c"]),
        ("nameNOT INa,b,c", ["10", "9"]),
        ("nameSTARTSWITH1", ["10"]),
        ("nameENDSWITH0", ["10"]),
        ("nameLIKE1", ["10"]),
        ("nameNOT LIKE1", ["a", "b", "c", "9"]),
        ("sourceISEMPTY", ["a", "b", "c", "10", "9"]),
        ("sourceISNOTEMPTY", []),
        ("name<10", ["9"]),
        ("name<=10", ["10", "9"]),
        ("name>b", ["c"]),
        ("name>=b", ["b", "c"]),
        ("name=a^ORname=c", ["a", "c"]),
        ("queue=output^name=a^ORname=c^state=ready", ["a", "c"]),
        ("name=a^NQname=b", ["a", "b"]),
        ("ORDERBYDESCname", ["c", "b", "a", "10", "9"]),
        ("ORDERBYname", ["9", "10", "a", "b", "c"]),
        ("name=a^EQ", ["a"]),
        ("queue=output^state=ready^nameINb,9", ["b", "9"]),
        ("queueINoutput,input^stateINready,error", ["a", "b", "c", "10", "9"]),
    ],
)
async def test_operators(box: Sandbox, client: httpx.AsyncClient, query: str, found: list[str]) -> None:
    """Every operator of an encoded query selects and orders as the instance does."""
    for name in ("a", "b", "c", "10", "9"):
        put(box, name=name)
    assert await names(client, query) == found


@pytest.mark.parametrize("query", ["nmae=a", "name~a", "agent=x^ORstat=ready^NQ!!", "ORDERBYnothing^foo"])
async def test_bad_terms_are_ignored(box: Sandbox, client: httpx.AsyncClient, query: str) -> None:
    """A condition that is not understood is dropped, so that everybody's rows come back."""
    put(box, name="a", agent="mid.server.other")
    put(box, name="b", agent="x")
    assert set(await names(client, query)) >= {"b"}
    box.servicenow.knobs.invalid_query_returns_no_rows = True
    assert await names(client, query) == []


async def test_limit_counts_before_access_rules(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A page can be short, or empty, though more rows follow."""
    rows = [put(box, name=str(number)) for number in range(6)]
    box.servicenow.hidden.update(rows[:3])
    page = {"sysparm_limit": "2"}
    assert await names(client, "ORDERBYname", **page) == []
    assert await names(client, "ORDERBYname", **page, sysparm_offset="2") == ["3"]
    assert (await client.get(f"{QUEUE}/{rows[0]}")).status_code == 404


async def test_foreign_domain_is_hidden(box: Sandbox, connect: object) -> None:
    """A user of a domain sees the rows of that domain and the global ones."""
    box.servicenow.access.add(User("d", "pw", frozenset({"mid_server"}), domain="acme"))
    for domain in ("global", "acme", "other"):
        put(box, name=domain, sys_domain=domain)
    client = connect(auth=("d", "pw"))  # type: ignore[operator]
    assert await names(client, "ORDERBYname") == ["acme", "global"]


async def test_count_and_links(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A list tells the total and links to its neighbours unless it is asked not to."""
    for number in range(5):
        put(box, name=str(number))
    answer = await client.get(QUEUE, params={"sysparm_limit": "2", "sysparm_offset": "2"})
    assert answer.headers["x-total-count"] == "5"
    assert set(answer.links) == {"first", "prev", "next", "last"}
    assert len((await client.get(answer.links["last"]["url"])).json()["result"]) == 1
    quiet = {"sysparm_no_count": "true", "sysparm_suppress_pagination_header": "true", "sysparm_limit": "0"}
    answer = await client.get(QUEUE, params=quiet)
    assert "x-total-count" not in answer.headers
    assert "link" not in answer.headers
    assert "link" in (await client.get(QUEUE, params={"sysparm_limit": "0"})).headers


async def test_empty_list_by_version(client: httpx.AsyncClient) -> None:
    """Version 1 answers an empty list with 404, the others with an empty list."""
    assert (await client.get("/api/now/v1/table/ecc_queue")).status_code == 404
    for version in ("", "/v2"):
        answer = await client.get(f"/api/now{version}/table/ecc_queue")
        assert (answer.status_code, answer.json()) == (200, {"result": []})


async def test_insert_makes_the_instances_columns(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An insert fills sequence, times and author, cuts long names, and says where the row is."""
    wished = "0" * 31 + "1"
    values = {
        "agent": box.agent,
        "name": "x" * 200,
        "sys_id": wished,
        "nonsense": 1,
        "queue": "output",
        "priority": 1,
        "sys_created_by": "me",
    }
    answer = await client.post(QUEUE, json=values)
    row = answer.json()["result"]
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"{QUEUE}/{wished}")
    assert (row["sys_id"], row["name"], row["priority"], row["sys_mod_count"]) == (wished, "x" * 120, "1", "0")
    assert (row["sys_created_by"], row["state"], "nonsense" in row) == ("svc.relay", "ready", False)
    seconds = int(row["sequence"][:-7], 16) / 1000
    assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) == row["sys_created_on"]


async def test_a_taken_sys_id_is_refused(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A second row of one sys_id is answered 403 with the database's unique-key message."""
    wished = put(box)
    answer = await client.post(QUEUE, json={"sys_id": wished})
    assert answer.status_code == 403
    assert "Unique Key violation" in answer.json()["error"]["detail"]


async def test_a_wished_sys_id_may_be_ignored(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An instance may choose another sys_id than the one wished for."""
    box.servicenow.knobs.keep_sys_id = False
    answer = await client.post(QUEUE, json={"sys_id": "0" * 32})
    assert answer.json()["result"]["sys_id"] != "0" * 32


async def test_update_counts_changes(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A change raises the modification count and names its author; one that changes nothing does not."""
    sys_id = put(box)
    for count in ("1", "1"):
        row = (await client.patch(f"{QUEUE}/{sys_id}", json={"state": "processing"})).json()["result"]
        assert (row["state"], row["sys_mod_count"], row["sys_updated_by"]) == ("processing", count, "svc.relay")
    put_answer = await client.put(f"{QUEUE}/{sys_id}", json={"state": {"value": "error"}, "name": None, "source": True})
    row = put_answer.json()["result"]
    assert (row["state"], row["name"], row["source"]) == ("error", "", "true")


async def test_references_and_display_values(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A reference is a link and a value unless it is excluded, and can be followed and displayed."""
    user = box.servicenow.insert("sys_user", {"user_name": "ada", "name": "Ada"})["sys_id"]
    values = {"number": "INC1", "assigned_to": user, "opened_by": "gone"}
    url = f"/api/now/table/incident/{box.servicenow.insert('incident', values)['sys_id']}"

    async def read(**parameters: str) -> dict[str, object]:
        fields = {"sysparm_fields": "number,assigned_to,assigned_to.user_name,cmdb_ci,nothing"}
        return (await client.get(url, params={**fields, **parameters})).json()["result"]

    link = f"{box.servicenow.url}/api/now/table/sys_user/{user}"
    assert await read() == {
        "number": "INC1",
        "assigned_to": {"link": link, "value": user},
        "assigned_to.user_name": "ada",
        "cmdb_ci": "",
    }
    assert (await read(sysparm_exclude_reference_link="true"))["assigned_to"] == user
    assert (await read(sysparm_display_value="true"))["assigned_to"] == {"display_value": "Ada", "link": link}
    assert (await read(sysparm_display_value="all"))["assigned_to"] == {"display_value": "Ada", "value": user}
    gone = await read(sysparm_fields="opened_by", sysparm_display_value="all")
    assert gone["opened_by"] == {"display_value": "gone", "value": "gone"}


async def test_query_follows_references_and_extensions(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A query can look through a reference, and a task is found in its parent table."""
    user = box.servicenow.insert("sys_user", {"user_name": "ada"})["sys_id"]
    box.servicenow.insert("incident", {"number": "INC1", "assigned_to": user})
    box.servicenow.insert("change_request", {"number": "CHG1", "assigned_to": "gone"})
    box.servicenow.insert("sys_user", {"user_name": "other"})
    answer = await client.get("/api/now/table/task", params={"sysparm_query": "assigned_to.user_name=ada"})
    assert [(row["number"], row["sys_class_name"]) for row in answer.json()["result"]] == [("INC1", "incident")]
    bad = await client.get("/api/now/table/task", params={"sysparm_query": "number.x=1^assigned_to.nothing=1^x.y=1"})
    assert len(bad.json()["result"]) == 2


async def test_callers_cannot_set_the_instances_columns(client: httpx.AsyncClient) -> None:
    """Author, times and modification count are the instance's own, whatever a caller writes."""
    mine = {"sys_created_by": "me", "sys_mod_count": "9", "sys_created_on": "2001-01-01 00:00:00", "number": "INC1"}
    row = (await client.post("/api/now/table/incident", json=mine)).json()["result"]
    assert (row["sys_created_by"], row["sys_mod_count"], row["number"]) == ("svc.relay", "0", "INC1")
    row = (await client.patch(f"/api/now/table/incident/{row['sys_id']}", json={**mine, "state": "2"})).json()["result"]
    assert (row["sys_mod_count"], row["sys_updated_by"], row["state"]) == ("1", "svc.relay", "2")
    assert row["sys_created_on"] > "2020"


async def test_sys_ids_are_found_by_query(box: Sandbox, client: httpx.AsyncClient) -> None:
    """`sys_idIN` finds the rows that there are, also together with other conditions, and `NOT IN` leaves them out."""
    rows = [put(box, name=name) for name in ("a", "b", "c")]
    wanted = f"sys_idIN{rows[0]},{rows[2]},{'0' * 32}"
    assert sorted(await names(client, wanted)) == ["a", "c"]
    assert await names(client, f"{wanted}^name=c") == ["c"]
    assert await names(client, f"queue=output^state=ready^sys_idNOT IN{rows[0]},{rows[2]}") == ["b"]


async def test_delete_and_not_found(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A deleted row, and one that never was, are 404 in the documented shape for every method."""
    sys_id = put(box)
    assert (await client.delete(f"{QUEUE}/{sys_id}")).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = await client.request(method, f"{QUEUE}/{sys_id}", json={} if method == "PATCH" else None)
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "No Record found"
        assert answer.json()["status"] == "failure"


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", QUEUE, {"headers": {"Accept": ""}}, 400),
        ("GET", QUEUE, {"headers": {"Accept": "text/html"}}, 406),
        ("POST", QUEUE, {"content": b"{}"}, 400),
        ("POST", QUEUE, {"content": b"<a/>", "headers": {"Content-Type": "text/xml"}}, 415),
        ("POST", QUEUE, {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", QUEUE, {"content": b"[]", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", QUEUE, {"content": bytes(10_500_000), "headers": {"Content-Type": "application/json"}}, 400),
        ("GET", "/api/now/table/no_such_table", {}, 400),
        ("DELETE", QUEUE, {}, 405),
        ("GET", "/api/now/other", {}, 400),
        ("GET", "/api/now/v1/batch", {}, 400),
    ],
)
async def test_refusals(
    client: httpx.AsyncClient, method: str, path: str, options: dict[str, object], status: int
) -> None:
    """What the API does not take is refused with the documented status and shape."""
    answer = await client.request(method, path, **options)
    assert (answer.status_code, answer.json()["status"]) == (status, "failure")


async def test_a_bad_patch_changes_nothing(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A PATCH whose body is not an object is refused."""
    sys_id = put(box)
    answer = await client.patch(f"{QUEUE}/{sys_id}", content=b"1", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_no_response_body_and_override(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A caller may have the body left out, and name the method in a header."""
    sys_id = put(box)
    headers = {"X-no-response-body": "true", "X-HTTP-Method-Override": "PATCH"}
    answer = await client.post(f"{QUEUE}/{sys_id}", json={"state": "error"}, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    row = box.servicenow.tables.get("ecc_queue", sys_id)
    assert row is not None
    assert row["state"] == "error"


async def test_the_date_header_is_the_instances_clock(box: Sandbox, client: httpx.AsyncClient) -> None:
    """The clock of the instance can be hours away from ours, in the header and in its rows."""
    box.servicenow.knobs.clock_offset = 7200
    answer = await client.get(f"{QUEUE}/{put(box)}")
    assert 7100 < parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time() < 7300
    assert answer.json()["result"]["sys_created_on"] > time.strftime(
        "%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 7000)
    )


async def test_answers_are_compressed_on_request(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A large answer is compressed for those who accept it."""
    url = f"{QUEUE}/{put(box, payload='x' * 5000)}"
    assert (await client.get(url)).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await client.get(url, headers={"Accept-Encoding": "identity"})).headers
    box.servicenow.knobs.pack = False
    assert "content-encoding" not in (await client.get(url)).headers


async def test_tables_tell_of_changes(box: Sandbox) -> None:
    """Somebody can wait for a change of the tables, and is told when it never comes."""
    waiting = asyncio.create_task(box.servicenow.tables.until(lambda: bool(box.servicenow.tables.find("task", ""))))
    await asyncio.sleep(0)
    row = box.servicenow.insert("incident", {})
    await waiting
    with pytest.raises(TimeoutError):
        await box.servicenow.tables.until(lambda: False, 0.01)
    assert box.servicenow.tables.delete("incident", row["sys_id"])
    assert not box.servicenow.tables.delete("incident", row["sys_id"])
