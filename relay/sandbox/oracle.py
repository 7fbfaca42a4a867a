"""Conservation: whether every job ended as it must, told from both stand-ins' state alone.

Violations are what must never be, whatever was broken on the way: an output answered twice, an answer that belongs to
another output or that the instance's scripts cannot read, `processed` without an answer, a call that changes something
executed twice, or executed though its answer says that it was refused. Surprises are answers that do not say what the
job expects, which is right only where something was made to fail.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from relay.sandbox import reader
from relay.sandbox.device import Device
from relay.sandbox.instance import RIVAL, Instance
from relay.sandbox.reader import Answer, Threw
from relay.sandbox.rows import Row
from relay.sandbox.work import Job

_NOT_EXECUTED = re.compile(r"BSR-(4(?!015|016)\d\d\d|300[12567]|301[124])")
_COPIED = ("agent", "topic", "name", "source", "agent_correlator")
_LARGEST = 512_000  # characters of a payload; a longer one the instance moves into an attachment by itself


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the jobs.

    Attributes:
        jobs: how many there were.
        answered: jobs with exactly one answer.
        waiting: jobs without an answer.
        unclosed: answered jobs whose output is not `processed` yet.
        outcomes: number of jobs by `http 200`, `BSR-4002`, `waiting`, ...
        kinds: the same by kind of job.
        violations: what must never be.
        surprises: answers that do not say what the job expects.

    """

    jobs: int
    answered: int
    waiting: int
    unclosed: int
    outcomes: Mapping[str, int]
    kinds: Mapping[str, Mapping[str, int]]
    violations: tuple[str, ...]
    surprises: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing happened that must never be."""
        return not self.violations

    def facts(self) -> dict[str, Any]:
        """The summary as JSON."""
        return asdict(self)


def check(instance: Instance, appliances: Iterable[Device], jobs: Sequence[Job], *, final: bool = False) -> Summary:
    """Judge the jobs. `final`: the relay had all the time it needs, so that waiting and unclosed are violations too."""
    devices = {device.name: device for device in appliances}
    court = _Court(instance, devices, final=final)
    for job in jobs:
        court.judge(job)
    court.effects(jobs)
    court.strangers({job.sys_id for job in jobs}, {job.row["agent"] for job in jobs})
    return court.summary(len(jobs))


class _Court:
    def __init__(self, instance: Instance, devices: Mapping[str, Device], *, final: bool) -> None:
        self.instance = instance
        self.devices = devices
        self.final = final
        self.outcomes: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {}
        self.violations: list[str] = []
        self.surprises: list[str] = []
        self.counts: Counter[str] = Counter()

    def judge(self, job: Job) -> None:
        found = reader.answers(self.instance, job.sys_id)
        rows = [row for row in found if row["sys_created_by"] != RIVAL]
        output = self.instance.tables.get("ecc_queue", job.sys_id)
        outcome = "answered by the rival" if found and not rows else self._outcome(job, rows, output)
        self.outcomes[outcome] += 1
        self.kinds.setdefault(job.kind, Counter())[outcome] += 1

    def _outcome(self, job: Job, rows: Sequence[Row], output: Row | None) -> str:
        if not rows:
            self.counts["waiting"] += 1
            if output is not None and output["state"] == "processed":
                self._violation(job, "processed without an answer")
            if self.final:
                self._violation(job, "never answered")
            return "waiting"
        if len(rows) > 1:
            self._violation(job, f"answered {len(rows)} times")
        else:
            self.counts["answered"] += 1
        if output is not None and output["state"] != "processed":
            self.counts["unclosed"] += 1
            if self.final:
                self._violation(job, f"answered, but its output is {output['state']}")
        return self._read(job, rows[0])

    def _read(self, job: Job, row: Row) -> str:
        for name in _COPIED:
            if row[name] != job.row.get(name, "")[: self.instance.tables.tables["ecc_queue"].lengths.get(name)]:
                self._violation(job, f"its answer has another {name}: {row[name]!r}")
        if len(row["payload"]) > _LARGEST:
            self._violation(job, f"its answer's payload has {len(row['payload'])} characters")
        try:
            answer = reader.read(self.instance, row)
        except Threw as threw:
            self._violation(job, f"the instance's script throws: {threw}")
            return "unreadable"
        for name in ("sys_id", "ecc_queue"):
            if answer.parameters.get(name, job.sys_id) != job.sys_id:
                self._violation(job, f"its answer echoes the {name} of another record")
        return self._compare(job, answer)

    def _compare(self, job: Job, answer: Answer) -> str:
        expect = job.expect
        outcome = answer.error[:8] if answer.error else f"http {answer.status}" if answer.status else "answered"
        done = self._times(job)
        if answer.error and done and _NOT_EXECUTED.match(answer.error):
            self._violation(job, f"executed, but answered with {outcome}")
        good = answer.status in {0, 200} and not answer.error
        if good and expect.effect and expect.status and not done:
            self._violation(job, "answered as done, but it was never executed")
        if good and expect.status and expect.contains not in answer.body:
            self._violation(job, f"its answer lacks {expect.contains!r}, so that it belongs to something else")
        if good != bool(expect.status) or not answer.error.startswith(expect.error):
            self.surprises.append(f"{job.kind} {job.sys_id}: {answer.error or outcome}")
        return outcome

    def effects(self, jobs: Sequence[Job]) -> None:
        """No effect more than once; none at all of what must not pass."""
        for name, device in self.devices.items():
            self.violations += [
                f"{name}: executed {times} times: {token}" for token, times in device.effects.items() if times > 1
            ]
        for job in jobs:
            if job.expect.effect and not job.expect.status and self._times(job):
                self._violation(job, "executed, though it must not pass")

    def strangers(self, known: set[str], agents: set[str]) -> None:
        """Every answer of these agents must answer an output that there is."""
        for row in self.instance.tables.rows("ecc_queue"):
            target = row["response_to"]
            ours = row["queue"] == "input" and row["agent"] in agents and target and target not in known
            if ours and self.instance.tables.get("ecc_queue", target) is None:
                self.violations.append(f"the input {row['sys_id']} answers nothing: {target}")

    def summary(self, jobs: int) -> Summary:
        return Summary(
            jobs=jobs,
            answered=self.counts["answered"],
            waiting=self.counts["waiting"],
            unclosed=self.counts["unclosed"],
            outcomes=dict(self.outcomes),
            kinds={kind: dict(counts) for kind, counts in self.kinds.items()},
            violations=tuple(self.violations),
            surprises=tuple(self.surprises),
        )

    def _times(self, job: Job) -> int:
        if not job.expect.effect:
            return 0
        return sum(device.effects[job.expect.effect] for device in self.devices.values())

    def _violation(self, job: Job, text: str) -> None:
        self.violations.append(f"{job.kind} {job.sys_id}: {text}")
