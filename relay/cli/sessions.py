"""`bseries-relay sessions`: import sessions by hand, and look at them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relay.cli.asking import as_json, ask_daemon, with_config
from relay.cli.moments import duration, moment
from relay.cli.output import WARNINGS, plain, print_json, print_table, say
from relay.cli.sessions_import import WITHIN, Order, lsid, lsids, run
from relay.core.jobs import Json

if TYPE_CHECKING:
    from relay.config.model import Settings

_APPLIANCE = click.option("--appliance", metavar="NAME", help="Of which appliance, where there are several.")


@click.group()
def command() -> None:
    """Sessions of the appliances: import them by hand, look at one, list the event types."""


@command.command(name="import")
@with_config
@as_json
@_APPLIANCE
@click.argument("lsids", metavar="[LSID]...", nargs=-1, callback=lsids)
@click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    help="All that ended since then: 2026-01-31, 2026-01-31T12:00:00Z, or 2h or 7d ago.",
)
@click.option("--until", metavar="TIME", callback=moment, help="With --since: and not later than this.")
@click.option("--again", is_flag=True, help="With --since: also those that were imported, left out or given up before.")
@click.option("--dry-run", is_flag=True, help="Only list what would be imported.")
@click.option(
    "--wait",
    metavar="DURATION",
    callback=duration,
    help="How long to wait at most; 0s: not at all.  [default: as long as it goes on]",
)
def import_(*, dry_run: bool, as_json: bool, **order: Any) -> None:  # noqa: ANN401  # they are those of `Order`
    """Have the running relay import sessions, and wait until they are in ServiceNow.

    A session that is named by its LSID is imported whatever became of it before, also where import_external would leave
    it out. With --since those are imported that are missing, and import_external counts. Doing so twice changes nothing
    in ServiceNow.

    Without --wait the command waits as long as something came home within the last five minutes. The relay goes on by
    itself when the command ends before.

    Exit codes: 0 all are there, or left out as configured; 1 some failed; 75 some are still on their way.
    """
    wanted = Order(**order)
    if bool(wanted.lsids) == (wanted.since is not None):
        raise click.UsageError("name sessions by their LSID, or give --since")
    if wanted.since is None and (wanted.until is not None or wanted.again):
        raise click.UsageError("--until and --again go with --since")
    if wanted.since is not None and wanted.since > time.time():
        raise click.UsageError("--since lies in the future")
    if wanted.since is not None and wanted.until is not None and wanted.until <= wanted.since:
        raise click.UsageError("--until must be later than --since")
    raise SystemExit(run(wanted, dry_run=dry_run, as_json=as_json))


@command.command()
@with_config
@as_json
@_APPLIANCE
@click.argument("lsid", callback=lsid)
def show(config: Path | None, lsid: str, appliance: str | None, *, as_json: bool) -> None:
    """Show what an import of a session would write now. Nothing is written.

    The running relay asks the appliance and ServiceNow. Times are in UTC. Long texts are shortened.

    Exit code 3 says that ServiceNow could not be asked, so that what depends on it is missing.
    """
    from relay.cli.sessions_show import print_session  # noqa: PLC0415  # `--help` stays light

    found = ask_daemon(config, "sessions show", {"lsid": lsid, "appliance": appliance}, within=WITHIN)
    if as_json:
        print_json("session", found)
    else:
        print_session(found)
    if found["trouble"] is not None:
        raise SystemExit(WARNINGS)


@command.command()
@with_config
@as_json
def events(config: Path | None, *, as_json: bool) -> None:
    """List the event types that are known, and which of them the configuration selects; needs no running relay.

    Types that are not in the list can be selected as well, by the name that reports have for them.
    """
    from relay.config.load import load  # noqa: PLC0415  # `--help` stays light
    from relay.config.locate import locate  # noqa: PLC0415  # as above

    settings = load(locate(config, os.environ, root=os.geteuid() == 0), os.environ).settings
    appliances = [name for name, one in settings.appliances.items() if one.enabled and settings.imports(name)]
    types = _types(settings, appliances)
    if as_json:
        print_json("session-events", {"appliances": appliances, "events": types})
        return
    several = len(appliances) > 1
    print_table(
        ("event type", *(appliances if several else ("selected",))),
        [(one["type"], *(("yes" if name in one["selected"] else "-") for name in appliances or [""])) for one in types],
    )
    strange = [one["type"] for one in types if not one["known"]]
    if strange:
        say(plain(f"not known, and selected as the configuration writes it: {', '.join(strange)}"))
    if not appliances:
        say("no appliance's sessions are imported; see sessions.mode in the configuration")


def _types(settings: Settings, appliances: list[str]) -> list[dict[str, Json]]:
    """Every type that is known or selected, with the appliances of which it is selected."""
    from relay.core.session_event_types import EVENT_TYPES  # noqa: PLC0415  # `--help` stays light

    chosen = {name: settings.sessions_of(name).events for name in appliances}
    further = sorted({one for types in chosen.values() if types != "all" for one in types} - set(EVENT_TYPES))
    return [
        {
            "type": one,
            "known": one in EVENT_TYPES,
            "selected": [name for name, types in chosen.items() if types == "all" or one in types],
        }
        for one in (*sorted(EVENT_TYPES), *further)
    ]
