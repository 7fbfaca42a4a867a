"""The store in memory, which other tests stand on, against the real one."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory import MemoryStore

from relay.core.jobs import Change, NewJob, Nonce, changed
from relay.core.secret import Secret
from relay.host.clock import Clock
from relay.storage.key import StorageKey
from relay.storage.sqlite import SqliteStore

NAMES = st.sampled_from("abcde")
TIMES = st.sampled_from([0.0, 50.0, 100.0, 150.0, 5000.0])
STEPS = st.one_of(
    st.tuples(st.just("add"), NAMES, st.integers(0, 2), st.sampled_from(["", "x"]), TIMES),
    st.tuples(st.just("change"), NAMES, st.sampled_from(["SEEN", "CLAIMED", "CLOSED"]), TIMES, st.booleans()),
    st.tuples(st.just("forget"), NAMES, st.booleans()),
    st.tuples(st.just("due"), st.sampled_from([None, "", "x"]), st.integers(1, 3)),
    st.tuples(st.just("sweep"), st.sampled_from([0.0, 100.0])),
    st.tuples(st.just("once"), NAMES, st.sampled_from("nm"), TIMES, st.booleans()),
    st.tuples(st.just("forget nonces"), TIMES, st.integers(1, 2)),
    st.tuples(st.just("unbury"), NAMES),
    st.tuples(st.just("fact"), NAMES, st.sampled_from([None, True, {"a": [1]}])),
)


async def take(store: Any, step: tuple[Any, ...], now: float) -> Any:  # noqa: C901, PLR0911, PLR0912  # one for each step
    """One step; what it tells, in a form that can be compared."""
    match step:
        case ("add", name, priority, lane, not_before):
            return await store.add(
                [NewJob(name, "queue", "SEEN", priority, lane, not_before, 0, {"n": 1}, {"b": b"1"})], now
            )
        case ("change", name, state, not_before, stale):
            (job,) = await store.get([name])
            if job is None:
                return None
            after = replace(changed(job, state, now), not_before=not_before)
            done = await store.change([Change(job, after, {"b": b"2" if not_before else None})])
            return done, await store.change([Change(job, after)]) if stale else None
        case ("forget", name, stale):
            (job,) = await store.get([name])
            if job is None:
                return None
            if stale:
                await store.change([Change(job, changed(job, job.state, now))])
            return await store.forget([job])
        case ("due", lane, limit):
            jobs = await store.due("queue", ["SEEN", "CLAIMED"], lane, 100.0, limit)
            numbers = [sum(job.priority == priority for job in jobs) for priority in range(3)]
            whole = await store.due("queue", ["SEEN", "CLAIMED"], lane, 100.0, 9)
            return numbers, {job.id for job in whole}, await store.next_due("queue", ["SEEN", "CLAIMED"], lane, 100.0)
        case ("sweep", before):
            forgotten = await store.forget_bodies("queue", ["CLOSED", "SEEN"], before - 20.0, 2)
            return forgotten, await store.sweep("queue", ["CLOSED"], before, before - 50.0, 10)
        case ("once", name, nonce, signed, stale):
            (job,) = await store.get([name])
            if job is None:
                return None
            once = Change(job, changed(job, job.state, now))
            first = await store.change_once(once, Nonce(nonce, signed))
            return first, await store.change_once(once, Nonce(nonce, signed)) if stale else None
        case ("forget nonces", before, limit):
            return await store.forget_nonces(before, limit)
        case ("unbury", name):
            return await store.unbury([name, name])
        case ("fact", name, value):
            await store.set_fact(name, value)
            return await store.fact(name)
    raise AssertionError(step)


async def all_of(store: Any) -> Any:
    names = list("abcde")
    return [
        await store.get(names),
        await store.known(names),
        await store.bodies(names, "b"),
        await store.counts(),
        await store.tombstones(names),
        await store.select(None, None, 10),
        await store.select("queue", ["SEEN"], 1),
        await store.newest("queue", None, 10),
        await store.newest("queue", "b", 1),
    ]


@settings(max_examples=15)
@given(st.lists(STEPS, max_size=12))
def test_the_store_in_memory_does_what_the_real_one_does(steps: list[tuple[Any, ...]]) -> None:
    """After any steps both stores tell the same of every job, body, tombstone and fact."""

    async def compare(folder: str) -> None:
        real = await SqliteStore.open(Path(folder), StorageKey.of(Secret("k" * 40)), Clock())
        twin = MemoryStore()
        try:
            for number, step in enumerate(steps):
                assert await take(real, step, 10.0 * number) == await take(twin, step, 10.0 * number)
            assert await all_of(real) == await all_of(twin)
        finally:
            await real.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(folder))
