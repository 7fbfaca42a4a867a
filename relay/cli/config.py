"""`bseries-relay config`: check, show and explain the configuration."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.output import CONFIGURATION, WARNINGS, data, print_json, say

if TYPE_CHECKING:
    from relay.config.load import Examined
    from relay.config.problems import Problem
    from relay.core.jobs import Json

CREDENTIALS = "CREDENTIALS_DIRECTORY"

_file = click.option(
    "--config", "config", type=click.Path(readable=False, path_type=Path), help="The main configuration file."
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group()
def command() -> None:
    """Check, show and explain the configuration."""


@command.command()
@_file
@_json
def check(config: Path | None, as_json: bool) -> None:  # noqa: FBT001  # click's way
    """Check the configuration and the files that it names; every problem at once.

    Problems go to stdout, each with its file, line and column. Exits 0 when the relay can use the configuration, 3
    when it can and something in a file has no effect, 78 when it cannot.
    """
    from relay.config.load import examine  # noqa: PLC0415  # `--help` stays light
    from relay.config.problems import report  # noqa: PLC0415  # as above

    main = _main(config)
    examined = examine(main, os.environ)
    wrong, unchecked = _files(examined)
    examined = examined.found(wrong)
    problems, warnings = examined.errors, examined.warnings
    if as_json:
        print_json(
            "config-check",
            {
                "file": str(main),
                "ok": not problems,
                "problems": [described(problem) for problem in problems],
                "warnings": [described(problem) for problem in warnings],
                "unchecked": unchecked,
            },
        )
    else:
        if warnings:
            say(report(warnings))
        if unchecked and not problems:
            say(f"only the service can read these credentials, they are not checked: {', '.join(unchecked)}")
        data(report(problems) if problems else f"{main}: the configuration is good")
    if problems:
        raise click.exceptions.Exit(CONFIGURATION)
    if any(warning.mark for warning in warnings):  # what stands in no file is no matter of the configuration
        raise click.exceptions.Exit(WARNINGS)


@command.command()
@_file
@_json
def show(config: Path | None, as_json: bool) -> None:  # noqa: FBT001  # click's way
    """Show the settings that hold, and where each comes from. Secrets are shown as the place where they are kept."""
    from relay.config.describe import written  # noqa: PLC0415  # `--help` stays light
    from relay.config.load import load  # noqa: PLC0415  # as above
    from relay.config.model import Settings  # noqa: PLC0415  # as above
    from relay.config.problems import report  # noqa: PLC0415  # as above
    from relay.config.show import show as shown  # noqa: PLC0415  # as above

    loaded = load(_main(config), os.environ)
    if as_json:
        print_json("config-show", {"settings": written(Settings, loaded.settings), "origins": dict(loaded.origins)})
        return
    if loaded.warnings:
        say(report(loaded.warnings))
    data(shown(loaded).rstrip("\n"))


@command.command()
def schema() -> None:
    """Print the JSON Schema (draft-07) of the configuration, for editors."""
    import json  # noqa: PLC0415  # `--help` stays light

    from relay.config.schema import schema as described  # noqa: PLC0415  # as above

    data(json.dumps(described(), indent=2, ensure_ascii=False))


@command.command()
@click.option("--sample", is_flag=True, help="A commented relay.yaml instead of the reference.")
def reference(sample: bool) -> None:  # noqa: FBT001  # click's way
    """Print the reference of all keys as Markdown."""
    from relay.config.reference import reference as described  # noqa: PLC0415  # `--help` stays light
    from relay.config.sample import sample as commented  # noqa: PLC0415  # as above

    data((commented() if sample else described()).rstrip("\n"))


def _main(explicit: Path | None) -> Path:
    from relay.config.locate import locate  # noqa: PLC0415  # `--help` stays light

    return locate(explicit, os.environ, root=os.geteuid() == 0)


def _files(examined: Examined) -> tuple[list[Problem], list[str]]:
    """What is wrong with the files and secrets that the settings name, and the secrets that cannot be judged here."""
    from relay.config.describe import leaves  # noqa: PLC0415  # `--help` stays light
    from relay.config.model import Settings  # noqa: PLC0415  # as above
    from relay.config.values import SecretRef  # noqa: PLC0415  # as above
    from relay.core.errors import ConfigError  # noqa: PLC0415  # as above
    from relay.host.secrets import SecretReader  # noqa: PLC0415  # as above
    from relay.host.signing_keys import usable  # noqa: PLC0415  # as above
    from relay.servicenow.auth_jwt import signing_key  # noqa: PLC0415  # as above

    reader = SecretReader(os.environ)
    problems: list[Problem] = []
    unchecked: list[str] = []
    for path, value in leaves(Settings, examined.settings):
        if isinstance(value, SecretRef) and value.kind == "credential" and not os.environ.get(CREDENTIALS):
            unchecked.append(value.name)
            continue
        try:
            if isinstance(value, SecretRef):
                secret = reader.read(value)
                if path[:2] == ("servicenow", "signature_keys"):
                    usable(value, secret)
                elif path == ("servicenow", "auth", "oauth_jwt", "key"):
                    signing_key(secret)
            elif isinstance(value, Path) and path[-1] == "recording_folder":
                _folder(value)
            elif isinstance(value, Path) and path != ("storage", "directory"):
                _certificates(value)
        except ConfigError as error:
            problems.append(examined.judge.problem(error.number, path, error.detail))
    return problems, sorted(set(unchecked))


def _folder(path: Path) -> None:
    """Refuse a folder that is not there; whether the service may write to it, `doctor` tells."""
    from relay.core.errors import ConfigError  # noqa: PLC0415  # `--help` stays light

    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(1009, f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise ConfigError(1009, f"{path}: not a folder")


def _certificates(path: Path) -> None:
    """Refuse a file of certificates that cannot be read, holds none, or that others can change."""
    from relay.config.guarded import open_to_others  # noqa: PLC0415  # `--help` stays light
    from relay.core.errors import ConfigError  # noqa: PLC0415  # as above

    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(1009, f"{path}: {error.strerror}") from None
    why = open_to_others(path, mode)
    if why is not None:
        raise ConfigError(1010, f"{path}: {why}")
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ConfigError(1009, f"{path}: there is no certificate in it (PEM)")


def described(problem: Problem) -> dict[str, Json]:
    """A problem as JSON."""
    from relay.core.codes import code_of  # noqa: PLC0415  # `--help` stays light

    mark = problem.mark
    return {
        "code": code_of(problem.number).name,
        "severity": "warning" if problem.warning else "error",
        "file": mark.file if mark else None,
        "line": mark.line if mark else None,
        "column": mark.column if mark else None,
        "key": problem.where,
        "text": problem.text,
        "fix": code_of(problem.number).fix,
        "excerpt": problem.excerpt,
    }
