"""What every command shares: data on stdout, talk on stderr, tables, JSON with a schema, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from relay.core.errors import RelayError

if TYPE_CHECKING:
    from relay.core.jobs import Json

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WARNINGS: Final = 3
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
DISK: Final = 74
TRY_AGAIN: Final = 75
PERMISSION: Final = 77
CONFIGURATION: Final = 78
INTERRUPTED: Final = 130

_BY_CODE: Final[Mapping[int, int]] = {
    2005: PERMISSION,
    2006: PERMISSION,
    2017: PERMISSION,
    3005: PERMISSION,
    3006: PERMISSION,
    5006: TRY_AGAIN,
}
_BY_FAMILY: Final[Mapping[int, int]] = {
    1: CONFIGURATION,
    2: UNAVAILABLE,
    3: UNAVAILABLE,
    4: FAILED,
    5: DISK,
    6: UNAVAILABLE,
    9: INTERNAL,
}


def exit_code(error: RelayError) -> int:
    """The exit code that tells a script what kind of thing went wrong."""
    return _BY_CODE.get(error.number, _BY_FAMILY[error.number // 1000])


def say(text: str = "") -> None:
    """Talk: a line on stderr."""
    click.echo(text, err=True)


def data(text: str) -> None:
    """Data: a line on stdout."""
    click.echo(text)


def show_error(error: RelayError) -> None:
    """An error and what can be done about it, on stderr."""
    say(plain(str(error)))
    say(f"  fix: {error.hint}")


def print_json(name: str, value: Mapping[str, Json], version: int = 1) -> None:
    """One JSON object on stdout, with `schema` as `bseries-relay/NAME/VERSION` in front."""
    data(json.dumps({"schema": f"bseries-relay/{name}/{version}", **value}, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout: coloured on a terminal, aligned columns of plain text elsewhere or with `NO_COLOR`."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if is_rich():
        from rich.console import Console  # noqa: PLC0415  # only a terminal needs it, and it takes long to import
        from rich.table import Table  # noqa: PLC0415  # as above
        from rich.text import Text  # noqa: PLC0415  # as above

        table = Table(*headers, box=None, pad_edge=False, header_style="bold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(line[column]) for line in [list(headers), *cells]) for column in range(len(headers))]
    for line in [list(headers), *cells]:
        data("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def is_rich() -> bool:
    """Whether stdout is a terminal that may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plain(text: str) -> str:
    """Text of any origin for a terminal: nothing in it can steer one, lines stay lines."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text.replace("\t", " "))
