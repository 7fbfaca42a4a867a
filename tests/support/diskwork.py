"""Work whose every step is told when it is acknowledged: `python -m support.diskwork store|audit|signed FOLDER ACKS`.

A step is a line `<number> <what>` in ACKS, an error a line `<number> error <code>`; ACKS `-` is stdout. Checks of what
must be in the folder afterwards stand beside the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from relay.audit import checkpoints
from relay.audit import compress as compress_module
from relay.audit import log as log_module
from relay.audit.keys import NEXT_FILE, check, known_keys
from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.audit.segments import FOLDER, lines, segments
from relay.audit.verify import verify_folder
from relay.core.checkpoint import signers
from relay.core.errors import StorageError
from relay.core.jobs import Change, changed
from support.store import NOW, StillClock, new, open_store

STEPS = 5
OLD, NEW = b"old body " * 300, b"new body"


async def store_work(folder: Path, tell: Any) -> None:
    """Each step stores two jobs in one call, then moves the first of them on with another body."""
    store = await open_store(folder)
    for number in range(STEPS):
        try:
            job, _ = await store.add([new(f"a{number}", bodies={"p": OLD}), new(f"b{number}")], NOW)
            tell(f"{number} added")
            if job is not None:
                await store.change([Change(job, changed(job, "CLAIMED", NOW), {"p": NEW})])
                tell(f"{number} changed")
        except StorageError as error:
            tell(f"{number} error {error.code}")
    await store.close()


async def store_check(folder: Path, acks: Iterable[str]) -> None:
    """What was acknowledged is there, every call is there whole or not at all, and the store works."""
    acked = set(acks)
    store = await open_store(folder)
    for number in range(STEPS):
        known = await store.known([f"a{number}", f"b{number}"])
        (body,) = await store.bodies([f"a{number}"], "p")
        expected = {"SEEN": OLD, "CLAIMED": NEW, None: None}
        assert body == expected[known.get(f"a{number}")]
        assert len(known) in {0, 2}
        if f"{number} added" in acked:
            assert len(known) == 2
        if f"{number} changed" in acked:
            assert known[f"a{number}"] == "CLAIMED"
    assert await store.add([new("later")], NOW) != [None]
    await store.close()


async def audit_work(folder: Path, tell: Any) -> None:
    """Each step appends two entries in one call."""
    log = await AuditLog.open(folder, StillClock())
    for number in range(STEPS):
        try:
            await log.append(entries(number))
            tell(f"{number} appended")
        except StorageError as error:
            tell(f"{number} error {error.code}")
    await log.close()


def entries(number: int) -> list[dict[str, Any]]:
    """The entries of a step."""
    return [{"event": "sent", "job": f"{name}{number}", "attempt": 1, "by": "x" * 300} for name in "ab"]


async def audit_check(folder: Path, acks: Iterable[str]) -> None:
    """The log opens and verifies; what was acknowledged is there; repeated, every step is there once."""
    log = await AuditLog.open(folder, StillClock())
    before = _jobs(folder)
    for number in range(STEPS):
        if f"{number} appended" in set(acks):
            assert {f"a{number}", f"b{number}"} <= set(before)
        await log.append(entries(number))
    await log.close()
    assert verify_folder(folder / FOLDER).verdict.bad is None
    assert sorted(_jobs(folder)) == sorted(f"{name}{number}" for name in "ab" for number in range(STEPS))


@contextlib.contextmanager
def small_segments() -> Iterator[None]:
    """Let segments end after some lines, and be compressed as soon as the next one has begun."""
    kept = log_module.LARGEST_SEGMENT, compress_module.REMEMBERED
    log_module.LARGEST_SEGMENT, compress_module.REMEMBERED = 1200, 1
    try:
        yield
    finally:
        log_module.LARGEST_SEGMENT, compress_module.REMEMBERED = kept


async def signed_work(folder: Path, tell: Any) -> None:
    """Each step appends two entries, signs and compresses; in the middle the key is changed."""
    with small_segments():
        log = await AuditLog.open(folder, StillClock())
        notary = Notary(log, folder / "keys", "relay01")
        for number in range(STEPS):
            await log.append(entries(number))
            tell(f"{number} appended")
            note = await notary.sign()
            tell(f"{number} signed {note.size} {note.root.hex()}")
            if number == STEPS // 2:
                tell(f"{number} rotated {(await notary.rotate('admin')).vkey}")
            await notary.tidy()
        await log.close()


async def signed_check(folder: Path, acks: Iterable[str]) -> None:
    """Whatever was acknowledged is there and proven by the first key, and the log is signed on with the right key."""
    told = [text.split() for text in acks]
    done = {int(words[0]) for words in told if words[1] == "appended"}
    signed = {f"{int(words[2]):012}.note": words[3] for words in told if words[1] == "signed"}
    rotated = [words[2] for words in told if words[1] == "rotated"]
    first = known_keys(folder / FOLDER)[:1]
    if signed:
        assert first
    with small_segments():
        log = await AuditLog.open(folder, StillClock())
        jobs = _jobs(folder)
        for number in range(STEPS):
            if number in done:
                assert {f"a{number}", f"b{number}"} <= set(jobs)
            else:
                await log.append(entries(number))
        notary = Notary(log, folder / "keys", "relay01")
        note = await notary.sign()
        await notary.tidy()
        await log.close()
    assert sorted(_jobs(folder)) == sorted(f"{name}{number}" for name in "ab" for number in range(STEPS))
    report = verify_folder(folder / FOLDER, first or None)
    assert report.sound, report
    assert report.judgement.verified[-1] == note
    roots = {path.name: checkpoints.read(path).root.hex() for path in checkpoints.paths(folder / FOLDER)}
    assert signed.items() <= roots.items()
    current = known_keys(folder / FOLDER)[-1]
    assert current in signers(note, [current], check)
    assert not rotated or rotated == [current.vkey]
    assert not (folder / "keys" / NEXT_FILE).exists()


def _jobs(folder: Path) -> list[str]:
    found = (json.loads(line.raw) for segment in segments(folder / FOLDER) for line in lines(segment))
    return [entry["job"] for entry in found if entry["event"] == "sent"]


def main(what: str, folder: str, acks: str) -> None:
    """Do the work of one kind."""
    descriptor = 1 if acks == "-" else os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(text: str) -> None:
        os.write(descriptor, f"{text}\n".encode())

    asyncio.run({"store": store_work, "audit": audit_work, "signed": signed_work}[what](Path(folder), tell))


if __name__ == "__main__":
    main(*sys.argv[1:])
