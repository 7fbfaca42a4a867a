"""Which permissions of an appliance's API account the relay needs, by the names that `get_api_info` answers with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from relay.core.jobs import Json
from relay.core.operations import Operation

COMMAND: Final = "perm_command"
SESSIONS: Final = "perm_reporting_support"
CONFIGURATION: Final = "perm_configuration"
FULL: Final = "full_access"

_REPORTS: Final[Mapping[str, str]] = {
    "VaultAccountActivity": "perm_reporting_vault",
    "JumpItem": "perm_reporting_jump_item",
    "LicenseUsage": "perm_reporting_license",
    "EndpointLicenseUsage": "perm_reporting_license",
    "Syslog": "perm_reporting_syslog",
    "Archive": "perm_reporting_archive",
    "ArchiveListing": "perm_reporting_archive",
}
"""Reports that need another permission than those of sessions (vendor's OpenAPI file)."""
_NO: Final = frozenset({"", "0", "false", "deny", "none"})


def needs(operation: Operation) -> frozenset[str]:
    """The permissions that an operation's calls need; `perm_command=full_access` is one of its own."""
    if operation.handed_over:
        return frozenset()
    if operation.path == "/api/command":
        changes = not operation.safe or operation.methods[0] != "GET"
        return frozenset({f"{COMMAND}={FULL}" if changes else COMMAND})
    if operation.path == "/api/reporting":
        return frozenset(_REPORTS.get(kind, SESSIONS) for kind in _kinds(operation))
    return frozenset({CONFIGURATION}) if operation.path.startswith("/api/config/") else frozenset()


def _kinds(operation: Operation) -> Iterable[str]:
    """The reports that an operation may ask for; of one that takes any, none is known."""
    fixed = dict(operation.fixed).get("generate_report")
    if fixed is not None:
        return (fixed,)
    argument = operation.argument("generate_report")
    return argument.values if argument is not None else ()


def lacking(wanted: Mapping[str, Iterable[str]], held: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The permissions that are needed and not held, each with what needs it.

    Args:
        wanted: the permissions that each thing needs, by its name.
        held: the account's, by name. One that is not named there at all is not known, and not told.

    """
    found: dict[str, list[str]] = {}
    for name, permissions in wanted.items():
        for permission in permissions:
            if not _holds(permission, held):
                found.setdefault(permission, []).append(name)
    return {permission: tuple(names) for permission, names in sorted(found.items())}


def _holds(permission: str, held: Mapping[str, str]) -> bool:
    name, _, level = permission.partition("=")
    value = held.get(name)
    # A level that is only "yes" tells nothing of how far it goes.
    return value is None or (value in {level, "1"} if level else value not in _NO)


def read_permissions(value: Json) -> dict[str, str]:
    """The permissions of an answer to `get_api_info`, made JSON.

    How they stand in the document was never seen: elements of a permission's own name, or `permission` with the name as
    attribute or as text, are all understood. One that is only named is held.
    """
    found: dict[str, str] = {}
    _collect(value, found)
    return found


def _collect(value: Json, found: dict[str, str]) -> None:
    if isinstance(value, list):
        for one in value:
            _collect(one, found)
    elif isinstance(value, dict):
        name = value.get("@name") or value.get("@id")
        if isinstance(name, str) and name.startswith("perm_"):
            text = value.get("#text", value.get("@value", "1"))
            found[name] = str(text).strip().lower()
            return
        for key, one in value.items():
            if key.startswith("perm_"):
                found[key] = str(one.get("#text", "1") if isinstance(one, dict) else one).strip().lower()
            else:
                _collect(one, found)
    elif isinstance(value, str):
        name, _, level = value.strip().partition("=")
        if name.startswith("perm_"):
            found[name] = level.lower() or "1"
