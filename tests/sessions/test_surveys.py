"""Exit surveys come home with their session, and never hold it up."""

from __future__ import annotations

import pytest
from support.memory import When
from support.sessionflow import Life, World, in_world

from relay.core.jobs import Job
from relay.core.posts import Post
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


def filled_in(world: World, lsid: str, number: int = 1, name: str = "customer_exit_survey_completed") -> Post:
    """The event of a survey."""
    fields = {"event": f"support_conference_{name}", "lsid": lsid, "timestamp": str(number)}
    return world.post(lsid, id=f"survey {number} {name}", appliance="second", fields=fields)


async def home_unasked(world: World) -> tuple[Life, str]:
    """A session that came home before its customer filled in the survey."""
    lsid = world.session(1, box="second", surveys=("representative",))
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(60)
    assert (world.job(lsid, "second").state, len(rows(world))) == ("DONE", 1)
    world.boxes.sessions["second", lsid].surveys = BOTH
    return life, lsid


@in_world(sweep=0)
async def test_a_survey_that_is_filled_in_later_comes_home(world: World) -> None:
    """Its event has the session imported again: one more row, and no second note."""
    life, lsid = await home_unasked(world)
    assert await life.inbox.put(filled_in(world, lsid))
    assert not await life.inbox.put(filled_in(world, lsid))
    await life.run(120)
    assert (world.job(lsid, "second").state, len(rows(world))) == ("DONE", 2)
    assert world.records.notes_of(lsid) == 1
    assert {one.job.state for one in world.store.jobs.values()} == {"DONE"}
    assert (asked(world).count(CUSTOMER), asked(world).count(REPRESENTATIVE)) == (1, 2)
    await life.stop()


@in_world(sweep=0)
async def test_a_survey_that_is_home_changes_nothing(world: World) -> None:
    """Appliances tell of surveys that the report held already; a session is not fetched again for them."""
    lsid = world.session(1, box="second", surveys=BOTH)
    life = world.life()
    for name in ("customer_exit_survey_completed", "rep_exit_survey_completed"):
        await life.inbox.put(filled_in(world, lsid, name=name))
    await life.inbox.put(filled_in(world, "f" * 32, 2))
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(120)
    assert (asked(world).count(CUSTOMER), asked(world).count(REPRESENTATIVE)) == (1, 1)
    assert {one.job.state for one in world.store.jobs.values()} == {"DONE"}
    await life.stop()


@in_world(sweep=0)
async def test_a_survey_of_a_session_under_way_waits(world: World) -> None:
    """What is under way may have been fetched before the survey was there: it is looked at when it is home."""
    lsid = world.session(1, box="second", surveys=("representative",))
    world.records.faults["upsert"].extend(["busy"] * 8)
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(10)
    assert world.job(lsid, "second").state == "FETCHED"
    world.boxes.sessions["second", lsid].surveys = BOTH
    await life.inbox.put(filled_in(world, lsid))
    await life.run(900)
    assert (world.job(lsid, "second").state, len(rows(world))) == ("DONE", 2)
    assert {one.job.state for one in world.store.jobs.values()} == {"DONE"}
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
async def test_a_later_survey_survives_a_kill(world: World, nth: int, when: When) -> None:
    """Whichever durable step the process dies at, the survey comes home, and the note is there once."""
    life, lsid = await home_unasked(world)
    await life.inbox.put(filled_in(world, lsid))
    life.gate.kill_at("change", nth, when)
    await life.run(60)
    await life.crash()
    life = world.life()
    await life.run(600)
    assert (world.job(lsid, "second").state, len(rows(world))) == ("DONE", 2)
    assert world.records.notes_of(lsid) == 1
    assert {one.job.state for one in world.store.jobs.values()} == {"DONE"}
    await life.stop()


@in_world(sweep=0)
async def test_a_survey_event_loses_no_race(world: World) -> None:
    """A session that changes in the moment in which it is asked for again is looked at once more."""
    life, lsid = await home_unasked(world)
    await life.inbox.put(filled_in(world, lsid))
    real = life.ledger.apply
    lost = iter([True])

    async def apply(moves: list[Move]) -> list[Job | None]:
        if moves and moves[0].event == "asked again" and next(lost, False):
            return [None]
        return await real(moves)

    life.ledger.apply = apply  # type: ignore[method-assign,assignment]
    await life.run(300)
    assert (world.job(lsid, "second").state, len(rows(world))) == ("DONE", 2)
    await life.stop()


@in_world(sweep=0, recordings="none")
async def test_links_to_recordings_can_be_left_out(world: World) -> None:
    """Neither the row nor the note leads to recordings that nobody wants in ServiceNow."""
    lsid = await brought(world, recordings=2)
    [row] = [row for row in world.records.rows.values() if "recording_view_url" in row.values]
    assert (row.values["lsid"], row.values["recording_view_url"]) == (lsid, "")
    assert row.values["command_shell_recordings"] == ""
    assert "https://appliance.example/r" not in str(world.records.notes) + str(world.records.rows)
