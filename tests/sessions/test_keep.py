"""Which recordings a session has."""

from __future__ import annotations

from relay.core.session_report import SessionReport, ShellRecording
from relay.sessions.keep import _names


def test_the_recordings_of_a_session() -> None:
    """The screen's when there is a link to it, and each shell's once."""
    shells = (ShellRecording("0"), ShellRecording("1"), ShellRecording("0"))
    assert list(_names(SessionReport("a"))) == []
    assert list(_names(SessionReport("a", shell_recordings=shells))) == ["shell 0", "shell 1"]
    for link in ({"recording_view_url": "u"}, {"recording_download_url": "u"}):
        assert list(_names(SessionReport("a", shell_recordings=shells[:1], **link))) == ["screen", "shell 0"]
