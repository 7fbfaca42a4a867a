"""A session comes home: event, report, rows, note, recordings."""

from __future__ import annotations

import pytest
from support.sessionflow import PLACE, World, in_world

from relay.core.session_job import TRANSFER_TRIES
from relay.core.session_rows import RowSettings
from relay.jobs.ledger import Move


@in_world()
async def test_a_session_comes_home(world: World) -> None:
    """From one event: the session's row, a row for each event, one note, and the report is let go of."""
    lsid = world.session(1)
    life = world.life()
    assert await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert len(world.records.rows) == 4
    assert [task for task, _ in world.records.notes] == [PLACE]
    assert world.records.notes_of(lsid) == 1
    assert world.store.jobs[world.job(lsid).id].bodies == {}
    assert world.boxes.asked[-1]["generate_report"] == "AccessSession"
    await life.stop()


@in_world()
async def test_remote_support_is_asked_for_its_own_report(world: World) -> None:
    """Each product has its own name of the report."""
    lsid = world.session(1, box="second")
    life = world.life()
    await life.inbox.put(world.post(lsid, appliance="second"))
    await life.run(60)
    assert world.job(lsid, "second").state == "DONE"
    assert {"generate_report": "SupportSession", "lsid": lsid} in world.boxes.asked
    await life.stop()


@in_world()
async def test_a_session_that_goes_on_is_looked_for_with_growing_delay(world: World) -> None:
    """Its report is fetched until it has its end, seldom after a while; nothing is written before."""
    lsid = world.session(1, ends_in=3600)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(3590)
    assert world.state(lsid) == "NOTICED"
    assert not world.records.rows
    assert 10 < sum("lsid" in asked for asked in world.boxes.asked) < 30
    await life.run(400)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=0)
async def test_a_session_that_nobody_knows_is_given_up_and_may_be_tried_again(world: World) -> None:
    """After an hour it waits for an administrator; a second event, once it is there, brings it home."""
    lsid = f"{1:032x}"
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(4200)
    assert (world.state(lsid), world.job(lsid).data["code"]) == ("DEAD", 3020)
    world.session(1)
    assert not await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert "code" not in world.job(lsid).data
    await life.stop()


@in_world(import_external=False)
async def test_a_session_of_others_is_left_out(world: World) -> None:
    """Where external sessions are not imported, one without a way back is left, and its report with it."""
    lsid = world.session(1, task="")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "LEFT"
    assert not world.records.rows
    await life.stop()


@in_world()
async def test_a_session_without_a_task_has_no_note(world: World) -> None:
    """Rows are written all the same."""
    lsid = world.session(1, task="")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert not world.records.notes
    assert world.records.rows
    await life.stop()


@in_world(sweep=0)
async def test_a_report_that_stays_ill_formed_is_kept(world: World) -> None:
    """After three tries the job waits for an administrator, with the report, and can be tried again."""
    lsid = world.session(1)
    world.boxes.faults["AccessSession"].extend(["3009"] * 3)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert (world.state(lsid), world.job(lsid).data["code"]) == ("DEAD", 3009)
    assert world.job(lsid).data["detail"], "what the appliance said is not only in the log"
    assert world.store.jobs[world.job(lsid).id].bodies == {"report": b"!3009"}
    assert not await life.inbox.put(world.post(lsid)), "an event alone does not mend it"
    assert world.state(lsid) == "DEAD"
    await life.stop()


@in_world(sweep=0)
@pytest.mark.parametrize("fault", ["broken", "503", "404", "3019"])
async def test_what_may_pass_at_the_appliance_is_waited_for(world: World, fault: str) -> None:
    """Errors of the appliance delay a session and lose nothing."""
    lsid = world.session(1)
    world.boxes.faults["AccessSession"].extend([fault, fault, "3009", fault])
    world.boxes.faults["admit"].append("paced")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(120)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world(sweep=0)
async def test_many_events_are_written_in_pieces(world: World) -> None:
    """Trouble on the way costs no row that was written, and doubles none."""
    lsid = world.session(1, events=450)
    for name in ("tables", "find", "has", "upsert"):
        world.records.faults[name].append("not sent")
    world.records.faults["insert"].extend(["", "done", "lost", "", "busy"])
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(200)
    assert world.state(lsid) == "DONE"
    assert len(world.records.rows) == 451
    assert world.records.notes_of(lsid) == 1
    await life.stop()


@in_world(sweep=0)
async def test_rows_that_cannot_be_written_are_told(world: World) -> None:
    """After some tries health says that an appliance's sessions cannot be written, until one is."""
    lsid = world.session(1)
    world.records.faults["upsert"].extend(["busy"] * 5)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    told = False
    for _ in range(120):
        await life.run(1)
        told = told or life.conditions.has("sessions default")
    assert told
    assert world.state(lsid) == "DONE"
    assert not life.conditions.has("sessions default")
    await life.stop()


@in_world(sweep=0)
async def test_rows_that_are_refused_wait_for_an_administrator(world: World) -> None:
    """The report is kept, so that nothing is lost when the appliance forgets the session."""
    lsid = world.session(1)
    world.records.faults["insert"].append("refused")
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert (world.state(lsid), world.job(lsid).data["code"]) == ("DEAD", 2015)
    assert "report" in world.store.jobs[world.job(lsid).id].bodies
    await life.stop()


