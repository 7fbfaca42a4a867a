"""`bseries-relay resume`: lift the holds."""

from __future__ import annotations

from pathlib import Path

import click

from relay.cli.asking import ask_daemon, with_config
from relay.cli.output import say


@click.command()
@with_config
def command(config: Path | None) -> None:
    """Lift every hold: the local one, ServiceNow's, and the one after another poller was met."""
    lifted = ask_daemon(config, "resume")["lifted"]
    say(f"lifted: {', '.join(lifted)}" if lifted else "there was no hold")
