"""The configuration's form as JSON Schema (draft-07), for editors and for checks of one's own."""

from __future__ import annotations

import re

from relay.config.describe import Key, Several, Shape, Table, alternative, keys, written
from relay.config.leaves import Leaf, WordOr
from relay.config.model import Settings
from relay.config.section import Section
from relay.core.jobs import Json

_NULL: Json = {"type": "null"}


def schema() -> dict[str, Json]:
    """The schema of a whole configuration. A drop-in may leave out what is required here."""
    definitions: dict[str, Json] = {}
    root = _section(Settings, definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of B Series Relay",
        **root,
        "definitions": definitions,
    }


def _section(section: type[Section], definitions: dict[str, Json]) -> dict[str, Json]:
    return {
        "type": "object",
        "description": _first_line(section),
        "properties": {key.name: _key(key, definitions) for key in keys(section)},
        "required": [key.name for key in keys(section) if key.required],
        "additionalProperties": False,
    }


def _key(key: Key, definitions: dict[str, Json]) -> dict[str, Json]:
    """One key. An optional one may be written without a value, which counts as absent."""
    one = _shape(key.shape, definitions)
    if key.least:
        one |= {"minProperties" if isinstance(key.shape, Table) else "minItems": key.least}
    if key.required:
        return {"description": key.description, **({"allOf": [one]} if "$ref" in one else one)}
    result: dict[str, Json] = {"description": key.description, "anyOf": [one, _NULL]}
    return result | ({} if isinstance(key.shape, type) else {"default": written(key.shape, key.default)})


def _shape(shape: Shape, definitions: dict[str, Json]) -> dict[str, Json]:
    if isinstance(shape, WordOr):
        return {"anyOf": [shape.schema(), _shape(alternative(shape), definitions)]}
    if isinstance(shape, Leaf):
        return shape.schema()
    if isinstance(shape, Several):
        return {"type": "array", "items": _shape(shape.item, definitions)}
    if isinstance(shape, Table):
        names = {"propertyNames": {"pattern": shape.key.schema()["pattern"]}}
        return {"type": "object", "additionalProperties": _shape(shape.value, definitions), **names}
    name = re.sub("Settings$", "", shape.__name__)
    if name not in definitions:
        definitions[name] = {}  # its place, so that the order is that of the file
        definitions[name] = _section(shape, definitions)
    return {"$ref": f"#/definitions/{name}"}


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").partition("\n")[0]
