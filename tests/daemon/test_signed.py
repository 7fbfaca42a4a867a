"""Signed work through the real daemon: what passes, what is refused, and that a nonce outlives the process."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import FAST, World, world
from support.lives import eventually, impatient, killed_at, rest, status
from support.signing import signature

from relay.audit.segments import FOLDER
from relay.sandbox.reader import answers, read
from relay.sandbox.signing import with_signature
from relay.sandbox.work import Expect, Job

SIGNED = FAST + "  require_signature: true\n"
CALLS = ["terminate", "typed session key", "report", "typed report", "attributes", "report v1", "typed health"]
KILLED = -9


def put(made: World, *jobs: Job) -> None:
    """Put jobs into the queue."""
    made.box.put(list(jobs))


def one(made: World, kind: str = "terminate", seed: int = 1, *, sign: bool = True) -> Job:
    """A job of one kind."""
    return made.box.maker(seed, sign=sign).mix(1, [kind])[0]


def copy(job: Job, sys_id: str, expect: Expect | None = None, **columns: str) -> Job:
    """The same record under another sys_id."""
    return Job(job.kind, {**job.row, **columns, "sys_id": sys_id}, expect or refused("BSR-4022"))


def refused(code: str) -> Expect:
    """What must come of a record that must not pass."""
    return Expect(status=0, error=code)


def signed_anew(made: World, job: Job, code: str, **other: Any) -> Job:
    """A job whose signature is over something else than its work."""
    expect = job.expect
    given: dict[str, Any] = {
        "operation": expect.operation,
        "arguments": expect.arguments,
        "appliance": expect.appliance,
        "agent": made.box.agent,
        "time": time.time(),
        "nonce": "nonce-of-the-test",
        "by": "system",
        "correlator": job.row["agent_correlator"],
        "key": made.box.secrets["signature_key"],
        "key_id": "sandbox",
        **other,
    }
    row = with_signature(job.row, signature(**given))
    return Job(job.kind, row, Expect(status=0, error=code, effect=expect.effect) if code else expect)


def told(made: World, job: Job) -> str:
    """The error of a job's one answer; "" when it is none."""
    (row,) = answers(made.box.servicenow, job.sys_id)
    return read(made.box.servicenow, row).error


async def settled(made: World) -> None:
    """Wait until every job is answered, and judge the whole."""
    summary = await rest(made)
    assert summary.surprises == (), summary


