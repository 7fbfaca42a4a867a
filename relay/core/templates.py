"""Path templates: `/api/config/v1/jump-client/{id}`. An `{argument}` is exactly one segment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from relay.core.operations import SAME_PATHS
from relay.core.urls import decode_segment, encode_segment

_LITERAL: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_HOLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.\-]{0,127})\}", re.ASCII)
_FOREIGN_LEAD: Final = "/oauth2"

Part = tuple[str, bool]
"""A segment's text, or an argument's name with True."""


@lru_cache(maxsize=1024)
def parts(template: str) -> tuple[Part, ...]:
    """The segments of a template that `problem` found good."""
    found: list[Part] = []
    for segment in template.split("/")[1:]:
        hole = _HOLE.fullmatch(segment)
        found.append((hole[1], True) if hole else (segment, False))
    return tuple(found)


def same(path: str) -> str:
    """The path that an old spelling means."""
    return SAME_PATHS.get(path, path)


def problem(template: str) -> str | None:
    """What is wrong with a site's template, None when nothing is."""
    if not template.startswith("/"):
        return "a path starts with '/'"
    for segment in template.split("/")[1:]:
        if _HOLE.fullmatch(segment) or (_LITERAL.fullmatch(segment) and segment not in {".", ".."}):
            continue
        return "each segment is an {argument} or plain letters, digits and '-._~'"
    names = holes(template)
    if len(set(names)) != len(names):
        return "an argument stands in the path twice"
    if template.lower().startswith(_FOREIGN_LEAD):
        return "the appliance's tokens are the relay's own business"
    return None


def holes(template: str) -> tuple[str, ...]:
    """The names of the arguments in the path."""
    return tuple(text for text, hole in parts(template) if hole)


def match(template: str, segments: Sequence[str]) -> dict[str, str] | None:
    """The texts of the arguments in a path, None when it does not fit.

    A literal segment fits only as it is written: no escapes, no other case.
    """
    wanted = parts(template)
    if len(wanted) != len(segments):
        return None
    values: dict[str, str] = {}
    for (text, hole), segment in zip(wanted, segments, strict=True):
        if hole:
            values[text] = decode_segment(segment)
        elif text != segment:
            return None
    return values


def fill(template: str, values: Mapping[str, str]) -> str:
    """The path with its arguments, each encoded as one segment."""
    return "".join(f"/{encode_segment(values[text]) if hole else text}" for text, hole in parts(template))
