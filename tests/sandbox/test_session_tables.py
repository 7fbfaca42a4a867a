"""What the import of sessions needs of an instance: its tables, work notes, tasks, and the vendor's endpoints."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from relay.sandbox.access import User
from relay.sandbox.box import Sandbox
from relay.sandbox.door import KEPT
from relay.sandbox.faults import Fault
from relay.sandbox.schema import EVENT, SESSION, TABLES, VENDOR_APPROVAL, VENDOR_EVENT, table
from relay.sandbox.vendor import APPROVAL_PATH, EVENT_PATHS

Connect = Callable[..., httpx.AsyncClient]
TABLE = "/api/now/table"
PIECE = bytes(range(256)) * 256
JOURNAL = f"{TABLE}/sys_journal_field"


async def rows(client: httpx.AsyncClient, name: str, query: str, **more: str) -> list[dict[str, Any]]:
    answer = await client.get(f"{TABLE}/{name}", params={"sysparm_query": query, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["result"])


@pytest.mark.parametrize("name", [SESSION, EVENT])
async def test_session_tables_can_be_absent(box: Sandbox, client: httpx.AsyncClient, name: str) -> None:
    """A session's rows are found by lsid; without the application its tables are unknown, and may come back empty."""
    box.servicenow.insert(name, {"lsid": "ab"})
    assert [row["lsid"] for row in await rows(client, name, "lsid=AB")] == ["ab"]
    box.servicenow.tables.drop(name)
    answer = await client.get(f"{TABLE}/{name}")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"Invalid table {name}")
    box.servicenow.tables.drop(name)
    box.servicenow.tables.define(TABLES[name])
    assert await rows(client, name, "lsid=ab") == []


