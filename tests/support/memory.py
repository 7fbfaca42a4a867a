"""A store and an audit log in memory, and the gate that can kill whoever uses them."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from relay.core.jobs import Change, Job, Json, NewJob, Nonce, Once, Tombstone

FAR = 3600.0
When = Literal["before", "after"]


class Killed(BaseException):
    """The process is no more: nothing of it may go on."""


class Gate:
    """Counts what passes between one life of the relay and the world, and ends that life at one of these points.

    Before the effect of an operation, or after it, so that its result is lost.
    """

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.dead = asyncio.Event()
        self._at: tuple[str, int, When] | None = None

    def kill(self) -> None:
        """The life ends now."""
        self.dead.set()

    def kill_at(self, name: str, nth: int, when: When) -> None:
        """The life will end at the nth operation of this name from now; "" means any."""
        self._at = (name, self._number(name) + nth, when)

    def _number(self, name: str) -> int:
        return self.names[name] if name else self.names.total()

    def _reached(self, name: str, when: When) -> bool:
        return self._at is not None and self._at in {
            (name, self._number(name), when),
            ("", self._number(""), when),
        }

    def enter(self, name: str) -> bool:
        """Before the effect; whether the life ends after it."""
        if self.dead.is_set():
            raise Killed
        self.names[name] += 1
        if self._reached(name, "before"):
            self.kill()
            raise Killed
        return self._reached(name, "after")

    def leave(self, *, last: bool) -> None:
        """After the effect."""
        if last:
            self.kill()
        if self.dead.is_set():
            raise Killed


class Gated:
    """Anything of the world as one life sees it: through its gate."""

    def __init__(self, target: object, gate: Gate) -> None:
        self._target = target
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def through(*args: Any, **named: Any) -> Any:
            last = self._gate.enter(name)
            try:
                result = await found(*args, **named)
            except Exception:
                self._gate.leave(last=last)
                raise
            self._gate.leave(last=last)
            return result

        return through


@dataclass
class Stored:
    """A job with its bodies, and its place in the order of arrival."""

    job: Job
    bodies: dict[str, bytes]
    row: int


class MemoryStore:
    """The twin of the real store; `tests/jobs/test_twin.py` holds the two against each other."""

    def __init__(self) -> None:
        self.jobs: dict[str, Stored] = {}
        self.stones: dict[str, Tombstone] = {}
        self.facts: dict[str, str] = {}
        self.nonces: dict[str, tuple[str, float]] = {}
        self.forgotten = 0.0
        self.rows = 0
        self.asked: Counter[str] = Counter()
        self.fail: Callable[[str], BaseException | None] = lambda _name: None

    def _ask(self, name: str) -> None:
        self.asked[name] += 1
        error = self.fail(name)
        if error is not None:
            raise error

    async def add(self, jobs: Sequence[NewJob], now: float) -> list[Job | None]:
        self._ask("add")
        stored: list[Job | None] = []
        for new in jobs:
            if new.id in self.jobs or new.id in self.stones:
                stored.append(None)
                continue
            data = json.loads(json.dumps(dict(new.data)))
            job = Job(
                new.id, new.kind, new.state, 1, new.priority, new.lane, new.not_before, new.attempts, now, now, data
            )
            self.rows += 1
            self.jobs[new.id] = Stored(job, dict(new.bodies), self.rows)
            stored.append(job)
        return stored

    def _same(self, job: Job) -> bool:
        known = self.jobs.get(job.id)
        return known is not None and (known.job.state, known.job.version) == (job.state, job.version)

    async def change(self, changes: Sequence[Change]) -> list[bool]:
        self._ask("change")
        done = []
        for change in changes:
            same = self._same(change.before)
            done.append(same)
            if same:
                known = self.jobs[change.before.id]
                known.job = replace(change.after, data=json.loads(json.dumps(dict(change.after.data))))
                for name, body in change.bodies.items():
                    known.bodies.pop(name, None)
                    if body is not None:
                        known.bodies[name] = body
        return done

    async def change_once(self, change: Change, nonce: Nonce) -> Once:
        self._ask("change_once")
        owner, time = self.nonces.get(nonce.text, ("", nonce.time))
        if owner not in {"", change.before.id}:
            return "used"
        if not owner and nonce.time < self.forgotten:
            return "forgotten"
        if await self.change([change]) == [False]:
            return "stale"
        self.nonces[nonce.text] = (change.before.id, max(time, nonce.time))
        return "done"

    async def forget_nonces(self, before: float, limit: int) -> int:
        self._ask("forget_nonces")
        self.forgotten = max(before, self.forgotten)
        old = sorted((time, text) for text, (_, time) in self.nonces.items() if time < before)[:limit]
        for _, text in old:
            del self.nonces[text]
        return len(old)

    async def forget(self, jobs: Sequence[Job]) -> list[bool]:
        self._ask("forget")
        done = [self._same(job) for job in jobs]
        for job, same in zip(jobs, done, strict=True):
            if same:
                del self.jobs[job.id]
        return done

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        self._ask("get")
        return [self.jobs[one].job if one in self.jobs else None for one in ids]

    def _of(self, kind: str | None, states: Sequence[str] | None) -> list[Stored]:
        found = [
            one
            for one in self.jobs.values()
            if kind in {None, one.job.kind} and (states is None or one.job.state in states)
        ]
        return sorted(found, key=lambda one: (one.job.created, one.row))

    async def due(self, kind: str, states: Sequence[str], lane: str | None, now: float, limit: int) -> list[Job]:
        self._ask("due")
        number: Counter[int] = Counter()
        found = []
        for one in self._of(kind, states):
            job = one.job
            if lane in {None, job.lane} and not now < job.not_before <= now + FAR and number[job.priority] < limit:
                number[job.priority] += 1
                found.append(job)
        return sorted(found, key=lambda job: job.priority)

    async def next_due(self, kind: str, states: Sequence[str], lane: str | None, now: float) -> float | None:
        self._ask("next_due")
        times = [one.job.not_before for one in self._of(kind, states) if lane in {None, one.job.lane}]
        return min((time for time in times if now < time <= now + FAR), default=None)

    async def select(self, kind: str | None, states: Sequence[str] | None, limit: int) -> list[Job]:
        self._ask("select")
        return [one.job for one in self._of(kind, states)[:limit]]

    async def newest(self, kind: str, lane: str | None, limit: int) -> list[Job]:
        self._ask("newest")
        return [one.job for one in reversed(self._of(kind, None)) if lane in {None, one.job.lane}][:limit]

    async def counts(self) -> dict[tuple[str, str, str], int]:
        self._ask("counts")
        return dict(Counter((one.job.kind, one.job.state, one.job.lane) for one in self.jobs.values()))

    async def known(self, ids: Sequence[str]) -> dict[str, str]:
        self._ask("known")
        found = {one: "tombstone" for one in ids if one in self.stones}
        return found | {one: self.jobs[one].job.state for one in ids if one in self.jobs}

    async def bodies(self, ids: Sequence[str], name: str) -> list[bytes | None]:
        self._ask("bodies")
        return [self.jobs[one].bodies.get(name) if one in self.jobs else None for one in ids]

    async def sweep(self, kind: str, states: Sequence[str], before: float, tombstones_before: float, limit: int) -> int:
        self._ask("sweep")
        old = [one.job for one in self._of(kind, states) if one.job.updated < before][:limit]
        for job in old:
            outcome = str(job.data.get("outcome", job.state))
            self.stones[job.id] = Tombstone(job.id, kind, outcome, str(job.data.get("digest", "")), job.updated)
            del self.jobs[job.id]
        for stone in [one for one in self.stones.values() if one.kind == kind and one.closed < tombstones_before]:
            del self.stones[stone.id]
        return len(old)

    async def forget_bodies(self, kind: str, states: Sequence[str], before: float, limit: int) -> int:
        self._ask("forget_bodies")
        old = [one for one in self._of(kind, states) if one.job.updated < before and one.bodies][:limit]
        for one in old:
            one.bodies.clear()
        return len(old)

    async def tombstones(self, ids: Sequence[str]) -> list[Tombstone | None]:
        self._ask("tombstones")
        return [self.stones.get(one) for one in ids]

    async def unbury(self, ids: Sequence[str]) -> int:
        self._ask("unbury")
        return sum(self.stones.pop(one, None) is not None for one in ids)

    async def fact(self, name: str) -> Json:
        self._ask("fact")
        return json.loads(self.facts[name]) if name in self.facts else None

    async def set_fact(self, name: str, value: Json) -> None:
        self._ask("set_fact")
        self.facts.pop(name, None)
        if value is not None:
            self.facts[name] = json.dumps(value)


class MemoryAudit:
    """The audit log as a list; a line that is there already by event, job, attempt and `seen` is skipped."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Json]] = []
        self.fail: Callable[[str], BaseException | None] = lambda _name: None

    async def append(self, entries: Iterable[Mapping[str, Json]]) -> None:
        error = self.fail("append")
        if error is not None:
            raise error
        known = {(line["event"], line["job"], line["attempt"], line.get("seen")) for line in self.lines}
        for entry in entries:
            key = (entry["event"], entry["job"], entry["attempt"], entry.get("seen"))
            if key not in known:
                known.add(key)
                self.lines.append(json.loads(json.dumps(dict(entry))))

    def has(self, event: str, job: str, attempt: int | None = None) -> bool:
        """Whether there is such a line."""
        return any(
            line["event"] == event and line["job"] == job and attempt in {None, line["attempt"]} for line in self.lines
        )
