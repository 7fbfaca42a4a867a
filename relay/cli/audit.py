"""`bseries-relay audit`: what the tamper-evident log says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import click

from relay.audit.segments import FOLDER
from relay.audit.verify import Report, verify_folder
from relay.cli.output import FAILED, PERMISSION, data, plain, print_json, say
from relay.host.folders import find_folders

_TRUNCATION = (
    "Not checked: whether lines at the end were cut off. A chain cannot show that by itself; "
    "compare the last seq and hash with ones noted earlier."
)


@click.group()
def command() -> None:
    """The tamper-evident log."""


@command.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The state folder. Absent: the one of the configuration.",
)
@click.option("--config", "main", type=click.Path(readable=False, path_type=Path), help="The main configuration file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def verify(ctx: click.Context, directory: Path | None, main: Path | None, *, as_json: bool) -> None:
    """Check the log for edits, deletions, insertions and swaps, offline.

    Exits 0 when it is sound, 1 when it is not or is missing; then the first bad seq is named.
    """
    folder = (directory or _state(ctx, main)) / FOLDER
    try:
        report = verify_folder(folder)
    except FileNotFoundError:
        report = None
    except OSError as error:
        say(plain(f"{error.filename or folder}: {error.strerror}"))
        ctx.exit(PERMISSION)
    if report is None or report.files == 0:
        say(plain(f"{folder}: there is no audit log"))
        ctx.exit(FAILED)
    if as_json:
        _print_report(report)
    else:
        _tell(report)
    ctx.exit(0 if report.verdict.bad is None else FAILED)


def _state(ctx: click.Context, main: Path | None) -> Path:
    """The state folder that the configuration says, or the default one when there is no configuration."""
    folders = find_folders(os.environ)
    main = main or folders.config / "relay.yaml"
    if not main.exists() and ctx.get_parameter_source("main") is click.core.ParameterSource.DEFAULT:
        return folders.state
    from relay.config.load import load  # noqa: PLC0415  # takes long to import, and `--directory` needs it not
    from relay.config.problems import ConfigProblems  # noqa: PLC0415  # as above

    try:
        settings = load(main, os.environ).settings
    except ConfigProblems:
        say("The configuration does not tell where the log is; --directory does.")
        raise
    return find_folders(os.environ, storage=settings.storage.directory).state


def _print_report(report: Report) -> None:
    bad = report.verdict.bad
    value = {
        "ok": bad is None,
        "files": report.files,
        "lines": report.verdict.head.seq,
        "head": {"seq": report.verdict.head.seq, "hash": report.verdict.head.digest},
        "bad": None if bad is None else {"seq": bad.seq, "reason": bad.reason},
        "torn_bytes": report.torn,
        "truncation": "not checked",
    }
    print_json("audit-verify", value)


def _tell(report: Report) -> None:
    head, bad = report.verdict.head, report.verdict.bad
    if bad is not None:
        data(f"BAD: seq {bad.seq} {bad.reason}")
        return
    data(f"OK: {head.seq} lines in {report.files} files; last seq {head.seq}, hash {head.digest}")
    if report.torn:
        say(f"The last {report.torn} bytes were torn by a crash; the relay sets them aside when it starts.")
    say(_TRUNCATION)
