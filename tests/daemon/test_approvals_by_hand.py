"""The command `approvals`, through the control socket and the whole daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from support.living import QUICK, Living, living

from relay.cli.main import main
from relay.daemon.client import DaemonError
from relay.sandbox.tickets import RESPONSE_PATH, Ticket

PERSON, COMPUTER = "jane.doe", "web01"
ASKED = ("--user", PERSON, "--computer", COMPUTER)


@pytest.fixture(autouse=True)
def _log_apart() -> None:
    """The daemon in this process must not write its log where the command writes its data."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


async def call(made: Living, *arguments: str) -> Result:
    """Run the command beside the daemon, as another process would."""
    told = ["approvals", arguments[0], "--config", str(made.box.config_file), *arguments[1:]]
    return await asyncio.to_thread(CliRunner().invoke, main, told)


def change(made: Living, **values: str) -> str:
    """A change that lets PERSON work on COMPUTER, but for these values; returns its number."""
    insert, find = made.box.servicenow.insert, made.box.servicenow.tables.find
    users, items = find("sys_user", f"user_name={PERSON}"), find("cmdb_ci", f"name={COMPUTER}")
    user = users[0] if users else insert("sys_user", {"user_name": PERSON})
    item = items[0] if items else insert("cmdb_ci", {"name": COMPUTER})
    good = {"assigned_to": user["sys_id"], "cmdb_ci": item["sys_id"], "approval": "approved", "state": "-1"}
    return str(insert("change_request", {**good, **values})["number"])


async def ask(made: Living, ticket_id: str, response_url: str = "", **user: str) -> Ticket:
    """A person jumps to a computer and gives a ticket."""
    (recipient,) = made.box.appliance.outbound.recipients.values()
    way = made.box.way(recipient.way.url.replace("/events", "/approvals"))
    known = {"jump_item": {"computer_name": COMPUTER}, "user": {"username": PERSON, **user}}
    url = response_url or made.box.appliance.url + RESPONSE_PATH
    return await made.box.appliance.tickets.ask(way, ticket_id, url, **known)


