"""How recordings are kept, in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, loaded

from relay.core.recordings import DEFAULT_PATTERN


def test_a_folder_for_recordings(tmp_path: Path) -> None:
    """Folder, cap and names are read, and the names have a default."""
    text = SMALLEST + "sessions: {recordings: store, recording_folder: /srv/r, recording_bytes: 2GiB}\n"
    sessions = loaded(tmp_path, text).settings.sessions
    assert (sessions.recording_folder, sessions.recording_bytes) == (Path("/srv/r"), 2 << 30)
    assert sessions.recording_name == DEFAULT_PATTERN


def test_a_folder_may_come_with_a_drop_in(tmp_path: Path) -> None:
    """What the main file lacks, another brings."""
    text = SMALLEST + "sessions: {recordings: store}\n"
    settings = loaded(tmp_path, text, a="sessions: {recording_folder: /srv/r}\n").settings
    assert settings.sessions.recording_folder == Path("/srv/r")


@pytest.mark.parametrize(
    ("sessions", "problem"),
    [
        ("recordings: store", "sessions: recordings: store needs recording_folder"),
        ("recording_bytes: 1KiB", "sessions.recording_bytes: write a size from 1MiB to 64GiB"),
        ("recording_folder: here", "sessions.recording_folder: write an absolute path"),
        ('recording_name: "../{lsid}{name}"', "sessions.recording_name: write a relative path"),
        ('recording_name: "{lsid}-{user}"', "sessions.recording_name: write a relative path"),
        ('recording_name: "{date}/{lsid}.{ext}"', "sessions.recording_name: needs {name}, or recordings"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, sessions: str, problem: str) -> None:
    """Each mistake is told with its key."""
    (headline,) = headlines(tmp_path, f"{SMALLEST}sessions: {{{sessions}}}\n")
    assert problem in headline
