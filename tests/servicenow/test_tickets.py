"""What is looked up for a request for approval, against the sandbox's instance and its faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.approval_decision import decide
from relay.core.approval_values import DEFAULT_RULE, Check, Findings, Request, Rows, Rule, RuleSet, Value
from relay.core.errors import ServiceNowError
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.servicenow.instance import TICKETS, Instance
from relay.servicenow.tickets import LACKING, Lacking, TicketLookups, _users, task_calls, user_calls

Hasty = Callable[[str], AbstractContextManager[None]]
FIELDS = ("user_name", "x_bmgr_bomgar_pam_username", "u_beyondtrust_username")
RULES = RuleSet((DEFAULT_RULE,))


def request_for(ticket: str, user: str = "jo", computer: str = "web01") -> Request:
    fields = {"ticket_id": ticket, "user.username": user, "jump_item.computer_name": computer}
    return Request("default", "r1", ticket, "https://a/", "/approvals", fields, 0.0)


class World:
    """An instance with a change for a computer and its user."""

    def __init__(self, box: Sandbox) -> None:
        insert = box.servicenow.insert
        self.ci = insert("cmdb_ci", {"name": "web01"})["sys_id"]
        self.user = insert("sys_user", {"user_name": "jo", "x_bmgr_bomgar_pam_username": "joan", "name": "Jo"})
        self.values = {
            "assigned_to": self.user["sys_id"],
            "cmdb_ci": self.ci,
            "approval": "approved",
            "state": "-1",
            "start_date": "2026-11-22 10:00:00",
            "end_date": "2026-11-22 11:00:00",
            "risk": "2",
        }
        self.change = insert("change_request", self.values)
        self.number = self.change["number"]


@pytest.fixture
def world(box: Sandbox) -> World:
    return World(box)


@pytest.fixture
def lookups(instance: Instance) -> TicketLookups:
    return instance.tickets(RULES, FIELDS)


def sent(instance: Instance) -> int:
    return instance.requests.get("approval", 0)


async def test_one_request_finds_everything(
    box: Sandbox, world: World, instance: Instance, lookups: TicketLookups
) -> None:
    """The task with each column that the rules need, value and what is shown of it, and the user, in one batch."""
    before = box.servicenow.requests["all"]
    found = await lookups.find(request_for(world.number))
    assert (sent(instance), box.servicenow.requests["all"] - before) == (1, 1)
    (task,) = found.by_number.rows
    assert task.values == {
        "sys_id": Value(world.change["sys_id"], world.change["sys_id"]),
        "number": Value(world.number, world.number),
        "sys_class_name": Value("change_request", "change_request"),
        "assigned_to": Value(world.user["sys_id"], "Jo"),
        "cmdb_ci": Value(world.ci, "web01"),
        "cmdb_ci.name": Value("web01", "web01"),
        "approval": Value("approved", "approved"),
        "state": Value("-1", "-1"),
    }
    assert found.by_number.whole
    assert found.by_sys_id == Rows()
    (user,) = found.users.rows
    assert (user.sys_id, dict(user.names)) == (
        world.user["sys_id"],
        {"user_name": "jo", "x_bmgr_bomgar_pam_username": "joan"},
    )
    assert found.now is not None
    assert abs(found.now - time.time()) < 5
    assert decide(request_for(world.number), found, RULES, found.now).allow


async def test_by_sys_id_and_by_another_name(world: World, lookups: TicketLookups) -> None:
    """A ticket may be a sys_id, in upper case too; a person may be known by any of the columns."""
    request = request_for(world.change["sys_id"].upper(), "joan")
    found = await lookups.find(request)
    assert [task.sys_id for task in found.by_sys_id.rows] == [world.change["sys_id"]]
    assert not found.by_number.rows
    assert [user.sys_id for user in found.users.rows] == [world.user["sys_id"]]
    assert decide(request, found, RULES, found.now).allow


async def test_a_column_that_is_not_there_is_left_out(
    box: Sandbox, world: World, instance: Instance, lookups: TicketLookups
) -> None:
    """An unknown column in a query brings anybody's rows: they are thrown away, and it is asked by no more."""
    for number in range(20):
        box.servicenow.insert("sys_user", {"user_name": f"other{number}"})
    first = await lookups.find(request_for(world.number))
    assert [user.sys_id for user in first.users.rows] == [world.user["sys_id"]]
    assert first.users.whole
    assert instance._lacking.present(FIELDS) == FIELDS[:2]
    assert instance.tickets(RULES, FIELDS)._lacking is instance._lacking
    before = dict(box.servicenow.served)
    assert await lookups.find(request_for(world.number)) is not None
    assert box.servicenow.served["other"] - before["other"] == 3