def lines(made: Living) -> list[dict[str, str]]:
    """The audit log."""
    files = sorted((made.state / "audit").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


async def test_each_comparison_is_shown_and_nothing_happens(tmp_path: Path) -> None:
    """A good ticket exits 0, a bad one 1 with what the person would see; nobody is answered, the look is audited."""
    async with living(tmp_path) as made:
        done = await call(made, "test", "--ticket", change(made), *ASKED)
        assert done.exit_code == 0, done.output
        rows = [line.split() for line in done.stdout.splitlines()]
        assert [row[-1] for row in rows[1:7]] == ["yes"] * 6
        assert rows[4] == ["task.cmdb_ci.name", COMPUTER, "=", COMPUTER, "yes"]
        assert "decision: allow" in done.stdout
        assert "attribute snow_task_id: " in done.stdout
        done = await call(made, "test", "--ticket", change(made, state="3"), *ASKED, "--json")
        assert done.exit_code == 1
        found = json.loads(done.stdout)
        assert found["schema"] == "bseries-relay/approval-test/1"
        assert (found["decision"], found["rule"], found["attributes"]) == ("deny", "state", {})
        assert "it must be < 3" in found["text"]
        assert found["checks"][-1] == {
            "check": "task.state",
            "found": "3",
            "comparator": "less",
            "wanted": "3",
            "holds": False,
        }
        assert (await made.ask("approvals list"))["approvals"] == []
        assert made.box.appliance.requests["all"] == 0
        assert [line["reason"] for line in lines(made) if line["event"] == "look"] == [
            "approval of ticket 'CHG0000001' at default",
            "approval of ticket 'CHG0000002' at default",
        ]
        assert not [line for line in lines(made) if line["event"] == "approval"]


async def test_hostile_values_are_shown_safely(tmp_path: Path) -> None:
    """Control characters and lines in what was typed or is in ServiceNow do not reach the terminal."""
    async with living(tmp_path) as made:
        number = change(made, approval="\x1b[2Japproved\nx")
        done = await call(made, "test", "--ticket", number, *ASKED)
        assert done.exit_code == 1
        assert "\x1b" not in done.output
        assert "the person sees: The ticket is not approved: its approval is '?[2Japproved?x'." in done.stdout
        done = await call(made, "test", "--ticket", "CHG^ORnumber=1\x1b]0;x\x07", *ASKED)
        assert done.exit_code == 1
        assert "\x1b" not in done.output
        assert "the task is not found" in done.stdout


async def test_rules_of_a_jump_group(tmp_path: Path) -> None:
    """`--group` chooses the rule; without it nobody can tell which holds."""
    rule = "{jump_groups: [Servers], overrides: [{field: active, comparator: equal, value: 'yes', message: 'not so'}]}"
    async with living(tmp_path, drop_in=f"{QUICK}approvals: {{rules: [{rule}]}}\n") as made:
        number = change(made, active="no")
        for group, word in (("Servers", "not so"), ("", "There"), ("Others", "decision: allow")):
            done = await call(made, "test", "--ticket", number, *ASKED, *(("--group", group) if group else ()))
            assert word in done.stdout or (not group and "no Jump Group" in done.stdout), done.output


async def test_who_decides_otherwise(tmp_path: Path) -> None:
    """With `forward` it is ServiceNow, with `off` nobody is allowed; several appliances must be told apart."""
    text = "approvals: {mode: forward}\nappliances: {appliance2: {approvals: {mode: off}}}\n"
    async with living(tmp_path, products=("pra", "pra"), drop_in=QUICK + text) as made:
        done = await call(made, "test", "--ticket", "CHG1", *ASKED)
        assert (done.exit_code, "say which appliance" in done.stderr) == (1, True)
        done = await call(made, "test", "--ticket", "CHG1", *ASKED, "--appliance", "other")
        assert (done.exit_code, "no such appliance" in done.stderr) == (1, True)
        done = await call(made, "test", "--ticket", "CHG1", *ASKED, "--appliance", "default")
        assert (done.exit_code, done.stdout) == (3, "")
        assert "ServiceNow decides" in done.stderr
        done = await call(made, "test", "--ticket", "CHG1", *ASKED, "--appliance", "default", "--json")
        assert (done.exit_code, json.loads(done.stdout)["mode"]) == (3, "forward")
        done = await call(made, "test", "--ticket", "CHG1", *ASKED, "--appliance", "appliance2")
        assert (done.exit_code, "approvals are off" in done.stdout) == (1, True)


async def test_servicenow_away(tmp_path: Path) -> None:
    """Without ServiceNow, or without its answer in time, the command exits 69."""
    async with living(tmp_path, drop_in=f"{QUICK}approvals: {{deadline: 1s}}\n") as made:
        made.box.servicenow.knobs.latency = 3.0
        done = await call(made, "test", "--ticket", "CHG1", *ASKED)
        assert (done.exit_code, "BSR-2003" in done.stderr) == (69, True)
        await made.box.doors["servicenow"].close()
        done = await call(made, "test", "--ticket", "CHG1", *ASKED)
        assert (done.exit_code, "BSR-2" in done.stderr) == (69, True)


async def test_what_was_decided_is_listed_newest_first(tmp_path: Path) -> None:
    """Each request with its ticket, person, computer, decision, reason, and whether the appliance took it."""
    async with living(tmp_path, listens=True) as made:
        number = change(made)
        await ask(made, number)
        await made.until(lambda: made.steps("approval", "delivered") == 1)
        await ask(made, number, username="x\x1b[31m")
        await made.until(lambda: made.steps("approval", "delivered") == 2)
        await ask(made, number, "https://elsewhere.example/api/endpoint_approval")
        await made.until(lambda: made.steps("approval", "refused") == 1)
        done = await call(made, "list")
        assert done.exit_code == 0
        assert "\x1b" not in done.output
        head, *rows = done.stdout.splitlines()
        assert head.split() == ["time", "appliance", "ticket", "user", "computer", "decision", "reason", "delivered"]
        assert [row.split()[-1] for row in rows] == ["no", "yes", "yes"]
        assert ["allow" in row for row in rows] == [False, False, True]
        assert "deny" in rows[1]
        found = json.loads((await call(made, "list", "--json", "--limit", "2")).stdout)
        assert found["schema"] == "bseries-relay/approvals/1"
        assert [one["delivered"] for one in found["approvals"]] == [False, True]
        assert [one["state"] for one in found["approvals"]] == ["REFUSED", "DELIVERED"]
        assert found["approvals"][1]["reason"] == "the user is not found"
        assert json.loads((await call(made, "list", "--json", "--appliance", "x")).stdout)["approvals"] == []


async def test_wrong_questions_are_refused(tmp_path: Path) -> None:
    """What no command line sends is refused, too."""
    async with living(tmp_path) as made:
        with pytest.raises(DaemonError, match="'ticket' must be text"):
            await made.ask("approvals test", ticket=1, user="x", computer="y")
        with pytest.raises(DaemonError, match="'group' must be text"):
            await made.ask("approvals test", ticket="1", user="x", computer="y", group="x" * 5000)
        with pytest.raises(DaemonError, match="'appliance' must be text"):
            await made.ask("approvals list", appliance=["x"])
