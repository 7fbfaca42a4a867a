"""A process that keeps its memory and its files to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.host import hardening

LOOK = """
import json, os, resource
from pathlib import Path
from relay.host.hardening import exposures, harden

before = exposures()
harden()
Path("made").touch()
key = os.memfd_create("key")
os.write(key, b"key")
print(json.dumps({
    "before": before,
    "after": exposures(),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "mode": os.stat("made").st_mode & 0o777,
    "owner": os.stat("/proc/self/environ").st_uid,
    "memory": Path(f"/proc/self/fd/{key}").read_text(),
    "descriptors": len(os.listdir("/proc/self/fd")),
    "status": "Umask:\\t0077" in Path("/proc/self/status").read_text(),
}))
"""


def looked(folder: Path, user: int | None = None) -> dict[str, Any]:
    """What a hardened process, of another user when one is given, sees of itself."""
    folder.chmod(0o777)
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        user=user,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_core_file_no_dump_no_shared_file(tmp_path: Path) -> None:
    """After `harden` there is no core file, memory cannot be dumped, and new files are the owner's alone."""
    found = looked(tmp_path)
    assert any("dumped" in why for why in found["before"])
    assert [why for why in found["after"] if "root" not in why] == []
    assert found["core"] == [0, 0]
    assert found["mode"] == 0o600
    assert found["status"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_hardened_process_can_still_do_its_work(tmp_path: Path) -> None:
    """Without root it reads its own descriptors, as TLS keys and metrics need; to others /proc shows it as root's."""
    for parent in tmp_path.parents[:-2]:
        parent.chmod(0o711)
    found = looked(tmp_path, 65534)
    assert found["after"] == []
    assert found["owner"] == 0
    assert found["memory"] == "key"
    assert found["descriptors"] > 3


def test_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running as root is an exposure of its own."""
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 0)
    assert any("root" in why for why in hardening.exposures())
    monkeypatch.setattr(hardening.os, "geteuid", lambda: 1000)
    assert not any("root" in why for why in hardening.exposures())


def test_what_the_system_forbids_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call filter that forbids it all leaves a process that works and says what is open."""

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(hardening.resource, "setrlimit", forbidden)
    monkeypatch.setattr(hardening.resource, "getrlimit", lambda _: (1, 1))
    monkeypatch.setattr(hardening, "_prctl", lambda *_: -1)
    before = os.umask(0o022)
    try:
        hardening.harden()
    finally:
        os.umask(before)
    assert len([why for why in hardening.exposures() if "root" not in why]) == 2