def test_a_column_may_be_made_later() -> None:
    """What was lacking is asked for again after a while, and at once taken for there when it comes."""
    now = 0.0
    lacking = Lacking(lambda: now)
    strangers = [{"sys_id": "1", "a": ""}, {"sys_id": "2", "a": "x"}]
    lacking.learn({"a": [], "b": strangers})
    assert lacking.present(("a", "b")) == ("a",)
    now = LACKING - 1
    lacking.learn({"b": strangers})
    assert lacking.present(("a", "b")) == ("a",)
    now = LACKING
    assert lacking.present(("a", "b")) == ("a", "b")
    lacking.learn({"b": strangers})
    lacking.learn({"a": [{"b": "x"}], "b": strangers})
    assert lacking.present(("a", "b")) == ("a", "b")


def test_a_column_that_is_hidden_of_one_person() -> None:
    """Access rules may hide a column of one row: that says nothing of the next person's."""
    lacking = Lacking(lambda: 0.0)
    lacking.learn({"a": [{"sys_id": "1"}], "b": [{"sys_id": "1"}]})
    assert lacking.present(("a", "b")) == ("a", "b")


def test_rows_of_nobody_stay_apart() -> None:
    """Rows that do not say whose they are count each for itself; of those that do each person is one."""
    row = {"sys_id": "a" * 32, "a": "jo", "b": "jo"}
    found = _users({"a": [row, {"a": "jo"}, {"a": "jo", "sys_id": "x"}], "b": [row, {"sys_id": "b" * 32}]})
    assert [(user.sys_id, dict(user.names)) for user in found.rows] == [
        ("a" * 32, {"a": "jo", "b": "jo"}),
        ("", {"a": "jo"}),
        ("x", {"a": "jo"}),
    ]
    assert found.whole


async def test_nobody_without_any_column(world: World, instance: Instance) -> None:
    """Where the instance has none of the columns nobody is found, and that is no error."""
    lookups = instance.tickets(RULES, ("u_one", "u_two"))
    for _ in range(2):
        found = await lookups.find(request_for(world.number))
        assert found.users == Rows()
        assert len(found.by_number.rows) == 1


async def test_all_who_differ_by_case_come(box: Sandbox, world: World, lookups: TicketLookups) -> None:
    """The database compares without case; each row is handed on, so that whoever decides sees that there are two."""
    other = box.servicenow.insert("sys_user", {"user_name": "JO"})["sys_id"]
    found = await lookups.find(request_for(world.number))
    assert {user.sys_id for user in found.users.rows} == {world.user["sys_id"], other}
    for number in range(20):
        box.servicenow.insert("sys_user", {"user_name": "jO", "email": str(number)})
    assert not (await lookups.find(request_for(world.number))).users.whole


async def test_two_tasks_of_one_number(box: Sandbox, world: World, lookups: TicketLookups) -> None:
    """A second task shows as one."""
    box.servicenow.insert("incident", {"number": world.number})
    found = await lookups.find(request_for(world.number))
    assert (len(found.by_number.rows), found.by_number.whole) == (2, False)


async def test_a_task_that_was_not_asked_for_is_handed_on(world: World, lookups: TicketLookups) -> None:
    """What came back for another case of the number is for the decision to refuse."""
    found = await lookups.find(request_for(world.number.lower()))
    assert [task["number"] for task in found.by_number.rows] == [world.number]
    assert not decide(request_for(world.number.lower()), found, RULES, found.now).allow


WINDOW = RuleSet((Rule("window", DEFAULT_RULE.checks, grace=0.0),))
RISK = Rule("risk", (Check("risk", "equal", "no", value="2"),), tables=frozenset({"change_request", "task"}))
SEVERITY = Rule("incidents", (Check("severity", "equal", "no", value="1"),), tables=frozenset({"incident"}))


async def test_what_only_a_change_has(world: World, instance: Instance) -> None:
    """The planned dates are no columns of `task`; they come in the same request from the table that has them."""
    lookups = instance.tickets(WINDOW, FIELDS)
    for ticket in (world.number, world.change["sys_id"]):
        found = await lookups.find(request_for(ticket))
        (task,) = (*found.by_number.rows, *found.by_sys_id.rows)
        assert (task["start_date"], task["end_date"]) == ("2026-11-22 10:00:00", "2026-11-22 11:00:00")
    assert sent(instance) == 2
    assert decide(request_for(world.number), await lookups.find(request_for(world.number)), WINDOW, 1795343400.0).allow


