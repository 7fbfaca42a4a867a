"""`bseries-relay status`: how the daemon is, and what is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.output import data, plain, print_json, print_table
from relay.core.jobs import Json

EVERY = 2.0


@click.command()
@with_config
@as_json
@click.option("--watch", is_flag=True, help="Show it again every two seconds until interrupted.")
def command(config: Path | None, *, as_json: bool, watch: bool) -> None:
    """Show what the daemon is doing and what is wrong, each with its fix."""
    while True:
        status = ask_daemon(config, "status")
        if as_json:
            print_json("status", status)
        else:
            _print(status)
        if not watch:
            return
        time.sleep(EVERY)  # until somebody at the terminal ends it


def _print(status: Json) -> None:
    data(
        plain(f"{status['state']}: mid.server.{status['name']} at {status['servicenow']}, version {status['version']}")
    )
    for name, url in status["appliances"].items():
        data(plain(f"appliance {name}: {url}"))
    for kind, hold in status["holds"].items():
        data(plain(f"hold {kind}: {hold['reason']} ({hold['author']}, since {hold['since']})"))
    for one in status["conditions"]:
        data(plain(f"{one['severity']} {one['subject']}: {one['error']} (since {one['since']})"))
        data(plain(f"  fix: {one['fix']}"))
    if status["jobs"]:
        print_table(("state", "jobs"), [(state, str(number)) for state, number in status["jobs"].items()])
        told = {kind: numbers for kind, numbers in status["kinds"].items() if any(numbers.values())}
        rows = [(kind, str(numbers["open"]), str(numbers["dead"])) for kind, numbers in told.items()]
        print_table(("kind", "open", "dead"), rows)
        if status["dead"]:
            data(f"dead: {status['dead']}, which wait for an administrator; see 'bseries-relay jobs list --dead'")
    elif status["state"] == "starting" and any(one["subject"] == "store" for one in status["conditions"]):
        data("jobs: not known until the store can be read")
    else:
        data("no open jobs")
