"""Sessions that an administrator asks for, through the command line, the control socket and the whole daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from support.living import QUICK, Living, end, living, make, write_drop_in

from relay.cli.main import main
from relay.core.posts import Post
from relay.core.retry import Backoff
from relay.core.session_events import job_of
from relay.core.session_job import DEAD, DONE, LEFT
from relay.daemon.client import DaemonError
from relay.sandbox.faults import Fault
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.livesessions import Session
from relay.sandbox.sessionoracle import Terms, check_sessions

EVENTS = frozenset(
    ["Session Note Added", "File Upload", "File Download", "System Information Retrieved", "Screen Recording"]
)
RARE = QUICK + "sessions: {sweep: 1h}\n"
"""Nothing comes by itself."""
OWN = QUICK + "sessions: {sweep: 1h, import_external: false}\n"


@pytest.fixture(autouse=True)
def _log_apart() -> None:
    """The daemon in this process must not write its log where the command writes its data."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


async def call(made: Living, *arguments: str) -> Result:
    """Run the command beside the daemon, as another process would."""
    told = ["sessions", arguments[0], "--config", str(made.box.config_file), *arguments[1:]]
    return await asyncio.to_thread(CliRunner().invoke, main, told)


def ended(made: Living, number: int = 1, appliance: str = "default", **script: Any) -> list[Session]:
    """Sessions that ended two days ago and up, one a day, which nobody told of: the sweep does not look so far back."""
    lives, now = Lives(made.box.appliances[appliance]), int(time.time())
    return [lives.ended(Script(events=8, **script), now - (day + 2) * 86_400) for day in range(number)]


def task_of(made: Living) -> str:
    return str(made.box.servicenow.insert("incident", {"short_description": "x"})["sys_id"])


def judged(made: Living, imported: int, **terms: Any) -> None:
    """The oracle finds each session there once."""
    found = check_sessions(made.box.servicenow, made.box.appliances.values(), Terms(events=EVENTS, **terms), final=True)
    assert found.violations == ()
    assert found.imported == imported


def everything(made: Living) -> dict[str, Any]:
    """What ServiceNow holds of sessions."""
    tables = made.box.servicenow.tables
    return {
        name: {row["sys_id"]: dict(row) for row in tables.rows(name)}
        for name in ("x_bsr_relay_session", "x_bsr_relay_session_event", "sys_journal_field", "sys_attachment")
    }


async def test_named_sessions_come_home_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    """Each is there once, whether the command is given once or twice; the second says that they were there."""
    async with living(tmp_path, drop_in=RARE) as made:
        task = task_of(made)
        sessions = ended(made, 3, attributes={"snow_task_id": task})
        lsids = [session.lsid for session in sessions]
        first = await call(made, "import", *lsids)
        assert (first.exit_code, first.stdout.splitlines()[0]) == (0, "imported: 3"), first.output
        judged(made, 3)
        before = everything(made)
        second = await call(made, "import", "--json", *lsids[:2], lsids[2].upper(), lsids[0])
        told = json.loads(second.stdout)
        assert second.exit_code == 0
        assert told["schema"] == "bseries-relay/sessions-import/1"
        assert {name: number for name, number in told["counts"].items() if number} == {"already_there": 3}
        assert made.steps("session", "kept") == 6
        judged(made, 3)
        assert everything(made) == before
        lines = [
            line for line in (made.state / "audit" / "000001.jsonl").read_text().splitlines() if '"import"' in line
        ]
        assert len(lines) == 2
        assert f"session {lsids[0]} of default and 2 more" in lines[0]


async def test_all_of_a_time_come_home(tmp_path: Path) -> None:
    """With --since those are imported that ended since then, and those that are there are left alone."""
    async with living(tmp_path, drop_in=RARE) as made:
        ended(made, 5)
        dry = await call(made, "import", "--since", "40d", "--dry-run")
        assert dry.exit_code == 0
        assert len(dry.stdout.splitlines()) == 6
        assert "5 of 5 sessions would be imported; nothing was changed" in dry.stderr
        assert made.steps("session", "noticed") == 0
        first = await call(made, "import", "--since", "40d")
        assert (first.exit_code, first.stdout) == (0, "imported: 5\nalready there: 0\nfailed: 0\n"), first.output
        assert "5 of 5 sessions done" in first.stderr
        judged(made, 5)
        second = await call(made, "import", "--since", "40d")
        assert (second.exit_code, second.stdout) == (0, "imported: 0\nalready there: 5\nfailed: 0\n")
        assert made.steps("session", "kept") == 5
        dry = await call(made, "import", "--since", "40d", "--dry-run", "--json")
        assert {(one["standing"], one["would"]) for one in json.loads(dry.stdout)["sessions"]} == {("home", False)}
        again = await call(made, "import", "--since", "40d", "--again")
        assert (again.exit_code, made.steps("session", "kept")) == (0, 10)
        judged(made, 5)
        nothing = await call(made, "import", "--since", "2020-01-01", "--until", "2020-01-31T12:00:00+01:00")
        assert (nothing.exit_code, nothing.stdout) == (0, "imported: 0\nalready there: 0\nfailed: 0\n")