async def test_an_incident_has_no_planned_dates(box: Sandbox, world: World, instance: Instance) -> None:
    """Of another kind of task the columns are not there, which a decision can tell from empty."""
    number = box.servicenow.insert("incident", world.values)["number"]
    found = await instance.tickets(WINDOW, FIELDS).find(request_for(number))
    assert "start_date" not in found.by_number.rows[0].values
    assert not decide(request_for(number), found, WINDOW, 1795343400.0).allow


async def test_columns_of_the_tables_that_rules_name(box: Sandbox, world: World, instance: Instance) -> None:
    """Each rule's own columns come from its tables; of other tasks they are not there."""
    lookups = instance.tickets(RuleSet((RISK, SEVERITY)), FIELDS)
    incident = box.servicenow.insert("incident", {"severity": "1"})
    (change,) = (await lookups.find(request_for(world.number))).by_number.rows
    (trouble,) = (await lookups.find(request_for(incident["number"]))).by_number.rows
    assert (change["risk"], "severity" in change.values) == ("2", False)
    assert (trouble["severity"], "risk" in trouble.values) == ("1", False)
    assert sent(instance) == 2


HOSTILE = [
    "CHG1^ORnumber!=x",
    "^NQnumber!=x",
    "CHG1^ORDERBYnumber",
    "javascript:gs.getUserID()",
    "JavaScript : x",
    "\uff4aavascript:x",
    "=x",
    "!=x",
    "%",
    "*",
    "NULL",
    "null",
    "EMPTYSTRING",
    "a\nb",
    "a\u202eb",
    "\u200b",
    " CHG1",
    "CHG1 ",
    "",
    "x" * 300,
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_what_cannot_stand_in_a_query_is_not_asked_for(
    world: World, instance: Instance, lookups: TicketLookups, value: str
) -> None:
    """A ticket or a name that would mean something to the instance finds nothing; without any, nothing is sent."""
    assert (await lookups.find(request_for(value, value))).by_number == Rows()
    assert sent(instance) == 0
    found = await lookups.find(request_for(world.number, value))
    assert (len(found.by_number.rows), found.users) == (1, Rows())
    found = await lookups.find(request_for(value))
    assert (found.by_number, len(found.users.rows)) == (Rows(), 1)


@pytest.mark.parametrize("value", ["CHG1,CHG2", "NOT CHG1", "CHG1 OR 1=1", "NOT INx", "a'b\"c", "a&b=c#d?e", "\u0395"])
async def test_odd_values_are_only_values(lookups: TicketLookups, value: str) -> None:
    """What looks like an operator elsewhere is compared as it is, and matches nothing."""
    found = await lookups.find(request_for(value, value))
    assert not found.by_number.rows
    assert not found.users.rows


@given(
    ticket=st.text(max_size=40) | st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join), user=st.text(max_size=20)
)
def test_no_value_becomes_another_condition(ticket: str, user: str) -> None:
    """Each query that is sent has exactly one condition: one column, `=`, and the value itself."""
    for one in (*task_calls("task", ticket, ("sys_id",)), *user_calls(user, FIELDS)):
        (query,) = parse_qs(urlsplit(one.call.target).query)["sysparm_query"]
        value = user if one.table == "sys_user" else ticket.lower() if one.column == "sys_id" else ticket
        assert query == f"{one.column}={value}"
        assert "^" not in query
        assert value == value.strip()


FAULTS = [
    (Fault("missing", lane="batch"), 2012),
    (Fault("unserviced", lane="batch", count=1), 2012),
    (Fault("status", sub=True, path="/task", status=500), 2008),
    (Fault("status", sub=True, path="/task", status=403), 2006),
    (Fault("status", sub=True, path="/sys_user", status=404), 2016),
    (Fault("failure", sub=True, path="/sys_user"), 2010),
    (Fault("truncate", sub=True, path="/task"), 2011),
    (Fault("page", lane="batch"), 2009),
    (Fault("truncate", lane="batch"), 2011),
    (Fault("status", lane="batch", status=429, headers={"Retry-After": "7"}), 2007),
    (Fault("status", lane="batch", status=503), 2008),
    (Fault("reset", lane="batch"), 2004),
    (Fault("cut", lane="batch"), 2004),
    (Fault("hang", lane="batch"), 2003),
]


