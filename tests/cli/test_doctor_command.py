"""`bseries-relay doctor`, as a program, alone and beside the running relay."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.daemon import world
from support.doctoring import Consulted, consulted

from relay.core.codes import REGISTRY

BARE = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}


async def run(seen: Consulted, *words: str, environ: Mapping[str, str] = BARE) -> tuple[int, str, str]:
    """Run the command in an environment without proxies and certificates."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "relay", "doctor", "--config", str(seen.box.config_file), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environ),
    )
    async with asyncio.timeout(50):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_all_is_well(tmp_path: Path) -> None:
    """It exits 0, with a table for each subject in pipes as plain text, and nothing on stderr."""
    async with consulted(tmp_path, products=("pra", "rs"), listens=True) as seen:
        code, out, err = await run(seen)
        assert (code, err) == (0, "")
        heads = [block.splitlines()[0] for block in out.split("\n\n")]
        assert heads == ["this machine", "servicenow", "appliance default", "appliance appliance2", "listener"]
        assert "fix:" not in out
        assert "\x1b" not in out
        for secret in seen.box.secrets.values():
            assert secret not in out


async def test_the_document(tmp_path: Path) -> None:
    """JSON has every check with subject, result and detail, and code, cause and fix where something is wrong."""
    async with consulted(tmp_path) as seen:
        seen.box.servicenow.access.users.clear()
        code, out, err = await run(seen, "--json")
        assert (code, err) == (1, "")
        document: dict[str, Any] = json.loads(out)
        assert (document["schema"], document["result"]) == ("bseries-relay/doctor/1", "error")
        assert document["problems"] == []
        (one,) = [check for check in document["checks"] if check["code"]]
        assert (one["subject"], one["check"], one["result"], one["code"]) == (
            "servicenow",
            "sign-in",
            "error",
            "BSR-2005",
        )
        assert (one["cause"], one["fix"]) == (REGISTRY[2005].cause, REGISTRY[2005].fix)
        assert {check["result"] for check in document["checks"]} == {"ok", "error", "skipped"}
        assert all(check["detail"] for check in document["checks"] if check["result"] == "skipped")


async def test_warnings_only(tmp_path: Path) -> None:
    """It exits 3, and prints each code's cause and fix once below the table of its subject."""
    async with consulted(tmp_path) as seen:
        seen.configure("storage: {key: null}\nservicenow: {wake: amb}\n")
        code, out, _ = await run(seen)
        assert code == 3
        assert out.count(f"BSR-5013: {REGISTRY[5013].cause}\n  fix: {REGISTRY[5013].fix}\n") == 1
        assert out.count("  fix: ") == 2


async def test_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    """It exits 78 and shows every problem as `config check` does, in both forms; nobody is asked anything."""
    async with consulted(tmp_path) as seen:
        seen.configure("servicenow: {pol: 1}\nrelay: {nam: x}\n")
        code, out, _ = await run(seen)
        assert code == 78
        assert "test.yaml:1:14: error[BSR-1003]: servicenow.pol: unknown key; did you mean 'poll'?" in out
        assert "relay.nam" in out
        code, out, _ = await run(seen, "--json")
        document = json.loads(out)
        assert (code, document["result"], document["checks"]) == (78, "error", [])
        assert [problem["code"] for problem in document["problems"]] == ["BSR-1003", "BSR-1003"]
        assert seen.box.servicenow.requests["all"] == 0


async def test_what_the_other_side_says_steers_no_terminal(tmp_path: Path) -> None:
    """Words of a side are shown as text; control characters in them are replaced."""
    async with consulted(tmp_path) as seen:
        tables = seen.box.servicenow.tables
        name = seen.settings.relay.name
        tables.insert("ecc_agent", {"name": name, "status": "\x1b[31mUp\x07"})
        code, out, _ = await run(seen)
        assert code == 0
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "?[31mUp?, refreshed" in out


async def test_beside_the_running_relay(tmp_path: Path) -> None:
    """The relay works on meanwhile: its work is answered once each, its lock stays, its row and state are as before."""
    async with world(tmp_path, listens=True) as one:
        seen = Consulted(one.box)
        one.put(20)
        await one.answered(20)
        row = dict(*one.box.servicenow.tables.rows("ecc_agent"))
        pid = (one.state / "lock").read_text()
        asked = len(one.box.servicenow.log)
        code, out, err = await run(seen, "--json")
        checks = {(check["subject"], check["check"]): check for check in json.loads(out)["checks"]}
        assert (code, err) == (0, "")
        assert checks["this machine", "relay"]["detail"].startswith("working, version")
        assert checks["listener", "address"]["detail"].endswith("the running relay has it")
        # Those that only doctor makes: nothing is asked again and again. All of them are counted where no relay runs.
        mine = Counter(line[:2] for line in [*one.box.servicenow.log][asked:])
        apart = [
            ("HEAD", "/"),
            *(("GET", f"/api/now/table/{name}") for name in ("sys_dictionary", "sys_user_has_role")),
        ]
        assert [mine[each] for each in apart] == [1, 1, 1]
        assert (one.state / "lock").read_text() == pid
        assert dict(*one.box.servicenow.tables.rows("ecc_agent"))["sys_id"] == row["sys_id"]
        one.put(20, seed=2)
        await one.answered(40)
        await one.processed()
        assert one.box.check(final=True).good
        assert not [event for event in one.events() if event in {"daemon.aborted", "daemon.failed"}]
