"""What is known of a configuration although some of its values are wrong.

Why: a check that needs only values that are right must run whatever is wrong elsewhere, so that one run shows every
mistake. What is wrong itself is found by the model's own validation, not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from pydantic_core import PydanticCustomError

from relay.config.describe import Path, Several, Shape, Table, alternative, keys
from relay.config.leaves import Leaf, WordOr
from relay.config.model import Settings
from relay.config.section import Conflict, NotKnownError, Section
from relay.core.jobs import Json


def known_part(data: Json) -> Settings:
    """The settings, without the values that are wrong: asking for one of these raises `NotKnownError`."""
    return cast("Settings", _known(Settings, data if isinstance(data, dict) else {}))


def conflicts(value: object, path: Path = ()) -> Iterator[tuple[Path, Conflict]]:
    """What all checks of the settings find, each with the path of its section."""
    if isinstance(value, Section):
        for check in value.checks():
            with suppress(NotKnownError):
                for conflict in check():
                    yield path, conflict
        for key in keys(type(value)):
            yield from conflicts(value.known(key.field), (*path, key.name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from conflicts(item, (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from conflicts(item, (*path, index))


def _known(shape: Shape, value: Json) -> Any:  # noqa: ANN401  # any value of the settings
    """A value as the settings hold it.

    Raises:
        NotKnownError: it, or a part of it that is no section's key, is wrong.

    """
    if isinstance(shape, WordOr) and not isinstance(value, str):
        shape = alternative(shape)
    if isinstance(shape, Leaf):
        try:
            return shape.parse(value)
        except PydanticCustomError as error:
            raise NotKnownError from error
    if isinstance(shape, Several) and isinstance(value, list):
        return tuple(_known(shape.item, item) for item in value)
    if isinstance(shape, Table) and isinstance(value, dict):
        return {_known(shape.key, name): _known(shape.value, item) for name, item in value.items()}
    if isinstance(shape, type) and isinstance(value, dict):
        return _section(shape, value)
    raise NotKnownError


def _section(section: type[Section], values: Mapping[str, Json]) -> Section:
    right: dict[str, Any] = {}
    wrong: list[str] = []
    for key in keys(section):
        value = values.get(key.name)
        if value is not None:
            try:
                right[key.name] = _known(key.shape, value)
            except NotKnownError:
                wrong.append(key.field)
    made = section.model_construct(**right)
    for field in wrong:
        made.__dict__.pop(field, None)  # the default is not what was meant
    return made
