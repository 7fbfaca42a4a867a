"""The template of the work note: what is wrong in it is shown where it stands in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import SMALLEST, headlines, loaded

from relay.config.emit import block
from relay.config.problems import ConfigProblems
from relay.config.show import show
from relay.config.template import NoteTemplate
from relay.core.note import LONGEST_TEMPLATE

BLOCK = """sessions:
  note: |
    BeyondTrust session {sequence}

    On {endpiont}
"""


def test_a_template_of_several_lines(tmp_path: Path) -> None:
    """It is kept as it is written, and shown so that it reads back."""
    found = loaded(tmp_path, SMALLEST + BLOCK.replace("endpiont", "endpoint"))
    assert found.settings.sessions.note == "BeyondTrust session {sequence}\n\nOn {endpoint}\n"
    assert loaded(tmp_path, show(found)).settings == found.settings
    assert loaded(tmp_path, SMALLEST).settings.sessions.note is None


def test_an_appliance_may_have_its_own(tmp_path: Path) -> None:
    """As every key of the section."""
    text = SMALLEST.replace("appliances:\n  default:\n", "appliances:\n  default:\n    sessions: {note: 'x {os}'}\n")
    assert loaded(tmp_path, text).settings.appliances["default"].sessions.note == "x {os}"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (BLOCK, "5:8", "there is no value 'endpiont'; did you mean 'endpoint'?"),
        (BLOCK.replace("|", "|-"), "5:8", "there is no value 'endpiont'"),
        (BLOCK.replace("|", "|2").replace("    ", "      "), "5:10", "there is no value 'endpiont'"),
        (BLOCK.replace("|", "| # the note"), "5:8", "there is no value 'endpiont'"),
        ("sessions: {note: 'On {endpiont}'}\n", "1:22", "there is no value 'endpiont'"),
        ("sessions:\n  note: On {endpiont} {\n", "2:12", "there is no value 'endpiont'"),
        ("sessions:\n  note: On {files} and {notes}\n", "2:24", "two lists on one line"),
        ("sessions:\n  note: a } b\n", "2:11", "a '}' alone"),
        ("sessions:\n  note: 'x [code]'\n", "2:12", "a [code] tag"),
        ('sessions:\n  note: "a\\nb {x}"\n', "2:15", "there is no value 'x'"),
        ('sessions:\n  note: "{\\x78}"\n', "2:9", "there is no value 'x'"),
        ("sessions:\n  note: >\n    a\n    {x}\n", "2:9", "there is no value 'x'"),
        ("sessions:\n  note: ' '\n", "2:9", "write the text of a work note"),
        ("sessions:\n  note: [a]\n", "2:9", "write the text of a work note"),
        (f"sessions:\n  note: {'x' * (LONGEST_TEMPLATE + 1)}\n", "2:9", "a template has at most"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(tmp_path: Path, text: str, place: str, problem: str) -> None:
    """The line and column of the placeholder, wherever the file has it as it is; else of the value."""
    before = SMALLEST.count("\n")
    found = headlines(tmp_path, SMALLEST + text)
    line, _, column = place.partition(":")  # of what follows the smallest configuration
    assert f":{before + int(line)}:{column}: error[BSR-1006]: sessions.note: {problem}" in found[0]


def test_the_line_is_shown_with_a_caret(tmp_path: Path) -> None:
    """The caret stands under the placeholder."""
    with pytest.raises(ConfigProblems) as caught:
        loaded(tmp_path, SMALLEST + BLOCK)
    assert str(caught.value).splitlines()[-2:] == ["        On {endpiont}", "           ^"]


def test_the_schema_of_a_template() -> None:
    """For editors it is text."""
    assert NoteTemplate().schema() == {"type": "string", "minLength": 1, "maxLength": LONGEST_TEMPLATE}


@given(st.text("a {}:#'\"\\|\n -\té\u2028", max_size=30))
def test_every_text_is_written_so_that_it_reads_back(text: str) -> None:
    """Whether as a block or in quotes."""
    assert yaml.safe_load("\n".join(block("note", text)) + "\n") == {"note": text}
