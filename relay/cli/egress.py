"""`bseries-relay egress`: what the network must let through for this configuration, and how the kernel enforces it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.asking import as_json, with_config
from relay.cli.output import data, plain, print_json, print_table, say

if TYPE_CHECKING:
    from relay.core.egress import Flow
    from relay.core.jobs import Json

SECONDS = 10.0
"""For all look-ups together."""
HEADERS = ("direction", "from", "to", "port", "protocol", "carries", "why", "if blocked")


@click.command()
@with_config
@as_json
@click.option("--systemd", is_flag=True, help="A drop-in for the unit: the kernel refuses every other address.")
@click.option(
    "--metrics-from",
    multiple=True,
    metavar="NETWORK",
    help="From where the metrics are asked, when they listen on the network. May be repeated.",
)
def command(config: Path | None, *, as_json: bool, systemd: bool, metrics_from: tuple[str, ...]) -> None:
    """Show every connection that the relay begins or accepts with this configuration: there are no others.

    The journal, readiness and the control socket are Unix sockets and need nothing of a firewall.

    With --systemd the names are looked up now, and exit code 69 says that one has no address.
    """
    from relay.config.egress import flows  # noqa: PLC0415  # `--help` stays light
    from relay.config.load import load  # noqa: PLC0415  # as above
    from relay.config.locate import locate  # noqa: PLC0415  # as above
    from relay.config.problems import report  # noqa: PLC0415  # as above
    from relay.host.names import resolvers  # noqa: PLC0415  # as above

    if systemd and as_json:
        raise click.UsageError("--systemd prints a unit's drop-in, not JSON")
    loaded = load(locate(config, os.environ, root=os.geteuid() == 0), os.environ)
    if loaded.warnings:
        say(report(loaded.warnings))
    table = flows(loaded.settings, resolvers(), tuple(map(_network, metrics_from)))
    if systemd:
        _print_drop_in(table)
    elif as_json:
        print_json("egress", {"flows": [_described(flow) for flow in table]})
    else:
        print_table(HEADERS, (tuple(map(str, _described(flow).values())) for flow in table))


def _described(flow: Flow) -> dict[str, Json]:
    return {
        "direction": flow.direction,
        "from": flow.source,
        "to": flow.to,
        "port": flow.port,
        "protocol": flow.protocol,
        "carries": flow.carries,
        "why": flow.why,
        "if_blocked": flow.blocked,
    }


def _print_drop_in(table: tuple[Flow, ...]) -> None:
    from relay.core.egress import drop_in, names_in  # noqa: PLC0415  # `--help` stays light
    from relay.core.errors import RelayError  # noqa: PLC0415  # as above
    from relay.host.names import look_up  # noqa: PLC0415  # as above

    found = look_up(names_in(table), SECONDS)
    lost = {name: f"{name}: {one.trouble}" for name, one in found.items() if one.trouble}
    for flow in table:
        if flow.code is not None and flow.to in lost:
            raise RelayError(flow.code, "; ".join(lost.values()))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text, notes = drop_in(table, {name: one.addresses for name, one in found.items()}, made)
    data(plain(text))
    for note in notes:
        say(plain(note))


def _network(text: str) -> str:
    from ipaddress import ip_network  # noqa: PLC0415  # `--help` stays light

    try:
        return str(ip_network(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics-from") from None
