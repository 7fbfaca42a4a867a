"""The gate itself: its scripts, its lock files, and that it sees what subprocesses do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import coverage
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())


def locked(name: str) -> dict[str, str]:
    """Names and versions of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_ci_calls_the_gate() -> None:
    """CI runs scripts/test and nothing else."""
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[1:] == ['exec "$(dirname "$0")/../scripts/test"']


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    """Each shell script parses, stops at its first error, and can be run unless it is sourced; Python compiles."""
    if script.suffix == ".py":
        compile(script.read_text(), str(script), "exec")
        return
    subprocess.run(["bash", "-n", str(script)], check=True)
    if script.suffix == ".sh":
        return
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"])
def test_locks_have_hashes_and_no_hosts(name: str) -> None:
    """Each locked version has its hashes, and no lock file says where packages come from."""
    text = (ROOT / name).read_text()
    entries = re.findall(r"^[a-z0-9-]+==.*(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+", text, re.MULTILINE)
    assert len(entries) == len(locked(name)) > 0
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_locks_hold_what_the_project_asks_for() -> None:
    """Each requirement of pyproject.toml is locked where it is needed, so that a forgotten scripts/lock is seen."""
    runtime, dev, build = (locked(f"requirements{kind}.lock") for kind in ("", "-dev", "-build"))
    assert names(PROJECT["project"]["dependencies"]) <= runtime.keys()
    assert names(PROJECT["dependency-groups"]["dev"]) <= dev.keys()
    assert names(PROJECT["dependency-groups"]["build"]) <= build.keys()
    for line in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(dev[canonicalize_name(requirement.name)])


def test_locks_agree() -> None:
    """A version is the same wherever it is locked."""
    dev = locked("requirements-dev.lock")
    assert locked("requirements.lock").items() <= dev.items()
    assert locked("requirements-build.lock").items() <= dev.items()


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "child.py"], stdout=subprocess.PIPE)
child.stdout.readline()
child.terminate()
sys.exit(child.wait() == 0)
"""
CHILD = """
import time
print("up", flush=True)
time.sleep(60)
"""


def test_coverage_sees_a_terminated_subprocess(tmp_path: Path) -> None:
    """A process that a test starts and ends with SIGTERM is measured: with our settings it leaves its data."""
    settings = PROJECT["tool"]["coverage"]["run"]
    assert settings["parallel"]
    lines = ["[run]", "branch = true", "parallel = true", f"sigterm = {settings['sigterm']}", "source = ."]
    (tmp_path / ".coveragerc").write_text("\n".join([*lines, f"patch = {','.join(settings['patch'])}", ""]))
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "child.py").write_text(CHILD)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-m", "coverage", "run", "parent.py"]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, timeout=50)
    measured = set()
    for file in tmp_path.glob(".coverage.*"):
        data = coverage.CoverageData(str(file))
        data.read()
        measured |= {Path(name).name for name in data.measured_files() if data.arcs(name)}
    assert measured == {"parent.py", "child.py"}


def test_setup_says_what_is_missing_without_root(tmp_path: Path) -> None:
    """Where packages are missing and the user is not root, the set-up names the command and fails."""
    fakes = {
        "dpkg-query": '#!/bin/sh\ncase "$*" in *libsystemd-dev*|*strace*) exit 1;; esac\nprintf installed\n',
        "id": "#!/bin/sh\necho 1000\n",
    }
    for name, text in fakes.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("setup.sh", "test"):
        shutil.copy(ROOT / "scripts" / name, checkout / "scripts" / name)
    done = subprocess.run(
        [str(checkout / "scripts/test")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "As root: apt-get install --no-install-recommends libsystemd-dev strace\n" in done.stderr
