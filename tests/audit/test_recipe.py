"""The recipe of docs/audit.md verifies a log without our code."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.auditlog import rewrite, whole, written

from relay.audit.keys import known_keys
from relay.audit.segments import FOLDER
from relay.core.checkpoint import PublicKey

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A log, and its checkpoints."""
    folder = tmp_path_factory.mktemp("log") / "state"
    return folder, asyncio.run(written(folder))


def recipe(folder: Path, state: Path, note: str, key: PublicKey) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (script,) = re.findall(r"<!-- audit: check.py -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "relay." not in script.replace("bseries-relay audit", "")
    (folder / "check.py").write_text(script)
    (folder / "note").write_text(note)
    words = [sys.executable, "-I", "-S", "check.py", str(state / FOLDER), "note", key.vkey]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_a_sound_log_passes(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Every checkpoint, of either key, passes over compressed and plain files."""
    first, last = known_keys(made[0] / FOLDER)
    for note, key in ((made[1][0], first), (made[1][2], first), (made[1][2], last), (made[1][-1], last)):
        done = recipe(tmp_path, made[0], note, key)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("OK: 22 lines")


def test_a_segment_in_both_forms_is_read_once(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    """What a crash between the two forms of a segment left is no tampering."""
    state = tmp_path / "state"
    shutil.copytree(made[0], state)
    path, lines = whole(state)[0]
    path.with_suffix("").write_bytes(b"".join(lines))
    assert recipe(tmp_path, state, made[1][-1], known_keys(state / FOLDER)[-1]).returncode == 0


@pytest.mark.parametrize("change", ["edit", "cut", "signature", "size"])
def test_a_changed_log_or_note_does_not(made: tuple[Path, list[str]], tmp_path: Path, change: str) -> None:
    """An edit, a cut-off end, a false signature and a changed checkpoint are told."""
    state = tmp_path / "state"
    shutil.copytree(made[0], state)
    content, note = whole(state), made[1][-1]
    match change:
        case "edit":
            content[1][1][0] = content[1][1][0].replace(b"admin", b"other")
        case "cut":
            content[-1][1].pop()
        case "signature":
            note = note[:-8] + ("A" if note[-8] != "A" else "B") + note[-7:]
        case _:
            note = note.replace("\n22\n", "\n21\n")
    rewrite(content)
    done = recipe(tmp_path, state, note, known_keys(state / FOLDER)[-1])
    assert done.returncode == 1
    assert done.stderr.startswith("BAD: ")
