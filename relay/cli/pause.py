"""`bseries-relay pause`: the local hold."""

from __future__ import annotations

from pathlib import Path

import click

from relay.cli.asking import ask_daemon, with_config
from relay.cli.output import say


@click.command()
@with_config
@click.option("--reason", required=True, help="Why; shown in the status and kept in the audit log.")
@click.option("--all", "everything", is_flag=True, help="Hold events and approvals too.")
def command(config: Path | None, reason: str, *, everything: bool) -> None:
    """Stop taking work until 'resume'; what is under way is finished. ServiceNow cannot lift this hold."""
    ask_daemon(config, "pause", {"reason": reason, "all": everything})
    say("paused; 'bseries-relay resume' lifts the hold")
