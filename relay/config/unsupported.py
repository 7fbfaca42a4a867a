"""Parts of the configuration's form that this version does not act on.

Why known and not refused as unknown keys: one file serves several versions of the relay, and an administrator learns
at once what a section does not do. Where going on without the part would be a hole or could not work, it is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.config.describe import Path
from relay.config.model import Settings
from relay.config.section import NotKnownError

UNSUPPORTED = 1017


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Attributes:
        path: where it stands.
        asked: whether these settings ask for it.
        text: what happens instead.
        because: what asks for it where it is not written itself.
        only_written: it is no matter unless it is written; its default promises nothing.
        error: going on without it would be a hole, or could not work.

    """

    path: Path
    asked: Callable[[Settings], bool]
    text: str
    because: Path = ()
    only_written: bool = False
    error: bool = False


_LISTENER = ("listener",)

PARTS: tuple[Part, ...] = (
    Part(_LISTENER, lambda it: it.listener is not None, "this version does not have this part: nothing listens"),
    Part(
        ("sessions",),
        lambda it: it.listener is not None and any(it.sessions_of(name).mode != "off" for name in it.appliances),
        "this version does not have this part: session events are not handled",
        because=_LISTENER,
    ),
    Part(
        ("approvals",),
        lambda it: it.listener is not None and any(it.approvals_of(name).mode != "off" for name in it.appliances),
        "this version does not have this part: requests for approval are not handled",
        because=_LISTENER,
    ),
    Part(
        ("servicenow", "wake"),
        lambda it: it.servicenow.wake == "amb",
        "this version does not have this part: the queue is only polled; write off",
        only_written=True,
    ),
    Part(
        ("servicenow", "require_signature"),
        lambda it: it.servicenow.require_signature is not False,
        "this version does not have this part: signatures are not checked, so no work may depend on them; write false",
        error=True,
    ),
)


def unsupported(settings: Settings) -> list[Part]:
    """The parts that these settings ask for and that this version does not have."""
    found = [part for part in PARTS if _holds(part.asked, settings)]
    operations = settings.policy.operations if _holds(lambda it: bool(it.policy.operations), settings) else {}
    return found + [
        Part(
            ("policy", "operations", name, "require_signature"),
            lambda _: True,
            "this version does not check signatures, so this operation would never pass; write false",
            error=True,
        )
        for name, operation in operations.items()
        if operation.known("require_signature")
    ]


def _holds(asked: Callable[[Settings], bool], settings: Settings) -> bool:
    """The answer, "no" where it depends on a value that is wrong."""
    try:
        return asked(settings)
    except NotKnownError:
        return False
