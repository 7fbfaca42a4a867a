"""What the import of sessions reads and writes, against the sandbox's instance and its faults."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.core.errors import ServiceNowError
from relay.core.session_rows import Link, Lookup, Place, Row, Table
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.sandbox.schema import EVENT, SESSION, TABLES
from relay.servicenow.instance import Instance
from relay.servicenow.session_tables import RowWriter, Written
from relay.servicenow.sessions import SessionRecords

JSON = {"Content-Type": "application/json"}


def row_of(number: int, table: str = SESSION, **values: str) -> Row:
    key = f"{number:064x}"[::-1]
    return Row(table, key, key[:32], {"key": key, "lsid": "ab12", "appliance": "default", **values})


def events(count: int) -> list[Row]:
    return [row_of(number + 1, EVENT, sequence=str(number)) for number in range(count)]


def rows(box: Sandbox, table: str) -> list[Any]:
    return list(box.servicenow.tables.rows(table))


def writer(records: SessionRecords, table: str) -> RowWriter:
    return records._writers[table]


def sent(instance: Instance) -> int:
    return instance.requests.get("session", 0)


# Look-ups.


async def test_links_are_found_with_one_request(box: Sandbox, instance: Instance, records: SessionRecords) -> None:
    """Task, computer and user are found with one request; a task comes with its own table."""
    task = box.servicenow.insert("change_request", {"number": "CHG0000042"})["sys_id"]
    ci = box.servicenow.insert("cmdb_ci", {"name": "WEB01", "host_name": "web01"})["sys_id"]
    user = box.servicenow.insert("sys_user", {"user_name": "jo", "x_bmgr_bomgar_pam_username": "joan"})["sys_id"]
    links = await records.find(
        [
            Lookup("task", "task", "sys_id", "f" * 32),
            Lookup("task", "task", "number", "CHG0000042"),
            Lookup("cmdb_ci", "cmdb_ci", "host_name", "Web01"),
            Lookup("cmdb_ci", "cmdb_ci", "name", "web01"),
            Lookup("user", "sys_user", "user_name", "joan"),
            Lookup("user", "sys_user", "u_beyondtrust_username", "joan"),
            Lookup("user", "sys_user", "x_bmgr_bomgar_pam_username", "joan"),
        ]
    )
    assert links == {
        "task": Place("change_request", task),
        "cmdb_ci": Place("cmdb_ci", ci),
        "user": Place("sys_user", user),
    }
    assert sent(instance) == 1


@pytest.mark.parametrize("kind", ["incident", "problem", "sc_request", "sc_req_item", "new_call"])
async def test_a_task_of_any_kind(box: Sandbox, records: SessionRecords, kind: str) -> None:
    """A task is found by number and by sys_id, in upper case too, whatever its kind."""
    made = box.servicenow.insert(kind, {})
    for field, value in (("number", made["number"]), ("sys_id", made["sys_id"]), ("sys_id", made["sys_id"].upper())):
        links = await records.find([Lookup("task", "task", field, value)])
        assert links == {"task": Place(kind, made["sys_id"])}


@pytest.mark.parametrize(
    "value",
    ["", "INC1^ORnumber!=x", "INC1\n", "INC1\u202e", "javascript:gs.getUserID()", "!=x", "NULL", "x" * 1001, "inc1"],
)
async def test_a_value_is_never_a_query(box: Sandbox, records: SessionRecords, value: str) -> None:
    """What would mean something to the instance, and what is written otherwise, finds nothing."""
    box.servicenow.insert("incident", {"number": "INC1"})
    assert (await records.find([Lookup("task", "task", "number", value)])) == {}


@pytest.mark.parametrize(
    ("link", "table", "column"), [("user", "sys_user", "user_name"), ("cmdb_ci", "cmdb_ci", "name")]
)
async def test_two_rows_are_no_match(
    box: Sandbox, records: SessionRecords, link: Link, table: str, column: str
) -> None:
    """Two records of the value link nowhere, nor do two that differ by case only."""
    box.servicenow.insert(table, {column: "jo"})
    assert set(await records.find([Lookup(link, table, column, "jo")])) == {link}
    box.servicenow.insert(table, {column: "JO"})
    assert await records.find([Lookup(link, table, column, "jo")]) == {}


async def test_a_column_that_is_not_there_finds_nothing(box: Sandbox, records: SessionRecords) -> None:
    """The instance ignores such a condition and answers with any rows."""
    box.servicenow.insert("sys_user", {"user_name": "joan"})
    links = await records.find([Lookup("user", "sys_user", "u_none", "joan")])
    assert links == {}


async def test_a_look_up_that_is_refused_is_told(box: Sandbox, records: SessionRecords) -> None:
    """Without the right to a table its link is left out, and the log says so; the others are found."""
    box.servicenow.insert("incident", {"number": "INC1"})
    box.servicenow.insert("sys_user", {"user_name": "joan"})
    box.servicenow.faults.add(Fault("status", path="/cmdb_ci", sub=True, status=403, times=None))
    asked = [
        Lookup("task", "task", "number", "INC1"),
        Lookup("cmdb_ci", "cmdb_ci", "name", "web01"),
        Lookup("user", "sys_user", "user_name", "joan"),
    ]
    with capture_logs() as logs:
        links = await records.find(asked)
    assert set(links) == {"task", "user"}
    [told] = [entry for entry in logs if entry["event"] == "servicenow.link_refused"]
    assert (told["link"], told["code"]) == ("cmdb_ci", "BSR-2006")


@pytest.mark.parametrize("fault", [Fault("missing"), Fault("unserviced", count=1), Fault("reset"), Fault("truncate")])
async def test_an_unanswered_look_up_is_no_missing_link(box: Sandbox, records: SessionRecords, fault: Fault) -> None:
    """Where an answer is missing nothing is concluded, and since nothing was changed nothing may have been sent."""
    box.servicenow.insert("incident", {"number": "INC1"})
    asked = [Lookup("task", "task", "number", "INC1"), Lookup("cmdb_ci", "cmdb_ci", "name", "web01")]
    box.servicenow.faults.add(replace(fault, lane="batch"))
    with pytest.raises(ServiceNowError) as error:
        await records.find(asked)
    assert (error.value.retryable, error.value.maybe_sent) == (True, False)
    assert set(await records.find(asked)) == {"task"}


# Rows.


async def test_tables_that_are_not_there(box: Sandbox, instance: Instance) -> None:
    """A missing table is told apart from one that may not be read, and is not asked for again and again."""
    both = [Table(SESSION), Table(EVENT)]
    box.servicenow.faults.add(Fault("status", path=EVENT, status=403))
    records = instance.sessions(both)
    with pytest.raises(ServiceNowError) as error:
        await records.tables()
    assert (error.value.number, error.value.maybe_sent) == (2006, False)
    assert [await records.tables() for _ in range(2)] == [True, True]
    before = sent(instance)
    box.servicenow.tables.drop(EVENT)
    assert await records.tables()
    lacking = instance.sessions(both)
    assert [await lacking.tables() for _ in range(2)] == [False, False]
    assert sent(instance) == before + 2
    assert not await instance.sessions([]).tables()


@pytest.mark.parametrize("name", [SESSION, EVENT])
@pytest.mark.parametrize("named", [True, False])
async def test_tables_that_are_removed_later(box: Sandbox, instance: Instance, name: str, *, named: bool) -> None:
    """One session finds out; those after it come without rows, or wait where the configuration names the tables."""
    records = instance.sessions([Table(SESSION), Table(EVENT)], named=named)
    assert await records.tables()
    box.servicenow.tables.drop(name)
    with pytest.raises(ServiceNowError, match="BSR-2015"):
        await (records.upsert(row_of(1)) if name == SESSION else records.insert(events(2)))
    if named:
        with pytest.raises(ServiceNowError, match="BSR-2028"):
            await records.tables()
    else:
        assert not await records.tables()


async def test_tables_that_the_configuration_names_must_be_there(box: Sandbox, instance: Instance) -> None:
    """A missing one is an error that passes when somebody makes it, and that is asked for each time."""
    box.servicenow.tables.drop(EVENT)
    records = instance.sessions([Table(SESSION), Table(EVENT)], named=True)
    for _ in range(2):
        with pytest.raises(ServiceNowError, match=f"BSR-2028.*{EVENT}") as error:
            await records.tables()
        assert (error.value.retryable, error.value.maybe_sent) == (True, False)
    box.servicenow.tables.define(TABLES[EVENT])
    assert [await records.tables() for _ in range(2)] == [True, True]


async def test_rows_as_the_flow_writes_them(box: Sandbox, records: SessionRecords) -> None:
    """A row is there after it was written; of several errors the one that may pass comes first."""
    assert not await records.has(row_of(1))
    assert await records.upsert(row_of(1)) == row_of(1).sys_id
    assert await records.has(row_of(1))
    await records.insert([])
    box.servicenow.faults.add(Fault("status", method="POST", sub=True, status=400))
    box.servicenow.faults.add(Fault("status after", method="POST", sub=True, status=500, skip=1))
    with pytest.raises(ServiceNowError) as error:
        await records.insert(events(4))
    assert (error.value.number, error.value.maybe_sent) == (2008, True)
    await records.insert(events(4))
    assert len(rows(box, EVENT)) == 4
    box.servicenow.faults.add(Fault("status", method="GET", status=403))
    with pytest.raises(ServiceNowError, match="BSR-2006"):
        await records.has(row_of(1))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_session_has_one_row(box: Sandbox, records: SessionRecords, kept: bool) -> None:
    """A second write corrects the first one's row, whoever gives the sys_id; columns that it does not name stay."""
    box.servicenow.knobs.keep_sys_id = kept
    written = await writer(records, SESSION).upsert(row_of(1, sequence="1", user="b" * 32))
    assert (written.before, written.kept) == (False, kept)
    again = await writer(records, SESSION).upsert(row_of(1, sequence="2"))
    assert again == Written(written.sys_id, before=True, kept=kept)
    [row] = rows(box, SESSION)
    assert (row["sys_id"], row["sequence"], row["user"]) == (written.sys_id, "2", "b" * 32)


