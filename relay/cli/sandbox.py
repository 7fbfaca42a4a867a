"""`bseries-relay sandbox`: a ServiceNow and appliances of our own on loopback, to develop against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_LINES = """\
ServiceNow   {servicenow}  (user {servicenow_user}, OAuth client {oauth_client_id})
Appliances   {appliances}  (API account {api_client_id})
Relay        {relay}  (where the appliances post their events, and the relay is to listen)
CA file      {ca_file}
Certificate  {client_certificate}  (the relay's own, for {servicenow_user}; JWT key id {jwt_key_id})
Credentials  {credentials}
Control      {control}  (token in {control_token_file})

Start a relay against it:
    bseries-relay run --config {config}
"""


@click.command("sandbox")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where its files go, and stay.")
@click.option("--servicenow-port", type=click.IntRange(0, 65535), default=0, help="Any free port when not given.")
@click.option("--appliance-port", type=click.IntRange(0, 65535), default=0, help="Of the first appliance.")
@click.option("--relay-port", type=click.IntRange(0, 65535), default=0, help="Where the relay is to listen.")
@click.option("--appliances", type=click.IntRange(1, 100), default=1, show_default=True, help="How many.")
@click.option(
    "--product",
    "products",
    type=click.Choice(["pra", "rs"]),
    multiple=True,
    help="Of each appliance in turn; pra and rs alternate when not given.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same ids and orders again.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON once everything listens.")
def command(
    *,
    directory: Path | None,
    servicenow_port: int,
    appliance_port: int,
    relay_port: int,
    appliances: int,
    products: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """The two stand-ins alone, to develop against, until Ctrl-C.

    Both listen on 127.0.0.1 only, with certificates of a throw-away authority. Without --directory their files lie in a
    fresh temporary folder that is removed at the end.
    """
    import asyncio  # noqa: PLC0415 - help must not load a web server

    from relay.sandbox.serve import serve  # noqa: PLC0415 - as above

    chosen = products or ("pra", "rs")
    wanted: list[Any] = [chosen[number % len(chosen)] for number in range(appliances)]

    def ready(facts: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps({"schema": "bseries-relay/sandbox/1", "ready": True, **facts}))
            return
        shown = {**facts, "appliances": ", ".join(f"{name} {url}" for name, url in facts["appliances"].items())}
        click.echo(_LINES.format(**{**shown, "credentials": Path(facts["control_token_file"]).parent}))

    folder = directory.resolve() if directory else None
    try:
        asyncio.run(serve(folder, wanted, (servicenow_port, appliance_port, relay_port), ready, seed))
    except OSError as error:
        msg = f"the sandbox cannot start: {error}"
        raise click.ClickException(msg) from error


if __name__ == "__main__":
    command()
