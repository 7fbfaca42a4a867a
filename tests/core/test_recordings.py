"""What recordings are called, and what counts as one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.recordings import (
    DEFAULT_PATTERN,
    LONGEST_PART,
    PATTERN,
    Film,
    attachment_name,
    kind_of,
    path_of,
    problem_of,
    shell_name,
    shell_of,
)

LSID = "e9e99aeb9ad54fb381634498502c5a1b"
SCREEN = Film("default", LSID, "screen", 1733240467, "mp4")
SHELL = Film("default", LSID, "shell 0", None, "txt")
HOSTILE = [
    "..",
    ".",
    "/etc/passwd",
    "a/../b",
    "a\0b",
    "",
    " ",
    "-rf",
    "é",
    "a\nb",
    "x" * 300,
    "con.",
    "%2e%2e",
    "\ud800",
]
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]*")


def test_names_of_ordinary_recordings() -> None:
    """They say whose recording it is, by day and session."""
    assert attachment_name(SCREEN) == f"{LSID}-screen.mp4"
    assert attachment_name(SHELL) == f"{LSID}-shell-0.txt"
    assert path_of(DEFAULT_PATTERN, SCREEN) == f"default/2024-12-03/{LSID}-screen.mp4"
    assert path_of(DEFAULT_PATTERN, SHELL) == f"default/undated/{LSID}-shell-0.txt"
    assert path_of("{year}/{month}/a b {lsid} {name}", SCREEN) == f"2024/12/a b {LSID} screen"
    assert path_of("{year}-{month}/{lsid}{name}", SHELL) == f"undated-undated/{LSID}shell-0"


@pytest.mark.parametrize("ended", [-5, 10**15])
def test_an_absurd_time_is_a_date(ended: int) -> None:
    """Whatever the report says of its end, there is a name."""
    film = Film("a", LSID, "screen", ended, "mp4")
    assert re.match(r"a/(1970-01-01|9999-12-31)/", path_of(DEFAULT_PATTERN, film))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("where", ["lsid", "name", "appliance"])
def test_hostile_texts_lead_nowhere(text: str, where: str) -> None:
    """Whatever an appliance is called or says, its files stay within the folder and are seen there."""
    film = Film(
        text if where == "appliance" else "a",
        text if where == "lsid" else LSID,
        shell_name(text) if where == "name" else "screen",
        0,
        "mp4",
    )
    check(film)


def check(film: Film) -> None:
    parts = path_of(DEFAULT_PATTERN, film).split("/")
    assert len(parts) == 3
    assert all(PART.fullmatch(part) and len(part) <= LONGEST_PART for part in parts)
    name = attachment_name(film)
    assert PART.fullmatch(name)
    assert len(name) <= 100


texts = st.tuples(st.text(max_size=80), st.text(max_size=300), st.text(max_size=80))


@given(texts, texts)
def test_no_two_recordings_share_a_name(some: tuple[str, str, str], others: tuple[str, str, str]) -> None:
    """Names are fit for any file system, and different for different appliances, sessions and shells."""
    one, other = (Film(a, b, shell_name(c), 0, "txt") for a, b, c in (some, others))
    check(one)
    assert (path_of(DEFAULT_PATTERN, one) == path_of(DEFAULT_PATTERN, other)) == (some == others)


@pytest.mark.parametrize(
    "pattern",
    [
        DEFAULT_PATTERN,
        "{lsid}-{name}",
        "recordings of {year}/{month}/{lsid}.{name}.{ext}",
        "{appliance}{lsid}{name}",
        "a/b/c/d/e/f/g/h/{lsid}{name}",
    ],
)
def test_patterns(pattern: str) -> None:
    """Patterns that give each recording a path of its own are taken."""
    assert re.fullmatch(PATTERN, pattern, re.ASCII)
    assert problem_of(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/{lsid}{name}",
        "../{lsid}{name}",
        "a/../{lsid}",
        ".{lsid}",
        "a//b",
        "a/",
        "{lsid",
        "{user}",
        "a/b/c/d/e/f/g/h/i/j",
        "é",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    """A path that is absolute, leads up, is hidden or holds a placeholder that nobody knows is refused."""
    assert not re.fullmatch(PATTERN, pattern, re.ASCII)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{appliance}/{date}.{ext}", "needs {lsid} and {name}"),
        ("{lsid}.{ext}", "needs {name}"),
        ("{lsid}{name}" * 3, "more than 200 characters"),
    ],
)
def test_patterns_that_do_not_serve(pattern: str, problem: str) -> None:
    """Recordings must not share a file, and a part of a path has an end."""
    found = problem_of(pattern)
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    ("name", "content_type", "beginning", "ext"),
    [
        ("screen", "video/mp4", b"?", "mp4"),
        ("screen", "Video/X-FLV; a=b", b"?", "flv"),
        ("screen", "application/octet-stream", b"FLV\x01", "flv"),
        ("screen", "text/html", b"\0\0\0\x20ftypisom", "mp4"),
        ("screen", "", b"?", "bin"),
        ("screen", "application/octet-stream", b"?", "bin"),
        ("screen", "text/plain", b"?", None),
        ("screen", "text/html", b"<html>", None),
        ("screen", "application/json", b"{}", None),
        ("shell 0", "text/plain; charset=utf-8", b"$ ls", "txt"),
        ("shell 0", "application/json", b"{}", "txt"),
        ("shell 0", "text/html", b"<html>", None),
        ("shell 0", "text/xml", b"<a/>", None),
        ("shell 0", "", b"PK\x03\x04", "zip"),
        ("shell 0", "", b"\x1f\x8b", "gz"),
    ],
)
def test_kinds(name: str, content_type: str, beginning: bytes, ext: str | None) -> None:
    """The first bytes tell before the declared type; pages are no recordings, and text is only that of a shell."""
    kind = kind_of(name, content_type, beginning)
    assert (kind.ext if kind else None) == ext


def test_shells_have_names() -> None:
    """A shell's name leads back to what the appliance calls it; a screen's does not."""
    assert (shell_of(shell_name("a 1")), shell_of("screen")) == ("a 1", None)
