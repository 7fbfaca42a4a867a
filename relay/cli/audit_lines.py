"""`bseries-relay audit show` and `export`: the log's lines, for people and for other programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from relay.audit.reading import Entry, Wanted, every, newest
from relay.audit.segments import FOLDER
from relay.cli.asking import as_json, folders_of, with_config
from relay.cli.output import FAILED, PERMISSION, plain, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS: Final = (
    "seq", "time", "event", "job", "attempt", "operation", "appliance", "decision", "rule", "safe", "by", "by_verified",
    "code", "status", "request_bytes", "request_digest", "answer_bytes", "answer_digest", "input", "reason",
)  # fmt: skip
"""Columns of the CSV form. What a line has beside them is a JSON object in the last column, `more`."""
_LINKS: Final = frozenset({"prev", "check"})
_SHOWN: Final = ("seq", "time", "event", "job", "operation", "by")
_QUIET: Final = _LINKS | {*_SHOWN, "attempt", "seen", "request_digest", "answer_digest", "safe"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the wide forms of the first, which some spreadsheets take for them."""


def _moment(_: click.Context, __: click.Parameter, value: str) -> str:
    """A time as the log's lines write it; given as RFC 3339, a day, or a duration before now."""
    import time  # noqa: PLC0415  # `--help` stays light
    from datetime import UTC, datetime  # noqa: PLC0415  # as above

    from relay.audit.moments import timestamp  # noqa: PLC0415  # as above
    from relay.config.values import parse_duration  # noqa: PLC0415  # as above

    if not value:
        return ""
    seconds = parse_duration(value)
    try:
        if seconds is not None:
            return timestamp(time.time() - seconds)
        moment = datetime.fromisoformat(value)
        return timestamp((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{value!r} is no time such as 2026-01-31T12:00:00Z, 2026-01-31 or 2h") from None


def _choosing(function: F) -> F:
    """Add the options that choose lines."""
    for option in (
        click.option("--event", "events", multiple=True, help="Only this event; may be given several times."),
        click.option("--job", default="", help="Only this job, or all whose id begins so."),
        click.option("--until", metavar="TIME", callback=_moment, default="", help="Only before this time."),
        click.option(
            "--since",
            metavar="TIME",
            callback=_moment,
            default="",
            help="Not before: 2026-01-31, 2026-01-31T12:00Z, or 2h for two hours ago.",
        ),
        click.option(
            "--directory",
            type=click.Path(path_type=Path, file_okay=False),
            help="The state folder. Absent: the one of the configuration.",
        ),
        with_config,
    ):
        function = option(function)
    return function


@click.command()
@_choosing
@click.option("-n", "--lines", "most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most.")
@as_json
def show(
    directory: Path | None,
    config: Path | None,
    *,
    since: str,
    until: str,
    job: str,
    events: tuple[str, ...],
    most: int,
    as_json: bool,
) -> None:
    """Show the newest lines, the oldest of them first. Nothing is verified; `audit verify` does that."""
    folder = _folder(directory, config)
    wanted = Wanted(since, until, job, frozenset(events))
    try:
        found = newest(folder, wanted, most)
    except OSError as error:
        _cannot_read(folder, error)
    if as_json:
        print_json("audit-lines", {"lines": found})
        return
    print_table([*(name.upper() for name in _SHOWN), "MORE"], (_row(entry) for entry in found))


@click.command()
@_choosing
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="Form.")
def export(
    directory: Path | None,
    config: Path | None,
    *,
    since: str,
    until: str,
    job: str,
    events: tuple[str, ...],
    form: str,
) -> None:
    """Write lines to stdout, the oldest first: byte for byte as they are, or as CSV for a spreadsheet."""
    folder = _folder(directory, config)
    found = every(folder, Wanted(since, until, job, frozenset(events)))
    try:
        if form == "csv":
            _as_csv(found)
        else:
            for text, _ in found:
                sys.stdout.buffer.write(text + b"\n")
            sys.stdout.buffer.flush()
    except OSError as error:
        if error.filename is None:
            raise  # stdout's, not the log's
        _cannot_read(folder, error)


def _as_csv(found: Iterator[tuple[bytes, Entry]]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow((*COLUMNS, "more"))
    for _, entry in found:
        more = {name: value for name, value in entry.items() if name not in COLUMNS and name not in _LINKS}
        out.writerow([*(_cell(entry.get(name)) for name in COLUMNS), _cell(json.dumps(more) if more else None)])


def _cell(value: object) -> str:
    """A value as a spreadsheet takes it, with an apostrophe before what it would take for a formula."""
    if value is None:
        return ""
    text = plain(_text(value))
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(entry: Entry) -> list[str]:
    more = " ".join(f"{name}={_text(entry[name])}" for name in sorted(entry) if name not in _QUIET)
    return [*(str(entry.get(name) or "-") for name in _SHOWN), more]


def _folder(directory: Path | None, config: Path | None) -> Path:
    return (directory or folders_of(config).state) / FOLDER


def _cannot_read(folder: Path, error: OSError) -> NoReturn:
    """Say why the log cannot be read, and end.

    Raises:
        SystemExit: 1 when there is none, 77 when it may not be read.

    """
    if isinstance(error, FileNotFoundError):
        say(plain(f"{folder}: there is no audit log"))
        raise SystemExit(FAILED)
    say(plain(f"{error.filename or folder}: {error.strerror}"))
    raise SystemExit(PERMISSION)
