"""The relay's row in `ecc_agent`."""

from __future__ import annotations

import re
import time
from importlib import metadata
from typing import Any

import pytest
from support.ecc_table import FakeInstance, answer
from support.server import RESET

from relay.core.errors import ServiceNowError
from relay.core.instant import epoch

TABLE = "/api/now/table/ecc_agent"


@pytest.fixture
async def agent(connect: Any, fake: FakeInstance) -> Any:
    async with connect(fake) as (instance, server):
        fake.requests = server.requests  # type: ignore[attr-defined]
        yield instance.agent


def methods(fake: FakeInstance) -> list[str]:
    return [request.method for request in fake.requests]  # type: ignore[attr-defined]


async def failure(agent: Any) -> ServiceNowError:
    with pytest.raises(ServiceNowError) as caught:
        await agent.refresh("Up")
    assert caught.value.number == 2018
    return caught.value


async def test_made(agent: Any, fake: FakeInstance) -> None:
    """Without a row of our name one is made; later refreshes are one request."""
    await agent.refresh("Up")
    await agent.refresh("Paused")
    (row,) = fake.tables["ecc_agent"].values()
    assert (row["name"], row["status"], row["host_name"]) == ("relay01", "Paused", "host1")
    assert row["version"] == metadata.version("bseries-relay")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["last_refreshed"])
    refreshed = epoch(row["last_refreshed"])
    assert refreshed is not None
    assert abs(refreshed - time.time()) < 30
    assert methods(fake) == ["GET", "POST", "PATCH"]


async def test_found(agent: Any, fake: FakeInstance) -> None:
    """A row of our name is used; one that differs in case is another agent's."""
    fake.add("ecc_agent", name="RELAY01", status="Down")
    ours = fake.add("ecc_agent", name="relay01", status="Down", validated="true")
    await agent.refresh("Up")
    assert fake.tables["ecc_agent"][ours]["status"] == "Up"
    assert fake.tables["ecc_agent"][ours]["validated"] == "true"
    assert len(fake.tables["ecc_agent"]) == 2


async def test_case_alone(agent: Any, fake: FakeInstance) -> None:
    """Where only a row of another case exists, our own is made."""
    fake.add("ecc_agent", name="RELAY01", status="Down")
    await agent.refresh("Up")
    assert {row["name"] for row in fake.tables["ecc_agent"].values()} == {"RELAY01", "relay01"}


async def test_deleted(agent: Any, fake: FakeInstance) -> None:
    """A row that somebody deleted is made anew."""
    await agent.refresh("Up")
    fake.tables["ecc_agent"].clear()
    await agent.refresh("Up")
    assert len(fake.tables["ecc_agent"]) == 1
    assert methods(fake) == ["GET", "POST", "PATCH", "POST"]


async def test_two_rows(agent: Any, fake: FakeInstance) -> None:
    """Two rows of our name are a fault to be mended, not to be guessed at."""
    fake.add("ecc_agent", name="relay01")
    fake.add("ecc_agent", name="relay01")
    assert "2 rows" in (await failure(agent)).text


async def test_query_ignored(agent: Any, fake: FakeInstance) -> None:
    """Rows that were not asked for are never written to."""
    fake.next("GET", TABLE, answer(200, {"result": [{"sys_id": "a" * 32, "name": "other", "status": "Up"}]}))
    assert "BSR-2019" in (await failure(agent)).text
    assert methods(fake) == ["GET"]


@pytest.mark.parametrize(
    ("reply", "code", "maybe_sent"),
    [(answer(403, {}), "BSR-2006", False), (answer(500, {}), "BSR-2008", True), (RESET, "BSR-2004", True)],
)
async def test_failures(agent: Any, fake: FakeInstance, reply: Any, code: str, maybe_sent: bool) -> None:
    """Whatever fails is BSR-2018 with the reason's code."""
    await agent.refresh("Up")
    fake.next("PATCH", f"{TABLE}/.*", reply)
    error = await failure(agent)
    assert code in error.text
    assert error.maybe_sent == maybe_sent


async def test_dropped_write(agent: Any, fake: FakeInstance) -> None:
    """A status that was dropped silently is a failure."""
    fake.read_only = {"status"}
    assert "ecc_agent.status" in (await failure(agent)).text


async def test_instance_clock(agent: Any, fake: FakeInstance) -> None:
    """The time of the refresh is the instance's, not this machine's."""
    fake.next("GET", TABLE, answer(200, {"result": []}, date="Sun, 06 Nov 1994 08:49:37 GMT"))
    await agent.refresh("Up")
    (row,) = fake.tables["ecc_agent"].values()
    assert row["last_refreshed"].startswith("1994-11-06 08:4")
