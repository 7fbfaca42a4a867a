"""What is wrong at the moment: one entry a subject, set by who meets it, cleared by who sees it gone."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from relay.core.errors import RelayError
from relay.jobs.ports import Clock

log = structlog.get_logger("relay.health")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something is wrong with `subject` (a part or a side), since a moment by this machine's clock."""

    subject: str
    error: RelayError
    since: float


class Conditions:
    """The conditions of the daemon; a change of code is logged, a repetition is not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now: dict[str, Condition] = {}

    def fail(self, subject: str, error: RelayError) -> None:
        """`subject` is wrong in this way; replaces what was known of it."""
        known = self._now.get(subject)
        if known is not None and known.error.number == error.number:
            return
        self._now[subject] = Condition(subject, error, self._clock.wall())
        say = log.error if error.entry.severity == "critical" else log.warning
        say("health.fail", subject=subject, code=error.code, error=error.text, fix=error.hint)

    def clear(self, subject: str) -> None:
        """`subject` is right again."""
        known = self._now.pop(subject, None)
        if known is not None:
            log.info("health.clear", subject=subject, code=known.error.code)

    def has(self, subject: str) -> bool:
        """Whether something is wrong with `subject`."""
        return subject in self._now

    def all(self) -> list[Condition]:
        """Every condition, the oldest first."""
        return sorted(self._now.values(), key=lambda condition: (condition.since, condition.subject))
