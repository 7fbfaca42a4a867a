from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from relay.cli.output import plain, print_json, print_table, say

TABLE = "from relay.cli.output import print_table; print_table(('name', 'state'), [('a', 'ready'), ('longer', '[b]x')])"


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned, nothing is coloured, no blanks stand at the end, foreign text steers nothing."""
    print_table(("name", "state"), [("a", "ready"), ("longer", "\x1b[31mx")])
    assert capsys.readouterr().out == "name    state\na       ready\nlonger  ?[31mx\n"


def test_an_empty_table_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows are no error."""
    print_table(("name", "state"), [])
    assert capsys.readouterr().out == "name  state\n"


def on_a_terminal(environ: dict[str, str], table: str = TABLE) -> str:
    """What the table looks like on a pseudo-terminal."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb") as reader:
        base = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
        subprocess.run([sys.executable, "-c", table], stdout=theirs, check=True, env={**base, **environ})
        os.close(theirs)
        return reader.read1(4096).decode()


def test_a_terminal_gets_colours() -> None:
    """On a terminal the head stands out; cells are taken literally, whatever markup they hold."""
    text = on_a_terminal({"TERM": "xterm-256color"})
    assert "\x1b[1m" in text
    assert "[b]x" in text


@pytest.mark.parametrize("columns", [10, 39, 40, 200])
def test_a_table_is_never_cut(columns: int) -> None:
    """On a terminal of any width every cell is whole and each row a line; only wrapping is left to it."""
    table = f"from relay.cli.output import print_table; print_table(('job', 'state'), [('{'a' * 32}', 'CLOSED')])"
    text = on_a_terminal({"TERM": "xterm", "COLUMNS": str(columns)}, table)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()[1].rstrip() == f"{'a' * 32}  CLOSED"
    assert ("\x1b[1m" in text) == (columns >= 40)


@pytest.mark.parametrize("environ", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_is_respected(environ: dict[str, str]) -> None:
    """`NO_COLOR` and a terminal that can do nothing get plain text."""
    assert "\x1b" not in on_a_terminal(environ)


def test_json_has_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Every JSON output says what it is, first; talk is not mixed into it."""
    say("talk")
    print_json("x", {"a": "é"}, version=2)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema": "bseries-relay/x/2", "a": "é"}
    assert captured.out.startswith('{\n  "schema"')
    assert captured.err == "talk\n"


def test_plain_text() -> None:
    """Lines stay lines, tabs become blanks, everything that is not printable becomes a question mark."""
    assert plain("a\tb\nc\x00\x1b\u202ed") == "a b\nc???d"
