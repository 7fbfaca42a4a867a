"""Values that stand in settings, and the written forms of durations and sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d{1,12})(B|KiB|MiB|GiB)", re.ASCII)
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept: a systemd credential's name, or a file's absolute path. Never the secret itself."""

    kind: Literal["credential", "file"]
    name: str

    def __str__(self) -> str:
        return f"{{{self.kind}: {self.name}}}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port to listen on. `host` is an address without brackets, or a host name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Plain(str):
    """A YAML scalar without quotes, as it is written: what it means depends on the key that it stands at."""

    __slots__ = ()


def parse_duration(text: str) -> float | None:
    """Seconds of `250ms`, `15s`, `5m`, `2h` or `7d`; None when the text is none of these."""
    found = _DURATION.fullmatch(text)
    return round(float(found[1]) * _SECONDS[found[2]], 6) if found else None


def write_duration(seconds: float) -> str:
    """The shortest written form: the largest unit that leaves a whole number."""
    if seconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and (seconds / _SECONDS[unit]).is_integer():
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    return f"{seconds * 1000:.10g}ms" if seconds < 1 else f"{seconds:.10g}s"


def parse_size(text: str) -> int | None:
    """Bytes of `512B`, `64KiB`, `20MiB` or `1GiB`; None when the text is none of these."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _BYTES[found[2]] if found else None


def write_size(count: int) -> str:
    """The shortest written form: the largest unit that leaves a whole number."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"
