"""From ANSWERED to INSERTED: inserts of every outcome, and refusals."""

from __future__ import annotations

import pytest
from support.pipeline import Life, World, in_world
from support.sides import sys_id

from relay.core.errors import StorageError
from relay.jobs.ledger import Move
from relay.pipeline.parts import KEPT
from relay.pipeline.push import Push
from relay.pipeline.rows import answer_sys_id


async def answered(world: World, number: int = 1, *, large: bool = False) -> Life:
    """A life with records up to this number in ANSWERED, nothing pushed yet."""
    ids = [world.queue.output(one) for one in range(1, number + 1)]
    world.appliances.large |= set(ids) if large else set()
    life = world.life()
    await life.poll._round()
    stages = {stage.name: stage for stage in life.stages()}
    for name in ("claim", "forward default"):
        await stages[name].handle([world.job(one) for one in ids])
    assert {world.state(one) for one in ids} == {"ANSWERED"}
    return life


async def push(life: Life, *numbers: int) -> None:
    await Push(life.parts)([life.world.job(sys_id(number)) for number in numbers or (1,)])


def wait_of(world: World, number: int = 1) -> float:
    """Seconds until a job is due; 0 for one that never was put off."""
    due = world.job(sys_id(number)).not_before
    return round(due - world.clock.wall(), 3) if due else 0.0


# -- small answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_whether_sys_ids_are_kept_is_learned_from_the_first_answer(keeps: bool) -> None:
    """The instance's habit is learned, kept over a restart, and the answer's line is in the log before it."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        life = await answered(world, 2)
        await push(life, 1, 2)
        assert [world.state(sys_id(number)) for number in (1, 2)] == ["INSERTED"] * 2
        assert life.parts.learned.kept is keeps
        assert await world.store.fact(KEPT) is keeps
        (row,) = world.queue.answers(sys_id(1))
        assert (row["sys_id"] == answer_sys_id(sys_id(1))) is keeps
        assert world.job(sys_id(1)).data["input"] == row["sys_id"]
        assert row["agent_correlator"] == "correlator 1"
        assert world.audit.has("outcome", sys_id(1), 1)
        again = world.life()
        await again.recover.start()
        assert again.parts.learned.kept is keeps

    scenario()


@in_world(keeps=False)
async def test_an_instance_that_once_chose_its_own_ids_is_believed_for_good(world: World) -> None:
    """One kept sys_id does not undo what was learned from one that was not."""
    life = await answered(world, 2)
    await push(life, 1)
    world.queue.keeps = True
    await push(life, 2)
    assert life.parts.learned.kept is False


@in_world()
async def test_an_instance_that_stops_keeping_ids_is_believed_at_once(world: World) -> None:
    """A sys_id that was not kept ends the trust in repeats."""
    life = await answered(world, 2)
    await push(life, 1)
    world.queue.keeps = False
    await push(life, 2)
    assert life.parts.learned.kept is False


@pytest.mark.parametrize(("fault", "waits"), [("not sent", [0.75, 1.5, 3.0]), ("busy", [30.0] * 3)])
def test_an_insert_that_surely_failed_is_put_off(fault: str, waits: list[float]) -> None:
    """Not sent means: again later, with growing waits or those asked for, and no mark of an insert under way."""

    @in_world()
    async def scenario(world: World) -> None:
        life = await answered(world)
        world.queue.faults["insert"].extend([fault] * 3)
        found = []
        for _ in range(3):
            await push(life)
            found.append(wait_of(world))
            assert "inserting" not in world.job(sys_id(1)).data
        assert found == waits
        assert life.conditions.has("push")
        await push(life)
        assert world.state(sys_id(1)) == "INSERTED"
        assert not life.conditions.has("push")

    scenario()


@pytest.mark.parametrize(
    ("keeps", "fault", "wait"),
    [(False, "lost", 65.0), (False, "500", 0.0), (False, "500 after", 0.0), (True, "lost", 65.0), (True, "late", 65.0)],
)
def test_an_insert_of_unknown_outcome_is_verified(keeps: bool, fault: str, wait: float) -> None:
    """A received 5xx is asked for at once, a lost answer after `settle`."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        life = await answered(world, 2)
        await push(life, 1)
        world.queue.faults["insert"].append(fault)
        await push(life, 2)
        assert world.state(sys_id(2)) == "VERIFYING"
        assert wait_of(world, 2) == wait

    scenario()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("fault", ["lost", "done", "late", "500", "500 after"])
