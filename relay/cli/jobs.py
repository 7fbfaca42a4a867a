"""`bseries-relay jobs`: the durable queue."""

from __future__ import annotations

import json
from pathlib import Path

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.output import data, plain, print_json, print_table, say
from relay.core.jobs import Json


@click.group()
def command() -> None:
    """Look at the durable queue, and help what is stuck."""


@command.command(name="list")
@with_config
@as_json
@click.option("--state", help="Only jobs in this state, such as DEAD.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
def list_(config: Path | None, state: str | None, limit: int, *, as_json: bool) -> None:
    """List jobs, the oldest first; finished ones only with --state CLOSED."""
    result = ask_daemon(config, "jobs list", {"state": state, "limit": limit})
    if as_json:
        print_json("jobs", result)
        return
    rows = [
        (
            job["id"],
            job["state"],
            str(job["priority"]),
            job["appliance"] or "-",
            job["data"].get("operation") or job["data"].get("topic", "-"),
            str(job["attempts"]),
            job["updated"],
        )
        for job in result["jobs"]
    ]
    print_table(("job", "state", "priority", "appliance", "operation", "attempts", "updated"), rows)


@command.command()
@with_config
@as_json
@click.argument("job")
def show(config: Path | None, job: str, *, as_json: bool) -> None:
    """Show what is known of one job; never a body."""
    _show(ask_daemon(config, "jobs show", {"id": job}), as_json=as_json)


@command.command()
@with_config
@as_json
@click.argument("job")
def retry(config: Path | None, job: str, *, as_json: bool) -> None:
    """Repeat a push now, or a dead job's; never a call."""
    _show(ask_daemon(config, "jobs retry", {"id": job}), as_json=as_json)


@command.command()
@with_config
@click.argument("job")
@click.option("--reason", required=True, help="Why; ServiceNow gets it as the answer.")
def discard(config: Path | None, job: str, reason: str) -> None:
    """Answer a waiting job with an error instead of doing it, or give up a dead one."""
    ask_daemon(config, "jobs discard", {"id": job, "reason": reason})
    say("discarded")


def _show(result: Json, *, as_json: bool) -> None:
    if as_json:
        print_json("jobs", result)
        return
    for name, value in result["jobs"][0].items():
        data(plain(f"{name}: {value if isinstance(value, str) else json.dumps(value)}"))