def audit(made: World) -> list[dict[str, Any]]:
    """The lines of the audit log."""
    return [
        json.loads(line)
        for file in sorted((made.state / FOLDER).glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


async def test_signed_work_passes_and_the_rest_is_refused(tmp_path: Path) -> None:
    """With `require_signature: true` each signed call is made once; every other is answered once, and told why."""
    async with world(tmp_path, drop_in=SIGNED) as made:
        good = made.box.maker(1, sign=True).mix(14, CALLS)
        free = made.box.maker(2).mix(4, ["heartbeat", "system command", "token", "refused"])
        bare = [one(made, "terminate", 30 + number, sign=False) for number in range(9)]
        bad = [
            Job("terminate", bare[0].row, refused("BSR-4017")),
            signed_anew(made, bare[1], "BSR-4020", key="x" * 32),
            signed_anew(made, bare[2], "BSR-4019", key_id="another"),
            signed_anew(made, bare[3], "BSR-4021", time=time.time() - 500),
            signed_anew(made, bare[4], "BSR-4021", time=time.time() + 400),
            signed_anew(made, bare[5], "BSR-4020", by="admin"),
            signed_anew(made, bare[6], "BSR-4020", arguments={"lsid": "0" * 32}),
            Job("terminate", with_signature(bare[7].row, "v1.sandbox.1.short.x"), refused("BSR-4018")),
            signed_anew(made, bare[8], "BSR-4020", appliance="appliance9"),
        ]
        put(made, *good, *free, *bad)
        await settled(made)
        assert {told(made, job)[:8] for job in good} == {""}
        lines = {(line["job"], line["event"]): line for line in audit(made) if line["job"]}
        for job in good:
            for event in ("intent", "outcome"):
                line = lines[job.sys_id, event]
                assert (line["by"], line["by_verified"], line["key_id"]) == ("system", True, "sandbox")
        for job in bad:
            line = lines[job.sys_id, "outcome"]
            assert (line["decision"], line["rule"], line["by_verified"]) == ("deny", "signature", False)
            assert (job.sys_id, "intent") not in lines
        text = made.daemon.log.read_text()
        assert made.box.secrets["signature_key"] not in text
        codes = [code for job in made.box.jobs for code in re.findall(r"\.([\w-]{43})\"", job.row["payload"])]
        assert len(codes) == 14 + 7
        assert not [code for code in codes if code in text or code in str(audit(made))]


async def test_a_copy_is_refused_also_after_restarts(tmp_path: Path) -> None:
    """Of a record and its copies one is executed; a copy made after a stop and a start is a replay as well."""
    async with world(tmp_path, drop_in=SIGNED) as made:
        first = one(made)
        put(made, first)
        await made.answered(1)
        put(made, copy(first, "a" * 32), copy(first, "b" * 32))
        await made.answered(3)
        assert await made.daemon.stop() == 0
        await impatient(made).start()
        put(made, copy(first, "c" * 32))
        await settled(made)
        assert told(made, first) == ""


async def test_records_that_race_with_one_nonce(tmp_path: Path) -> None:
    """Of ten equal records put in at once exactly one call is made; the others are told of a replay."""
    async with world(tmp_path, drop_in=SIGNED) as made:
        first = one(made)
        # whichever of them comes first is the one that passes
        put(made, *(copy(first, f"{number:032x}", Expect()) for number in range(10)))
        await rest(made)
        errors = sorted(told(made, job)[:8] for job in made.box.jobs)
        assert errors == [""] + ["BSR-4022"] * 9
        assert sum(made.box.appliance.effects.values()) + sum(made.box.appliances["appliance2"].effects.values()) == 1


@pytest.mark.parametrize(("step", "side"), [("nonce", "before"), ("nonce", "after"), ("intent", "after")])
async def test_a_kill_does_not_make_a_record_its_own_replay(tmp_path: Path, step: str, side: str) -> None:
    """Killed around the commit of the nonce, and before the call, the record passes in the next life, and no copy."""
    async with world(tmp_path, drop_in=SIGNED, start=False) as made:
        job = one(made)
        put(made, job)
        life = killed_at(made, step, side)
        await life.start()
        assert await life.ended() == KILLED
        await impatient(made).start()
        await made.answered(1)
        put(made, copy(job, "d" * 32))
        await settled(made)
        assert told(made, job) == ""


async def test_an_operation_may_demand_a_signature_by_itself(tmp_path: Path) -> None:
    """Where unsafe work or one operation must be signed, the rest passes unsigned; a wrong signature passes nowhere."""
    drop_in = FAST + "  require_signature: unsafe\npolicy: {operations: {health: {require_signature: true}}}\n"
    async with world(tmp_path, drop_in=drop_in) as made:
        unsafe, health = one(made, "terminate", 1, sign=False), one(made, "typed health", 2, sign=False)
        put(
            made,
            Job("terminate", unsafe.row, refused("BSR-4017")),
            Job("typed health", health.row, refused("BSR-4017")),
            one(made, "report", 3, sign=False),
            one(made, "terminate", 4),
            one(made, "typed health", 5),
            signed_anew(made, one(made, "report", 6, sign=False), "BSR-4020", by="somebody"),
        )
        await settled(made)


async def test_a_new_key_counts_without_a_reload(tmp_path: Path) -> None:
    """A replaced file is the key from then on; one that is gone makes its work wait, and health says so."""
    async with world(tmp_path, drop_in=SIGNED) as made:
        file = made.box.directory / "credentials" / "signature_key"
        old = one(made, "terminate", 1)
        put(made, old)
        await made.answered(1)
        former = one(made, "terminate", 2)
        made.box.secrets["signature_key"] = "k" * 40
        file.write_text("k" * 40 + "\n")
        await asyncio.sleep(1.1)
        put(made, Job("terminate", former.row, refused("BSR-4020")), one(made, "terminate", 3))
        await made.answered(3)
        file.unlink()
        await asyncio.sleep(1.1)
        put(made, one(made, "terminate", 4))
        await eventually(lambda: "BSR-1009" in {each["code"] for each in status(made)["conditions"]})
        assert len(made.box.servicenow.answered) == 3
        file.write_text("k" * 40 + "\n")
        file.chmod(0o600)
        await settled(made)


async def test_a_short_key_ends_the_start(tmp_path: Path) -> None:
    """A key that could be guessed is BSR-1028 at the start, and `config check` shows its line."""
    async with world(tmp_path, drop_in=SIGNED, start=False) as made:
        (made.box.directory / "credentials" / "signature_key").write_text("short\n")
        code, _, err = await made.run("run")
        assert code == 78
        assert "BSR-1028" in err
        code, out, _ = await made.run("config", "check")
        assert code == 78
        assert "servicenow.signature_keys.sandbox" in out
