"""The model described for people and tools: what keys there are, of what shape, and settings as they are written.

The schema, the reference, the sample, `config show` and the positions of problems are all made from this description,
so that none of them can know another configuration than the one that is read.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from relay.config.leaves import Leaf, WordOr
from relay.config.section import Section
from relay.core.jobs import Json

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A map whose keys the administrator chooses."""

    key: Leaf
    value: Shape


@dataclass(frozen=True, slots=True)
class Several:
    """A list."""

    item: Shape


Shape = Leaf | Table | Several | type[Section]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    Attributes:
        name: as it is written.
        field: the attribute of the settings that holds it.
        shape: what it takes.
        required: whether it must be written.
        default: the value of the settings without it; None for what is then absent.
        description: one or two sentences for an administrator.
        example: a value as it is written, better than the default as an example; None when there is none.
        least: entries that a table or list must have.

    """

    name: str
    field: str
    shape: Shape
    required: bool
    default: Any
    description: str
    example: Json
    least: int = 0


@cache
def keys(section: type[Section]) -> tuple[Key, ...]:
    """The keys of a section, in the order of the model."""
    return tuple(_key(name, info) for name, info in section.model_fields.items())


def _key(name: str, info: FieldInfo) -> Key:
    least = next((int(item.min_length) for item in info.metadata if hasattr(item, "min_length")), 0)
    required = info.is_required()
    return Key(
        name=info.alias or name,
        field=name,
        shape=_shape(info.annotation, tuple(info.metadata)),
        required=required,
        default=None if required else info.default,
        description=info.description or "",
        example=(info.examples or [None])[0],
        least=least,
    )


def _shape(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:  # noqa: ANN401  # a type as typing gives it
    leaf = next((item for item in metadata if isinstance(item, Leaf)), None)
    if leaf is not None:
        return leaf
    if hasattr(annotation, "__metadata__"):
        return _shape(annotation.__origin__, annotation.__metadata__)
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return _shape(next(argument for argument in arguments if argument is not type(None)))
    if origin is tuple:
        return Several(_shape(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return Table(cast("Leaf", _shape(arguments[0])), _shape(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    msg = f"no kind of value is known for {annotation}"
    raise TypeError(msg)


def alternative(leaf: WordOr) -> Shape:
    """What may stand instead of one of its words."""
    return _shape(leaf.other)


def shape_at(root: type[Section], path: Path) -> Shape | None:
    """What stands at a path; None when the path leads nowhere."""
    shape: Shape | None = root
    for step in path:
        if isinstance(shape, WordOr):
            shape = alternative(shape)
        if isinstance(shape, Table):
            shape = shape.value
        elif isinstance(shape, Several):
            shape = shape.item
        elif isinstance(shape, type):
            shape = next((key.shape for key in keys(shape) if key.name == step), None)
        else:
            return None
    return shape


def section_at(root: type[Section], path: Path) -> type[Section] | None:
    """The section that a path leads to; None when it leads elsewhere."""
    shape = shape_at(root, path)
    if isinstance(shape, WordOr):
        shape = alternative(shape)
    return shape if isinstance(shape, type) else None


def written(shape: Shape, value: Any) -> Json:  # noqa: ANN401  # any value of the settings
    """A value of the settings as it is written in YAML; absent keys are left out of sections."""
    if value is None:
        return None
    if isinstance(shape, WordOr):
        return shape.write(value) if isinstance(value, str) else written(alternative(shape), value)
    if isinstance(shape, Leaf):
        return shape.write(value)
    if isinstance(shape, Table):
        return {key: written(shape.value, item) for key, item in value.items()}
    if isinstance(shape, Several):
        return [written(shape.item, item) for item in value]
    pairs = ((key.name, written(key.shape, getattr(value, key.field))) for key in keys(shape))
    return {name: item for name, item in pairs if item is not None}


def leaves(  # path is where the value stands
    shape: Shape,
    value: Any,  # noqa: ANN401  # any value of the settings
    path: Path = (),
) -> Iterator[tuple[Path, Any]]:
    """All single values and lists of single values of the settings, each with its path; absent ones are left out.

    Of settings that are known in part, the known ones.
    """
    if value is None:
        return
    if isinstance(shape, WordOr) and not isinstance(value, str):
        shape = alternative(shape)
    if isinstance(shape, type):
        for key in keys(shape):
            yield from leaves(key.shape, value.known(key.field), (*path, key.name))
    elif isinstance(shape, Table):
        for name, item in value.items():
            yield from leaves(shape.value, item, (*path, name))
    elif isinstance(shape, Several) and isinstance(shape.item, type) and value:
        for index, item in enumerate(value):
            yield from leaves(shape.item, item, (*path, index))
    else:
        yield path, value