async def test_columns_of_the_site(box: Sandbox, instance: Instance) -> None:
    """A mapped key is asked for and written by its own name; a table without it is refused before a second row."""
    row = replace(row_of(1), values={"external_key": row_of(1).key, "lsid": "ab12"})
    mapped = instance.sessions([Table(SESSION, {"key": "external_key"})])
    assert [(await writer(mapped, SESSION).upsert(row)).before for _ in range(2)] == [False, True]
    unknown = instance.sessions([Table(SESSION, {"key": "u_none"})])
    with pytest.raises(ServiceNowError) as error:
        await unknown.upsert(row)
    assert (error.value.number, error.value.maybe_sent, len(rows(box, SESSION))) == (2015, False, 1)


@pytest.mark.parametrize("kept", [True, False])
async def test_events_are_written_once(box: Sandbox, instance: Instance, records: SessionRecords, kept: bool) -> None:
    """All events go in a few requests; what is there stays as it is, also when a further one came."""
    box.servicenow.knobs.keep_sys_id = kept
    made = events(120)
    first = await writer(records, EVENT).add(made[:119])
    assert all(isinstance(one, Written) and not one.before for one in first)
    assert sent(instance) <= 8
    again = await writer(records, EVENT).add(made)
    assert [one.before for one in again if isinstance(one, Written)] == [*[True] * 119, False]
    assert sorted(row["key"] for row in rows(box, EVENT)) == sorted(one.key for one in made)
    assert await writer(records, EVENT).add([]) == []


