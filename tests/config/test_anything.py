"""Whatever bytes stand in a configuration file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.configuration import SMALLEST, write_files

from relay.config.load import Loaded, load
from relay.config.problems import LINE_BREAK, ConfigProblems

FRAGMENTS = st.sampled_from(
    [
        *("servicenow", "relay", "appliances", "policy", "operations", "allow", "tables", "auth", "basic", "password"),
        *(
            "credential",
            "name",
            "url",
            "https://a.example",
            "{",
            "}",
            "[",
            "]",
            ": ",
            ", ",
            "- ",
            "\n",
            "\n  ",
            "\n    ",
        ),
        *(
            "&a ",
            "*a",
            "!!str ",
            "<<",
            "? ",
            "| ",
            ">-",
            "'",
            '"',
            "# x",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "~",
            "\t",
            "\r",
        ),
        *(
            "null",
            "true",
            "NO",
            "5",
            "5s",
            "5MiB",
            "\u2028",
            "\x85",
            "é",
            "😀",
            "\ufeff",
            "\x00",
            "\ud7ff",
            "\\",
            "@",
            "`",
        ),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=40).map("".join)


SECRET = SMALLEST.index("password: {")


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good configuration with something put in or cut out, but not in the key and reference of the password."""
    before = st.integers(0, SECRET)
    after = st.integers(SMALLEST.index("}", SECRET) + 1, len(SMALLEST))
    start, stop = sorted(draw(st.one_of(st.tuples(before, before), st.tuples(after, after))))
    return SMALLEST[:start] + draw(TEXTS) + SMALLEST[min(stop, start + 20) :]


CONTENTS = st.one_of(
    st.binary(max_size=200), TEXTS.map(str.encode), damaged().map(str.encode), st.text(max_size=50).map(str.encode)
)


def load_anything(main: bytes, drop_in: bytes) -> tuple[Loaded | ConfigProblems, dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as name:
        path = write_files(Path(name), main, a=drop_in)
        contents = {str(path): main, str(path.parent / "conf.d" / "a.yaml"): drop_in}
        try:
            return load(path, {}), contents
        except ConfigProblems as problems:
            return problems, contents


@settings(max_examples=200, deadline=None)
@given(CONTENTS, CONTENTS)
def test_any_bytes_are_settings_or_problems(main: bytes, drop_in: bytes) -> None:
    """Nothing but settings or problems comes out, and every problem stands at a place inside its file."""
    outcome, contents = load_anything(main, drop_in)
    if isinstance(outcome, Loaded):
        return
    assert outcome.problems
    for problem in outcome.problems:
        assert problem.mark is not None
        lines = LINE_BREAK.split(contents[problem.mark.file].decode("utf-8", "replace").removeprefix("\ufeff"))
        assert 1 <= problem.mark.line <= len(lines)
        assert 1 <= problem.mark.column <= len(lines[problem.mark.line - 1]) + 1
        assert all(char.isprintable() or char == "\n" for char in str(problem))


@settings(max_examples=100, deadline=None)
@given(damaged())
def test_a_damaged_configuration_never_shows_its_secret(text: str) -> None:
    """Wherever a configuration is broken, a literal secret in it does not come out with the report."""
    outcome, _ = load_anything(text.replace("{credential: servicenow_password}", "hunter2hunter2").encode(), b"")
    assert isinstance(outcome, ConfigProblems)
    assert "hunter2hunter2" not in str(outcome)