@in_world(sweep=0)
async def test_a_report_that_is_gone_from_the_store_is_no_end_of_the_others(world: World) -> None:
    """A fault of ours rests the job; sessions beside it come home."""
    one, two = world.session(1), world.session(2)
    life = world.life()
    await life.inbox.put(world.post(one))
    world.records.faults["tables"].extend(["not sent"] * 3)
    await life.run(10)
    assert world.state(one) == "FETCHED"
    world.store.jobs[world.job(one).id].bodies.clear()
    await life.inbox.put(world.post(two))
    await life.run(60)
    assert (world.state(one), world.state(two)) == ("FETCHED", "DONE")
    await life.stop()


@in_world(sweep=0)
async def test_without_tables_there_is_a_note_and_no_row(world: World) -> None:
    """Where ServiceNow has no tables for sessions, the task still has its note."""
    world.records.has_tables = False
    lsid = world.session(1)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert not world.records.rows
    assert world.records.notes_of(lsid) == 1
    await life.stop()


@in_world(sweep=0)
async def test_only_pausing_everything_stops_sessions(world: World) -> None:
    """An ordinary pause is one of work, not of events."""
    one, two = world.session(1), world.session(2)
    life = world.life()
    await life.holds.set("local", author="admin", reason="r")
    await life.inbox.put(world.post(one))
    await life.run(60)
    assert world.state(one) == "DONE"
    await life.holds.set("local", author="admin", reason="r", everything=True)
    assert await life.inbox.put(world.post(two)), "posts are always taken"
    await life.run(60)
    assert world.state(two) == "NOTICED"
    await life.holds.lift("local", author="admin")
    await life.run(60)
    assert world.state(two) == "DONE"
    await life.stop()


@in_world(sweep=0, rows=RowSettings("default", events=frozenset({"File Upload"})))
async def test_only_selected_events_become_rows(world: World) -> None:
    """What the configuration does not select is not written."""
    lsid = world.session(1)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert len(world.records.rows) == 1
    await life.stop()


@in_world(sweep=0, recordings="attach")
async def test_recordings_are_kept_one_after_the_other(world: World) -> None:
    """What may pass is waited for; what was kept is not kept again."""
    world.keeps = True
    lsid = world.session(1, recordings=3)
    world.records.faults["keep"].extend(["", "not sent", "done"])
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(120)
    assert world.state(lsid) == "DONE"
    assert {name: world.records.kept[lsid, name] for name in ("screen", "shell 0", "shell 1")} == {
        "screen": 1,
        "shell 0": 2,  # its first outcome was not known; the keeper sees to it that there is one copy
        "shell 1": 1,
    }
    assert {(one.task, len(one.row)) for one in world.records.kept_with} == {(PLACE, 32)}
    await life.stop()


@in_world(sweep=0, recordings="store")
async def test_a_recording_that_cannot_be_kept_waits_for_an_administrator(world: World) -> None:
    """Everything else of the session is there."""
    world.keeps = True
    lsid = world.session(1, recordings=1)
    world.records.faults["keep"].extend(["refused"] * 5)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(300)
    assert (world.state(lsid), world.job(lsid).data["code"]) == ("UNKEPT", 2015)
    assert world.records.notes_of(lsid) == 1
    await life.stop()


@in_world(sweep=0, recordings="attach")
async def test_one_recording_that_cannot_be_kept_holds_up_no_other(world: World) -> None:
    """The others are kept first; when an administrator has the job tried again, that one is tried again."""
    world.keeps = True
    lsid = world.session(1, recordings=3)
    world.records.faults["keep"].extend(["gone", "", "disk"])
    life = world.life()
    await life.inbox.put(world.post(lsid))
    while not life.conditions.all():
        await life.run(0.1)
    assert [one.subject for one in life.conditions.all()] == ["recordings default"]
    await life.run(120)
    job = world.job(lsid)
    assert (job.state, job.data["code"], job.data["kept"]) == ("UNKEPT", 3021, ["shell 0", "shell 1"])
    assert life.conditions.all() == []
    await life.ledger.step(Move(job, "retried", data={"tries": None, "failed": None, "code": None}))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert set(world.records.kept.values()) == {1}
    assert len(world.records.kept) == 3
    assert {one.ended for one in world.records.kept_with} == {int(world.boxes.sessions["default", lsid].ended)}
    await life.stop()


@in_world(sweep=0, recordings="attach")
async def test_gigabytes_do_not_go_to_and_fro_for_ever(world: World) -> None:
    """What breaks each time after bytes flowed waits for an administrator in the end; what sends nothing does not."""
    world.keeps = True
    lsid = world.session(1, recordings=2)
    world.records.faults["keep"].extend(["not sent"] * 100 + ["lost"] * TRANSFER_TRIES)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(2 * 86_400)
    job = world.job(lsid)
    assert (job.state, job.data["code"], job.data["kept"]) == ("UNKEPT", 2004, ["shell 0"])
    assert len(world.records.kept_with) == 100 + TRANSFER_TRIES + 1
    assert not {"tries", "transfers"} & set(job.data)
    await life.stop()


@in_world(sweep=0, recordings="none")
async def test_links_need_no_keeper(world: World) -> None:
    """Where recordings are not kept by the relay, a session with some is done after its note."""
    world.keeps = True
    lsid = world.session(1, recordings=2)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert not world.records.kept
    await life.stop()
