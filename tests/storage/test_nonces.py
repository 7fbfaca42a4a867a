"""The memory of nonces: a nonce belongs to one job, whatever crashes, races or is swept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.store import NOW, new, open_store

from relay.core.errors import StorageError
from relay.core.jobs import Change, Job, Nonce, Once, changed
from relay.storage.sqlite import SqliteStore

NONCE = Nonce("5f08b46b6cea4fbe8b1d53713123e29e", NOW)


async def jobs_in(store: SqliteStore, number: int) -> list[Job]:
    """New jobs."""
    return [job for job in await store.add([new(f"{one:032x}") for one in range(number)], NOW) if job]


def move(job: Job, state: str = "CLAIMED") -> Change:
    """The job's next step."""
    return Change(job, changed(job, state, NOW))


async def test_a_nonce_and_its_step_are_one_commit(tmp_path: Path) -> None:
    """After a restart the job has moved and has the nonce; a step that is not made leaves no nonce behind."""
    store = await open_store(tmp_path)
    one, other = await jobs_in(store, 2)
    assert await store.change_once(move(one), NONCE) == "done"
    stale = Change(one, changed(one, "CLOSED", NOW))
    assert await store.change_once(stale, Nonce("never stored", NOW)) == "stale"
    await store.close()
    store = await open_store(tmp_path)
    assert await store.get([one.id]) == [move(one).after]
    assert await store.change_once(move(other), NONCE) == "used"
    assert await store.get([other.id]) == [other]
    assert await store.change_once(move(other), Nonce("never stored", NOW)) == "done"
    await store.close()


async def test_a_job_may_use_its_own_nonce_again(tmp_path: Path) -> None:
    """A step with the nonce that the job has already is made, also after the job was forgotten and came back."""
    store = await open_store(tmp_path)
    (job,) = await jobs_in(store, 1)
    assert await store.change_once(move(job), NONCE) == "done"
    assert await store.change_once(move(move(job).after), NONCE) == "done"
    (now,) = await store.get([job.id])
    assert now is not None
    await store.forget([now])
    (again,) = await jobs_in(store, 1)
    assert await store.change_once(move(again), NONCE) == "done"
    await store.close()


async def test_what_was_forgotten_is_never_accepted_again(tmp_path: Path) -> None:
    """Nonces go only when they are older than asked, a few at a time, and what is older than they is refused since."""
    store = await open_store(tmp_path)
    jobs = await jobs_in(store, 6)
    for job, age in zip(jobs[:4], (300, 200, 100, 0), strict=True):
        assert await store.change_once(move(job), Nonce(f"nonce of {age}", NOW - age)) == "done"
    assert await store.forget_nonces(NOW - 100, 1) == 1
    assert await store.forget_nonces(NOW - 100, 10) == 1
    assert await store.forget_nonces(NOW - 100, 10) == 0
    assert await store.forget_nonces(NOW - 9000, 10) == 0
    await store.close()
    store = await open_store(tmp_path)
    for age, expected in ((300, "forgotten"), (200, "forgotten"), (100, "used"), (0, "used")):
        assert await store.change_once(move(jobs[4]), Nonce(f"nonce of {age}", NOW - age)) == expected
    assert await store.change_once(move(jobs[4]), Nonce("another", NOW - 100)) == "done"
    assert await store.change_once(move(jobs[5]), Nonce("a third", NOW - 100.5)) == "forgotten"
    await store.close()


async def test_a_nonce_lives_as_long_as_the_last_signature_with_it(tmp_path: Path) -> None:
    """A record that is signed anew with its own nonce keeps it until the later signature is too old."""
    store = await open_store(tmp_path)
    job, other = await jobs_in(store, 2)
    assert await store.change_once(move(job), Nonce("nonce", NOW)) == "done"
    assert await store.change_once(move(move(job).after), Nonce("nonce", NOW - 50)) == "done"
    assert await store.forget_nonces(NOW, 10) == 0
    assert await store.change_once(move(other), Nonce("nonce", NOW)) == "used"
    await store.close()


async def test_a_damaged_nonce_is_found(tmp_path: Path) -> None:
    """A nonce whose owner was changed on the disk is BSR-5002 and lets nothing pass."""
    store = await open_store(tmp_path)
    job, other = await jobs_in(store, 2)
    await store.change_once(move(job), NONCE)
    store._writer._db.execute("UPDATE nonces SET job = ?", (other.id,))
    with pytest.raises(StorageError) as error:
        await store.change_once(move(other), NONCE)
    assert error.value.number == 5002
    await store.close()


RACERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=10)


@settings(max_examples=30, deadline=None)
@given(RACERS, st.booleans())
def test_of_jobs_that_race_for_a_nonce_one_gets_it(racers: list[tuple[int, int]], restart: bool) -> None:
    """However jobs and nonces are paired and whoever comes first, each nonce ends with exactly one of its jobs."""

    async def race(folder: Path) -> None:
        store = await open_store(folder)
        jobs = await jobs_in(store, 5)

        async def ask(one: int, nonce: int) -> Once:
            (now,) = await store.get([jobs[one].id])
            assert now is not None
            return await store.change_once(move(now), Nonce(f"nonce {nonce}", NOW))

        results = await asyncio.gather(*(ask(*racer) for racer in racers))
        if restart:
            await store.close()
            store = await open_store(folder)
        for nonce in {nonce for _, nonce in racers}:
            won = {one for (one, wanted), got in zip(racers, results, strict=True) if (wanted, got) == (nonce, "done")}
            told = {got for (_, wanted), got in zip(racers, results, strict=True) if wanted == nonce}
            assert told <= {"done", "used", "stale"}
            assert len(won) <= 1
            assert won or told == {"stale"}
            for one in range(5):
                (now,) = await store.get([jobs[one].id])
                assert now is not None
                again = await store.change_once(move(now), Nonce(f"nonce {nonce}", NOW))
                won = won or ({one} if again == "done" else set())
                assert again == ("done" if one in won else "used")
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(race(Path(folder)))
