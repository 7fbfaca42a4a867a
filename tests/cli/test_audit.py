"""`bseries-relay audit verify`, as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.store import StillClock

from relay.audit.log import AuditLog
from relay.audit.segments import FIRST, FOLDER

CONFIGURATION = """
version: 1
relay: {{name: relay01}}
servicenow:
  url: https://example.service-now.com
  auth:
    basic: {{username: user, password: {{credential: password}}}}
appliances:
  default:
    product: pra
    url: https://access.example.com
    auth: {{client_id: id, client_secret: {{credential: secret}}}}
policy: {{allow: [read-only]}}
storage: {{directory: {}}}
"""


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder with a log of five lines."""
    log = await AuditLog.open(tmp_path, StillClock())
    await log.append([{"event": "sent", "job": f"{number}", "attempt": 1} for number in range(5)])
    await log.close()
    return tmp_path


def run(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    program = "from relay.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "audit", "verify", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def test_a_sound_log_is_ok(state: Path) -> None:
    """A sound log exits 0, tells its last seq on stdout, and says on stderr that truncation was not checked."""
    done = run("--directory", state)
    assert done.returncode == 0
    assert done.stdout.startswith("OK: 5 lines")
    assert "Not checked" in done.stderr


def test_a_changed_log_is_bad(state: Path) -> None:
    """An edit exits 1 and names the first bad seq."""
    path = state / FOLDER / FIRST
    path.write_bytes(path.read_bytes().replace(b'"job":"2"', b'"job":"9"'))
    done = run("--directory", state)
    assert done.returncode == 1
    assert done.stdout.startswith("BAD: seq 3 ")


def test_json_has_a_schema(state: Path) -> None:
    """`--json` is one object with `schema`, the verdict, the chain's end and the torn bytes."""
    path = state / FOLDER / FIRST
    with path.open("ab") as file:
        file.write(b"{")
    sound = json.loads(run("--directory", state, "--json").stdout)
    assert sound["schema"] == "bseries-relay/audit-verify/1"
    assert (sound["ok"], sound["lines"], sound["torn_bytes"], sound["bad"]) == (True, 5, 1, None)
    assert "torn by a crash" in run("--directory", state).stderr
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    done = run("--directory", state, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["bad"]["seq"] == 1


def test_a_missing_log_is_not_sound(tmp_path: Path) -> None:
    """No folder, or a folder without a log, exits 1."""
    assert run("--directory", tmp_path).returncode == 1
    (tmp_path / FOLDER).mkdir()
    done = run("--directory", tmp_path)
    assert done.returncode == 1
    assert "no audit log" in done.stderr


def test_a_log_that_cannot_be_read_is_told_apart(tmp_path: Path) -> None:
    """Something else in the log's place exits 77."""
    (tmp_path / FOLDER).write_text("")
    assert run("--directory", tmp_path).returncode == 77


def test_the_state_folder_is_found(state: Path, tmp_path: Path) -> None:
    """Without `--directory` the log is that of systemd's state folder, or of the configuration's."""
    empty = tmp_path / "config"
    empty.mkdir()
    assert run(STATE_DIRECTORY=str(state), CONFIGURATION_DIRECTORY=str(empty)).returncode == 0
    assert run(STATE_DIRECTORY=str(empty), CONFIGURATION_DIRECTORY=str(empty)).returncode == 1
    main = empty / "relay.yaml"
    main.write_text(CONFIGURATION.format(state))
    assert run(STATE_DIRECTORY=str(empty), CONFIGURATION_DIRECTORY=str(empty)).returncode == 0
    broken = tmp_path / "relay.yaml"
    broken.write_text("version: 1\n")
    done = run("--config", broken)
    assert done.returncode == 78
    assert "--directory" in done.stderr