async def test_a_table_of_the_site(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A site may have tables of its own, with columns of its own."""
    box.servicenow.tables.define(table("u_session", "u_key", indexed=("u_key",)))
    answer = await client.post(f"{TABLE}/u_session", json={"u_key": "a", "u_other": "b"})
    assert "u_other" not in answer.json()["result"]
    sys_id = answer.json()["result"]["sys_id"]
    await client.patch(f"{TABLE}/u_session/{sys_id}", json={"u_key": "c"})
    assert await rows(client, "u_session", "u_key=a") == []
    assert len(await rows(client, "u_session", "u_keyINb,c")) == 1


@pytest.mark.parametrize("kind", ["incident", "change_request", "problem", "sc_request", "sc_req_item", "new_call"])
async def test_tasks_by_number(box: Sandbox, client: httpx.AsyncClient, kind: str) -> None:
    """A new task gets the next number of its kind and is found by it in `task`, with its real kind."""
    first, second = (box.servicenow.insert(kind, {})["number"] for _ in range(2))
    assert int(second.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) == 2
    assert [row["sys_class_name"] for row in await rows(client, "task", f"number={first}")] == [kind]
    assert box.servicenow.insert(kind, {"number": "X1"})["number"] == "X1"


async def test_work_notes_are_journal_entries(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A write to `work_notes` adds an entry, the same text again another one; the field itself stays empty."""
    task = box.servicenow.insert("incident", {"work_notes": "first"})["sys_id"]
    answer = await client.patch(f"{TABLE}/task/{task}", json={"work_notes": "again", "comments": ""})
    assert (answer.json()["result"]["work_notes"], answer.json()["result"]["sys_mod_count"]) == ("", "1")
    await client.patch(f"{TABLE}/task/{task}", json={"work_notes": "again", "state": "2"})
    await client.patch(f"{TABLE}/task/{task}", json={"comments": ""})
    found = await rows(client, "sys_journal_field", f"element_id={task}^element=work_notes^valueLIKEagain")
    assert [(row["name"], row["sys_created_by"]) for row in found] == [("incident", "svc.relay")] * 2
    [row] = await rows(client, "incident", f"sys_id={task}", sysparm_display_value="true", sysparm_fields="work_notes")
    assert row["work_notes"].index("again") < row["work_notes"].index("first")
    assert "svc.relay (Work notes)\nagain\n\n" in row["work_notes"]
    [row] = await rows(client, "incident", f"sys_id={task}", sysparm_display_value="all", sysparm_fields="work_notes")
    assert row["work_notes"]["value"] == ""


async def test_who_may_read_the_journal(box: Sandbox, client: httpx.AsyncClient, connect: Connect) -> None:
    """The journal can be readable, empty or forbidden for who is no administrator."""
    task = box.servicenow.insert("incident", {"work_notes": "note"})["sys_id"]
    box.servicenow.access.add(User("boss", "boss", frozenset({"admin"})))
    boss = connect(auth=("boss", "boss"))
    query = f"element_id={task}"
    box.servicenow.knobs.journal = "hidden"
    assert await rows(client, "sys_journal_field", query) == []
    box.servicenow.knobs.journal = "forbidden"
    assert (await client.get(JOURNAL)).status_code == 403
    assert len(await rows(boss, "sys_journal_field", query)) == 1
    assert (await client.patch(f"{TABLE}/incident/{task}", json={"work_notes": "still"})).status_code == 200


async def test_entries_of_other_records(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An entry on a configuration item is inserted into the journal itself, where that is allowed."""
    ci = box.servicenow.insert("cmdb_ci", {"name": "web01"})["sys_id"]
    entry = {"name": "cmdb_ci", "element": "comments", "element_id": ci, "value": "RAM: 8 GB"}
    assert (await client.post(JOURNAL, json=entry)).status_code == 201
    box.servicenow.knobs.journal_insert = False
    assert (await client.post(JOURNAL, json=entry)).status_code == 403
    assert len(await rows(client, "sys_journal_field", f"element_id={ci}")) == 1


async def pieces(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(PIECE)):
        yield PIECE[: size - start]


async def upload(client: httpx.AsyncClient, owner: str, size: int) -> httpx.Response:
    place = {"table_name": SESSION, "table_sys_id": owner, "file_name": "recording.mp4"}
    headers = {"Content-Type": "video/mp4"}
    return await client.post("/api/now/attachment/file", params=place, content=pieces(size), headers=headers)


async def test_a_recording_of_any_size_needs_no_memory(box: Sandbox, client: httpx.AsyncClient) -> None:
    """Of a large attachment only size and SHA-256 are kept; its content cannot be read back, and it can be deleted."""
    owner, size = box.servicenow.insert(SESSION, {"lsid": "ab"})["sys_id"], 64 * 1024 * 1024 + 1
    tracemalloc.start()
    try:
        answer = await upload(client, owner, size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stored = answer.json()["result"]
    digest = hashlib.sha256()
    async for piece in pieces(size):
        digest.update(piece)
    assert (answer.status_code, stored["size_bytes"], stored["hash"]) == (201, str(size), digest.hexdigest())
    assert peak < 3 * KEPT
    assert box.servicenow.files == {}
    found = await client.get("/api/now/attachment", params={"sysparm_query": f"hash={digest.hexdigest()}"})
    assert [row["table_sys_id"] for row in found.json()["result"]] == [owner]
    assert (await client.get(stored["download_link"])).status_code == 501
    assert (await client.delete(f"/api/now/attachment/{stored['sys_id']}")).status_code == 204


async def test_attachments_have_a_largest_size(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A file just as large as the instance takes is kept; one byte more is refused, and leaves nothing."""
    owner = box.servicenow.insert(SESSION, {"lsid": "ab"})["sys_id"]
    box.servicenow.knobs.largest_attachment = 11 * 1024 * 1024
    assert (await upload(client, owner, 11 * 1024 * 1024)).status_code == 201
    assert (await upload(client, owner, 11 * 1024 * 1024 + 1)).status_code == 400
    assert [len(content) for content in box.servicenow.files.values()] == [11 * 1024 * 1024]


@pytest.mark.parametrize("path", sorted(EVENT_PATHS))
async def test_events_to_the_vendors_application(box: Sandbox, connect: Connect, path: str) -> None:
    """The vendor's application takes events without a login, and with the token it was given only."""
    guest = connect(box.servicenow.url, headers={})
    form = {"event": "access_session_end", "lsid": "ab", "é": "ü&="}
    assert (await guest.post(path, data=form)).status_code == 200
    box.servicenow.vendor.event_token = "t&1"
    assert (await guest.post(path, data=form)).status_code == 403
    assert (await guest.post(path, params={"outbound_event_token": "t&1"}, data=form)).status_code == 200
    found = box.servicenow.tables.find(VENDOR_EVENT, "lsid=ab")
    assert [(row["path"], row["event"], row["token"]) for row in found] == [
        (path, "access_session_end", ""),
        (path, "access_session_end", "t&1"),
    ]
    assert [json.loads(row["fields"]) for row in found] == [form, form]
    assert (await guest.get(path)).status_code == 405
    box.servicenow.faults.add(Fault("status", lane="forward", status=503))
    assert (await guest.post(path, data=form)).status_code == 503
    box.servicenow.vendor.installed = False
    assert (await guest.post(path, data=form)).status_code == 400


@pytest.mark.parametrize("decides", ["later", "allow", "deny"])
async def test_approvals_at_the_vendors_application(box: Sandbox, connect: Connect, decides: str) -> None:
    """A request for approval is kept; the answer is a decision, or a receipt only."""
    box.servicenow.vendor.decides = decides  # type: ignore[assignment]
    guest = connect(box.servicenow.url, headers={})
    answer = await guest.post(
        APPROVAL_PATH, data={"request_id": "r1", "ticket_id": "CHG1", "response_url": "https://x"}
    )
    [row] = box.servicenow.tables.rows(VENDOR_APPROVAL)
    assert (row["request_id"], row["ticket_id"], row["response_url"]) == ("r1", "CHG1", "https://x")
    if decides == "later":
        assert (answer.status_code, answer.text) == (200, "")
    else:
        assert (answer.json()["response_id"], answer.json()["response"]) == ("r1", decides)
