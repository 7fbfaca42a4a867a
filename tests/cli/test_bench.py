"""`bseries-relay bench`: what it measures, small."""

from __future__ import annotations

import json
import math

import click
import pytest
from click.testing import CliRunner

from relay.cli import bench
from relay.cli.bench_approvals import Approvals
from relay.cli.bench_sessions import Imports
from relay.cli.main import main

THROUGHPUT = bench.Throughput("20 appliances, limits raised", 0.1, 20, 50.0, 0.5, 5.0, 10.0, 70.0)


@pytest.mark.timeout(150)  # nine starts of the daemon and of the stand-ins, whatever else the machine does
def test_a_small_measurement_has_every_figure() -> None:
    """`bench --json` gives throughputs, latencies, imports and the cost of rest, each a sound number."""
    done = CliRunner().invoke(
        main, ["bench", "--jobs", "20", "--seconds", "1", "--sessions", "2", "--approvals", "20", "--json"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["schema"] == "bseries-relay/bench/1"
    assert [(row["arrangement"], row["latency"]) for row in found["throughput"]] == [
        ("20 appliances, limits raised", 0.0),
        ("20 appliances, limits raised", 0.1),
        ("1 appliance, shipped limits", 0.0),
    ]
    for row in found["throughput"]:
        assert row["jobs"] == 20
        assert row["ratio"] == pytest.approx(row["jobs_per_second"] / row["plain_jobs_per_second"], rel=0.1)
        assert 0 < row["requests_per_job"] < 6
        assert row["resident_mib"] > 20
    assert [row["latency"] for row in found["added"]] == [0.0, 0.1]
    assert all(0 < row["p50"] <= row["p99"] for row in found["added"])
    assert found["rest"]["resident_mib"] > 20
    assert [row["latency"] for row in found["imports"]] == [0.0, 0.1]
    for row in found["imports"]:
        assert row["ratio"] == pytest.approx(row["sessions_per_second"] / row["plain_sessions_per_second"], rel=0.2)
        assert row["rows_per_session"] > 200
    assert [row["beside"] for row in found["approvals"]] == ["nothing", "an import of sessions"]
    for row in found["approvals"]:
        assert row["right"] == row["requests"] == 20
        assert 0.1 < row["p50"] <= row["p99"] <= row["longest"]
    assert all(math.isfinite(value) and value >= 0 for value in found["rest"].values())


def test_the_plain_summary_is_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--json` the figures come as tables."""

    async def measured(jobs: int, seconds: float) -> object:
        assert (jobs, seconds) == (20, 1.0)
        return [THROUGHPUT], [bench.Added(0.1, 0.1, 0.25, 0.5)], bench.Rest(70.0, 12.0, 0.5)

    async def imported(sessions: int, seconds: float) -> object:
        assert (sessions, seconds) == (100, 1.0)
        return [Imports(0.1, 100, 204.0, 3.1, 10.5, 0.05, 62.0, 91.0)]

    async def approved(requests: int) -> object:
        assert requests == 7
        return [Approvals("nothing", 0.1, 7, 7, 0.11, 0.12, 0.13, 0)]

    monkeypatch.setattr(bench, "_approvals", approved)
    monkeypatch.setattr(bench, "_measure", measured)
    monkeypatch.setattr(bench, "_imports", imported)
    done = CliRunner().invoke(main, ["bench", "--jobs", "20", "--seconds", "1", "--approvals", "7"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split("  ")[0] == "arrangement"
    assert "100 ms" in lines[1]
    assert "requests a minute" in done.stdout
    assert lines[-4].split()[-3:] == ["0.05", "62", "91.0"]
    assert lines[-1].split() == ["7", "nothing", "0", "100", "ms", "7", "0.11", "0.12", "0.13"]


def test_one_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--only` leaves the other parts out, of the JSON too."""

    async def approved(_: int) -> object:
        return [Approvals("nothing", 0.1, 7, 7, 0.11, 0.12, 0.13, 0)]

    monkeypatch.setattr(bench, "_approvals", approved)
    done = CliRunner().invoke(main, ["bench", "--only", "approvals", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["throughput"], found["imports"], found["rest"]) == ([], [], None)
    assert [row["p99"] for row in found["approvals"]] == [0.12]
    done = CliRunner().invoke(main, ["bench", "--only", "approvals"])
    assert "requests for approval" in done.stdout


def test_what_does_not_end_is_an_error() -> None:
    """A measurement that takes too long ends with a message."""
    with pytest.raises(click.ClickException, match="did not end in time"):
        bench._in_time(0.0)
    bench._in_time(math.inf)