async def test_a_swept_session_is_imported_again(tmp_path: Path) -> None:
    """After its job became a tombstone a named session is imported anew, and nothing is there twice."""
    async with living(tmp_path, drop_in=RARE) as made:
        (session,) = ended(made, attributes={"snow_task_id": task_of(made)})
        assert (await call(made, "import", session.lsid)).exit_code == 0
        before = everything(made)
        running = made.supervisor.app.running
        assert running is not None
        store = running.parts.store
        assert await store.sweep("session", [DONE], 1e12, 0.0, 10) == 1
        assert "already there: 1" in (await call(made, "import", "--since", "40d")).stdout
        assert await store.known([job_of("default", session.lsid)]) == {job_of("default", session.lsid): "tombstone"}
        assert "already there: 1" in (await call(made, "import", session.lsid)).stdout
        assert made.steps("session", "kept") == 2
        assert everything(made) == before
        judged(made, 1)


async def test_who_names_a_session_wants_it_though_it_was_started_outside(tmp_path: Path) -> None:
    """With import_external: false, --since leaves such sessions out, and naming one imports it."""
    async with living(tmp_path, drop_in=OWN) as made:
        first, second = ended(made, 2)
        found = await call(made, "import", "--since", "40d")
        assert (found.exit_code, "left out: 2" in found.stdout) == (0, True)
        judged(made, 0, external=False)
        named = await call(made, "import", first.lsid)
        assert (named.exit_code, named.stdout.splitlines()[0]) == (0, "imported: 1")
        rows = made.box.servicenow.tables.rows("x_bsr_relay_session")
        assert [row["lsid"] for row in rows] == [first.lsid]
        running = made.supervisor.app.running
        assert running is not None
        assert await running.parts.store.known([job_of("default", second.lsid)]) == {
            job_of("default", second.lsid): LEFT
        }


async def test_what_runs_or_fails_is_told_with_its_code(tmp_path: Path) -> None:
    """A session without its end is waited for no longer than told; one that cannot be read has its code and its fix."""
    async with living(tmp_path, drop_in=RARE) as made:
        running = Lives(made.box.appliance).begin(Script(events=3))
        waits = await call(made, "import", running.lsid, "--wait", "1s")
        assert (waits.exit_code, f"{running.lsid} of default: still running" in waits.stdout) == (75, True)
        assert "the relay goes on" in waits.stderr
        at_once = await call(made, "import", running.lsid, "--wait", "0s")
        assert at_once.exit_code == 75
        work = made.supervisor.app.running
        assert work is not None
        (job,) = await work.parts.store.get([job_of("default", running.lsid)])
        assert job is not None
        Lives(made.box.appliance).end(running)
        assert (await call(made, "import", running.lsid)).exit_code == 0
        judged(made, 1)


