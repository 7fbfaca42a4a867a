"""Marked secrets, and the search for them in everything that a program leaves behind.

Why not the relay's own `Redactor` read backwards: what it does not know it would not find here either.
"""

from __future__ import annotations

import base64
import gzip
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SPECIAL = '"&<+/ %'
"""Characters that each encoding writes in another way."""
WINDOW = 12
"""So many characters in a row of a mark are a leak; a part of a secret is one too."""


def mark(*, special: bool = True) -> str:
    """A secret that is found in every encoding: a middle that none of text changes, and an end that each does."""
    return f"Zq{secrets.token_hex(16)}{SPECIAL if special else ''}"


class Marks:
    """The marked secrets by name; `found` tells where one is."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._needles: dict[bytes, tuple[str, str]] = {}

    def add(self, name: str, text: str) -> str:
        """Search for this secret too; of a private key for each line but the first, which begins alike in all keys."""
        self.texts[name] = text
        lines = text.splitlines()
        looked_for = [
            line.strip()
            for before, line in zip(["", *lines], lines, strict=False)
            if not line.startswith("-----") and not before.startswith("-----")
        ]
        # A line of base64 may be so full of + and / that no part of it is long enough; a key has others.
        cores = [core for core in map(_core, looked_for) if len(core) >= WINDOW or len(looked_for) == 1]
        assert cores, name
        for form, needle in (pair for core in cores for pair in _forms(core)):
            self._needles.setdefault(needle, (name, form))
        return text

    def make(self, name: str, *, special: bool = True) -> str:
        """A new secret of that name."""
        return self.add(name, mark(special=special))

    def found(self, data: bytes) -> set[str]:
        """Which secrets are in these bytes, each with the form that it has there."""
        return {f"{name} ({form})" for needle, (name, form) in self._needles.items() if needle in data}

    def search(self, outputs: Mapping[str, bytes]) -> dict[str, set[str]]:
        """The leaks by output."""
        leaks = {name: self.found(data) for name, data in outputs.items()}
        return {name: found for name, found in leaks.items() if found}


def _core(text: str) -> str:
    """The longest part that text encodings leave alone."""
    kept = (char if char.isascii() and (char.isalnum() or char in "-_.") else " " for char in text)
    return max("".join(kept).split(), key=len, default="")


def _forms(core: str) -> Iterator[tuple[str, bytes]]:
    raw = core.encode()
    assert len(raw) >= WINDOW, core
    for start in range(len(raw) - WINDOW + 1):
        yield "raw", raw[start : start + WINDOW]
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    yield "utf-16", core.encode("utf-16-le")
    for offset in range(3):
        padded = bytes(offset) + raw
        whole = len(padded) - len(padded) % 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(padded[:whole])[4 if offset else 0 :]


def files(folders: Iterable[Path], leave_out: Iterable[Path] = ()) -> dict[str, bytes]:
    """The contents of every file in these folders, compressed ones unpacked as well. Names count as contents."""
    left_out = {path.resolve() for path in leave_out}
    found: dict[str, bytes] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.is_file() and not left_out & {path.resolve(), *path.resolve().parents}:
            data = path.read_bytes()
            found[str(path)] = str(path).encode() + b"\n" + data + _unpacked(data)
    return found


def _unpacked(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data[:1] == b"\x78":
        return zlib.decompressobj().decompress(data)
    return b""


def process(pid: int) -> dict[str, bytes]:
    """What the process list tells of a process."""
    folder = Path("/proc", str(pid))
    return {f"{pid}/{name}": (folder / name).read_bytes() for name in ("cmdline", "environ", "status", "comm")}
