"""A configuration on disk, to be loaded, and its smallest good form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relay.config.load import Loaded, load
from relay.config.problems import ConfigProblems, Problem

SMALLEST = """\
relay: {name: relay01}
servicenow:
  url: https://example.service-now.com
  auth: {basic: {username: svc.relay, password: {credential: servicenow_password}}}
appliances:
  default:
    product: pra
    url: https://access.example.com
    auth: {client_id: abc, client_secret: {credential: appliance_secret}}
"""


def write_files(folder: Path, main: str | bytes, **drop_ins: str | bytes) -> Path:
    """The main file, with `conf.d/NAME.yaml` for each drop-in. Returns the main file's path."""
    path = folder / "relay.yaml"
    _write(path, main)
    for name, text in drop_ins.items():
        (folder / "conf.d").mkdir(mode=0o755, exist_ok=True)
        _write(folder / "conf.d" / f"{name}.yaml", text)
    return path


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o640)


def loaded(
    folder: Path, main: str | bytes, environ: Mapping[str, str] | None = None, **drop_ins: str | bytes
) -> Loaded:
    """What these files load to."""
    return load(write_files(folder, main, **drop_ins), environ or {})


def problems(folder: Path, main: str | bytes, **drop_ins: str | bytes) -> list[Problem]:
    """What is wrong with these files; empty when nothing is."""
    try:
        loaded(folder, main, **drop_ins)
    except ConfigProblems as error:
        return list(error.problems)
    return []


def headlines(folder: Path, main: str | bytes, **drop_ins: str | bytes) -> list[str]:
    """The problems' first lines, the folder left out."""
    return [problem.headline.replace(f"{folder}/", "") for problem in problems(folder, main, **drop_ins)]
