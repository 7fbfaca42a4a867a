"""Sessions come home through the whole daemon: posted on real TLS, fetched, written, noted."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.living import QUICK, Living, end, living, make, write_drop_in

from relay.core.errors import StorageError
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.sessionoracle import Terms, check_sessions
from relay.storage.sqlite import SqliteStore

DEFAULT_EVENTS = frozenset(
    ["Session Note Added", "File Upload", "File Download", "System Information Retrieved", "Screen Recording"]
)
TERMS = Terms(events=DEFAULT_EVENTS)


def task_of(made: Living) -> str:
    """A new incident at ServiceNow."""
    return str(made.box.servicenow.insert("incident", {"short_description": "x"}))


async def home(made: Living, number: int) -> None:
    """Wait until so many sessions are imported, then let the oracle judge."""
    await made.until(lambda: made.steps("session", "kept") >= number)
    judged = check_sessions(made.box.servicenow, made.box.appliances.values(), TERMS, final=True)
    assert judged.violations == ()
    assert judged.imported == number


async def test_a_session_comes_home(tmp_path: Path) -> None:
    """The appliance posts that a session ended; ServiceNow has its row, its events and one note on the task."""
    async with living(tmp_path, listens=True) as made:
        task = task_of(made)
        lives = Lives(made.box.appliance)
        session = lives.begin(Script(events=60, film=1000, attributes={"snow_task_id": task}))
        lives.end(session)
        await home(made, 1)
        assert {tuple(one.answers) for one in made.box.appliance.outbound.messages} == {(200,)}
