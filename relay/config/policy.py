"""The settings of the policy: what is allowed, and a site's own operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from relay.config.leaves import WRONG_KIND, Choice, Leaf, Size, Text, Whole, bad, plain_text
from relay.config.section import Boolean, Name, Section
from relay.core.arguments import ARGUMENT_NAME, ARGUMENT_TYPES, ITEM_TYPES, MAX_INTEGER, MAX_LENGTH, PLACES
from relay.core.grammar import MAX_ITEMS, MAX_PER_MINUTE, METHODS
from relay.core.jobs import Json
from relay.core.operations import OPERATION_NAME, ArgumentSpec, OperationSpec

OperationName = Annotated[str, Text("an operation's name", OPERATION_NAME.pattern, "vault_report", 64)]
ArgumentName = Annotated[str, Text("an argument's name", rf"{ARGUMENT_NAME.pattern}\*?", "start_date")]
Allowed = Annotated[str, Text("the name of an operation or group", example="session-integration", longest=128)]
Integer = Annotated[int, Whole(-MAX_INTEGER, MAX_INTEGER)]
Line = Annotated[str, Text("a line of text", example="Vault activity for the weekly review", longest=500)]


MAX_ALLOWED = 1000
"""Entries of `policy.allow`: many times all operations there are; each is compared with every name."""


class DefaultAt(Leaf):
    """The value of an argument that the call does not bring: text or a whole number."""

    words = "text or a whole number"
    example = 7

    def parse(self, value: Any) -> str | int:  # noqa: ANN401  # see Leaf
        """The text as it is written."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        text = plain_text(value, self.words)
        if not text.isprintable():
            bad(WRONG_KIND, f"write {self.words}")
        return text

    def schema(self) -> dict[str, Json]:
        """A string or an integer."""
        return {"type": ["string", "integer"]}

    def write(self, value: str | int) -> Json:
        """The value."""
        return value


class ArgumentSettings(Section):
    """One argument of a site's operation, or what narrows one of a built-in operation."""

    place: Annotated[str, Choice(*PLACES)] | None = Field(
        default=None, alias="in", description="Where a call must bring it and the request carries it."
    )
    type: Annotated[str, Choice(*ARGUMENT_TYPES)] | None = Field(default=None, description="The grammar of its value.")
    required: Boolean | None = Field(default=None, description="A call without it is refused.")
    default: Annotated[str | int, DefaultAt()] | None = Field(
        default=None, description="Sent when the call does not bring the argument."
    )
    values: tuple[Annotated[str, Text("a value", example="VaultAccountActivity", longest=255)], ...] | None = Field(
        default=None, description="The values of an enum."
    )
    min: Integer | None = Field(default=None, description="The least integer.")
    max: Integer | None = Field(default=None, description="The greatest integer.")
    max_length: Annotated[int, Whole(1, MAX_LENGTH)] | None = Field(default=None, description="Characters of a string.")
    pattern: Annotated[str, Text("a regular expression", example="[0-9]+", longest=255)] | None = Field(
        default=None, description="Must match the whole value, which is then ASCII."
    )
    of: Annotated[str, Choice(*ITEM_TYPES)] | None = Field(default=None, description="The type of a list's items.")
    max_items: Annotated[int, Whole(0, MAX_ITEMS)] | None = Field(default=None, description="Items of a list.")
    description: Line | None = Field(default=None, description="For people.")

    def spec(self) -> ArgumentSpec:
        """As the policy takes it."""
        return ArgumentSpec(
            type=self.type,
            place=self.place,
            required=self.required,
            default=self.default,
            max_length=self.max_length,
            pattern=self.pattern,
            minimum=self.min,
            maximum=self.max,
            values=self.values,
            of=self.of,
            max_items=self.max_items,
            description=self.description,
        )


class ResponseSettings(Section):
    """What the appliance's answer may be."""

    types: tuple[Annotated[str, Text("a content type", r"[a-z0-9.+-]+/[a-z0-9.+*-]+", "text/xml")], ...] | None = Field(
        default=None, description="Content types. Absent: any."
    )
    max_bytes: Annotated[int, Size("1B", "16GiB")] | None = Field(
        default=None, description="The largest answer. Absent: the appliance's own limit."
    )


class OperationSettings(Section):
    """An operation of the site's own, or what narrows a built-in one of the same name."""

    description: Line | None = Field(default=None, description="For people.")
    appliance: Name | None = Field(default=None, description="The only appliance it is for. Absent: any.")
    method: Annotated[str, Choice(*METHODS)] | None = Field(default=None, description="The HTTP method.")
    path: Annotated[str, Text("a path", r"/[!-~]*", "/api/reporting", longest=512)] | None = Field(
        default=None, description="The path. {argument} is one segment, encoded by the relay."
    )
    arguments: Mapping[ArgumentName, ArgumentSettings] = Field(default={}, description="The arguments by name.")
    safe: Boolean | None = Field(default=None, description="May be repeated after an unknown outcome.")
    per_minute: Annotated[int, Whole(1, MAX_PER_MINUTE)] | None = Field(
        default=None, description="Calls a minute at most."
    )
    response: ResponseSettings = Field(default=ResponseSettings(), description="What the answer may be.")
    require_signature: Boolean | None = Field(default=None, description="Passes only when the work is signed.")
    soap_action: Annotated[str, Text("a SOAP action", example="getReport", longest=255)] | None = Field(
        default=None, description="Takes SOAPProbes of this action, and only these."
    )

    def spec(self) -> OperationSpec:
        """As the policy takes it."""
        return OperationSpec(
            description=self.description,
            appliance=self.appliance,
            method=self.method,
            path=self.path,
            arguments={name: argument.spec() for name, argument in self.arguments.items()},
            safe=self.safe,
            per_minute=self.per_minute,
            types=self.response.types,
            max_bytes=self.response.max_bytes,
            require_signature=self.require_signature,
            soap_action=self.soap_action,
        )


OPERATIONS_EXAMPLE: Json = {
    "vault_report": {
        "description": "Vault activity for the weekly review",
        "appliance": "default",
        "method": "GET",
        "path": "/api/reporting",
        "arguments": {
            "generate_report": {"in": "query", "type": "enum", "values": ["VaultAccountActivity"], "required": True},
            "start_date": {"in": "query", "type": "date"},
            "duration": {"in": "query", "type": "integer", "min": 0, "max": 366, "default": 7},
        },
        "safe": True,
        "per_minute": 6,
        "response": {"types": ["text/xml"], "max_bytes": "5MiB"},
    },
}


class PolicySettings(Section):
    """What may pass. Deny by default: an empty policy lets nothing through."""

    allow: tuple[Allowed, ...] = Field(
        max_length=MAX_ALLOWED,
        default=(),
        examples=[["session-integration"]],
        description="Names of operations and of groups of operations.",
    )
    operations: Mapping[OperationName, OperationSettings] = Field(
        default={},
        examples=[OPERATIONS_EXAMPLE],
        description="The site's own operations, and what narrows built-in ones.",
    )

    def specs(self) -> dict[str, OperationSpec]:
        """The site's operations as the policy takes them."""
        return {name: operation.spec() for name, operation in self.operations.items()}