EVERY_FAULT = [
    Fault("hang"),
    Fault("reset"),
    *(Fault("status", status=status) for status in (400, 401, 403, 404, 429, 500, 503)),
    Fault("page"),
    Fault("late", seconds=0.05),
    Fault("hang after"),
    Fault("reset after"),
    Fault("status after", status=500),
    Fault("failure"),
    Fault("truncate"),
    Fault("cut"),
    Fault("missing", count=2),
    Fault("unserviced", count=1),
]
KEPT = pytest.mark.parametrize("kept", [True, False], ids=["kept", "given"])
FAULTS = pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda fault: f"{fault.action} {fault.status}")


@FAULTS
@KEPT
async def test_events_survive_every_fault(
    box: Sandbox, records: SessionRecords, hasty: Any, fault: Fault, kept: bool
) -> None:
    """Whatever becomes of an insert: what is said is true, and the second try leaves each event there once."""
    box.servicenow.knobs.keep_sys_id = kept
    made = events(4)
    set_fault = box.servicenow.faults.add(replace(fault, lane="batch"))
    with hasty(fault.action):
        results = await writer(records, EVENT).add(made)
    assert set_fault.fired == 1
    if fault.action == "late":
        await box.servicenow.tables.until(lambda: len(rows(box, EVENT)) == 4)
    there = {row["key"] for row in rows(box, EVENT)}
    for row, result in zip(made, results, strict=True):
        if isinstance(result, Written):
            assert row.key in there
        elif not result.maybe_sent:
            assert row.key not in there
    again = await writer(records, EVENT).add(made)
    assert all(isinstance(one, Written) for one in again)
    assert sorted(row["key"] for row in rows(box, EVENT)) == sorted(one.key for one in made)


