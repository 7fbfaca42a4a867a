"""Recordings of any size come home through the whole daemon in the memory of a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "recording.py"
MIB = 1024 * 1024


@pytest.mark.parametrize(("way", "size"), [("attach", 256 * MIB), ("untold", 64 * MIB), ("store", 64 * MIB)])
def test_a_large_recording_needs_no_memory(way: str, size: int) -> None:
    """256 MiB take less than 12 MiB, in a daemon that stays below 96; `scripts/recordings` does it with 2 GiB."""
    done = subprocess.run([sys.executable, SCRIPT, way, str(size)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["way"], figures["bytes"]) == (way, size)
    assert figures["peak_mib"] < 96
    assert figures["peak_mib"] - figures["peak_mib_before"] < 12
