"""An audit log to test with, and ways to break the calls beneath it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from relay.audit.log import AuditLog
from relay.audit.segments import FIRST, FOLDER
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

    def function(descriptor: int, *values: Any) -> Any:
        if len(fired) >= times:
            return real(descriptor, *values)
        fired.append(1)
        if part:
            real(descriptor, values[0][:part], values[1])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, function)
    return fired
