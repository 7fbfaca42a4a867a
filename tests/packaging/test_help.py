"""The command's help is quick."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"cryptography", "httpcore", "httpx", "lxml", "prometheus_client", "pydantic", "starlette", "uvicorn"}

PROGRAM = """
import contextlib, io, json, sys
from relay.cli.main import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as shown:
    main(["--help"])
print(json.dumps({"help": shown.getvalue(), "modules": sorted(sys.modules)}))
"""


def test_help_imports_nothing_heavy() -> None:
    """`bseries-relay --help` names the commands and imports none of the libraries that they need."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=50)
    told = json.loads(done.stdout)
    assert "run" in told["help"]
    assert HEAVY & {name.split(".")[0] for name in told["modules"]} == set()
