"""The daemon from start to stop, as its service manager and its administrators see it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from support.daemon import FAST, world

from relay.sandbox.faults import Fault


async def test_the_main_job_end_to_end(tmp_path: Path) -> None:
    """Every record of every kind is answered once, outputs end processed, and the stop is clean."""
    async with world(tmp_path) as made:
        ids = made.put(38)
        await made.answered(len(ids))
        await made.processed()
        assert await made.daemon.stop() == 0
        summary = made.box.check(final=True)
        assert summary.violations == ()
        assert summary.surprises == ()
        code, out, _ = await made.run("audit", "verify", "--directory", str(made.state), config=False)
        assert code == 0, out
        assert made.manager.messages[-1].keys() >= {"STOPPING"}
        levels = {line["level"] for line in made.log()}
        assert "error" not in levels
        assert "critical" not in levels


async def test_every_line_of_a_job_names_it(tmp_path: Path) -> None:
    """Each log line about a job carries the job and its trace, and no line carries a secret."""
    async with world(tmp_path) as made:
        made.put(10)
        await made.answered(10)
        await made.processed()
        await made.daemon.stop()
        about = [line for line in made.log() if line["event"].startswith(("queue.", "forward."))]
        assert len(about) > 30
        assert all(len(line["job"]) == 32 and len(line["trace"]) == 32 for line in about)
        text = made.daemon.log.read_text()
        assert not [name for name, secret in made.box.secrets.items() if secret in text]


async def test_ready_comes_before_servicenow(tmp_path: Path) -> None:
    """The daemon is READY while ServiceNow is away, says what is wrong, and works once it is back."""
    async with world(tmp_path, start=False, WATCHDOG_USEC="900000") as made:
        await made.box.doors["servicenow"].close()
        await made.daemon.start()
        await made.manager.until("READY", "1")
        await made.manager.until("STATUS", "BSR-2001")
        made.put(3, ["typed health"])
        await made.box.doors["servicenow"].open(int(made.box.servicenow.url.rpartition(":")[2]))
        await made.answered(3)


async def test_a_second_start_exits_75(tmp_path: Path) -> None:
    """The state folder belongs to one process: a second start ends with BSR-5006 and exit code 75."""
    async with world(tmp_path) as made:
        code, _, err = await made.run("run")
        assert code == 75
        assert "BSR-5006" in err


async def test_a_bad_configuration_exits_78(tmp_path: Path) -> None:
    """A configuration with problems ends the start with every problem and exit code 78."""
    async with world(tmp_path, start=False) as made:
        made.configure("servicenow: {pol: {interval: 1s}, timeout: soon}\n")
        code, _, err = await made.run("run")
        assert code == 78
        assert "BSR-1003" in err
        assert "did you mean 'poll'?" in err
        assert "servicenow.timeout" in err


async def test_reload_takes_the_new_policy(tmp_path: Path) -> None:
    """A reload is announced, applies the new configuration, and nothing in hand is lost."""
    async with world(tmp_path) as made:
        made.put(2, ["typed health"], seed=1)
        await made.answered(2)
        made.configure(FAST + "policy: {allow: []}\n")
        code, _, err = await made.run("reload")
        assert code == 0, err
        assert int((await made.manager.until("RELOADING"))["MONOTONIC_USEC"]) > 0
        await made.manager.until("READY", "1", count=2)
        ids = made.put(2, ["typed health"], seed=2)
        await made.answered(4)
        rows = [row for row in made.box.servicenow.tables.rows("ecc_queue") if row["response_to"] in ids]
        assert all("BSR-4002" in row["payload"] for row in rows)


async def test_a_bad_reload_changes_nothing(tmp_path: Path) -> None:
    """With a bad configuration a reload fails with its problems and the daemon goes on as before."""
    async with world(tmp_path) as made:
        made.configure("relay: {nam: x}\n", "zz.yaml")
        code, _, err = await made.run("reload")
        assert code == 78
        assert "did you mean 'name'?" in err
        signal_process(made.daemon.pid, signal.SIGHUP)
        await made.manager.until("READY", "1", count=2)
        made.put(2, ["typed health"])
        await made.answered(2)


async def test_hang_up_reloads(tmp_path: Path) -> None:
    """SIGHUP reloads as the command does, and a moved state folder is refused."""
    async with world(tmp_path) as made:
        process = made.daemon.pid
        made.configure(f"storage: {{directory: {tmp_path}/elsewhere}}\n", "zz.yaml")
        signal_process(process, signal.SIGHUP)
        await made.manager.until("READY", "1", count=2)
        assert "daemon.reload_failed" in made.events()
        (made.box.directory / "conf.d" / "zz.yaml").unlink()
        signal_process(process, signal.SIGHUP)
        await made.manager.until("READY", "1", count=4 - 1)
        assert made.daemon.pid == process


async def test_pause_holds_and_resume_lifts(tmp_path: Path) -> None:
    """While paused nothing is executed but heartbeats are answered; the hold outlives a kill; resume lifts it."""
    async with world(tmp_path) as made:
        code, _, _ = await made.run("pause", "--reason", "maintenance")
        assert code == 0
        await made.daemon.kill()
        await made.daemon.start()
        await made.manager.until("READY", "1", count=2)
        made.put(3, ["typed health"], seed=1)
        made.put(1, ["heartbeat"], seed=2)
        await made.answered(1)
        code, out, _ = await made.run("status", "--json")
        status = json.loads(out)
        assert code == 0
        assert status["schema"] == "bseries-relay/status/1"
        assert status["state"] == "paused"
        assert status["holds"]["local"]["reason"] == "maintenance"
        assert made.box.appliance.calls.total() == 0
        code, _, err = await made.run("resume")
        assert (code, "local" in err) == (0, True)
        await made.answered(4)


async def test_status_when_no_daemon_answers(tmp_path: Path) -> None:
    """A command that asks the daemon exits 69 and says how to start it when there is none."""
    async with world(tmp_path, start=False) as made:
        code, _, err = await made.run("status")
        assert code == 69
        assert "fix:" in err


async def test_a_second_signal_aborts(tmp_path: Path) -> None:
    """A stop waits for a call under way; a second signal ends it, and the next start answers that call."""
    async with world(tmp_path) as made:
        for appliance in made.box.appliances.values():
            appliance.faults.add(Fault("hang", path="/api/command"))
        made.put(1, ["terminate"])
        while not any(event == "queue.sending" for event in made.events()):
            await asyncio.to_thread(made.daemon.log.read_text)
        signal_process(made.daemon.pid, signal.SIGTERM)
        await made.manager.until("STOPPING")
        assert await made.daemon.stop() == 0
        for appliance in made.box.appliances.values():
            appliance.faults.clear()
        await made.daemon.start()
        await made.answered(1)
        (row,) = [row for row in made.box.servicenow.tables.rows("ecc_queue") if row["response_to"]]
        assert "BSR-3010" in row["payload"]


async def test_the_watchdog_is_fed(tmp_path: Path) -> None:
    """With WATCHDOG_USEC set the daemon feeds the watchdog in time."""
    async with world(tmp_path, WATCHDOG_USEC="900000") as made:
        await made.manager.until("WATCHDOG", "1", count=3)


async def test_the_version_is_shown() -> None:
    """`--version` prints the distribution's name and version."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", "--version", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().startswith("bseries-relay ")


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send a signal to the daemon that this test started."""
    os.kill(pid, number)
