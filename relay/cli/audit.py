"""`bseries-relay audit`: what the tamper-evident log says of itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.audit.segments import FOLDER
from relay.cli.asking import as_json, ask_daemon, folders_of, with_config
from relay.cli.audit_lines import export, show
from relay.cli.output import FAILED, PERMISSION, USAGE, data, plain, print_json, say

if TYPE_CHECKING:
    from relay.audit.verify import Report
    from relay.core.checkpoint import Note, PublicKey

_TRUNCATION = (
    "Not checked: whether lines at the end were cut off together with the newest checkpoints in the folder. "
    "--checkpoint with one from the journal or ServiceNow tells."
)
_KEYS = (
    "The keys are those that lie beside the log: who could rewrite all of it could replace them too. "
    "--key with a key that was noted elsewhere tells."
)
_UNSIGNED = (
    "There is no signed checkpoint: whoever could write the folder could have made all of these lines. "
    "--key and --checkpoint with what was kept elsewhere tell."
)
_LARGEST = 1024 * 1024
_LINE_FEED = re.compile(r"\\+n|\r?\n")
_WITHIN = re.compile(
    r'[^\s"\\]+(?:NL)[0-9]+(?:NL)[A-Za-z0-9+/]{43}=(?:NL){2}(?:\u2014 [^\s"\\]+ [A-Za-z0-9+/]+=*(?:NL)?)+'.replace(
        "NL", _LINE_FEED.pattern
    )
)
"""A checkpoint somewhere in a line of the journal, in whatever form the line was copied."""


@click.group()
def command() -> None:
    """The tamper-evident log."""


command.add_command(show)
command.add_command(export)


@command.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The state folder. Absent: the one of the configuration.",
)
@with_config
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A file of public keys, one a line, that are trusted instead of those in the folder; - reads stdin.",
)
@click.option(
    "--checkpoint",
    "note_files",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    multiple=True,
    help="A checkpoint that was kept elsewhere; may be given several times; - reads stdin.",
)
@as_json
@click.pass_context
def verify(
    ctx: click.Context,
    directory: Path | None,
    config: Path | None,
    key_file: Path | None,
    note_files: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Check the log for edits, deletions, insertions and swaps, offline.

    Every checkpoint in the folder is compared with the log, too. With a checkpoint from elsewhere a cut-off end is
    found. Exits 0 when all is sound, 1 when it is not or the log is missing; then the first bad seq is named.
    """
    from relay.audit.verify import verify_folder  # noqa: PLC0415  # `--help` stays light

    keys, notes = _given(key_file, note_files)
    folder = (directory or _state(config)) / FOLDER
    try:
        report = verify_folder(folder, keys, notes)
    except FileNotFoundError:
        report = None
    except OSError as error:
        say(plain(f"{error.filename or folder}: {error.strerror}"))
        ctx.exit(PERMISSION)
    if report is None or report.files == 0:
        say(plain(f"{folder}: there is no audit log"))
        ctx.exit(FAILED)
    unsigned = key_file is not None and not report.judgement.verified
    ok = report.sound and not unsigned
    if as_json:
        _print_report(report, ok=ok, external=bool(notes))
    else:
        _tell(report, unsigned=unsigned, own_keys=key_file is None, external=bool(notes))
    ctx.exit(0 if ok else FAILED)


@command.command()
@with_config
@as_json
def checkpoint(config: Path | None, *, as_json: bool) -> None:
    """Have the running relay sign what is in the log now, and print the checkpoint.

    Kept elsewhere, it proves later that nothing up to it was changed or cut off.
    """
    result = ask_daemon(config, "audit checkpoint")
    if as_json:
        print_json("audit-checkpoint", result)
    else:
        click.echo(result["note"], nl=False)


