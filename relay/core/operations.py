"""Operations: what the relay can be asked to do, as values; and what a site writes about them.

A call never passes as it came. It is matched against an operation, its arguments are judged one by one, and the
request is made anew from the operation and the judged values (`relay.core.rebuild`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from relay.core.arguments import Argument

Product = Literal["pra", "rs"]
BOTH: Final[frozenset[Product]] = frozenset({"pra", "rs"})

GROUPS: Final[Mapping[str, str]] = {
    "read-only": "health, lists, summaries; no recordings, transcripts or vault",
    "session-integration": "session keys, session attributes, reports and listings of sessions, the vendor "
    "application's calls, decisions on requests for approval",
    "recordings": "recordings, transcripts, command-shell recordings",
    "session-control": "terminate, join, transfer",
    "full-command": "the rest",
}
"""The groups of operations, each with what it holds."""

OPERATION_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)

SAME_PATHS: Final[Mapping[str, str]] = {
    "/api/command.ns": "/api/command",
    "/api/reporting.ns": "/api/reporting",
}
"""Old spellings of paths, and what they mean."""

TOKEN_PATH: Final = "/oauth2/token"
"""Answered by the relay itself: no token of an appliance ever leaves."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the catalog or of the site.

    Attributes:
        name: unique over catalog and site.
        description: one line for people.
        groups: the groups of `GROUPS` that hold it; none for a site's own.
        methods: the HTTP methods that a call may use; the first one is a typed call's.
        path: template; `{argument}` is exactly one segment, encoded by the relay.
        arguments: in the order in which they are sent.
        fixed: pairs that every call must bring and every request carries (`action=get_api_info`).
        either: pairs may come in the query or as a form; they are sent as a form by POST, else in the query.
        safe: may be repeated after an unknown outcome.
        per_minute: calls a minute at most; 0 is no limit of its own.
        appliance: the only appliance it is for; None is any.
        products: the products that know it.
        types: content types that the answer may have; none means any.
        max_bytes: of the answer; 0 is the appliance's own limit.
        accept: the `Accept` that is sent; None follows `types`.
        reserved: may use the part of the rate limit that is kept for urgent calls.
        require_signature: passes only with a valid signature, whatever the global key says.
        soap_action: a SOAPProbe's action that means this operation; it then takes SOAPProbes only.
        aliases: other names for typed calls and for `policy.allow`; several operations may share one.
        handed_over: nothing is sent for it: it is given to the request for approval that it decides. Its pairs may come
            in the query, as a form or as JSON.
        builtin: from the catalog.

    """

    name: str
    description: str
    methods: tuple[str, ...]
    path: str
    groups: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    either: bool = False
    safe: bool = False
    per_minute: int = 0
    appliance: str | None = None
    products: frozenset[Product] = BOTH
    types: tuple[str, ...] = ()
    max_bytes: int = 0
    accept: str | None = None
    reserved: bool = False
    require_signature: bool = False
    soap_action: str | None = None
    aliases: tuple[str, ...] = ()
    handed_over: bool = False
    builtin: bool = False

    def argument(self, name: str) -> Argument | None:
        """The argument that takes this name; one of its own goes before a family."""
        found = [argument for argument in self.arguments if argument.takes(name)]
        return min(found, key=lambda argument: argument.family, default=None)

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """An argument as a site writes it, under its name; None is not written.

    In the configuration `place` is the key `in`, `minimum` is `min`, `maximum` is `max`.
    """

    type: str | None = None
    place: str | None = None
    required: bool | None = None
    default: str | int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] | None = None
    of: str | None = None
    max_items: int | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation as a site writes it, under its name; None is not written.

    In the configuration `types` and `max_bytes` stand under the key `response`.
    """

    description: str | None = None
    appliance: str | None = None
    method: str | None = None
    path: str | None = None
    arguments: Mapping[str, ArgumentSpec] = field(default_factory=dict)
    safe: bool | None = None
    per_minute: int | None = None
    types: tuple[str, ...] | None = None
    max_bytes: int | None = None
    require_signature: bool | None = None
    soap_action: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a site's operations. `path` are the configuration's keys below `policy.operations`.

    `number` is BSR-1013 for what is not well defined, BSR-1015 for a narrowing that widens.
    """

    path: tuple[str, ...]
    text: str
    number: int = 1013