@pytest.mark.parametrize(("fault", "number"), FAULTS, ids=[f"{fault.action} {number}" for fault, number in FAULTS])
async def test_a_part_that_is_missing_is_not_the_same_as_nothing(
    box: Sandbox, lookups: TicketLookups, hasty: Hasty, fault: Fault, number: int
) -> None:
    """Whatever goes wrong, with one part or with all, it is an error that changed nothing; the next try finds it."""
    number_of_change = World(box).number
    await lookups.find(request_for(number_of_change))
    made = box.servicenow.faults.add(replace(fault))
    with hasty(fault.action), pytest.raises(ServiceNowError) as caught:
        await lookups.find(request_for(number_of_change))
    assert (caught.value.number, caught.value.maybe_sent, made.fired) == (number, False, 1)
    assert caught.value.after == (7.0 if number == 2007 else None)
    assert len((await lookups.find(request_for(number_of_change))).by_number.rows) == 1


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_an_instance_without_batches(
    box: Sandbox, world: World, instance: Instance, lookups: TicketLookups, status: int
) -> None:
    """Where the Batch API is not there, or closed to this account, each look-up is a request of its own."""
    box.servicenow.faults.add(Fault("status", lane="batch", times=None, status=status))
    request = request_for(world.number)
    found = await lookups.find(request)
    assert decide(request, found, RULES, found.now).allow
    assert sent(instance) == 5
    box.servicenow.faults.add(Fault("status", path="/sys_user", status=500))
    with pytest.raises(ServiceNowError) as caught:
        await lookups.find(request)
    assert (caught.value.number, caught.value.maybe_sent) == (2008, False)


@pytest.mark.parametrize(
    ("answer", "rows"), [('{"result": {}}', None), ('{"result": [1]}', None), ('{"result": []}', 0)]
)
async def test_answers_of_another_shape(
    box: Sandbox, world: World, lookups: TicketLookups, answer: str, rows: int | None
) -> None:
    """Rows that are no rows are an error too."""
    headers = {"Content-Type": "application/json"}
    box.servicenow.faults.add(
        Fault("status after", sub=True, path="/table/task", status=200, body=answer, headers=headers)
    )
    if rows is None:
        with pytest.raises(ServiceNowError) as caught:
            await lookups.find(request_for(world.number))
        assert (caught.value.number, caught.value.maybe_sent) == (2011, False)
    else:
        assert len((await lookups.find(request_for(world.number))).by_number.rows) == rows


async def test_plain_values_where_both_were_asked_for(box: Sandbox, world: World, lookups: TicketLookups) -> None:
    """An instance that gives values alone is understood; what is no text is text afterwards."""
    body = '{"result": [{"sys_id": "%s", "number": "N", "active": true, "x": null, "y": {"value": "\\ud800"}}]}'
    headers = {"Content-Type": "application/json"}
    box.servicenow.faults.add(
        Fault("status after", sub=True, path="/task", status=200, body=body % ("a" * 32), headers=headers)
    )
    (task,) = (await lookups.find(request_for(world.number))).by_number.rows
    assert task.values["number"] == Value("N", "N")
    assert (task["active"], task["x"], task["y"]) == ("true", "", "\ufffd")


async def test_a_table_that_rules_name_and_the_instance_lacks(world: World, instance: Instance) -> None:
    """A rule for a table that is not there is told: its columns could never be checked."""
    lookups = instance.tickets(RuleSet((replace(SEVERITY, tables=frozenset({"u_missing"})),)), FIELDS)
    with pytest.raises(ServiceNowError) as caught:
        await lookups.find(request_for(world.number))
    assert caught.value.number == 2015
    assert "u_missing" in caught.value.detail


async def test_many_at_once_wait_for_no_other_lane(box: Sandbox, world: World, instance: Instance) -> None:
    """As many look-ups as there are sessions are under way at once; all the others of the relay's are untouched."""
    lookups = instance.tickets(RULES, FIELDS)
    box.servicenow.knobs.latency = 0.15
    started = time.monotonic()
    await asyncio.gather(*(lookups.find(request_for(world.number)) for _ in range(TICKETS)))
    assert time.monotonic() - started < 4 * 0.15 + 1.0
    assert instance.requests == {"approval": TICKETS}


async def test_a_cancelled_look_up_leaves_nothing_behind(box: Sandbox, world: World, instance: Instance) -> None:
    """The deadline cancels look-ups of an instance that hangs; the sessions are free again for the next ones."""
    lookups = instance.tickets(RULES, FIELDS)
    box.servicenow.faults.add(Fault("hang", lane="batch", times=TICKETS))
    for _ in range(TICKETS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await lookups.find(request_for(world.number))
    found = await asyncio.gather(*(lookups.find(request_for(world.number)) for _ in range(TICKETS)))
    assert all(isinstance(one, Findings) and one.by_number.rows for one in found)
