"""`bseries-relay jobs`: the durable queue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.output import data, plain, print_json, print_table, say
from relay.core.jobs import Json

DONE_BY_RETRY = {
    "queue": {
        "SEEN": "the record is claimed now",
        "CLAIMED": "the call is made now",
        "ANSWERED": "the answer is pushed now",
        "INSERTED": "the output is set to processed now",
    },
    "session": {
        "NOTICED": "the session is imported from its beginning; what is in ServiceNow stays as it is",
        "WRITTEN": "the work note is seen to now",
        "NOTED": "the recordings are kept now",
    },
    "forward": dict.fromkeys(("TAKEN", "WAITING", "UNSURE"), "the event is posted on now"),
    "approval": {"SENT": "the same decision is sent once more while it is good; an allow is only until its deadline"},
}
"""What `jobs retry` set off, by the kind of the job and the state that it has afterwards."""
ABOUT = ("operation", "lsid", "topic", "ticket", "path")
"""The facts of a job that tell in one word what it is about; the first that it has is shown."""
LONGEST = 80
"""Characters of it in the list."""


@click.group()
def command() -> None:
    """Look at the durable queue, and help what is stuck."""


@command.command(name="list")
@with_config
@as_json
@click.option("--kind", help="Only jobs of this kind: queue, session, forward or approval.")
@click.option("--state", help="Only jobs in this state, such as DEAD.")
@click.option("--dead", is_flag=True, help="Only jobs that wait for an administrator.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
def list_(config: Path | None, *, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  # what the daemon takes
    """List jobs, the oldest first; finished ones only with --state, such as CLOSED or DONE.

    Kinds: queue, a record of ServiceNow's queue; session, a session that is imported; forward, an event that is posted
    on; approval, a request for approval.
    """
    if wanted["dead"] and wanted["state"]:
        raise click.UsageError("--dead stands for several states; give one of --dead and --state")
    result = ask_daemon(config, "jobs list", wanted)
    if as_json:
        print_json("jobs", result)
        return
    rows = [
        (
            job["id"],
            job["kind"],
            job["state"],
            str(job["priority"]),
            job["appliance"] or "-",
            _about(job["data"]),
            _code(job["data"]) or "-",
            str(job["attempts"]),
            job["updated"],
        )
        for job in result["jobs"]
    ]
    more = result.get("total", 0) - len(rows)
    print_table(("job", "kind", "state", "priority", "appliance", "about", "code", "attempts", "updated"), rows)
    if more > 0:
        say(f"{more} more; --limit shows up to 1000, --kind and --state fewer")


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
    """Take a job's next step now instead of when its wait is over, or try a dead job once more.

    Of a record of the queue the step is the claim, the push, the closing, or a call that was surely not executed or is
    safe to repeat; a dead one's error answer is pushed once more. A call that may have been made and is not safe is
    never made again. A session is imported, an event posted on: nothing of them comes to ServiceNow twice. Of a request
    for approval the decision that was made is sent again, never another one, and an allow not after its deadline.
    """
    result = ask_daemon(config, "jobs retry", {"id": job})
    _show(result, as_json=as_json)
    now = result["jobs"][0]
    say(DONE_BY_RETRY.get(now["kind"], {}).get(now["state"], "the next step is taken now"))


@command.command()
@with_config
@click.argument("job")
@click.option("--reason", required=True, help="Why; where ServiceNow waits for an answer, it gets this.")
def discard(config: Path | None, job: str, reason: str) -> None:
    """Answer a waiting record of the queue with an error instead of doing it, or give up any other job."""
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
    if name in {"code", "failed"}:
        number, times = (value, "") if _failed(value) is None else (value[0], f" ({value[1]} times in a row)")
        return f"{_code_text(number)}{times}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float) and (name in {"fetched", "received"} or name.endswith("since")):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if name == "created_on":
        return f"{value.replace(' ', 'T')}Z"
    return str(value)


def _code_text(number: Json) -> str:
    """A code with its cause, and what can be done about it."""
    from relay.core.codes import REGISTRY  # noqa: PLC0415  # `--help` stays light

    known = REGISTRY.get(number) if isinstance(number, int) else None
    return f"{known.name}: {known.cause}; fix: {known.fix}" if known else f"BSR-{number}"


def _about(facts: Json) -> str:
    found = next((str(facts[name]) for name in ABOUT if facts.get(name)), "-")
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}..."


def _code(facts: Json) -> str:
    """The code that a job waits or failed with."""
    number = facts.get("code") or _failed(facts.get("failed"))
    return f"BSR-{number}" if number else ""


def _failed(value: Json) -> int | None:
    """The number of a code that stands beside how often it came."""
    match value:
        case [int(number), int()]:
            return number
    return None