async def test_a_failed_import_is_kept_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that stays ill-formed ends as a dead job that keeps it, and is imported once it can be read."""
    monkeypatch.setattr("relay.sessions.fetch.TROUBLE", Backoff(first=0.01, longest=0.01))
    async with living(tmp_path, drop_in=RARE) as made:
        (session,) = ended(made)
        made.box.appliance.faults.add(Fault("truncate", times=None, lane="AccessSession"))
        failed = await call(made, "import", session.lsid)
        assert failed.exit_code == 1, failed.output
        assert "failed: 1" in failed.stdout
        assert "BSR-3009" in failed.stdout
        work = made.supervisor.app.running
        assert work is not None
        job_id = job_of("default", session.lsid)
        (job,) = await work.parts.store.get([job_id])
        (kept,) = await work.parts.store.bodies([job_id], "report")
        assert job is not None
        assert (job.state, job.data["code"]) == (DEAD, 3009)
        assert kept is not None
        assert kept.startswith(b"<?xml")
        made.box.appliance.faults.clear()
        assert (await made.ask("jobs retry", id=job_id))["jobs"][0]["state"] == "NOTICED"
        await made.until(lambda: made.steps("session", "kept") == 1)
        judged(made, 1)


async def test_a_relay_killed_in_between_goes_on_and_the_command_with_it(tmp_path: Path) -> None:
    """The relay ends at once while the command waits; another begins, and all sessions are there once."""
    async with living(tmp_path, drop_in=RARE) as made:
        sessions = ended(made, 12, attributes={"snow_task_id": task_of(made)})
        command = asyncio.create_task(call(made, "import", *(session.lsid for session in sessions)))
        await made.until(lambda: made.steps("session", "kept") >= 2)
        made.supervisor.app.abort()
        await end(made)
        assert not command.done()
        another = make(made.box)
        another.start()
        try:
            done = await command
            assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "imported: 12"), done.output
            judged(made, 12)
        finally:
            await end(another)


async def test_of_several_appliances_one_is_named_or_known(tmp_path: Path) -> None:
    """An appliance must be named where several could be meant; a session that is known needs no name."""
    async with living(tmp_path, drop_in=RARE, products=("pra", "rs")) as made:
        other = next(name for name in made.box.appliances if name != "default")
        (session,) = ended(made, appliance=other)
        unsure = await call(made, "import", session.lsid)
        assert (unsure.exit_code, unsure.stdout) == (1, "")
        assert f"say of which appliance with --appliance: default, {other}" in unsure.stderr
        assert (await call(made, "import", "--since", "2d")).exit_code == 1
        wrong = await call(made, "import", session.lsid, "--appliance", "nowhere")
        assert f"sessions are imported of default, {other}, and of no other appliance" in wrong.stderr
        assert (await call(made, "import", session.lsid, "--appliance", other)).exit_code == 0
        assert "already there: 1" in (await call(made, "import", session.lsid)).stdout
        judged(made, 1)


async def test_a_session_is_shown_as_it_would_be_written(tmp_path: Path) -> None:
    """Fields, links found or not, events, note and recordings are shown for people; nothing is written anywhere."""
    async with living(tmp_path, drop_in=RARE) as made:
        task = task_of(made)
        (session,) = ended(made, film=1000, shells=(10,), attributes={"snow_task_id": task, "snow_cmdb_ci_id": "gone"})
        shown = await call(made, "show", session.lsid)
        assert shown.exit_code == 0, shown.output
        assert f"session {session.lsid} of default: not imported by this relay" in shown.stdout
        assert f"  task: incident {task}" in shown.stdout
        assert "not exactly one record that the relay's user can read has cmdb_ci.name = 'gone'" in shown.stdout
        assert "recordings: link\n  screen: https://" in shown.stdout
        assert "work note on the task\n  BeyondTrust session" in shown.stdout
        assert f"[session {session.lsid}]" in shown.stdout
        assert all(char.isprintable() or char == "\n" for char in shown.stdout)
        document = json.loads((await call(made, "show", session.lsid, "--json")).stdout)
        assert document["schema"] == "bseries-relay/session/1"
        assert document["links"]["task"]["sys_id"] == task
        assert document["events"]["total"] > document["events"]["selected"] == len(document["events"]["rows"])
        assert not list(made.box.servicenow.tables.rows("x_bsr_relay_session"))
        assert made.steps("session", "noticed") == 0
        await call(made, "import", session.lsid)
        assert "default: imported\n" in (await call(made, "show", session.lsid)).stdout
        await made.box.doors["servicenow"].close()
        away = await call(made, "show", session.lsid)
        assert (away.exit_code, "ServiceNow could not be asked: BSR-2" in away.stdout) == (3, True), away.output


async def test_what_cannot_be_shown_is_told(tmp_path: Path) -> None:
    """A session that the appliance does not have is refused; one that runs says that nothing is written yet."""
    async with living(tmp_path, drop_in=OWN) as made:
        gone = await call(made, "show", "0" * 32)
        assert (gone.exit_code, "BSR-3019" in gone.stderr) == (69, True)
        nothing = "<error>No data matching your chosen criteria.</error>"
        made.box.appliance.faults.add(Fault("status", lane="AccessSession", status=200, body=nothing))
        gone = await call(made, "show", "0" * 32)
        assert (gone.exit_code, f"the appliance default has no session {'0' * 32}" in gone.stderr) == (1, True)
        running = Lives(made.box.appliance).begin(Script(events=3))
        shown = await call(made, "show", running.lsid)
        assert (shown.exit_code, "it has no end yet: nothing is written before" in shown.stdout) == (0, True)
        assert "such sessions are left out" in shown.stdout
        assert "no work note: the session leads to no task" in shown.stdout
        await made.box.doors["default"].close()
        away = await call(made, "show", running.lsid)
        assert (away.exit_code, "BSR-3001" in away.stderr) == (69, True)


async def test_where_nothing_is_imported_nothing_can_be_asked_for(tmp_path: Path) -> None:
    """Without sessions in the configuration every command says so, and `sessions events` as well."""
    async with living(tmp_path, drop_in=QUICK) as made:
        refused = await call(made, "import", "0" * 32)
        assert (refused.exit_code, "sessions.mode" in refused.stderr) == (1, True)
        listed = await call(made, "events")
        assert (listed.exit_code, "no appliance's sessions are imported" in listed.stderr) == (0, True)


async def test_the_event_types_are_listed_with_what_is_selected(tmp_path: Path) -> None:
    """Every known type is listed, and whether it is selected; one that is configured and unknown is told."""
    async with living(tmp_path, drop_in=RARE, products=("pra", "rs"), start=False) as made:
        table = (await call(made, "events")).stdout.splitlines()
        assert table[0].split()[:2] == ["event", "type"]
        assert [line.split()[-2:] for line in table if line.startswith("Screen Recording")] == [["yes", "yes"]]
        assert [line.split()[-2:] for line in table if line.startswith("Chat Message")] == [["-", "-"]]
        write_drop_in(made.box, "sessions: {events: [Chat Message, Odd One]}\n", "zz.yaml")
        found = json.loads((await call(made, "events", "--json")).stdout)
        chosen = {one["type"]: one["selected"] for one in found["events"]}
        assert chosen["Chat Message"] == chosen["Odd One"] == found["appliances"] == list(made.box.appliances)
        assert chosen["File Upload"] == []
        assert "not known, and selected as the configuration writes it: Odd One" in (await call(made, "events")).stderr
        assert [one["type"] for one in found["events"] if not one["known"]] == ["Odd One"]


async def test_what_waits_for_an_administrator_is_counted_and_listed(tmp_path: Path) -> None:
    """A post that cannot be read is counted as dead, listed with its code, never repeated, and can be given up."""
    async with living(tmp_path, drop_in=RARE) as made:
        work = made.supervisor.app.running
        assert work is not None
        post = Post("e" * 64, "event", "default", "/events", {}, 1.0, code=6004, detail="no UTF-8", raw=b"\xff")
        assert await work.sessions.inbox.put(post)
        status = await made.ask("status")
        assert (status["dead"], status["kinds"]["session"]) == (1, {"open": 0, "dead": 1})
        (listed,) = (await made.ask("jobs list", dead=True, kind="session"))["jobs"]
        assert (listed["id"], listed["state"], listed["data"]["code"]) == ("e" * 64, DEAD, 6004)
        assert (await made.ask("jobs list", dead=True, kind="queue"))["jobs"] == []
        assert (await made.ask("jobs list", state="done"))["jobs"] == []
        with pytest.raises(DaemonError, match="nothing can be made of this post"):
            await made.ask("jobs retry", id="e" * 64)
        with pytest.raises(DaemonError, match="no such state"):
            await made.ask("jobs list", state="left", kind="queue")
        with pytest.raises(DaemonError, match="no such kind"):
            await made.ask("jobs list", kind="odd")
        assert await made.ask("jobs discard", id="e" * 64, reason="seen") == {"discarded": "e" * 64}
        assert (await made.ask("status"))["dead"] == 0


async def test_a_session_that_was_given_up_stays_so_unless_it_is_named(tmp_path: Path) -> None:
    """Who asks for all of a time does not get back what somebody gave up, also not after its job was swept."""
    async with living(tmp_path, drop_in=RARE) as made:
        (session,) = ended(made)
        held = made.box.appliance.faults.add(Fault("status", times=None, lane="AccessSession", status=503))
        assert (await call(made, "import", session.lsid, "--wait", "0s")).exit_code == 75
        job_id = job_of("default", session.lsid)
        await made.until(lambda: held.fired)
        discarded = False
        while not discarded:  # the runner may have the job in its hands
            with contextlib.suppress(DaemonError):
                discarded = bool(await made.ask("jobs discard", id=job_id, reason="not ours"))
        made.box.appliance.faults.clear()
        assert "given up: 1" in (await call(made, "import", "--since", "40d")).stdout
        work = made.supervisor.app.running
        assert work is not None
        assert await work.parts.store.sweep("session", [DONE], 1e12, 0.0, 10) == 1
        assert "given up: 1" in (await call(made, "import", "--since", "40d")).stdout
        judged(made, 0, external=False)
        assert "imported: 1" in (await call(made, "import", session.lsid)).stdout
        judged(made, 1)


async def test_a_malformed_order_is_refused(tmp_path: Path) -> None:
    """What the command would never send is refused with a reason, as everything else at the control socket."""
    async with living(tmp_path, drop_in=RARE) as made:
        for command, arguments, words in [
            ("import", {"lsids": "x"}, "'lsids' must be a list"),
            ("import", {"lsids": ["x"] * 501}, "at most 500"),
            ("import", {"lsids": ["a\x1b"]}, "'lsids' must be a list"),
            ("show", {}, "'lsids' must be a list"),
            ("listed", {"since": True, "seconds": 0}, "'since' must be a number"),
            ("listed", {"since": 0, "seconds": -1}, "'seconds' must be a number"),
        ]:
            with pytest.raises(DaemonError, match=words):
                await made.ask(f"sessions {command}", **arguments)
        assert (await made.ask("sessions import", lsids=[]))["sessions"] == []


async def test_a_question_waits_for_its_turn(tmp_path: Path) -> None:
    """An appliance that asks for a second's patience is asked again; one that asks for a minute's is told of."""
    async with living(tmp_path, drop_in=RARE) as made:
        faults = made.box.appliance.faults
        faults.add(Fault("status", lane="AccessSessionListing", status=429, headers={"Retry-After": "1"}))
        ended(made)
        assert len((await made.ask("sessions listed", since=0, seconds=0))["lsids"]) == 1
        faults.add(Fault("status", lane="AccessSessionListing", status=429, headers={"Retry-After": "60"}))
        with pytest.raises(DaemonError, match="BSR-3007"):
            await made.ask("sessions listed", since=0, seconds=0)


async def test_a_session_of_remote_support_is_shown_with_its_surveys(tmp_path: Path) -> None:
    """Exit surveys stand in the session as an import would write them; one that cannot be had is left out."""
    drop_in = QUICK + "sessions: {sweep: 1h, recordings: none, events: all}\n"
    async with living(tmp_path, drop_in=drop_in, products=("rs",)) as made:
        (session,) = ended(made, appliance=next(iter(made.box.appliances)), film=100)
        shown = await made.ask("sessions show", lsid=session.lsid)
        assert shown["events"]["types"]["Session Start"] == 1
        assert "How satisfied are you?" in shown["row"]["values"]["surveys"]
        assert shown["recordings"] == {"mode": "none", "links": []}
        assert shown["events"]["selected"] == shown["events"]["total"] == len(shown["events"]["rows"])
        made.box.appliances[next(iter(made.box.appliances))].faults.add(
            Fault("status", times=None, lane="SupportCustExitSurvey", status=500)
        )
        without = await made.ask("sessions show", lsid=session.lsid)
        assert without["events"]["total"] == shown["events"]["total"] - 1


async def test_an_answer_stays_small_whatever_a_session_holds(tmp_path: Path) -> None:
    """Long texts and many events are bounded in what is shown, and their number is told."""
    drop_in = QUICK + "sessions: {sweep: 1h, events: all}\n"
    async with living(tmp_path, drop_in=drop_in) as made:
        script = Script(events=1_000, kinds=("Chat Message",))
        session = Lives(made.box.appliance).ended(script, int(time.time()) - 9 * 86_400)
        shown = await made.ask("sessions show", lsid=session.lsid)
        assert len(json.dumps(shown)) < 500_000
        assert (shown["events"]["selected"], len(shown["events"]["rows"])) == (1_000 + 3, 200)
        assert shown["row"]["values"]["chat_transcript"].endswith(" characters)")
