"""The whole way of a request for approval but the daemon: listener, flow, ServiceNow and appliance over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.listening import TOKEN, Running, running
from support.memory import MemoryAudit, MemoryStore
from support.tls import Authority

from relay.appliance.approval_responses import ApprovalResponses
from relay.appliance.fleet import Fleet
from relay.approvals.inbox import ApprovalInbox
from relay.approvals.parts import Parts, Site
from relay.approvals.settle import Settling
from relay.approvals.stages import stages
from relay.config.approval_rules import door_of, rules_of
from relay.config.load import load
from relay.config.model import Settings
from relay.config.rules import policy_of
from relay.core.approval_job import APPROVAL
from relay.core.errors import WorkError
from relay.core.policy_values import Allowed
from relay.core.record import HttpCall, Record, Reply, TypedCall
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.pipeline.decide import decide
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.sandbox.playing import Playing
from relay.sandbox.sessionoracle import check_tickets
from relay.sandbox.tickets import RESPONSE_PATH, Decision, Ticket
from relay.sandbox.verdicts import PROBES
from relay.servicenow.instance import Instance
from relay.servicenow.payload import PayloadCodec
from relay.servicenow.vendor import forwardings
from relay.servicenow.vendor_approvals import VendorApprovals


@dataclass
class Edge:
    """A sandbox and the flow between its two sides."""

    box: Sandbox
    settings: Settings
    instance: Instance
    responder: ApprovalResponses
    relay: Running
    settling: Settling
    audit: MemoryAudit
    ids: dict[str, str] = field(default_factory=dict)

    def change(self, **values: str) -> str:
        """A change that allows access to `web01` to `admin`, but for these values; its number."""
        insert = self.box.servicenow.insert
        if not self.ids:
            self.ids["ci"] = insert("cmdb_ci", {"name": "web01"})["sys_id"]
            (user,) = self.box.servicenow.tables.find("sys_user", "user_name=admin")
            self.ids["user"] = user["sys_id"]
        row = {"assigned_to": self.ids["user"], "cmdb_ci": self.ids["ci"], "approval": "approved", "state": "-1"}
        made = insert("change_request", {**row, **values})
        self.ids[made["number"]] = made["sys_id"]
        return made["number"]

    async def ask(self, number: str, *, response_url: str = "", **facts: Any) -> Ticket:
        """Ask for approval."""
        tickets = self.box.appliance.tickets
        url = f"https://localhost:{self.relay.port}/approvals?outbound_event_token={TOKEN}"
        answer_at = response_url or self.box.appliance.url + RESPONSE_PATH
        ticket = await tickets.ask(self.box.way(url), number, answer_at, **facts)
        assert ticket.receipt == 200
        return ticket

    async def decision(self, ticket: Ticket) -> Decision:
        """The first decision on a ticket."""
        await self.box.appliance.until(lambda: bool(ticket.decisions))
        return ticket.decisions[0]

    async def work(self, sys_id: str) -> Reply:
        """Work on a record as the queue's path does: read, judged by the policy, handed over."""
        row = self.box.servicenow.tables.get("ecc_queue", sys_id)
        assert row is not None
        work = PayloadCodec().read(Record(row)).work
        assert isinstance(work, HttpCall | TypedCall)
        ruling = policy_of(self.settings).decide(work)
        assert isinstance(ruling, Allowed)
        assert ruling.handed_over
        return await decide(self.settling, ruling, sys_id)


