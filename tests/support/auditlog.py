"""An audit log to test with, and ways to break the calls beneath it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.audit.segments import FIRST, FOLDER, lines, segments
from relay.audit.verify import verify_folder
from support.store import StillClock


def entry(job: str = "a", event: str = "sent", attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {"event": event, "job": job, "attempt": attempt, **fields}


async def opened(folder: Path) -> AuditLog:
    return await AuditLog.open(folder, StillClock())


def read(folder: Path) -> list[dict[str, Any]]:
    """The log's lines, after it was verified."""
    report = verify_folder(folder / FOLDER)
    assert report.verdict.bad is None
    assert report.torn == 0
    return [json.loads(line) for line in (folder / FOLDER / FIRST).read_bytes().splitlines()]


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, times: int = 1, part: int = 0) -> list[int]:
    """Make a function of `os` fail a few times, `pwrite` after it has written a part."""
    real = getattr(os, name)
    fired: list[int] = []

    def function(descriptor: int, *values: Any, **named: Any) -> Any:
        if len(fired) >= times:
            return real(descriptor, *values, **named)
        fired.append(1)
        if part:
            real(descriptor, values[0][:part], values[1])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, function)
    return fired


async def written(folder: Path, lines: int = 20) -> list[str]:
    """A log of several segments, the older ones compressed, signed on its way by two keys.

    Returns the texts of its checkpoints, the smallest first. The key folder is `<folder>-key`.
    """
    notes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.audit.log.LARGEST_SEGMENT", 1000)
        patch.setattr("relay.audit.compress.REMEMBERED", 1)
        log = await opened(folder)
        notary = Notary(log, folder.with_name(f"{folder.name}-key"), "relay01")
        for number in range(lines):
            await log.append([entry(f"{number}", by="admin")])
            if number % 5 == 4:
                notes.append((await notary.sign()).text)
            if number == lines // 2:
                await notary.rotate("admin")
                assert notary.newest is not None
                notes.append(notary.newest.text)
        await notary.tidy()
        await log.close()
    return notes


def whole(folder: Path) -> list[tuple[Path, list[bytes]]]:
    """The lines of each segment, with their line feeds."""
    return [(path, [line.raw for line in lines(path)]) for path in segments(folder / FOLDER)]


def rewrite(content: list[tuple[Path, list[bytes]]]) -> None:
    """Write segments anew in the form that each has."""
    for path, raw in content:
        data = b"".join(raw)
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
