"""Parts of the configuration's form that this version does not act on.

Why known and not refused as unknown keys: one file serves several versions of the relay, and an administrator learns
at once what a section does not do.
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
    """One part. It is no matter unless it is written; its default promises nothing.

    Attributes:
        path: where it stands.
        asked: whether these settings ask for it.
        text: what happens instead.

    """

    path: Path
    asked: Callable[[Settings], bool]
    text: str


PARTS: tuple[Part, ...] = (
    Part(
        ("servicenow", "wake"),
        lambda it: it.servicenow.wake == "amb",
        "this version does not have this part: the queue is only polled; write off",
    ),
)


def unsupported(settings: Settings) -> list[Part]:
    """The parts that these settings ask for and that this version does not have."""
    return [part for part in PARTS if _holds(part.asked, settings)]


def _holds(asked: Callable[[Settings], bool], settings: Settings) -> bool:
    """The answer, "no" where it depends on a value that is wrong."""
    try:
        return asked(settings)
    except NotKnownError:
        return False
