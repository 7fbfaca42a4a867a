"""`bseries-relay jobs`: the durable queue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.output import data, plain, print_json, print_table, say
from relay.core.jobs import Json

DONE_BY_RETRY = {
    "SEEN": "the record is claimed now",
    "CLAIMED": "the call is made now",
    "ANSWERED": "the answer is pushed now",
    "INSERTED": "the output is set to processed now",
}
"""What `jobs retry` set off, by the state that the job has afterwards."""


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
    more = result.get("total", 0) - len(rows)
    print_table(("job", "state", "priority", "appliance", "operation", "attempts", "updated"), rows)
    if more > 0:
        say(f"{more} more; --limit shows up to 1000, --state those of one state")


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
    """Take a job's next step now instead of when its wait is over, or push a dead job's error answer once more.

    The step is the claim, the push, the closing, or a call that was surely not executed or is safe to repeat. A call
    that may have been made and is not safe is never made again.
    """
    result = ask_daemon(config, "jobs retry", {"id": job})
    _show(result, as_json=as_json)
    say(DONE_BY_RETRY.get(result["jobs"][0]["state"], "the next step is taken now"))


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
    job = result["jobs"][0]
    facts = {**{name: value for name, value in job.items() if name != "data"}, **job["data"]}
    for name, value in facts.items():
        if value not in (None, ""):
            data(plain(f"{name.replace('_', ' ')}: {_text(name, value)}").replace("\n", " "))


def _text(name: str, value: Json) -> str:
    """A fact as people read it; times as RFC 3339."""
    if name == "code":
        from relay.core.codes import REGISTRY  # noqa: PLC0415  # `--help` stays light

        return f"BSR-{value}: {REGISTRY[value].cause}" if value in REGISTRY else f"BSR-{value}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("since"):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if name == "created_on":
        return f"{value.replace(' ', 'T')}Z"
    return str(value)
