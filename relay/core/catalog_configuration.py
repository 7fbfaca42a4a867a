"""The read-only parts of the Configuration API (`/api/config/v1`, JSON), as the vendor's OpenAPI file has them."""

from __future__ import annotations

from typing import Final

from relay.core.arguments import Argument
from relay.core.operations import Operation

_BASE: Final = "/api/config/v1"
_MAX_ID: Final = 2**31 - 1
_ID = Argument("id", type="integer", place="path", required=True, minimum=1, maximum=_MAX_ID, description="its number")
_KIND = Argument(
    "kind",
    type="enum",
    place="path",
    required=True,
    values=("shell-jump", "remote-rdp", "remote-vnc", "local-jump", "remote-jump", "protocol-tunnel-jump", "web-jump"),
    description="kind of Jump Item",
)
_PAGES = (
    Argument("per_page", type="integer", minimum=1, maximum=100, description="entries on a page"),
    Argument("current_page", type="integer", minimum=1, maximum=_MAX_ID, description="which page, from 1"),
)


def _filter(name: str) -> Argument:
    return Argument(name, description="filter")


def _number(name: str) -> Argument:
    return Argument(name, type="integer", minimum=1, maximum=_MAX_ID, description="filter")


def _read(name: str, description: str, path: str, *arguments: Argument) -> Operation:
    return Operation(
        name=name,
        description=description,
        groups=("read-only",),
        methods=("GET",),
        path=_BASE + path,
        arguments=arguments,
        safe=True,
        accept="application/json",
        builtin=True,
    )


_CLIENT = ("name", "hostname", "fqdn", "tag", "private_ip", "public_ip", "connection_type")

CONFIGURATION: Final[tuple[Operation, ...]] = (
    _read("jump-client-list", "Jump Clients", "/jump-client", *map(_filter, _CLIENT), *_PAGES),
    _read("jump-client-get", "One Jump Client", "/jump-client/{id}", _ID),
    _read(
        "jump-item-list",
        "Jump Items of a kind",
        "/jump-item/{kind}",
        _KIND,
        *map(_filter, ("name", "hostname", "tag")),
        *map(_number, ("jumpoint_id", "jump_group_id")),
        *_PAGES,
    ),
    _read("jump-item-get", "One Jump Item", "/jump-item/{kind}/{id}", _KIND, _ID),
    _read("jump-group-list", "Jump Groups", "/jump-group", *map(_filter, ("name", "code_name")), *_PAGES),
    _read("jump-group-get", "One Jump Group", "/jump-group/{id}", _ID),
    _read("user-list", "Users", "/user", *map(_filter, ("username", "email_address")), *_PAGES),
    _read("user-get", "One user", "/user/{id}", _ID),
)
