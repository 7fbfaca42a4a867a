"""Work notes, files and forwarded events, against the sandbox's instance and its faults."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest

from relay.core.errors import ServiceNowError
from relay.core.secret import Secret
from relay.core.session_rows import Place
from relay.host.http import Streamed
from relay.sandbox.box import Sandbox
from relay.sandbox.door import KEPT
from relay.sandbox.faults import Fault
from relay.sandbox.schema import VENDOR_EVENT
from relay.sandbox.web import Request
from relay.servicenow.instance import Instance
from relay.servicenow.sessions import SessionRecords
from relay.servicenow.vendor import FORWARDED, Forwarding, VendorEvents

MARK = "[session ab12]"
NOTES = "work_notes"
NOTE = f"BeyondTrust session 8 on web01\nDuration: 0:10\n{MARK}"
PATH = "/x_bmgr_bomgar_pam_bomgar_post.do"
FORM = [("event", "access_session_end"), ("lsid", "ab12"), ("é", "ü&="), ("é", "twice")]
PIECE = bytes(range(256)) * 256
BEFORE = [
    Fault("hang"),
    Fault("reset"),
    *(Fault("status", status=status) for status in (400, 401, 403, 404, 429, 500, 503)),
    Fault("page"),
]
AFTER = [
    Fault("late", seconds=0.05),
    Fault("hang after"),
    Fault("reset after"),
    Fault("status after", status=500),
    Fault("failure"),
    Fault("truncate"),
    Fault("cut"),
]
FAULTS = pytest.mark.parametrize("fault", [*BEFORE, *AFTER], ids=lambda fault: f"{fault.action} {fault.status}")


@pytest.fixture
def task(box: Sandbox) -> Place:
    return Place("incident", box.servicenow.insert("incident", {})["sys_id"])


def notes(box: Sandbox) -> list[str]:
    return [row["value"] for row in box.servicenow.tables.rows("sys_journal_field")]


def files(box: Sandbox) -> list[Any]:
    return list(box.servicenow.tables.rows("sys_attachment"))


def recording(size: int, *, fails: bool = False) -> Streamed:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, size, len(PIECE)):
            yield PIECE[: size - start]
            if fails:
                raise OSError(5, "the disk is gone")

    return Streamed(size, pieces)


async def settled(box: Sandbox, fault: Fault, there: Callable[[], bool]) -> None:
    if fault.action == "late":
        await box.servicenow.tables.until(there)


# Notes.


async def test_a_note_is_written_and_found(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """A note is one entry of the task's journal, and found by its last line alone, at its task alone."""
    other = Place(
        "incident", box.servicenow.insert("incident", {"work_notes": f"see {MARK} there\nnot here"})["sys_id"]
    )
    assert await records.entered(task, MARK, NOTES) is False
    await records.note(task, NOTE)
    [_, entry] = box.servicenow.tables.rows("sys_journal_field")
    assert (entry["name"], entry["element"], entry["element_id"], entry["value"]) == (
        "incident",
        "work_notes",
        task.sys_id,
        NOTE,
    )
    assert await records.entered(task, MARK, NOTES) is True
    assert await records.entered(task, "[session ab1]", NOTES) is False
    assert await records.entered(task, "[session ab12", NOTES) is False
    assert await records.entered(other, MARK, NOTES) is False
    assert await records.entered(task, "[session a^b]", NOTES) is False


