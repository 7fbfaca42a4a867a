"""What every command shares: data on stdout, talk on stderr, tables, JSON with a schema, exit codes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
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
READER_GONE: Final = 141
"""What a shell says of a program that SIGPIPE ended."""

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

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7e]")
_UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a write answers for which the relay can do nothing."""


def exit_code(error: RelayError) -> int:
    """The exit code that tells a script what kind of thing went wrong."""
    return _BY_CODE.get(error.number, _BY_FAMILY[error.number // 1000])


def say(text: str = "") -> None:
    """Talk: a line on stderr."""
    click.echo(text, err=True)


def data(text: str) -> None:
    """Data: a line on stdout."""
    click.echo(text)


def leave_when_unwritable(error: BaseException) -> None:
    """End the process when this error says that nothing more can be written; else return.

    Why here: the interpreter would say the same once more, as a traceback, when it empties stdout at its end.

    Raises:
        SystemExit: 141 without a word when the reader went away, 74 when a write failed.

    """
    if not isinstance(error, OSError) or error.filename is not None or error.errno not in _UNWRITABLE:
        return
    with contextlib.suppress(OSError):  # no stdout that has a number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        raise SystemExit(READER_GONE)
    with contextlib.suppress(OSError):
        say(f"cannot write: {error.strerror}")
    raise SystemExit(DISK)


def show_error(error: RelayError) -> None:
    """An error and what can be done about it, on stderr."""
    say(plain(str(error)))
    say(f"  fix: {error.hint}")


def print_json(name: str, value: Mapping[str, Json], version: int = 1) -> None:
    """One JSON object on stdout, with `schema` as `bseries-relay/NAME/VERSION` in front."""
    text = json.dumps({"schema": f"bseries-relay/{name}/{version}", **value}, indent=2, ensure_ascii=False)
    # What a terminal would obey or could not be written is an escape, which means the same to a reader of JSON.
    data(_BEYOND_ASCII.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout, with a bold head on a terminal that is wide enough; else, and with `NO_COLOR`, plain.

    Nothing is ever cut off: what is wider than the terminal is wrapped by the terminal itself, and can be copied whole.
    """
    cells = [[plain(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headers), *cells]) for column in range(len(headers))]
    if is_rich() and sum(widths) + 2 * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        from rich.console import Console  # noqa: PLC0415  # only a terminal needs it, and it takes long to import
        from rich.table import Table  # noqa: PLC0415  # as above
        from rich.text import Text  # noqa: PLC0415  # as above

        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in headers:
            table.add_column(header, no_wrap=True, overflow="ignore")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    for line in [list(headers), *cells]:
        data("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def is_rich() -> bool:
    """Whether stdout is a terminal that may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plain(text: str) -> str:
    """Text of any origin for a terminal: nothing in it can steer one, lines stay lines."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text.replace("\t", " "))
