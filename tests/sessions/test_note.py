"""The note, and what a configuration item is told, are written exactly once, whatever their sending meets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.sessionflow import ITEM, ITEM_PLACE, PLACE, World, in_world

from relay.core.errors import InternalError
from relay.core.note import mark
from relay.core.session_entries import NOTE, SYSTEM
from relay.core.session_rows import RowSettings
from relay.jobs.ledger import Move
from relay.sessions.note import Ask


async def _imported(world: World, lsid: str, seconds: float = 400.0) -> None:
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(seconds)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("faults", [["not sent"], ["busy", "forbidden", "not sent"], ["late"], ["done"], ["bug"]])
async def test_one_note_whatever_its_sending_meets(world: World, faults: list[str]) -> None:
    """What was not sent is sent again; what may have been is looked for, not before it must be there."""
    await _imported(world, world.session(9))
    lsid = world.session(1)
    world.records.faults["note"].extend(faults)
    await _imported(world, lsid)
    assert world.records.notes_of(lsid) == 1


@in_world(sweep=0)
async def test_a_note_that_was_lost_is_written_again(world: World) -> None:
    """An older note that this account can read is what gives "absent" its meaning, also after a restart."""
    await _imported(world, world.session(9))
    lsid = world.session(1)
    world.records.faults["note"].extend(["lost", "lost"])
    world.records.faults["noted"].extend(["not sent"])
    await _imported(world, lsid)
    assert world.records.notes_of(lsid) == 1


@in_world(sweep=0)
async def test_a_note_that_was_found_gives_sight_to_later_lives(world: World) -> None:
    """The only note so far was of unknown outcome and found: the next life knows by it that another one was lost."""
    one, two = world.session(1), world.session(2)
    world.records.faults["note"].append("done")
    await _imported(world, one)
    world.records.faults["note"].append("lost")
    await _imported(world, two)
    assert (world.records.notes_of(one), world.records.notes_of(two)) == (1, 1)


@in_world(sweep=0)
async def test_without_sight_no_note_is_repeated(world: World) -> None:
    """A relay that never saw a note of its own does not take "not found" for "not there"."""
    lsid = world.session(1)
    world.records.faults["note"].append("lost")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(400)
    assert world.state(lsid) == "DONE"
    assert world.records.notes_of(lsid) == 0
    assert life.conditions.has("work notes")
    await life.stop()


@in_world(sweep=0)
async def test_where_notes_cannot_be_read_none_is_repeated_and_health_says_so(world: World) -> None:
    """Better no note than a second one that people see."""
    world.records.readable = False
    lsid = world.session(1)
    world.records.faults["note"].append("lost")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(200)
    assert world.state(lsid) == "DONE"
    assert world.records.notes_of(lsid) == 0
    assert life.conditions.has("work notes")
    two = world.session(2)
    world.records.readable = True
    world.records.faults["note"].append("done")
    await life.inbox.put(world.post(two))
    await life.run(200)
    assert world.records.notes_of(two) == 1
    assert not life.conditions.has("work notes")
    await life.stop()


@in_world(sweep=0)
async def test_a_note_that_is_refused_waits_for_an_administrator(world: World) -> None:
    """Nothing was written, so that trying again from the start writes the one note."""
    lsid = world.session(1)
    world.records.faults["note"].append("refused")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert (world.state(lsid), world.job(lsid).data["code"]) == ("DEAD", 2015)

    await life.ledger.step(Move(world.job(lsid), "retried"))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert world.records.notes_of(lsid) == 1
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("tables", [True, False])
@pytest.mark.parametrize("noted", [True, False])
async def test_a_session_that_was_imported_before_has_no_second_note(world: World, tables: bool, noted: bool) -> None:
    """With all memory of it lost, its row or its mark tells; one whose note is missing gets it."""
    lsid = world.session(1)
    world.records.has_tables = tables
    await _imported(world, lsid)
    await _imported(world, world.session(9))
    world.store.jobs.clear()
    rows = dict(world.records.rows)
    if not noted:
        del world.records.notes[0]
    world.records.faults["noted"].append("not sent")
    await _imported(world, lsid)
    assert world.records.notes_of(lsid) == 1
    assert world.records.rows == rows


@in_world(sweep=0)
async def test_a_note_under_way_at_a_crash_is_looked_for(world: World) -> None:
    """Its request may still run at ServiceNow: the look comes after that, also when the clock was set meanwhile."""
    await _imported(world, world.session(9))
    lsid = world.session(1)
    world.records.faults["note"].append("late")
    life = world.life()
    life.gate.kill_at("note", 1, "after")
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "NOTING"
    await world.life().run(1)
    assert world.state(lsid) == "ASKING"
    world.clock.jump(1000.0)
    life = world.life()
    await life.run(300)
    assert world.state(lsid) == "DONE"
    assert world.records.notes == [(PLACE, text) for _, text in world.records.notes]
    assert [text.endswith(mark(lsid)) for _, text in world.records.notes] == [False, True]
    await life.stop()


@in_world(sweep=0)
async def test_an_account_that_is_shown_no_notes_writes_none_again(world: World) -> None:
    """ServiceNow may hide entries without a word: "not there" counts only with an entry of our own in sight."""
    lsid = world.session(1)
    await _imported(world, lsid)
    world.store.jobs.clear()
    world.records.blind = True
    await _imported(world, lsid)
    assert world.records.notes_of(lsid) == 1


@in_world(sweep=0)
async def test_sessions_of_an_appliance_that_left_the_configuration_wait(world: World) -> None:
    """They hold up nothing, and go on when it comes back."""
    lsid = world.session(1)
    await _imported(world, world.session(9))
    world.records.faults["note"].append("done")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(20)
    assert world.state(lsid) == "ASKING"
    await life.crash()
    kept = world.store.jobs[world.job(lsid).id]
    kept.job = replace(kept.job, lane="former")
    life = world.life()
    await life.run(200)
    assert world.state(lsid) == "ASKING"
    kept.job = replace(kept.job, lane="default")
    await life.run(200)
    assert world.state(lsid) == "DONE"
    await life.stop()


# What a configuration item is told.

UNREAD, REFUSED = "comments of configuration items", "writing comments of configuration items"


@in_world(sweep=0)
async def test_a_configuration_item_is_told_of_its_endpoint(world: World) -> None:
    """One entry in the item's journal, beside the note of the task, both ended by the session's mark."""
    lsid = world.session(1, item=ITEM)
    await _imported(world, lsid)
    [(place, text, element)] = world.records.entries
    assert (place, text, element) == (ITEM_PLACE, f"Disk\n  Drive: C:\n{mark(lsid)}", "comments")
    assert world.records.notes_of(lsid) == 1


@in_world(sweep=0, rows=RowSettings("default", events=frozenset({"Chat Message"})))
async def test_an_item_is_not_told_what_is_not_selected(world: World) -> None:
    """System information is an event, and not selected here."""
    lsid = world.session(1, item=ITEM)
    await _imported(world, lsid)
    assert (world.records.notes_of(lsid), world.records.entries) == (1, [])


@in_world(sweep=0)
async def test_an_item_without_a_task(world: World) -> None:
    """A session that belongs to no task has its entry nevertheless."""
    lsid = world.session(1, item=ITEM, task="")
    await _imported(world, lsid)
    assert (world.records.notes_of(lsid), world.records.entries_of(lsid)) == (0, 1)


@in_world(sweep=0)
@pytest.mark.parametrize("name", ["note", "entry"])
@pytest.mark.parametrize("faults", [["not sent"], ["busy", "not sent"], ["late"], ["done"], ["bug"], ["lost", "lost"]])
async def test_two_entries_whatever_their_sending_meets(world: World, name: str, faults: list[str]) -> None:
    """The trouble of one changes nothing for the other."""
    await _imported(world, world.session(9, item=ITEM))
    lsid = world.session(1, item=ITEM)
    world.records.faults[name].extend(faults)
    await _imported(world, lsid)
    assert world.records.notes_of(lsid) == world.records.entries_of(lsid) == 1


@in_world(sweep=0)
@pytest.mark.parametrize("fault", ["forbidden", "refused"])
async def test_an_entry_that_is_refused_holds_up_nothing(world: World, fault: str) -> None:
    """The session comes home without it, health says so, until an entry is taken; imported again it has its own."""
    lsid = world.session(1, item=ITEM)
    world.records.faults["entry"].append(fault)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(30)
    assert world.state(lsid) == "DONE"
    assert (world.records.notes_of(lsid), world.records.entries_of(lsid)) == (1, 0)
    assert life.conditions.has(REFUSED)
    other = world.session(2, item=ITEM)
    await life.inbox.put(world.post(other))
    await life.run(30)
    assert world.records.entries_of(other) == 1
    assert not life.conditions.has(REFUSED)
    await life.ledger.step(Move(world.job(lsid), "asked again"))
    await life.run(30)
    assert (world.records.notes_of(lsid), world.records.entries_of(lsid)) == (1, 1)
    await life.stop()


@in_world(sweep=0)
async def test_what_may_be_read_of_tasks_says_nothing_of_items(world: World) -> None:
    """An account that saw a note of its own has not seen what is hidden from it elsewhere."""
    await _imported(world, world.session(9))
    lsid = world.session(1, item=ITEM)
    world.records.faults["entry"].append("lost")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(400)
    assert world.state(lsid) == "DONE"
    assert world.records.entries_of(lsid) == 0
    assert life.conditions.has(UNREAD)
    assert not life.conditions.has("work notes")
    await life.stop()


@in_world(sweep=0)
async def test_a_refused_note_is_all_that_is_written_again(world: World) -> None:
    """A dead import that is tried again goes on with the entry it died at, and repeats none."""
    first, second = SYSTEM, NOTE
    lsid = world.session(1, item=ITEM)
    world.records.faults["note"].append("refused")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DEAD"
    await life.ledger.step(Move(world.job(lsid), "retried", data={"noted": [first.name]}))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert world.job(lsid).data["noted"] == [first.name, second.name]
    assert (world.records.notes_of(lsid), world.records.entries_of(lsid)) == (1, 0)
    await life.stop()


@in_world(sweep=0)
async def test_an_entry_of_no_journal_is_a_fault_of_ours(world: World) -> None:
    """It is told as one, and never sent."""
    lsid = world.session(1)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    job = replace(world.job(lsid), state="ASKING", data={"links": {}, "due": ["note"], "lsid": lsid})
    with pytest.raises(InternalError):
        await Ask(life.parts)([job])
    await life.stop()