@FAULTS
@KEPT
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_session_survives_every_fault(
    box: Sandbox,
    records: SessionRecords,
    *,
    hasty: Any,
    fault: Fault,
    kept: bool,
    method: str,
) -> None:
    """The same of the session's own row, new or changed."""
    if fault.action in {"missing", "unserviced"}:
        return
    box.servicenow.knobs.keep_sys_id = kept
    if method == "PATCH":
        await writer(records, SESSION).upsert(row_of(1, sequence="1"))
    set_fault = box.servicenow.faults.add(replace(fault, method=method))
    try:
        with hasty(fault.action):
            await writer(records, SESSION).upsert(row_of(1, sequence="2"))
    except ServiceNowError as error:
        if not error.maybe_sent:
            assert [row for row in rows(box, SESSION) if row["sequence"] == "2"] == []
    assert set_fault.fired == 1
    if fault.action == "late":
        await box.servicenow.tables.until(lambda: [row["sequence"] for row in rows(box, SESSION)] == ["2"])
    assert (await writer(records, SESSION).upsert(row_of(1, sequence="2"))).kept is kept
    assert [row["sequence"] for row in rows(box, SESSION)] == ["2"]


async def test_an_insert_that_came_late_is_found_where_ids_are_kept(box: Sandbox, records: SessionRecords) -> None:
    """A row that appears between look and insert is refused by its sys_id, and then changed as the one it is."""
    box.servicenow.insert(SESSION, {**row_of(1).values, "sys_id": row_of(1).sys_id})
    box.servicenow.insert(EVENT, {**events(1)[0].values, "sys_id": events(1)[0].sys_id})
    absent = replace(Fault("status after", method="GET", status=200), body='{"result": []}', headers=JSON)
    box.servicenow.faults.add(replace(absent))
    assert (await writer(records, SESSION).upsert(row_of(1, sequence="2"))).before
    assert [row["sequence"] for row in rows(box, SESSION)] == ["2"]
    box.servicenow.faults.add(replace(absent))
    assert await writer(records, EVENT).add(events(1)) == [Written(events(1)[0].sys_id, before=True, kept=True)]
    # When the look after the refusal fails, nobody knows.
    box.servicenow.faults.add(replace(absent))
    box.servicenow.faults.add(Fault("reset", method="GET", skip=1))
    [result] = await writer(records, EVENT).add(events(1))
    assert isinstance(result, ServiceNowError)
    assert result.maybe_sent
    assert len(rows(box, EVENT)) == 1


@pytest.mark.parametrize(
    ("stored", "number"),
    [
        ({"key": row_of(1).key}, 2011),
        ({"sys_id": "a" * 32}, 2015),
        ({"sys_id": "a" * 32, "key": "b"}, 2015),
    ],
)
async def test_an_answer_that_is_not_the_row(
    box: Sandbox, records: SessionRecords, stored: dict[str, str], number: int
) -> None:
    """An answer without a sys_id or with another key is no success, neither to an insert nor to a change."""
    body = json.dumps({"result": stored})
    box.servicenow.faults.add(Fault("status", method="POST", status=201, body=body, headers=JSON))
    with pytest.raises(ServiceNowError) as error:
        await records.upsert(row_of(1))
    assert error.value.number == number
    await records.upsert(row_of(1))
    box.servicenow.faults.add(Fault("status", method="PATCH", status=200, body=body, headers=JSON))
    with pytest.raises(ServiceNowError) as error:
        await records.upsert(row_of(1))
    assert (error.value.number, error.value.maybe_sent) == (2019, True)


async def test_an_answer_of_another_shape(box: Sandbox, records: SessionRecords) -> None:
    """An insert answered with a list has an unknown outcome."""
    box.servicenow.faults.add(Fault("status", method="POST", status=201, body='{"result": []}', headers=JSON))
    [result] = await writer(records, EVENT).add(events(1))
    assert isinstance(result, ServiceNowError)
    assert (result.number, result.maybe_sent) == (2011, True)


async def test_of_two_rows_of_a_session_one_is_meant(box: Sandbox, records: SessionRecords) -> None:
    """An insert that was long under way may leave a second row: the one with the wished sys_id goes on."""
    box.servicenow.insert(SESSION, {**row_of(1).values, "sys_id": "0" * 32})
    box.servicenow.insert(SESSION, {**row_of(1).values, "sys_id": row_of(1).sys_id})
    box.servicenow.insert(SESSION, {**row_of(1).values, "sys_id": "f" * 32})
    assert await writer(records, SESSION).upsert(row_of(1)) == Written(row_of(1).sys_id, before=True, kept=True)
