"""Recordings as files: what they are called, and which kind of file the appliance's answer is.

Whatever an appliance calls a session, a word of a file's name is letters, digits, `_` and `-`: it leads nowhere, hides
nothing and ends in nothing that means something. What had to be changed for that carries a digest of what it was, so
that two sessions never share a file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from relay.core.session_report import LATEST

PLACEHOLDERS: Final = ("appliance", "date", "year", "month", "lsid", "name", "ext")
"""What may stand in braces in the pattern of a file's name; `date` is the day on which the session ended, in UTC."""
DEFAULT_PATTERN: Final = "{appliance}/{date}/{lsid}-{name}.{ext}"
_FILLED: Final = rf"\{{(?:{'|'.join(PLACEHOLDERS)})\}}"
_FOLDER: Final = rf"(?:[A-Za-z0-9_]|{_FILLED})(?:[A-Za-z0-9 ._-]|{_FILLED})*"
PATTERN: Final = rf"{_FOLDER}(?:/{_FOLDER}){{0,8}}"
"""The grammar of such a pattern: a relative path; no part of it begins with a dot."""
LONGEST_PART: Final = 200
"""Bytes of one part of a path that a pattern may lead to: file systems take 255, and a check file has a longer name."""
LONGEST_WORD: Final = 40
"""Characters of what the appliance says: with two such words an attachment's name stays below ServiceNow's 100."""
LONGEST_NAME: Final = 64
_DIGEST: Final = 12
_FIT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_FIT_APPLIANCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")

SCREEN: Final = "screen"
_SHELL: Final = "shell "


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file."""

    ext: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Film:
    """What a recording's name is made of.

    Attributes:
        appliance: whose it is, by the configuration.
        lsid: of which session, as the appliance says.
        name: `screen`, or `shell` and what the appliance calls it.
        ended: when the session ended, seconds since the epoch; None when that is not known.
        ext: by its kind.

    """

    appliance: str
    lsid: str
    name: str
    ended: int | None
    ext: str


BINARY: Final = Kind("bin", "application/octet-stream")
_MAGIC: Final = (
    (0, b"FLV", Kind("flv", "video/x-flv")),
    (4, b"ftyp", Kind("mp4", "video/mp4")),
    (0, b"\x1aE\xdf\xa3", Kind("webm", "video/webm")),
    (0, b"PK\x03\x04", Kind("zip", "application/zip")),
    (0, b"\x1f\x8b", Kind("gz", "application/gzip")),
)
_TYPES: Final = {
    "video/mp4": Kind("mp4", "video/mp4"),
    "video/x-flv": Kind("flv", "video/x-flv"),
    "video/flv": Kind("flv", "video/x-flv"),
    "video/webm": Kind("webm", "video/webm"),
    "application/zip": Kind("zip", "application/zip"),
    "application/gzip": Kind("gz", "application/gzip"),
}
_TEXT: Final = Kind("txt", "text/plain")
_PAGES: Final = ("text/html", "text/xml", "application/xml", "application/xhtml+xml")


def shell_name(instance: str) -> str:
    """The name of a command shell's recording."""
    return _SHELL + instance


def shell_of(name: str) -> str | None:
    """What the appliance calls the command shell of a recording's name; None of a screen's."""
    return name.removeprefix(_SHELL) if name.startswith(_SHELL) else None


def kind_of(name: str, content_type: str, beginning: bytes) -> Kind | None:
    """The kind of a recording's file; None when the answer is no recording.

    Args:
        name: the recording's.
        content_type: as the appliance says, "" when it does not.
        beginning: the first bytes. They are believed first: types differ by release and by what lies between.

    """
    for offset, magic, kind in _MAGIC:
        if beginning.startswith(magic, offset):
            return kind
    plain = content_type.partition(";")[0].strip().lower()
    if plain in _TYPES:
        return _TYPES[plain]
    if plain in _PAGES:
        return None
    if plain.startswith("text/") or plain == "application/json":
        return None if shell_of(name) is None else _TEXT
    return BINARY


def attachment_name(film: Film) -> str:
    """What a recording is called as an attachment: the same each time, and no other recording's."""
    return f"{_word(film.lsid)}-{_name(film.name)}.{film.ext}"


def path_of(pattern: str, film: Film) -> str:
    """The relative path that a pattern of the grammar gives a recording."""
    day = None if film.ended is None else datetime.fromtimestamp(min(max(film.ended, 0), LATEST), UTC)
    values = {
        "appliance": _word(film.appliance, LONGEST_NAME, _FIT_APPLIANCE),
        "date": "undated" if day is None else f"{day:%Y-%m-%d}",
        "year": "undated" if day is None else f"{day:%Y}",
        "month": "undated" if day is None else f"{day:%m}",
        "lsid": _word(film.lsid),
        "name": _name(film.name),
        "ext": film.ext,
    }
    return re.sub(_FILLED, lambda match: values[match[0][1:-1]], pattern)


def problem_of(pattern: str) -> str | None:
    """What is wrong with a pattern of the grammar; None when nothing is."""
    missing = [name for name in ("lsid", "name") if f"{{{name}}}" not in pattern]
    if missing:
        return f"needs {' and '.join(f'{{{name}}}' for name in missing)}, or recordings would share a file"
    longest = Film("a" * LONGEST_NAME, "b" * LONGEST_WORD, shell_name("c" * LONGEST_WORD), 0, "webm")
    if max(len(part) for part in path_of(pattern, longest).split("/")) > LONGEST_PART:
        return f"may give a part of a path more than {LONGEST_PART} characters"
    return None


def _name(name: str) -> str:
    shell = shell_of(name)
    return _word(name) if shell is None else f"shell-{_word(shell)}"


def _word(text: str, longest: int = LONGEST_WORD, fit: re.Pattern[str] = _FIT) -> str:
    """The text when it is fit for a name, else what is fit of it and a digest of all."""
    if len(text) <= longest and fit.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_UNFIT.sub('-', text)[: longest - _DIGEST - 1].strip('-')}-{digest}".lstrip("-")