@command.command()
@click.option("--rotate", is_flag=True, help="Have the running relay sign with a new key from now on.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The state folder. Absent: the one of the configuration.",
)
@with_config
@as_json
@click.pass_context
def key(ctx: click.Context, directory: Path | None, config: Path | None, *, rotate: bool, as_json: bool) -> None:
    """Print the public key that signs checkpoints, in the form that `verify --key` reads."""
    from relay.audit.keys import known_keys  # noqa: PLC0415  # `--help` stays light

    if rotate:
        if directory is not None:
            raise click.UsageError("--rotate asks the running relay: name its configuration, not a directory")
        new = ask_daemon(config, "audit rotate")["key"]
        print_json("audit-key", {"key": new}) if as_json else data(new)
        say("The former key signed the last time, together with this one. Keep this one elsewhere as well.")
        return
    folder = (directory or _state(config)) / FOLDER
    try:
        known = known_keys(folder)
    except OSError as error:
        say(plain(f"{error.filename or folder}: {error.strerror}"))
        ctx.exit(PERMISSION)
    except ValueError:
        known = []
    if not known:
        say(plain(f"{folder}: no key is known; the relay makes one when it starts"))
        ctx.exit(FAILED)
    if as_json:
        print_json("audit-key", {"key": known[-1].vkey, "former": [one.vkey for one in known[:-1]]})
    else:
        data(known[-1].vkey)


def _state(config: Path | None) -> Path:
    """The state folder of a configuration."""
    from relay.config.problems import ConfigProblems  # noqa: PLC0415  # takes long to import, `--directory` needs it not

    try:
        return folders_of(config).state
    except ConfigProblems:
        say("The configuration does not tell where the log is; --directory does.")
        raise


def _given(key_file: Path | None, note_files: Iterable[Path]) -> tuple[list[PublicKey] | None, dict[str, Note]]:
    """The keys and checkpoints that were named. What cannot be read ends the command: nothing was checked then."""
    from relay.core.checkpoint import parse_keys  # noqa: PLC0415  # as above

    at = key_file
    try:
        keys = parse_keys(_text(key_file)) if key_file is not None else None
        notes = {}
        for at in note_files:
            notes[str(at)] = _note(_text(at))
    except OSError as error:
        say(plain(f"{at}: {error.strerror}"))
    except ValueError as error:
        say(plain(f"{at}: {error}"))
    else:
        return keys, notes
    raise SystemExit(USAGE)


def _note(text: str) -> Note:
    """A checkpoint, or the last one in what was copied out of the journal."""
    from relay.core.checkpoint import parse_note  # noqa: PLC0415  # as above

    try:
        return parse_note(text)
    except ValueError:
        found = _WITHIN.findall(text)
        if not found:
            raise
        return parse_note(_LINE_FEED.sub("\n", found[-1]))


def _text(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read(_LARGEST)
    with path.open("rb") as file:
        return file.read(_LARGEST).decode()


def _print_report(report: Report, *, ok: bool, external: bool) -> None:
    bad, judgement = report.bad, report.judgement
    head = report.verdict.head
    value = {
        "ok": ok,
        "files": report.files,
        "lines": head.seq,
        "head": {"seq": head.seq, "hash": head.digest},
        "bad": None if bad is None else {"seq": bad.seq, "reason": bad.reason},
        "torn_bytes": report.torn,
        "checkpoints": {
            "verified": len(judgement.verified),
            "newest": judgement.verified[-1].size if judgement.verified else None,
            "problems": [{"name": name, "reason": reason} for name, reason in judgement.problems],
        },
        "keys": sorted(one.vkey for one in judgement.keys),
        "truncation": "checked" if external else "not checked",
    }
    print_json("audit-verify", value)


def _tell(report: Report, *, unsigned: bool, own_keys: bool, external: bool) -> None:
    head, bad, judgement = report.verdict.head, report.bad, report.judgement
    for name, reason in judgement.problems:
        data(plain(f"BAD: checkpoint {name}: {reason}"))
    if unsigned and bad is None and not judgement.problems:
        data("BAD: there is no checkpoint that this key signed")
    if bad is not None:
        data(f"BAD: seq {bad.seq} {bad.reason}")
    if bad is not None or judgement.problems or unsigned:
        return
    data(f"OK: {_count(head.seq, 'line')} in {_count(report.files, 'file')}; last seq {head.seq}, hash {head.digest}")
    verified = judgement.verified
    newest = f"; the newest covers {_count(verified[-1].size, 'line')}" if verified else ""
    data(f"OK: {_count(len(verified), 'signed checkpoint')}{newest}")
    if report.torn:
        say(f"The last {report.torn} bytes were torn by a crash; the relay sets them aside when it starts.")
    if own_keys:
        say(_KEYS if verified else _UNSIGNED)
    if not external:
        say(_TRUNCATION)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
