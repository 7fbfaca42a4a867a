"""The systemd unit, judged by systemd itself without a running system."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging/systemd/bseries-relay.service"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def values(key: str) -> list[str]:
    """What the unit sets a key to."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_exposure_is_low() -> None:
    """The unit's exposure is at most 1.2 of 10."""
    done = analyze("security", "--offline=true", "--threshold=12", str(UNIT))
    assert done.returncode == 0, done.stdout
    rated = re.search(r"exposure level for bseries-relay\.service: ([0-9.]+)", done.stdout)
    assert rated
    assert float(rated[1]) <= 1.2


def test_administrators_keep_their_names() -> None:
    """No user namespace: in one the kernel calls whoever uses the control socket nobody, and so does the audit log."""
    assert not re.search(r"^PrivateUsers=", UNIT.read_text(), re.MULTILINE)


def test_verify_is_silent(tmp_path: Path) -> None:
    """Every key and value of the unit is known to systemd (another program stands for a command not installed)."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/bseries-relay", "/bin/true"))
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_socket_unit_fits(tmp_path: Path) -> None:
    """The optional socket unit is one that systemd understands, for the service of the same name."""
    for unit in (UNIT, UNIT.with_suffix(".socket")):
        text = unit.read_text().replace("/usr/bin/bseries-relay", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = analyze("verify", str(tmp_path / UNIT.with_suffix(".socket").name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_speak(tmp_path: Path) -> None:
    """The check above can fail: an unknown key makes systemd speak, though it exits 0."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/bseries-relay", "/bin/true").replace("LockPersonality", "LockX"))
    assert "LockX" in analyze("verify", str(unit)).stderr


def test_unit_runs_the_command_under_its_own_user() -> None:
    """The daemon is `bseries-relay run`, notifies, is reloaded by SIGHUP, and a bad configuration is not retried."""
    assert values("Type") == ["notify"]
    assert values("ExecStart") == ["/usr/bin/bseries-relay run"]
    assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert values("User") == values("Group") == ["bseries-relay"]
    assert values("Restart") == ["on-failure"]
    assert values("RestartPreventExitStatus") == ["78"]


def test_the_key_lives_apart_from_the_state() -> None:
    """The unit gives two state folders, the second for the storage key, and nobody else may read them."""
    assert values("StateDirectory") == ["bseries-relay bseries-relay-key"]
    assert values("StateDirectoryMode") == ["0700"]
    assert values("RuntimeDirectoryMode") == values("ConfigurationDirectoryMode") == ["0750"]


def test_a_crash_leaves_no_core_file() -> None:
    """The unit forbids core files, whatever the daemon itself may set under the system call filter."""
    assert values("LimitCORE") == ["0"]
    assert values("UMask") == ["0077"]


def test_the_user_and_the_configuration_folder_are_declared(tmp_path: Path) -> None:
    """The files for sysusers and tmpfiles are accepted, and make the user and a configuration folder that root owns."""
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None:
        pytest.skip("systemd-sysusers and systemd-tmpfiles are not installed")
    (tmp_path / "etc").mkdir()
    for name in ("sysusers", "tmpfiles"):
        create = ["--create"] if name == "tmpfiles" else []
        command = [f"systemd-{name}", f"--root={tmp_path}", *create, str(UNIT.with_suffix(f".{name}"))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr
    assert "bseries-relay:" in (tmp_path / "etc/passwd").read_text()
    assert (tmp_path / "etc/bseries-relay").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "etc/bseries-relay/credentials").stat().st_mode & 0o777 == 0o700
