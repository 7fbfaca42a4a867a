"""Decisions around one call: whether a record is too old, how long a call that was not executed is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.core.errors import ApplianceError
from relay.core.jobs import Json
from relay.core.retry import Backoff

BETWEEN_TRIES = Backoff(first=0.5, longest=5.0)
"""Waits between tries of a call that surely was not executed."""
_LIMITS = frozenset({3007, 3011})


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Answer with the error."""


def age_of(created: float | None, server_now: float | None, seen_for: float) -> float | None:
    """Seconds since the record was made, by the instance's own clock; None when that clock is not known.

    `created` None means the instance does not show it: then it counts from when the relay first saw the row.
    """
    if created is None:
        return seen_for
    return None if server_now is None else server_now - created


def after_not_executed(
    error: ApplianceError, *, trying_for: float, retry_for: float, tries: int, jitter: float
) -> Wait | GiveUp:
    """Decide about a call that surely was not executed.

    Args:
        error: why.
        trying_for: seconds since its first try.
        retry_for: how long such a call is repeated, seconds.
        tries: failures so far, this one included.
        jitter: in [0, 1).

    """
    wait = BETWEEN_TRIES.delay(tries, jitter, error.after)
    if is_own_pace(error):
        return Wait(wait)
    if not error.retryable or trying_for + wait > retry_for:
        return GiveUp()
    return Wait(wait)


def is_own_pace(error: ApplianceError) -> bool:
    """Whether the relay's own account keeping said it: waiting is no failure then, only the record's age ends it."""
    return error.number in _LIMITS and error.reply is None


def trying_since(data: Mapping[str, Json], now: float) -> float:
    """When the call was first tried; a stored moment in the future is a clock's fault and means now."""
    since = data.get("trying_since")
    return min(float(since), now) if since is not None else now
