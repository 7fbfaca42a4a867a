from __future__ import annotations

from pathlib import Path

from support.configuration import SMALLEST, loaded

from relay.config.unsupported import PARTS, unsupported

LISTENER = (
    "listener: {listen: '[::]:8443', accept_from: [10.0.0.1], tls: {certificate: /c.pem, key: {credential: key}}}\n"
)


def warned(tmp_path: Path, text: str) -> list[str]:
    return [problem.where for problem in loaded(tmp_path, text).warnings]


def test_defaults_ask_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    """The smallest configuration raises no warning, nor do sections that only write their defaults out."""
    assert warned(tmp_path, SMALLEST) == []
    assert warned(tmp_path, SMALLEST + "sessions: {mode: import}\napprovals: {mode: evaluate}\n") == []


def test_each_part_that_is_not_there_has_a_warning(tmp_path: Path) -> None:
    """The relay starts, and says what of its configuration has no effect, at the section's place."""
    text = SMALLEST + LISTENER + "approvals: {deadline: 5s}\n"
    found = loaded(tmp_path, text.replace("  auth:", "  wake: amb\n  auth:", 1)).warnings
    assert [(problem.where, problem.mark and problem.mark.line) for problem in found] == [
        ("servicenow.wake", 4),
        ("approvals", 12),
    ]
    assert {problem.number for problem in found} == {1017}
    assert found[1].headline.startswith(f"{tmp_path}/relay.yaml:12:1: warning[BSR-1017]: approvals: ")


def test_a_push_channel_is_missed_only_by_those_who_write_it(tmp_path: Path) -> None:
    """The default of `wake` promises nothing; `off`, or a key without a value, asks for nothing."""
    for value in ("off", ""):
        assert warned(tmp_path, SMALLEST.replace("  auth:", f"  wake: {value}\n  auth:", 1)) == []


def test_sections_that_are_off_ask_for_nothing(tmp_path: Path) -> None:
    """What is off is not mentioned; an appliance that has it on brings it back, at the listener that asks for it."""
    off = SMALLEST + LISTENER + "approvals: {mode: off}\n"
    assert warned(tmp_path, off) == []
    own = off.replace("listener:", "    approvals: {mode: evaluate}\nlistener:", 1)
    assert warned(tmp_path, own) == ["approvals"]


def test_every_part_says_what_happens_instead() -> None:
    """Each row of the table has a place and a text; none is asked for twice."""
    assert len({part.path for part in PARTS}) == len(PARTS)
    assert all(part.text for part in PARTS)


def test_settings_alone_tell_what_is_asked_for(tmp_path: Path) -> None:
    """No file is needed; what only counts when it is written is marked as such."""
    assert [part.path for part in unsupported(loaded(tmp_path, SMALLEST).settings) if not part.only_written] == []