@asynccontextmanager
async def edge(folder: Path, approvals: str = "") -> AsyncIterator[Edge]:
    """All of it; `approvals` is the section of that name, as YAML flow."""
    authority = Authority(folder / "relay")
    async with Sandbox.start(folder / "sandbox") as box:
        box.trust(str(authority.ca_file))
        drop_in = folder / "sandbox" / "conf.d"
        drop_in.mkdir(mode=0o755)
        (drop_in / "a.yaml").write_text(
            f"approvals: {{{approvals}}}\npolicy: {{allow: [session-integration]}}\nservicenow: {{timeout: 3s}}\n"
        )
        (drop_in / "a.yaml").chmod(0o644)
        settings = load(box.config_file, {}).settings
        clock, secrets = Clock(), SecretReader({})
        instance = Instance.connect(settings.servicenow, "relay01", secrets, clock)
        fleet = Fleet.open(settings, secrets, clock, "1")
        responder = ApprovalResponses.open(settings, fleet.by_name)
        made = settings.approvals_of("default")
        rules = rules_of(made)
        store, audit = MemoryStore(), MemoryAudit()
        ledger, conditions = Ledger(store, [APPROVAL], clock), Conditions(clock)
        parts = Parts(
            ledger=ledger,
            store=store,
            audit=audit,
            holds=Holds(store, clock),
            conditions=conditions,
            clock=clock,
            jitter=lambda: 0.5,
            sites={
                "default": Site(
                    made.mode, rules, door_of(settings, "default"), made.deadline, made.encoding, made.remember
                )
            },
            lookups={"default": instance.tickets(rules, settings.servicenow.user_fields)},
            responder=responder,
            forwarders={"default": VendorApprovals(instance.vendor, forwardings(settings, secrets.read))},
        )
        settling = Settling(parts)
        runner = Runner(
            store=store, ledger=ledger, clock=clock, beats=Beats(clock), conditions=conditions, jitter=lambda: 0.5
        )
        async with running(authority, inbox=ApprovalInbox(parts)) as relay, asyncio.TaskGroup() as group:
            group.create_task(runner.run(stages(parts)))
            yield Edge(box, settings, instance, responder, relay, settling, audit)
            runner.stop()
        await responder.aclose()
        await fleet.aclose()
        await instance.aclose()


async def eventually(true: Callable[[], object]) -> None:
    """Return when something is true that nobody tells."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("encoding", ["form", "json"])
async def test_who_has_a_ticket_has_access(tmp_path: Path, encoding: str) -> None:
    """One request to ServiceNow, one decision to the appliance, with the task and item for the session's import."""
    async with edge(tmp_path, f"encoding: {encoding}") as it:
        number = it.change()
        before = it.box.servicenow.requests["all"]
        ticket = await it.ask(number)
        decision = await it.decision(ticket)
        assert (decision.response, decision.message, decision.carried) == ("allow", "", ())
        assert decision.attributes == {"snow_task_id": it.ids[number], "snow_cmdb_ci_id": it.ids["ci"]}
        assert decision.media_type.endswith("json") == (encoding == "json")
        assert it.box.servicenow.requests["all"] == before + 1
        assert check_tickets([it.box.appliance], final=True) == ()
        assert [line["decision"] for line in it.audit.lines] == ["allow"]


@pytest.mark.parametrize(
    ("change", "facts", "text"),
    [
        ({}, {"jump_item": {"computer_name": "web02"}}, "another computer"),
        ({}, {"user": {"username": "Admin"}}, "does not write the user"),
        ({"approval": "requested"}, {}, "not approved"),
        ({"state": "3"}, {}, "state"),
        ({"assigned_to": ""}, {}, "assigned to nobody"),
    ],
)
async def test_who_has_not_is_told_why(tmp_path: Path, change: dict[str, str], facts: Any, text: str) -> None:
    """Each check that does not hold is a denial with its own words."""
    async with edge(tmp_path) as it:
        decision = await it.decision(await it.ask(it.change(**change), **facts))
        assert (decision.response, decision.attributes) == ("deny", {})
        assert text in decision.message


@pytest.mark.parametrize("ticket", ["CHG1^ORnumber!=x", "javascript:gs.getUser()", "NULL", "", "' OR 1=1 --"])
async def test_a_ticket_that_would_be_a_query(tmp_path: Path, ticket: str) -> None:
    """What is no number is not found, whatever ServiceNow would make of it."""
    async with edge(tmp_path) as it:
        it.change()
        decision = await it.decision(await it.ask(ticket))
        assert decision.response == "deny"


async def test_rules_of_tables_and_a_window_of_time(tmp_path: Path) -> None:
    """Planned dates and columns that only a table has are read along, and decide."""
    approvals = (
        "rules: [{tables: [change_request], window: true, grace: 1m},"
        " {tables: [incident], overrides: [{field: severity, comparator: less, value: '3', message: Too mild}]}]"
    )
    async with edge(tmp_path, approvals) as it:
        open_now = it.change(start_date="2000-01-01 00:00:00", end_date="2100-01-01 00:00:00")
        over = it.change(start_date="2000-01-01 00:00:00", end_date="2000-01-02 00:00:00")
        assert [(await it.decision(await it.ask(number))).response for number in (open_now, over)] == ["allow", "deny"]
        user = {"assigned_to": it.ids["user"]}
        severe, mild = (
            it.box.servicenow.insert("incident", {**user, "severity": severity})["number"] for severity in ("1", "3")
        )
        assert (await it.decision(await it.ask(severe))).response == "allow"
        denied = await it.decision(await it.ask(mild))
        assert (denied.response, denied.message) == ("deny", "Too mild")


