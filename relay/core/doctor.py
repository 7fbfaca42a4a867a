"""What a look at this machine and both sides found, as values, and what a measurement means.

A check has a subject (`servicenow`, `appliance NAME`, `listener`, `this machine`) and a result. `skipped` says that it
was not made, and why: another check that it needs failed, or there is no way to find out.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from relay.core.codes import code_of
from relay.core.space import KEEPSAKES, may_claim

Result = Literal["ok", "warning", "error", "skipped"]

APART: Final = 300.0
"""Seconds by which two clocks may differ: signatures and the age of work are judged by minutes."""
EARLIEST: Final = 1_767_225_600.0
"""The beginning of 2026: a clock that is before it was never set."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `number` is a code of the registry where the result is `warning` or `error`, else 0."""

    subject: str
    name: str
    result: Result
    detail: str = ""
    number: int = 0

    @property
    def code(self) -> str:
        """`BSR-2002`, "" where nothing is wrong."""
        return code_of(self.number).name if self.number else ""

    @property
    def cause(self) -> str:
        """The registry's line for what is wrong, "" where nothing is."""
        return code_of(self.number).cause if self.number else ""

    @property
    def fix(self) -> str:
        """What can be done about it, "" where nothing is wrong."""
        return code_of(self.number).fix if self.number else ""


@dataclass(slots=True)
class Sheet:
    """The checks of one subject in the making.

    Attributes:
        subject: whose they are.
        planned: the names of those that are to be made, in order; what is not made in the end is `skipped`.
        checks: those that were made.

    """

    subject: str
    planned: Sequence[str] = ()
    checks: list[Check] = field(default_factory=list)

    def ok(self, name: str, detail: str = "") -> None:
        """It is as it should be."""
        self.checks.append(Check(self.subject, name, "ok", detail))

    def wrong(self, name: str, number: int, detail: str = "", *, result: Result | None = None) -> None:
        """Something is wrong, as gravely as the code says unless `result` does."""
        grave = code_of(number).severity in {"error", "critical"}
        self.checks.append(Check(self.subject, name, result or ("error" if grave else "warning"), detail, number))

    def skip(self, name: str, why: str) -> None:
        """It was not made."""
        self.checks.append(Check(self.subject, name, "skipped", why))

    def end(self, why: str = "") -> tuple[Check, ...]:
        """All checks in the order of the plan; those that were not made are `skipped`, for want of what failed."""
        made = {check.name for check in self.checks}
        failed = next((check.name for check in reversed(self.checks) if check.result == "error"), "")
        for name in self.planned:
            if name not in made:
                self.skip(name, why or (f"needs {failed}" if failed else "there is no way to know"))
        place = {name: nth for nth, name in enumerate(self.planned)}
        return tuple(sorted(self.checks, key=lambda check: place.get(check.name, len(place))))


def worst(checks: Iterable[Check]) -> Literal["ok", "warning", "error"]:
    """What all checks come to."""
    results = {check.result for check in checks}
    return "error" if "error" in results else "warning" if "warning" in results else "ok"


def apart(seconds: float) -> bool:
    """Whether two clocks differ by so much that it matters."""
    return abs(seconds) > APART


def was_set(now: float) -> bool:
    """Whether this machine's clock, seconds since the epoch, was ever set."""
    return now >= EARLIEST


def room(free: int) -> Result:
    """What so many free bytes on the state folder's file system mean."""
    return "error" if not may_claim(free) else "ok" if free >= KEEPSAKES else "warning"


def ahead(seconds: float) -> str:
    """How far a clock is ahead of this machine's, for people."""
    if abs(seconds) < 2:  # noqa: PLR2004  # an HTTP date has whole seconds
        return "the same"
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"


@dataclass(frozen=True, slots=True)
class Folder:
    """The state folder, or the nearest one above it that is there. `mode` is that of stat(2); `owner` a user's number.

    `writable`: whoever looks may write to it.
    """

    path: str
    mode: int
    owner: int
    writable: bool


def folder_trouble(wanted: str, there: Folder, user: int) -> str:
    """Why a relay of this user could not use the state folder, "" when it could. root may be looking for another user.

    The relay refuses a folder that somebody else could fill: what lies in it decides what the relay does.
    """
    if not stat.S_ISDIR(there.mode):
        return f"{there.path} is no folder"
    if there.path == wanted and user != 0 and there.owner not in {user, 0}:
        return f"{wanted} belongs to user {there.owner}, not to user {user}"
    if there.path == wanted and there.mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to {wanted} (mode {stat.S_IMODE(there.mode):04o}); run: chmod go-w {wanted}"
    return "" if there.writable else f"user {user} cannot write to {there.path}"
