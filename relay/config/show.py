"""The effective settings as YAML, each value with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.config.describe import Path, Several, Shape, Table, alternative, keys, written
from relay.config.emit import inline, scalar
from relay.config.leaves import WordOr
from relay.config.load import Loaded
from relay.config.model import Settings
from relay.config.problems import dotted

_COMMENTS_FROM = 56


def show(loaded: Loaded) -> str:
    """YAML that means the same configuration; secrets stand as their references, which is all that is known of them."""
    return "\n".join(_lines(Settings, loaded.settings, (), loaded.origins)) + "\n"


def _lines(shape: Shape, value: Any, path: Path, origins: Mapping[str, str]) -> Iterator[str]:  # noqa: ANN401  # any value
    """The lines of what stands at a path."""
    if isinstance(shape, type):
        pairs = [(key.name, key.shape, getattr(value, key.field)) for key in keys(shape)]
    else:
        pairs = [(name, shape.value, item) for name, item in value.items()] if isinstance(shape, Table) else []
    for name, below, item in pairs:
        if item is not None:
            yield from _entry(name, below, item, (*path, name), origins)


def _entry(name: str, shape: Shape, value: Any, path: Path, origins: Mapping[str, str]) -> Iterator[str]:  # noqa: ANN401  # as above
    margin = "  " * (len(path) - 1)
    head = f"{margin}{scalar(name)}:"
    if isinstance(shape, WordOr) and not isinstance(value, str):
        shape = alternative(shape)
    nested = isinstance(shape, type | Table) or (isinstance(shape, Several) and isinstance(shape.item, type))
    if not nested or not value:
        origin = origins.get(dotted(path), "")
        line = f"{head} {inline(written(shape, value))}"
        yield f"{line.ljust(_COMMENTS_FROM)}  # {origin}" if origin else line
    elif isinstance(shape, Several):
        yield head
        for index, item in enumerate(value):
            origin = origins.get(dotted((*path, index)), "")
            yield f"{margin}  - {inline(written(shape.item, item))}" + (f"  # {origin}" if origin else "")
    else:
        below = list(_lines(shape, value, path, origins))
        yield from [head, *below] if below else [f"{head} {{}}"]
