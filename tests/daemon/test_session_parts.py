"""Everything of a session comes home through the whole daemon: its events, surveys, note, and the entry on its item."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from support.living import QUICK, Living, living

from relay.core.session_rows import event_rows, session_row
from relay.sandbox.faults import Action, Fault
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.scenes import REPEATED
from relay.sandbox.sessionoracle import SessionSummary, Terms, check_sessions
from relay.sessions import parts, write

ALL = f"{QUICK}sessions: {{events: all}}\n"


def happen(made: Living, name: str, seed: int) -> None:
    """A session with every type of event, on an endpoint that the CMDB knows."""
    servicenow, host = made.box.servicenow, f"host{seed}"
    task = servicenow.insert("change_request", {})["number"]
    servicenow.insert("cmdb_ci", {"name": f"Server {seed}", "host_name": host.upper()})
    lives = Lives(made.box.appliances[name], seed)
    lives.end(lives.begin(Script(events=len(REPEATED), endpoint=host, attributes={"external_key": task})))


async def judged(made: Living, number: int) -> SessionSummary:
    """What the oracle says once so many sessions are imported."""
    await made.until(lambda: made.steps("session", "kept") >= number)
    return check_sessions(made.box.servicenow, made.box.appliances.values(), Terms(), final=True)


async def test_everything_of_a_session_comes_home(tmp_path: Path) -> None:
    """Of both products: every event and survey has its row, task and item have their entry, each once."""
    async with living(tmp_path, products=("pra", "rs"), listens=True, drop_in=ALL) as made:
        happen(made, "default", 1)
        happen(made, "appliance2", 2)
        summary = await judged(made, 2)
        assert summary.violations == ()
        assert (summary.imported, summary.notes, summary.entries) == (2, 2, 2)
        surveys = {
            row["body"].splitlines()[0]
            for row in made.box.servicenow.tables.rows("x_bsr_relay_session_event")
            if row["event_type"].endswith("Exit Survey") and row["details"].startswith('{"by"')
        }
        assert surveys == {"How satisfied are you?: Très satisfait & happy"}


@pytest.mark.parametrize("large", [True, False])
async def test_rows_of_a_large_report_are_made_beside_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    """In a thread, so that neither a decision nor a heartbeat waits for them; and they are the same rows."""
    makers: set[bool] = set()
    made_row, made_events = session_row, event_rows

    def noted(*arguments: Any) -> Any:
        if len(arguments) > 2:  # to be written, and not only looked for
            makers.add(threading.current_thread() is threading.main_thread())
        return made_row(*arguments)

    def each(*arguments: Any) -> Any:
        for row in made_events(*arguments):
            makers.add(threading.current_thread() is threading.main_thread())
            yield row

    monkeypatch.setattr(write, "session_row", noted)
    monkeypatch.setattr(write, "event_rows", each)
    monkeypatch.setattr(parts, "LARGE", 10 if large else 10_000_000)
    async with living(tmp_path, listens=True, drop_in=ALL) as made:
        happen(made, "default", 1)
        assert (await judged(made, 1)).violations == ()
    assert makers == {not large}


@pytest.mark.parametrize("action", ["reset after", "status after"])
async def test_entries_of_unknown_outcome(tmp_path: Path, action: Action) -> None:
    """The note and the entry on the item are asked for before they are repeated, and so never there twice."""
    async with living(tmp_path, listens=True, drop_in=ALL) as made:
        faults = [
            made.box.servicenow.faults.add(Fault(action, method=method, path=path))
            for method, path in (("PATCH", "/change_request/"), ("POST", "/sys_journal_field"))
        ]
        happen(made, "default", 1)
        summary = await judged(made, 1)
        assert [fault.fired for fault in faults] == [1, 1]
        assert summary.violations == ()
        assert (made.steps("session", "note unknown"), made.steps("session", "found")) == (2, 2)


async def test_the_note_is_as_the_configuration_says(tmp_path: Path) -> None:
    """An appliance's own template is its own, the others have the common one."""
    common, own = "sessions: {note: 'Common {lsid}'}\n", "appliances: {default: {sessions: {note: 'Own {endpoint}'}}}\n"
    async with living(tmp_path, products=("pra", "rs"), listens=True, drop_in=QUICK + common + own) as made:
        happen(made, "default", 1)
        happen(made, "appliance2", 2)
        await judged(made, 2)
        notes = {
            row["value"].splitlines()[0].split()[0]
            for row in made.box.servicenow.tables.rows("sys_journal_field")
            if row["element"] == "work_notes"
        }
        assert notes == {"Own", "Common"}
