"""`bseries-relay approvals`: try how a request for approval would be decided, and look at what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.output import FAILED, WARNINGS, data, plain, print_json, print_table, say
from relay.core.jobs import Json

WITHIN = 90.0
"""Seconds that the relay may take: it waits for ServiceNow a minute at most."""
SYMBOLS = {"equal": "=", "less": "<", "greater": ">"}
_DELIVERED = {True: "yes", False: "no", None: "not yet"}


@click.group()
def command() -> None:
    """Requests for approval: try how one would be decided, list what was decided."""


@command.command()
@with_config
@as_json
@click.option("--ticket", required=True, help="The ticket, as a person would type it.")
@click.option("--user", required=True, help="The person's user name at the appliance.")
@click.option("--computer", required=True, help="The computer's name at the appliance.")
@click.option("--appliance", metavar="NAME", help="Which appliance asks, where there are several.")
@click.option("--group", metavar="JUMP_GROUP", help="The Jump Group, where rules are for some.")
def test(config: Path | None, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401  # what the daemon takes
    """Show how a request would be decided now, with each comparison. Nobody is answered, and nothing is kept.

    The running relay asks ServiceNow as it does for a real request. Rules that compare with another field of the
    request than ticket, user, computer and Jump Group do not hold here.

    Exit codes: 0 allowed, 1 denied, 3 ServiceNow would decide (mode: forward), 69 ServiceNow is unavailable.
    """
    found = ask_daemon(config, "approvals test", asked, within=WITHIN)
    if as_json:
        print_json("approval-test", found)
    elif found["mode"] != "forward":
        _print_verdict(found)
    if found["mode"] == "forward":
        say(plain(f"{found['appliance']}: ServiceNow decides, not the relay (approvals.mode: forward)"))
        raise SystemExit(WARNINGS)
    if found["decision"] != "allow":
        raise SystemExit(FAILED)


@command.command(name="list")
@with_config
@as_json
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--appliance", metavar="NAME", help="Only requests of this appliance.")
def list_(config: Path | None, *, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  # what the daemon takes
    """List requests for approval and what was decided, the newest first.

    They are kept as long as finished jobs are (storage.retention); the audit log keeps the decisions, with what was
    compared: 'audit show'.
    """
    found = ask_daemon(config, "approvals list", wanted)
    if as_json:
        print_json("approvals", found)
        return
    print_table(
        ("time", "appliance", "ticket", "user", "computer", "decision", "reason", "delivered"),
        [
            (
                one["time"],
                one["appliance"],
                *(one[name] or "-" for name in ("ticket", "user", "computer", "decision", "reason")),
                _DELIVERED[one["delivered"]],
            )
            for one in found["approvals"]
        ],
    )


def _print_verdict(found: Json) -> None:
    if found["checks"]:
        print_table(
            ("check", "found", "", "wanted", "holds"),
            [
                (
                    one["check"],
                    one["found"] or "(empty)",
                    SYMBOLS[one["comparator"]],
                    one["wanted"] or "(empty)",
                    "yes" if one["holds"] else "NO",
                )
                for one in found["checks"]
            ],
        )
        data("")
    facts = {"decision": found["decision"], "rule": found["rule"], "reason": found["reason"]}
    facts |= {"the person sees": found["text"]} if found["text"] else {}
    facts |= {f"attribute {name}": value for name, value in found["attributes"].items()}
    for name, value in facts.items():
        data(plain(f"{name}: {value}").replace("\n", " "))