async def test_the_other_encoding_where_one_is_refused(tmp_path: Path) -> None:
    """An appliance that takes JSON only gets JSON after it refused the form."""
    async with edge(tmp_path) as it:
        it.box.appliance.tickets.accepts = {"application/json"}
        decision = await it.decision(await it.ask(it.change()))
        assert (decision.response, decision.media_type) == ("allow", "application/json")


@pytest.mark.parametrize(
    "place", ["https://evil.example/api/endpoint_approval", "{url}/api/command", "{url}/api/endpoint_approval?a=b"]
)
async def test_a_decision_goes_nowhere_else(tmp_path: Path, place: str) -> None:
    """A request that wants its answer elsewhere gets none, and the audit log tells."""
    async with edge(tmp_path) as it:
        url = it.box.appliance.url
        ticket = await it.ask(it.change(), response_url=place.format(url=url))
        good = await it.ask(it.change())
        await it.decision(good)
        await eventually(lambda: [line for line in it.audit.lines if line.get("rule") == "response_url"])
        assert ticket.decisions == []
        assert not [path for _, path, _ in it.box.appliance.log if path != RESPONSE_PATH]
        assert len(it.box.appliance.log) == 1


async def test_without_servicenow_nobody_has_access(tmp_path: Path) -> None:
    """No answer within the deadline is a denial that says so, while the person still waits."""
    async with edge(tmp_path, "deadline: 800ms") as it:
        number = it.change()
        it.box.servicenow.faults.add(Fault("hang", lane="batch", times=None))
        decision = await it.decision(await it.ask(number))
        assert decision.response == "deny"
        assert decision.message
        assert 0.7 < decision.after < 3.0


@pytest.mark.parametrize("decides", ["allow", "deny"])
async def test_the_vendors_application_decides_at_once(tmp_path: Path, decides: Any) -> None:
    """Its immediate answer is passed on as it is."""
    async with edge(tmp_path, "mode: forward") as it:
        it.box.servicenow.vendor.decides = decides
        decision = await it.decision(await it.ask("CHG1"))
        assert decision.response == decides
        assert decision.message == ("" if decides == "allow" else "The change is not approved.")


@pytest.mark.parametrize("probe", PROBES)
async def test_the_vendors_application_decides_later(tmp_path: Path, probe: str) -> None:
    """A record of the queue decides once, whatever way it is written; a second one is told that it is over."""
    async with edge(tmp_path, "mode: forward") as it:
        verdict = Playing(it.box).actions["verdict"]
        early = verdict("default", "r1", "allow", probe=probe)
        with pytest.raises(WorkError, match="BSR-4023"):
            await it.work(early)
        ticket = await it.ask("CHG1")
        await it.box.servicenow.tables.until(lambda: it.box.servicenow.requests["forward"] == 1)
        await eventually(it.settling.waiting)
        first = verdict("default", ticket.request_id, "allow", attributes={"snow_task_id": "t1"}, probe=probe)
        second = verdict("default", ticket.request_id, "deny", probe=probe)
        assert (await it.work(first)).status == 200
        with pytest.raises(WorkError, match="BSR-4024"):
            await it.work(second)
        assert (await it.work(first)).status == 200
        decision = await it.decision(ticket)
        assert (decision.response, decision.attributes) == ("allow", {"snow_task_id": "t1"})
        assert check_tickets([it.box.appliance], final=True) == ()


async def test_no_later_decision_is_a_denial(tmp_path: Path) -> None:
    """Whoever does not decide within the deadline has denied; a decision after that is told so."""
    async with edge(tmp_path, "mode: forward, deadline: 500ms") as it:
        ticket = await it.ask("CHG1")
        decision = await it.decision(ticket)
        assert decision.response == "deny"
        with pytest.raises(WorkError, match="BSR-4024"):
            await it.work(Playing(it.box).actions["verdict"]("default", ticket.request_id, "allow"))
        assert len(ticket.decisions) == 1
