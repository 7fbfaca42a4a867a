"""Parts of the configuration's form that this version does not act on.

Why known and not refused as unknown keys: one file serves several versions of the relay, and an administrator learns
at once what a section does not do. Where going on without the part would be a hole or could not work, it is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.config.describe import Path
from relay.config.model import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """One part: where it stands, whether these settings ask for it, and what happens instead."""

    path: Path
    asked: Callable[[Settings], bool]
    instead: str
    error: bool = False


PARTS: tuple[Part, ...] = (
    Part(("listener",), lambda it: it.listener is not None, "nothing listens"),
    Part(
        ("sessions",),
        lambda it: it.listener is not None and any(it.sessions_of(name).mode != "off" for name in it.appliances),
        "session events are not handled",
    ),
    Part(
        ("approvals",),
        lambda it: it.listener is not None and any(it.approvals_of(name).mode != "off" for name in it.appliances),
        "requests for approval are not handled",
    ),
    Part(("audit", "anchor"), lambda it: it.audit.anchor is not None, "no checkpoint is written to ServiceNow"),
    Part(
        ("servicenow", "auth", "oauth_jwt"),
        lambda it: it.servicenow.auth.oauth_jwt is not None,
        "use basic, oauth_client or oauth_password",
        error=True,
    ),
    Part(
        ("servicenow", "auth", "certificate"),
        lambda it: it.servicenow.auth.certificate,
        "use basic, oauth_client or oauth_password",
        error=True,
    ),
    Part(
        ("servicenow", "require_signature"),
        lambda it: it.servicenow.require_signature is not False,
        "signatures are not checked, so no work may depend on them; write false",
        error=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Unsupported:
    """One part that is asked for and not there."""

    path: Path
    text: str
    error: bool


def unsupported(settings: Settings) -> list[Unsupported]:
    """The parts that these settings ask for and that this version does not have."""
    found = [
        Unsupported(part.path, f"this version does not have this part: {part.instead}", part.error)
        for part in PARTS
        if part.asked(settings)
    ]
    signed = [name for name, operation in settings.policy.operations.items() if operation.require_signature]
    return found + [
        Unsupported(
            ("policy", "operations", name, "require_signature"),
            "this version does not check signatures, so this operation would never pass; write false",
            error=True,
        )
        for name in signed
    ]
