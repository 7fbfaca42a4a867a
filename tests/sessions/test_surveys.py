"""Exit surveys come home with their session, and never hold it up."""

from __future__ import annotations

import pytest
from support.sessionflow import World, in_world

from relay.core.session_rows import Row, RowSettings
from relay.jobs.ledger import Move

BOTH = ("customer", "representative")
CUSTOMER, REPRESENTATIVE = "SupportCustExitSurvey", "SupportRepExitSurvey"
SUBJECT = "exit surveys second"


async def brought(world: World, seconds: float = 60.0, **more: object) -> str:
    """A session of the Remote Support appliance that an event told of, some seconds later."""
    lsid = world.session(1, box="second", surveys=BOTH, **more)
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(seconds)
    await life.stop()
    return lsid


def rows(world: World) -> dict[str, Row]:
    """The rows of exit surveys, by their type."""
    return {
        row.values["event_type"]: row
        for row in world.records.rows.values()
        if row.values.get("event_type", "").endswith("Exit Survey")
    }


def asked(world: World) -> list[str]:
    """Which reports were asked for."""
    return [query["generate_report"] for query in world.boxes.asked]


@in_world(sweep=0)
async def test_surveys_come_home(world: World) -> None:
    """Each is a row of its own with its answers, is told in the note, and its report is let go of in the end."""
    lsid = await brought(world)
    assert world.job(lsid, "second").state == "DONE"
    found = rows(world)
    assert {kind: row.values["body"] for kind, row in found.items()} == {
        "Customer Exit Survey": "Solved?: Yes",
        "Representative Exit Survey": "Solved?: Yes",
    }
    [(_, text)] = world.records.notes
    assert text.count("Survey:   Solved?: Yes") + text.count("Survey: Solved?: Yes") == 2
    assert not world.store.jobs[world.job(lsid, "second").id].bodies


@in_world(sweep=0, rows=RowSettings("second", events=frozenset({"Customer Exit Survey"})))
async def test_only_selected_surveys_become_rows(world: World) -> None:
    """As any other event; the note tells of both."""
    await brought(world)
    assert list(rows(world)) == ["Customer Exit Survey"]


@in_world(sweep=0)
async def test_a_product_without_surveys_is_not_asked(world: World) -> None:
    """Privileged Remote Access has none, nor is a session asked for that names none."""
    lsid = world.session(1, surveys=BOTH)
    other = world.session(2, box="second")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.inbox.put(world.post(other, appliance="second"))
    await life.run(60)
    assert world.state(lsid) == world.job(other, "second").state == "DONE"
    assert not {CUSTOMER, REPRESENTATIVE} & set(asked(world))
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("fault", ["3019", "3009", "404"])
async def test_a_survey_that_cannot_be_had_holds_up_nothing(world: World, fault: str) -> None:
    """The session comes home with what its report says of it, the other survey as well, and health says so."""
    world.boxes.faults[CUSTOMER].append(fault)
    lsid = world.session(1, box="second", surveys=BOTH)
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(20)
    assert world.job(lsid, "second").state == "DONE"
    assert list(rows(world)) == ["Representative Exit Survey"]
    assert "Survey: (customer)" in world.records.notes[0][1]
    assert life.conditions.has(SUBJECT)
    other = world.session(2, box="second", surveys=BOTH)
    await life.inbox.put(world.post(other, appliance="second"))
    await life.run(20)
    assert len([row for row in world.records.rows.values() if "Exit" in row.values.get("event_type", "")]) == 3
    assert not life.conditions.has(SUBJECT)
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("fault", ["broken", "503", "paced"])
async def test_trouble_that_passes_is_waited_for(world: World, fault: str) -> None:
    """The import is put off, and has its surveys then."""
    world.boxes.faults[REPRESENTATIVE].extend(["3007" if fault == "paced" else fault] * 5)
    lsid = await brought(world, 300)
    assert world.job(lsid, "second").state == "DONE"
    assert len(rows(world)) == 2
    assert "surveys_failed" not in world.job(lsid, "second").data


@in_world(sweep=0)
async def test_trouble_that_does_not_pass_is_not_waited_for_long(world: World) -> None:
    """After some minutes the session comes home without."""
    world.boxes.faults[CUSTOMER].extend(["broken"] * 100)
    lsid = await brought(world, 400)
    assert world.job(lsid, "second").state == "DONE"
    assert list(rows(world)) == ["Representative Exit Survey"]


@in_world(sweep=0)
async def test_a_survey_that_lags_behind_is_waited_for(world: World) -> None:
    """A report on surveys that does not have the one that the session names is asked for again, for minutes."""
    lsid = world.session(1, box="second", surveys=("customer",))
    looks = iter(["nothing", "nothing"])
    life = world.life()
    plain = world.boxes.surveys

    async def late(document: bytes, by: str) -> object:
        return [] if next(looks, "") else await plain(document, by)

    world.boxes.surveys = late  # type: ignore[method-assign,assignment]
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(60)
    assert world.job(lsid, "second").state == "DONE"
    assert list(rows(world)) == ["Customer Exit Survey"]
    await life.stop()


@in_world(sweep=0)
async def test_a_survey_that_never_comes_is_not_waited_for_long(world: World) -> None:
    """The session comes home after some minutes."""
    lsid = world.session(1, box="second", surveys=("customer",))

    async def never(_document: bytes, _by: str) -> object:
        return []

    world.boxes.surveys = never  # type: ignore[method-assign,assignment]
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(400)
    assert (world.job(lsid, "second").state, rows(world)) == ("DONE", {})
    assert life.conditions.has(SUBJECT)
    await life.stop()


@in_world(sweep=0)
async def test_surveys_are_the_same_when_imported_again(world: World) -> None:
    """A dead import that is tried again fetches them anew, and writes no second row."""
    lsid = world.session(1, box="second", surveys=BOTH)
    world.records.faults["note"].append("refused")
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(60)
    before = rows(world)
    assert (world.job(lsid, "second").state, len(before)) == ("DEAD", 2)
    await life.ledger.step(Move(world.job(lsid, "second"), "retried"))
    await life.run(60)
    assert world.job(lsid, "second").state == "DONE"
    assert rows(world) == before
    assert asked(world).count(CUSTOMER) == 2
    await life.stop()


@in_world(sweep=0, recordings="none")
async def test_links_to_recordings_can_be_left_out(world: World) -> None:
    """Neither the row nor the note leads to recordings that nobody wants in ServiceNow."""
    lsid = await brought(world, recordings=2)
    [row] = [row for row in world.records.rows.values() if "recording_view_url" in row.values]
    assert (row.values["lsid"], row.values["recording_view_url"]) == (lsid, "")
    assert row.values["command_shell_recordings"] == ""
    assert "https://appliance.example/r" not in str(world.records.notes) + str(world.records.rows)
