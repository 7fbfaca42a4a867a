"""`bseries-relay reload`: read the configuration again."""

from __future__ import annotations

from pathlib import Path

import click

from relay.cli.asking import ask_daemon, with_config
from relay.cli.output import say


@click.command()
@with_config
def command(config: Path | None) -> None:
    """Have the daemon read its configuration again; with a bad one it goes on as before and says why."""
    ask_daemon(config, "reload")
    say("reloaded")
