"""`bseries-relay run`: the daemon."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click


@click.command()
@click.option(
    "--config", "config", type=click.Path(readable=False, path_type=Path), help="The main configuration file."
)
def command(config: Path | None) -> None:
    """Run the relay until it is stopped (SIGTERM; SIGHUP reloads the configuration)."""
    from relay.config.locate import locate  # noqa: PLC0415  # `--help` stays light
    from relay.daemon.supervisor import run  # noqa: PLC0415  # as above
    from relay.host.hardening import harden  # noqa: PLC0415  # as above

    # What is imported stays: a collection that looked at all of it would hold up everything for 20 ms each time.
    gc.collect()
    gc.freeze()
    harden()  # before the first secret is read and the first file made
    run(locate(config, os.environ, root=os.geteuid() == 0), os.environ)
