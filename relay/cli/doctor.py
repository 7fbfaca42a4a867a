"""`bseries-relay doctor`: whether everything is there that the relay needs, and what to do where it is not."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.asking import as_json, with_config
from relay.cli.output import CONFIGURATION, DONE, FAILED, WARNINGS, data, plain, print_json, print_table

if TYPE_CHECKING:
    from relay.core.doctor import Check
    from relay.core.jobs import Json

HEADERS = ("result", "check", "detail")
EXITS = {"ok": DONE, "warning": WARNINGS, "error": FAILED}


@click.command()
@with_config
@as_json
def command(config: Path | None, *, as_json: bool) -> None:
    """Test DNS, proxies, TLS, certificates, clocks, accounts, rights, tables and disk, each with a fix.

    It works without the daemon and beside it, and changes nothing on either side. Run it as the service's user, or as
    root. Exits 0 when all is well, 3 with warnings only, 1 with errors, 78 when the configuration cannot be used.
    """
    from relay.cli.config import described  # noqa: PLC0415  # `--help` stays light
    from relay.config.load import load  # noqa: PLC0415  # as above
    from relay.config.locate import SYSTEM, locate  # noqa: PLC0415  # as above
    from relay.config.problems import ConfigProblems, report  # noqa: PLC0415  # as above
    from relay.core.doctor import worst  # noqa: PLC0415  # as above
    from relay.daemon.doctor import examine  # noqa: PLC0415  # as above
    from relay.host.folders import find_folders  # noqa: PLC0415  # as above
    from relay.host.hardening import harden  # noqa: PLC0415  # as above

    harden()  # before the first secret is read
    main = locate(config, os.environ, root=os.geteuid() == 0)
    try:
        loaded = load(main, os.environ)
    except ConfigProblems as error:
        if as_json:
            problems: list[Json] = [described(problem) for problem in error.problems]
            print_json("doctor", {"file": str(main), "result": "error", "problems": problems, "checks": []})
        else:
            data(report(error.problems))
        raise click.exceptions.Exit(CONFIGURATION) from None
    # As the commands that ask the daemon: the service's configuration means the service's folders.
    usable = (lambda _: True) if main == SYSTEM else None
    folders = find_folders(os.environ, storage=loaded.settings.storage.directory, usable=usable)
    checks = examine(loaded, folders, os.environ)
    result = worst(checks)
    if as_json:
        shown = [_described(check) for check in checks]
        print_json("doctor", {"file": str(main), "result": result, "problems": [], "checks": shown})
    else:
        _print(checks)
    raise click.exceptions.Exit(EXITS[result])


def _described(check: Check) -> dict[str, Json]:
    wrong = bool(check.number)
    return {
        "subject": check.subject,
        "check": check.name,
        "result": check.result,
        "detail": check.detail,
        "code": check.code if wrong else None,
        "cause": check.cause if wrong else None,
        "fix": check.fix if wrong else None,
    }


def _print(checks: Sequence[Check]) -> None:
    """A table for each subject, with causes and fixes under it."""
    for nth, (subject, group) in enumerate(itertools.groupby(checks, key=lambda check: check.subject)):
        if nth:
            data("")
        data(plain(subject))
        listed = list(group)
        print_table(HEADERS, ((check.result, check.name, check.detail) for check in listed))
        for number in dict.fromkeys(check.number for check in listed if check.number):
            one = next(check for check in listed if check.number == number)
            data(plain(f"{one.code}: {one.cause}"))
            data(plain(f"  fix: {one.fix}"))
