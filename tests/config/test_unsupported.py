from __future__ import annotations

from pathlib import Path

from support.configuration import SMALLEST, loaded

from relay.config.unsupported import PARTS

LISTENER = (
    "listener: {listen: '[::]:8443', accept_from: [10.0.0.1], tls: {certificate: /c.pem, key: {credential: key}}}\n"
)


def warned(tmp_path: Path, text: str) -> list[str]:
    return [problem.where for problem in loaded(tmp_path, text).warnings]


def test_nothing_else_is_missing(tmp_path: Path) -> None:
    """The smallest configuration raises no warning, nor does one with every flow."""
    assert warned(tmp_path, SMALLEST) == []
    assert warned(tmp_path, SMALLEST + LISTENER + "sessions: {mode: both}\napprovals: {mode: evaluate}\n") == []


def test_a_part_that_is_not_there_has_a_warning(tmp_path: Path) -> None:
    """The relay starts, and says at its place what of its configuration has no effect."""
    found = loaded(tmp_path, SMALLEST.replace("  auth:", "  wake: amb\n  auth:", 1)).warnings
    assert [(problem.where, problem.mark and problem.mark.line, problem.number) for problem in found] == [
        ("servicenow.wake", 4, 1017)
    ]


def test_a_part_is_missed_only_by_those_who_write_it(tmp_path: Path) -> None:
    """The default of `wake` promises nothing; `off`, or a key without a value, asks for nothing."""
    for value in ("off", ""):
        assert warned(tmp_path, SMALLEST.replace("  auth:", f"  wake: {value}\n  auth:", 1)) == []


def test_every_part_says_what_happens_instead() -> None:
    """Each row of the table has a place and a text; none is asked for twice."""
    assert len({part.path for part in PARTS}) == len(PARTS)
    assert all(part.text for part in PARTS)
