"""What the commands share that ask the running daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli.output import CONFIGURATION, FAILED, PERMISSION, UNAVAILABLE, exit_code, plain, say
from relay.core.errors import RelayError
from relay.core.jobs import Json

if TYPE_CHECKING:
    from relay.host.folders import Folders

F = TypeVar("F", bound=Callable[..., Any])

UNREADABLE = frozenset({1001, 1002, 1010, 1011})
"""Problems that hide what the rest of a file says."""
BAD_CONFIGURATION = range(1001, 1020)
"""What a reload is refused for; the other refusals are a check that failed."""
OTHER_SIDE = range(2001, 4000)
"""What a command is refused for that asks ServiceNow or an appliance."""
NOT_NOW = 1022
"""What the daemon says, among other things, while it has no store open."""
AGAIN = 0.5
"""Seconds until a daemon is asked again that is away."""


def with_config(function: F) -> F:
    """Add `--config`: the control socket is where the configuration puts the state."""
    option = click.option(
        "--config", "config", type=click.Path(readable=False, path_type=Path), help="The main configuration file."
    )
    return option(function)


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON with a schema field.")(function)


def ask_daemon(
    config: Path | None,
    command: str,
    arguments: dict[str, Json] | None = None,
    *,
    patience: float = 0.0,
    within: float = 60.0,
    expected: int | None = None,
) -> Json:
    """The daemon's answer; the command ends here when there is none, or a refusal.

    Args:
        config: the main configuration file, None: the usual one.
        command: what is asked.
        arguments: of the command.
        patience: seconds that the daemon may be away, or without its store, since it is being started anew.
        within: seconds that its answer may take; more than a minute where it asks both sides.
        expected: the number of a code; a refusal with it gives None.

    """
    from relay.daemon.client import DaemonAway, DaemonDenied, DaemonError, ask  # noqa: PLC0415  # `--help` stays light

    until = time.monotonic() + patience
    try:
        folders = folders_of(config)
        while True:
            try:
                return ask(folders.sockets, folders.state, command, arguments, within)
            except (DaemonAway, DaemonError) as error:
                if isinstance(error, DaemonError) and error.number == expected:
                    return None
                if isinstance(error, DaemonError) and error.number != NOT_NOW:
                    raise
                if time.monotonic() >= until:
                    raise
            time.sleep(AGAIN)  # nobody tells this process when the relay is back
    except DaemonAway as away:
        say(f"no relay answers at {away}")
        say(
            "  fix: start it ('systemctl start bseries-relay'; if it does not stay up, 'journalctl -u bseries-relay' "
            "says why), or name its configuration with --config"
        )
        raise SystemExit(UNAVAILABLE) from None
    except DaemonDenied as denied:
        say(f"{denied}: permission denied")
        say("  fix: ask as root, or as a member of the relay's group")
        raise SystemExit(PERMISSION) from None
    except DaemonError as error:
        say(plain(error.text))
        say(f"  fix: {error.fix}")
        raise SystemExit(_exit_code(error.number)) from None


def _exit_code(number: int) -> int:
    """A script learns who is to blame: the configuration, the other side, or what was asked."""
    if number in BAD_CONFIGURATION:
        return CONFIGURATION
    return exit_code(RelayError(number)) if number in OTHER_SIDE else FAILED


def folders_of(config: Path | None) -> Folders:
    """Where the relay of this configuration is.

    A file with problems tells it too: the daemon may well run with what it read before, and must be reached just then.
    """
    from relay.config.load import examine  # noqa: PLC0415  # `--help` stays light
    from relay.config.locate import SYSTEM, locate  # noqa: PLC0415  # as above
    from relay.config.problems import ConfigProblems  # noqa: PLC0415  # as above
    from relay.host.folders import find_folders  # noqa: PLC0415  # as above

    main = locate(config, os.environ, root=os.geteuid() == 0)
    examined = examine(main, os.environ)
    storage = examined.settings.storage.directory
    if config is not None and storage is None and any(each.number in UNREADABLE for each in examined.errors):
        raise ConfigProblems(examined.errors)
    if config is not None and examined.errors:
        say(f"{len(examined.errors)} problem(s) in the configuration; 'config check' shows them")
    # The service's configuration means the service's folders, also for its group, which may not look into all of them.
    return find_folders(os.environ, storage=storage, usable=(lambda _: True) if main == SYSTEM else None)