async def test_line_ends_that_the_instance_changes(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """A note is found with other line ends and with spaces after it."""
    box.servicenow.update(
        "incident",
        box.servicenow.tables.get("incident", task.sys_id) or {},
        {"work_notes": NOTE.replace("\n", "\r\n") + "\r\n "},
    )
    assert await records.entered(task, MARK, NOTES) is True


async def test_who_may_not_read_notes(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """A refusal says so; an account that is shown nothing cannot tell, and one that is shown something may read."""
    assert await records.notes_readable() is None
    await records.note(task, NOTE)
    assert await records.notes_readable() is True
    box.servicenow.knobs.journal = "hidden"
    assert (await records.notes_readable(), await records.entered(task, MARK, NOTES)) == (None, False)
    box.servicenow.knobs.journal = "forbidden"
    assert (await records.notes_readable(), await records.entered(task, MARK, NOTES)) == (False, None)
    box.servicenow.knobs.journal = "readable"
    box.servicenow.faults.add(Fault("reset after", path="/sys_journal_field"))
    with pytest.raises(ServiceNowError) as error:
        await records.entered(task, MARK, NOTES)
    assert not error.value.maybe_sent


@pytest.mark.parametrize("answered", [{"element_id": "f" * 32}, {"value": None}])
async def test_entries_that_cannot_be_judged(
    box: Sandbox, records: SessionRecords, task: Place, answered: dict[str, str | None]
) -> None:
    """Entries of other records are an error; entries without their text are none that one may read."""
    entry = {"sys_id": "a" * 32, "element_id": task.sys_id, "element": "work_notes", "value": NOTE, **answered}
    body = json.dumps({"result": [{name: value for name, value in entry.items() if value is not None}]})
    headers = {"Content-Type": "application/json"}
    box.servicenow.faults.add(Fault("status", path="/sys_journal_field", status=200, body=body, headers=headers))
    if "value" in answered:
        assert await records.entered(task, MARK, NOTES) is None
    else:
        with pytest.raises(ServiceNowError, match="BSR-2019"):
            await records.entered(task, MARK, NOTES)


@FAULTS
@pytest.mark.parametrize("way", ["note", "entry"])
async def test_what_is_known_of_a_note(
    box: Sandbox, records: SessionRecords, task: Place, *, hasty: Any, fault: Fault, way: str
) -> None:
    """Whatever fails: a note said not to be sent is not there and never will be, and the mark tells of the others."""
    element = "work_notes" if way == "note" else "comments"
    assert await records.entered(task, MARK, element) is False
    set_fault = box.servicenow.faults.add(replace(fault, method="PATCH" if way == "note" else "POST"))
    failed = None
    try:
        with hasty(fault.action):
            if way == "note":
                await records.note(task, NOTE)
            else:
                await records.entry(task, NOTE, element)
    except ServiceNowError as error:
        failed = error
    assert set_fault.fired == 1
    await settled(box, fault, lambda: bool(notes(box)))
    assert len(notes(box)) <= 1
    assert await records.entered(task, MARK, element) is bool(notes(box))
    if failed is None:
        assert notes(box) == [NOTE]
    elif not failed.maybe_sent:
        assert notes(box) == []
    assert fault.action in {"late", "status"} or bool(notes(box)) is (fault in AFTER)


async def test_answers_of_other_records(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """An answer that does not name what was written leaves it unknown."""
    for result in ({"sys_id": "a" * 32}, {"element_id": task.sys_id}):
        body, headers = json.dumps({"result": result}), {"Content-Type": "application/json"}
        for method in ("PATCH", "POST"):
            box.servicenow.faults.add(Fault("status", method=method, status=200, body=body, headers=headers))
        with pytest.raises(ServiceNowError) as error:
            await records.note(task, NOTE)
        assert error.value.maybe_sent
        with pytest.raises(ServiceNowError) as error:
            await records.entry(task, NOTE, "comments")
        assert error.value.maybe_sent


async def test_attachments_that_cannot_be_asked_for(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """When the look for a file fails nothing is sent."""
    box.servicenow.faults.add(Fault("reset after", method="GET", lane="attachment"))
    with pytest.raises(ServiceNowError) as error:
        await records.attach(task, "a.mp4", recording(10), "video/mp4")
    assert (error.value.number, error.value.maybe_sent, files(box)) == (2004, False, [])


async def test_a_task_that_is_gone_has_no_note(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """A note to a task that was deleted is refused, and an entry that may not be inserted is."""
    box.servicenow.tables.delete("incident", task.sys_id)
    with pytest.raises(ServiceNowError) as error:
        await records.note(task, NOTE)
    assert (error.value.number, error.value.maybe_sent) == (2016, False)
    box.servicenow.knobs.journal_insert = False
    with pytest.raises(ServiceNowError) as error:
        await records.entry(task, NOTE, "comments")
    assert (error.value.number, error.value.maybe_sent) == (2006, False)


# Files.


async def test_a_file_is_attached_once(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """A second try finds the file by name and size; another size or name is another file."""
    assert await records.find_file(task, "a.mp4", 200_000) is None
    first = await records.attach(task, "a.mp4", recording(200_000), "video/mp4")
    again = await records.attach(task, "a.mp4", recording(200_000), "video/mp4")
    assert (first.before, again) == (False, replace(first, before=True))
    assert await records.find_file(task, "a.mp4", 200_000) == again
    [row] = files(box)
    assert (row["table_name"], row["table_sys_id"], row["content_type"]) == ("incident", task.sys_id, "video/mp4")
    assert row["hash"] == hashlib.sha256((PIECE * 4)[:200_000]).hexdigest()
    await records.attach(task, "a.mp4", recording(100), "video/mp4")
    await records.attach(task, "b.mp4", recording(100), "video/mp4")
    assert len(files(box)) == 3
    with pytest.raises(ServiceNowError) as error:
        await records.attach(task, "a^b.mp4", recording(100), "video/mp4")
    assert (error.value.number, error.value.maybe_sent) == (2015, False)


@FAULTS
async def test_what_is_known_of_a_file(
    box: Sandbox, records: SessionRecords, hasty: Any, task: Place, fault: Fault
) -> None:
    """Whatever fails: what is said is true, a 401 begins the source anew, and a second try makes no second copy."""
    set_fault = box.servicenow.faults.add(replace(fault, method="POST", lane="attachment"))
    failed = None
    try:
        with hasty(fault.action):
            await records.attach(task, "a.mp4", recording(200_000), "video/mp4")
    except ServiceNowError as error:
        failed = error
    assert set_fault.fired == 1
    await settled(box, fault, lambda: bool(files(box)))
    assert len(files(box)) <= 1
    if failed is None:
        assert len(files(box)) == 1
    elif not failed.maybe_sent:
        assert files(box) == []
    await records.attach(task, "a.mp4", recording(200_000), "video/mp4")
    assert [row["size_bytes"] for row in files(box)] == ["200000"]


async def test_a_source_that_fails_leaves_nothing(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """The source's own error comes out, and the instance has no part of the file."""
    with pytest.raises(OSError, match="the disk is gone"):
        await records.attach(task, "a.mp4", recording(200_000, fails=True), "video/mp4")
    assert files(box) == []
    assert not (await records.attach(task, "a.mp4", recording(200_000), "video/mp4")).before


async def test_a_file_that_is_too_large_for_the_instance(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """The instance's limit is a refusal that nobody repeats."""
    box.servicenow.knobs.largest_attachment = 1000
    with pytest.raises(ServiceNowError) as error:
        await records.attach(task, "a.mp4", recording(1001), "video/mp4")
    assert (error.value.number, error.value.retryable, error.value.maybe_sent) == (2015, False, False)


@pytest.mark.parametrize("sys_id", [True, False])
async def test_a_file_that_was_stored_otherwise(
    box: Sandbox, records: SessionRecords, task: Place, sys_id: bool
) -> None:
    """One that was stored with another size is taken away again; an answer that names none is no success."""
    row = box.servicenow.insert("sys_attachment", {"table_name": "incident", "table_sys_id": task.sys_id})
    body = json.dumps({"result": {"size_bytes": "7", **({"sys_id": row["sys_id"]} if sys_id else {})}})
    headers = {"Content-Type": "application/json"}
    box.servicenow.faults.add(Fault("status", lane="attachment", method="POST", status=201, body=body, headers=headers))
    with pytest.raises(ServiceNowError) as error:
        await records.attach(task, "a.mp4", recording(1001), "video/mp4")
    assert (error.value.number, error.value.maybe_sent) == (2011, True)
    assert len(files(box)) == (0 if sys_id else 1)


async def test_a_large_file_needs_no_memory(box: Sandbox, records: SessionRecords, task: Place) -> None:
    """Of a file of 96 MiB no more than a few pieces are held; the instance has all of it."""
    size = 96 * 1024 * 1024 + 1
    tracemalloc.start()
    try:
        await records.attach(task, "a.mp4", recording(size), "video/mp4")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row["size_bytes"] for row in files(box)] == [str(size)]
    assert peak < 3 * KEPT  # the stand-in keeps up to KEPT of a body, in pieces and joined
    assert await records.find_file(task, "a.mp4", size) is not None


# Forwarded events.


@pytest.mark.parametrize("path", sorted(path for path in FORWARDED if "approval" not in path))
async def test_an_event_is_forwarded(box: Sandbox, instance: Instance, path: str) -> None:
    """The vendor's application gets path, token and fields as the appliance sent them, and no account of the relay."""
    box.servicenow.vendor.event_token = "t&1"
    seen: list[Request] = []

    def remember(request: Request) -> bool:
        seen.append(request)
        return True

    box.servicenow.faults.add(Fault("latency", when=remember))
    await instance.vendor.post(path, FORM, Secret("t&1"))
    [row] = box.servicenow.tables.rows(VENDOR_EVENT)
    assert (row["path"], row["token"], row["lsid"]) == (path, "t&1", "ab12")
    assert json.loads(row["fields"])["é"] in {"twice", "ü&="}
    assert [request.header("authorization") + request.header("cookie") for request in seen] == [""]
    with pytest.raises(ServiceNowError) as error:
        await instance.vendor.post(path, FORM)
    assert (error.value.number, error.value.maybe_sent) == (2027, False)


async def test_events_that_came_to_a_path_of_the_relays_own(box: Sandbox, instance: Instance) -> None:
    """They go to the path of the appliance's application, others to the one they came to, all with its token."""
    events = VendorEvents(instance.vendor, {"default": Forwarding(PATH, lambda: Secret("t1"))})
    other = "/x_bmgr_bomgar_inte_bomgar_post.do"
    for path in ("/events", other):
        await events.forward("default", path, dict(FORM))
    found = [(row["path"], row["token"]) for row in box.servicenow.tables.rows(VENDOR_EVENT)]
    assert found == [(PATH, "t1"), (other, "t1")]


async def test_only_the_vendors_paths_are_posted_to(instance: Instance) -> None:
    """The relay's own paths, and any other, mean nothing to ServiceNow."""
    for path in ("/events", "/approvals", "/api/now/table/incident"):
        with pytest.raises(ValueError, match="no path"):
            await instance.vendor.post(path, FORM)


@FAULTS
async def test_what_is_known_of_a_forwarded_event(box: Sandbox, instance: Instance, hasty: Any, fault: Fault) -> None:
    """Whatever fails: an event said to be taken is there, and one said not to be sent is not."""
    set_fault = box.servicenow.faults.add(replace(fault, lane="forward"))
    failed = None
    try:
        with hasty(fault.action):
            await instance.vendor.post(PATH, FORM)
    except ServiceNowError as error:
        failed = error
    assert set_fault.fired == 1
    there = box.servicenow.tables.rows
    await settled(box, fault, lambda: bool(list(there(VENDOR_EVENT))))
    if failed is None:
        assert len(list(there(VENDOR_EVENT))) == 1
    elif not failed.maybe_sent:
        assert list(there(VENDOR_EVENT)) == []


async def test_a_refused_event_is_no_refused_sign_in(box: Sandbox, instance: Instance, records: SessionRecords) -> None:
    """A 401 to an event does not make the relay's own requests wait."""
    box.servicenow.faults.add(Fault("status", lane="forward", status=401))
    with pytest.raises(ServiceNowError, match="BSR-2027"):
        await instance.vendor.post(PATH, FORM)
    assert await records.tables()
