"""Writes YAML that this reader, and every other, reads back as the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from relay.core.jobs import Json

_SAFE = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*", re.ASCII)
_DURATION_OR_SIZE = re.compile(r"[0-9]+(?:ms|s|m|h|d|B|KiB|MiB|GiB)", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?", re.ASCII)
_LINES = re.compile(r"(?=\S)(?:[ -~]*\n)*[ -~]+\n", re.ASCII)
"""Text that reads well as a block, and is read back as it is."""
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
_LONGEST = 96
_MEANT_OTHERWISE = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def scalar(value: Json) -> str:
    """One value; text is quoted wherever a reader of YAML 1.1 or 1.2 could take it for something else."""
    if isinstance(value, str):
        bare = any(grammar.fullmatch(value) for grammar in (_SAFE, _DURATION_OR_SIZE, _URL))
        return value if bare and value.lower() not in _MEANT_OTHERWISE else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Text in double quotes; what readers take for the end of a line, or refuse, as an escape."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def inline(value: Json) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    return scalar(value)


def block(name: str, value: Json) -> list[str]:
    """A key with its value on as many lines as are good to read."""
    nested = isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values())
    if isinstance(value, Mapping) and (nested or len(inline(value)) > _LONGEST):
        return [f"{scalar(name)}:"] + [f"  {line}" for key, item in value.items() for line in block(key, item)]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [f"{scalar(name)}:"] + [f"  - {inline(item)}" for item in value]
    if isinstance(value, str) and _LINES.fullmatch(value):
        return [f"{scalar(name)}: |"] + [f"  {line}" if line else "" for line in value.splitlines()]
    return [f"{scalar(name)}: {inline(value)}"]