def test_every_lost_insert_ends_in_one_answer(fault: str, keeps: bool) -> None:
    """Whether the lost insert happened, happens later or never did: one answer, and only one."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        first, second = world.queue.output(1), world.queue.output(2, payload="unsafe default")
        world.queue.faults["insert"].append(fault)
        life = world.life()
        await life.run(2)
        third = world.queue.output(3)
        await life.run(150)
        assert [len(world.queue.answers(one)) for one in (first, second, third)] == [1, 1, 1]
        assert [world.state(one) for one in (first, second, third)] == ["CLOSED"] * 3
        await life.stop()

    scenario()


@pytest.mark.parametrize("error", ["change", "set_fact"])
@pytest.mark.parametrize("keeps", [True, False])
def test_a_full_disk_after_an_insert_makes_no_second_answer(error: str, keeps: bool) -> None:
    """A handling that could not store its insert leaves a mark, and the next one asks before it inserts."""

    @in_world(keeps=keeps)
    async def scenario(world: World) -> None:
        life = await answered(world)
        world.spoil_disk(error, 1, skip=1 if error == "change" else 0)
        with pytest.raises(StorageError):
            await push(life)
        assert len(world.queue.answers(sys_id(1))) == 1
        assert world.state(sys_id(1)) == "ANSWERED"
        await push(life)
        assert world.state(sys_id(1)) == "VERIFYING"
        assert wait_of(world) == 65.0
        await life.run(120)
        assert world.state(sys_id(1)) == "CLOSED"
        assert len(world.queue.answers(sys_id(1))) == 1
        await life.stop()

    scenario()


@in_world()
async def test_a_refused_answer_is_replaced_by_a_small_error_answer(world: World) -> None:
    """The caller gets BSR-4016 instead of silence, and the log both lines."""
    one = world.queue.output(1)
    world.queue.faults["insert"].append("refused")
    life = world.life()
    await life.run(20)
    assert "BSR-4016" in world.queue.answer_text(one)
    assert world.audit.has("outcome", one)
    assert world.audit.has("outcome again", one)
    assert world.job(one).data["outcome"] == "BSR-4016"
    await life.stop()


@pytest.mark.parametrize("large", [True, False])
def test_an_answer_that_is_refused_twice_waits_for_a_person(large: bool) -> None:
    """After the small error answer was refused too, the job is DEAD and nothing is tried again."""

    @in_world()
    async def scenario(world: World) -> None:
        one = world.queue.output(1)
        world.appliances.large |= {one} if large else set()
        world.queue.faults["begin_large"].append("refused")
        world.queue.faults["insert"].extend(["refused"] * (1 if large else 2))
        life = world.life()
        await life.run(200)
        assert world.state(one) == "DEAD"
        assert world.job(one).data["code"] == 2015
        assert len(world.queue.inserted) == (1 if large else 2)
        assert "inserting" not in world.job(one).data
        await life.stop()

    scenario()


@in_world()
async def test_a_missing_role_gets_some_minutes(world: World) -> None:
    """A 403 is tried five times before the answer counts as refused."""
    one = world.queue.output(1)
    world.queue.faults["insert"].extend(["forbidden"] * 4)
    life = world.life()
    await life.run(60)
    assert world.queue.answer_text(one).startswith("200")
    await life.stop()


@pytest.mark.parametrize("find", ["", "not sent"])
def test_an_insert_refused_because_it_is_there_is_no_refusal(find: str) -> None:
    """Where sys_ids are kept a refusal may mean that the answer is there, so it is asked for."""

    @in_world()
    async def scenario(world: World) -> None:
        life = await answered(world, 2)
        await push(life, 1)
        world.queue.faults["insert"].append("done")
        await push(life, 2)
        assert world.state(sys_id(2)) == "VERIFYING"
        job = world.job(sys_id(2))
        await life.ledger.step(Move(job, "absent"))
        world.queue.faults["insert"].append("refused")
        world.queue.faults["find"].extend([find] if find else [])
        await push(life, 2)
        assert world.state(sys_id(2)) == ("ANSWERED" if find else "VERIFYING")
        await life.run(90)
        assert world.state(sys_id(2)) == "CLOSED"
        assert world.queue.answer_text(sys_id(2)).startswith("200")
        await life.stop()

    scenario()


@in_world()
async def test_a_job_that_changed_under_the_push_is_left_alone(world: World) -> None:
    """A job that somebody else moved between the take and its mark is not inserted."""
    life = await answered(world, 2)
    old = world.job(sys_id(1))
    await life.ledger.step(Move(old, "put off"))
    await Push(life.parts)([old, world.job(sys_id(2))])
    assert world.queue.inserted == [[sys_id(2)]]
    assert world.state(sys_id(1)) == "ANSWERED"


@in_world()
async def test_without_its_line_in_the_log_no_answer_is_given(world: World) -> None:
    """While the audit log cannot be written nothing is inserted."""
    life = await answered(world)
    world.spoil_disk("append", 1)
    with pytest.raises(StorageError):
        await push(life)
    assert world.queue.inserted == []
