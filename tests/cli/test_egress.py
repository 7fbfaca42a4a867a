"""`bseries-relay egress`, as a program."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.configuration import SMALLEST, write_files

UNIT = Path(__file__).parents[2] / "packaging/systemd/bseries-relay.service"
LOCAL = SMALLEST.replace("example.service-now.com", "localhost").replace("access.example.com", "192.0.2.7:8443")
PROXY = "servicenow: {proxy: {url: 'http://localhost:3128'}}\n"
OUTSIDE = "metrics: {listen: '0.0.0.0:9464'}\n"


def run(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in an environment without proxies and certificates."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "relay", "egress", "--config", str(config), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=50,
    )


def test_the_table_names_every_place(tmp_path: Path) -> None:
    """One line for each flow, with host, port, reason and what stops working without it; nothing on stderr."""
    done = run(write_files(tmp_path, LOCAL, more=PROXY))
    assert (done.returncode, done.stderr) == (0, "")
    head, first, second, *_ = done.stdout.splitlines()
    assert head.split()[:4] == ["direction", "from", "to", "port"]
    assert first.split()[3:6] == ["localhost", "3128", "tcp"]
    assert "CONNECT localhost:443" in first
    assert "BSR-2001" in first
    assert second.split()[3:6] == ["192.0.2.7", "8443", "tcp"]


def test_json_has_a_schema(tmp_path: Path) -> None:
    """`--json` gives the same rows as objects."""
    done = run(write_files(tmp_path, LOCAL, more=OUTSIDE), "--json")
    told = json.loads(done.stdout)
    assert told["schema"] == "bseries-relay/egress/1"
    assert {"direction", "from", "to", "port", "protocol", "why", "if_blocked"} <= told["flows"][0].keys()
    assert [row["port"] for row in told["flows"]] == [443, 8443, *[53] * (len(told["flows"]) - 3), 9464]
    assert done.returncode == 0


def test_the_drop_in_is_what_the_table_says(tmp_path: Path) -> None:
    """The filter has both sides, the name servers and the scrapers; what may change is told on stderr."""
    config = write_files(tmp_path, LOCAL, more=PROXY + OUTSIDE)
    done = run(config, "--systemd", "--metrics-from", "10.5.0.0/16")
    assert done.returncode == 0
    allowed = re.findall(r"^IPAddressAllow=(.*)$", done.stdout, re.MULTILINE)
    assert "127.0.0.1" in allowed[0].split()
    assert allowed[1] == "192.0.2.7"
    assert allowed[-1] == "10.5.0.0/16"
    assert "IPAddressDeny=any" in done.stdout.splitlines()
    assert re.search(
        r"^# bseries-relay egress --systemd, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", done.stdout, re.MULTILINE
    )
    assert "# proxy to ServiceNow: localhost" in done.stdout
    assert "localhost: good as long as" in done.stderr
    assert "metrics for Prometheus: the configuration does not tell" in run(config, "--systemd").stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_drop_in_without_a_word(tmp_path: Path) -> None:
    """Our unit with the drop-in verifies, and the drop-in is read: spoilt, it makes systemd speak."""
    unit = tmp_path / "units" / UNIT.name
    drop_in = unit.with_name(f"{UNIT.name}.d") / "egress.conf"
    drop_in.parent.mkdir(parents=True)
    unit.write_text(UNIT.read_text().replace("/usr/bin/bseries-relay", "/bin/true"))
    made = run(write_files(tmp_path, LOCAL, more=OUTSIDE), "--systemd", "--metrics-from", "10.5.0.0/16").stdout
    told = []
    for text in (made, made.replace("IPAddressAllow=192.0.2.7", "IPAddressAllow=nowhere")):
        drop_in.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(unit)],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            stdin=subprocess.DEVNULL,
        )
        told.append(done.stdout + done.stderr)
    assert told[0] == ""
    assert "nowhere" in told[1]


def test_a_name_without_address_is_unavailable(tmp_path: Path) -> None:
    """A name that does not resolve exits 69 with the side's code and the name; the table needs no names."""
    config = write_files(tmp_path, LOCAL.replace("192.0.2.7:8443", "nowhere.invalid"))
    done = run(config, "--systemd")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("BSR-3001")
    assert "nowhere.invalid" in done.stderr
    assert run(config).returncode == 0


@pytest.mark.parametrize("words", [("--systemd", "--json"), ("--metrics-from", "10.0.0.1/8"), ("--metrics-from", "x")])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A drop-in is no JSON, and a network must be one."""
    assert run(write_files(tmp_path, LOCAL), *words).returncode == 2


def test_what_the_configuration_warns_of_is_told(tmp_path: Path) -> None:
    """Warnings of the configuration are on stderr, the rows that follow from it in the table."""
    listener = (
        'listener: {listen: "0.0.0.0:8443", tls: {certificate: /l.pem, key: {credential: k}}, accept_from: [10.1.2.3]}'
    )
    done = run(write_files(tmp_path, LOCAL, more=listener))
    assert "10.1.2.3" in done.stdout
    warned = LOCAL.replace("servicenow:\n", "servicenow:\n  wake: amb\n", 1)
    assert "BSR-1017" in run(write_files(tmp_path, warned, more=listener)).stderr
