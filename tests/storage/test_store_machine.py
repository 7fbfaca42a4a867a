"""The store against a model of it made of dictionaries, in any order of calls and restarts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from support.store import open_store

from relay.core.jobs import Change, Job, NewJob, Tombstone, changed
from relay.storage.due import MAX_BACKOFF

IDS = st.sampled_from([f"job{number}" for number in range(8)])
STATES = ("SEEN", "CLAIMED", "CLOSED")
LANES = st.sampled_from(["", "x", "y"])
TIMES = st.integers(0, 40).map(float)
BODIES = st.dictionaries(st.sampled_from("pq"), st.binary(max_size=40) | st.just(b"z" * 2000), max_size=2)
DATA = st.dictionaries(
    st.sampled_from(["outcome", "digest", "n"]), st.text(max_size=5) | st.integers() | st.none(), max_size=2
)


class StoreMachine(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model, and compares the answers."""

    seen = Bundle("seen")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.jobs: dict[str, Job] = {}
        self.bodies: dict[str, dict[str, bytes]] = {}
        self.stones: dict[str, Tombstone] = {}
        self.facts: dict[str, Any] = {}
        self.now = 0.0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.store = self.run(open_store(self.folder))

    @rule()
    def restart(self) -> None:
        """What is stored survives."""
        self.run(self.store.close())
        self.store = self.run(open_store(self.folder))

    @rule(by=st.floats(0, 20))
    def wait(self, by: float) -> None:
        self.now += by

    @rule(
        target=seen,
        ids=st.lists(IDS, max_size=3),
        priority=st.integers(0, 2),
        lane=LANES,
        not_before=st.just(0.0) | TIMES | st.just(MAX_BACKOFF * 2),
        state=st.sampled_from(STATES),
        data=DATA,
        bodies=BODIES,
    )
    def add(self, ids: list[str], bodies: dict[str, bytes], data: dict[str, Any], **fields: Any) -> Any:
        """New ids are stored, known ones are not."""
        expected: list[Job | None] = []
        for one in ids:
            job = Job(one, "queue", version=1, attempts=0, created=self.now, updated=self.now, data=data, **fields)
            unknown = one not in self.jobs and one not in self.stones
            expected.append(job if unknown else None)
            if unknown:
                self.jobs[one] = job
                self.bodies[one] = dict(bodies)
        new = [NewJob(one, "queue", data=data, bodies=bodies, **fields) for one in ids]
        assert self.run(self.store.add(new, self.now)) == expected
        return multiple(*(job for job in expected if job is not None))

    @rule(
        target=seen,
        jobs=st.lists(seen, max_size=3),
        state=st.sampled_from(STATES),
        not_before=st.just(0.0) | TIMES,
        lane=LANES,
        data=DATA,
        bodies=st.dictionaries(st.sampled_from("pq"), st.none() | st.binary(max_size=9), max_size=2),
    )
    def change(self, jobs: list[Job], bodies: dict[str, bytes | None], not_before: float, **fields: Any) -> Any:
        """Changes of what is still so are stored, stale ones are not, in the order given."""
        afters = [replace(changed(job, now=self.now, **fields), not_before=not_before) for job in jobs]
        changes = [Change(before, after, bodies) for before, after in zip(jobs, afters, strict=True)]
        expected = []
        for one in changes:
            same = self._is(one.before)
            expected.append(same)
            if same:
                self.jobs[one.before.id] = one.after
                kept = {**self.bodies[one.before.id], **bodies}
                self.bodies[one.before.id] = {name: body for name, body in kept.items() if body is not None}
        assert self.run(self.store.change(changes)) == expected
        return multiple(*(one.after for one, done in zip(changes, expected, strict=True) if done))

    @rule(job=consumes(seen))
    def forget(self, job: Job) -> None:
        """A job goes only when it is what the caller saw."""
        same = self._is(job)
        if same:
            del self.jobs[job.id], self.bodies[job.id]
        assert self.run(self.store.forget([job])) == [same]

    @rule(before=TIMES, tombstones_before=TIMES)
    def sweep(self, before: float, tombstones_before: float) -> None:
        """Finished jobs turn into tombstones, old tombstones go."""
        done = [job for job in self.jobs.values() if job.state == "CLOSED" and job.updated < before]
        for job in done:
            del self.jobs[job.id], self.bodies[job.id]
            outcome, digest = job.data.get("outcome"), job.data.get("digest")
            self.stones[job.id] = Tombstone(
                job.id,
                "queue",
                outcome if isinstance(outcome, str) else "CLOSED",
                digest if isinstance(digest, str) else "",
                job.updated,
            )
        self.stones = {one: stone for one, stone in self.stones.items() if stone.closed >= tombstones_before}
        assert self.run(self.store.sweep("queue", ["CLOSED"], before, tombstones_before, 100)) == len(done)

    @rule(ids=st.lists(IDS, max_size=3))
    def unbury(self, ids: list[str]) -> None:
        """What is forgotten may come again."""
        gone = {one for one in ids if self.stones.pop(one, None) is not None}
        assert self.run(self.store.unbury(ids)) == len(gone)

    @rule(name=st.sampled_from("fg"), value=st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2))
    def set_fact(self, name: str, value: Any) -> None:
        self.run(self.store.set_fact(name, value))
        self.facts[name] = value

    @rule(states=st.lists(st.sampled_from(STATES), unique=True), lane=st.none() | LANES)
    def due(self, states: list[str], lane: str | None) -> None:
        """Exactly the jobs whose time has come are due; the next time is that of the first that waits."""
        asked = [job for job in self.jobs.values() if job.state in states and lane in {None, job.lane}]
        waiting = [job for job in asked if self.now < job.not_before <= self.now + MAX_BACKOFF]
        ready = [job for job in asked if job not in waiting]
        found = self.run(self.store.due("queue", states, lane, self.now, 100))
        assert [(job.priority, job.created) for job in found] == sorted((job.priority, job.created) for job in ready)
        assert {job.id: job for job in found} == {job.id: job for job in ready}
        earliest = min((job.not_before for job in waiting), default=None)
        assert self.run(self.store.next_due("queue", states, lane, self.now)) == earliest

    @invariant()
    def same(self) -> None:
        """Jobs, bodies, tombstones and facts are those of the model."""
        ids = [f"job{number}" for number in range(8)]
        assert self.run(self.store.get(ids)) == [self.jobs.get(one) for one in ids]
        assert self.run(self.store.tombstones(ids)) == [self.stones.get(one) for one in ids]
        for name in "pq":
            assert self.run(self.store.bodies(ids, name)) == [self.bodies.get(one, {}).get(name) for one in ids]
        for name in "fg":
            assert self.run(self.store.fact(name)) == self.facts.get(name)
        known = {**dict.fromkeys(self.stones, "tombstone"), **{one: job.state for one, job in self.jobs.items()}}
        assert self.run(self.store.known(ids)) == known

    def teardown(self) -> None:
        self.run(self.store.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def _is(self, job: Job) -> bool:
        now = self.jobs.get(job.id)
        return now is not None and (now.state, now.version) == (job.state, job.version)


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStoreMachine = StoreMachine.TestCase
