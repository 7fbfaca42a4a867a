"""How many calls one API account may make, and when the next one may start.

The appliance allows an account 20 requests a second and 15,000 an hour over all endpoints together, and says in
`X-RateLimit-Limit` and `X-RateLimit-Remaining` how it stands (vendor's API documentation). A part of both is kept for
urgent calls.

Everything here is a function of a value and the monotonic time, in seconds.

Why windows and not one bucket: a bucket of 20 that fills at 20 a second lets 40 pass within one second. Calls are
counted in slots, and a slot counts in full while any part of it lies in the window: at most the limit in any window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from relay.core.servertime import http_date

HOUR = 3600.0

RESERVED_CALLS = 5
"""Calls of each second that only urgent work may use; a quarter of the limit where that is less."""

RESERVED_SHARE = 0.2
"""Share of the hourly budget that only urgent work may use."""

PATIENT_SHARE = 0.5
"""Share of both that patient work keeps off: it starts only while nobody has used more than the other half, so that the
import of a thousand sessions leaves every record of the queue its turn."""

DEFAULT_HOLD = 10.0
"""Seconds to wait after a 429 that says nothing else; what the vendor's other clients wait."""

LONGEST_HOLD = HOUR
"""A 429 cannot stop the relay for longer: the budget itself is hourly."""

Why = Literal["", "second", "hour", "account", "held"]
Urgency = Literal["urgent", "ordinary", "patient"]
"""`urgent`: may use what is kept for such calls. `patient`: nobody waits for it; it goes after all others."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `most` calls in any `span` seconds, counted in `slots` slots; `reserve` of them only for urgent ones."""

    most: int
    span: float
    slots: int
    reserve: int

    @property
    def width(self) -> float:
        """Seconds of one slot."""
        return self.span / self.slots

    def kept(self, urgency: Urgency) -> int:
        """How many calls such a one must leave to others."""
        if urgency == "patient":
            return max(self.reserve, math.floor(self.most * PATIENT_SHARE))
        return 0 if urgency == "urgent" else self.reserve


@dataclass(frozen=True, slots=True)
class Limits:
    """The two limits of one account."""

    second: Window
    hour: Window


@dataclass(frozen=True, slots=True)
class Budget:
    """What the appliance said of the account's hour: `left` calls of `most` at `since`, less what was started after."""

    most: float
    left: float
    since: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What one account has used: (slot, calls) of both windows, the appliance's word, and until when it said stop."""

    second: tuple[tuple[int, int], ...] = ()
    hour: tuple[tuple[int, int], ...] = ()
    budget: Budget | None = None
    held_until: float = -math.inf


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a call must wait, and what for. 0 seconds: it may start, and has been counted."""

    seconds: float = 0.0
    why: Why = ""


def limits_of(per_second: float, per_hour: int) -> Limits:
    """The limits that the configuration names. Below one call a second the window grows instead."""
    span = max(1.0, 1.0 / per_second)
    most = max(1, math.floor(per_second * span + 1e-9))
    return Limits(
        Window(most, span, 20, min(RESERVED_CALLS, most // 4)),
        Window(per_hour, HOUR, 60, math.floor(per_hour * RESERVED_SHARE)),
    )


def take(limits: Limits, usage: Usage, now: float, *, urgency: Urgency) -> tuple[Usage, Wait]:
    """Start a call if it may start now.

    Args:
        limits: the account's limits.
        usage: what it has used.
        now: monotonic seconds.
        urgency: the call's.

    """
    waits = (
        Wait(usage.held_until - now, "held"),
        _wait_budget(usage.budget, now, urgency=urgency),
        Wait(_wait_window(limits.hour, usage.hour, now, urgency=urgency), "hour"),
        Wait(_wait_window(limits.second, usage.second, now, urgency=urgency), "second"),
    )
    longest = max(waits, key=lambda wait: wait.seconds)
    if longest.seconds > 0:
        return usage, longest
    return (
        replace(
            usage,
            second=_count(limits.second, usage.second, now),
            hour=_count(limits.hour, usage.hour, now),
            budget=replace(usage.budget, left=usage.budget.left - 1) if usage.budget else None,
        ),
        Wait(),
    )


def observe(usage: Usage, now: float, limit: str | None, remaining: str | None, under_way: int) -> Usage:
    """Take over what an answer's `X-RateLimit-Limit` and `-Remaining` say; what is no number is ignored.

    `under_way` are calls that were started and not answered: the appliance may not have counted them.
    """
    most, left = _number(limit), _number(remaining)
    if not most or left is None:
        return usage
    return replace(usage, budget=Budget(most, min(left, most) - under_way, now))


def hold(usage: Usage, now: float, seconds: float | None) -> Usage:
    """The appliance said 429: start nothing for so long (None: it did not say)."""
    pause = DEFAULT_HOLD if seconds is None else min(max(seconds, 0.0), LONGEST_HOLD)
    return replace(usage, held_until=max(usage.held_until, now + pause))


def retry_after(text: str | None, wall: float) -> float | None:
    """Seconds of a `Retry-After` header: a number, or a date compared with `wall` (seconds since the epoch)."""
    number = _number(text)
    if number is not None:
        return number
    date = http_date(text)
    return None if date is None else max(0.0, date - wall)


def _number(text: str | None) -> float | None:
    digits = (text or "").strip()
    return float(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else None  # noqa: PLR2004  # sane


def _wait_budget(budget: Budget | None, now: float, *, urgency: Urgency) -> Wait:
    """The account's own hour as the appliance sees it, filling up evenly since it was last told."""
    if budget is None:
        return Wait(0.0, "account")
    rate = budget.most / HOUR
    level = min(budget.most, budget.left + (now - budget.since) * rate)
    share = {"urgent": 0.0, "ordinary": RESERVED_SHARE, "patient": PATIENT_SHARE}[urgency]
    needed = 1 + math.floor(budget.most * share)
    return Wait(max(0.0, (needed - level) / rate), "account")


def _oldest(window: Window, now: float) -> int:
    """The first slot of which any part lies in the window that ends now."""
    return math.floor((now - window.span) / window.width)


def _wait_window(window: Window, used: tuple[tuple[int, int], ...], now: float, *, urgency: Urgency) -> float:
    oldest = _oldest(window, now)
    counted = [(slot, calls) for slot, calls in used if slot >= oldest]
    free = window.most - window.kept(urgency) - sum(calls for _, calls in counted)
    for slot, calls in counted:
        if free > 0:
            break
        free += calls
        # When this slot has left the window as a whole; a little more, for the rounding of floats.
        leaves = (slot + 1) * window.width + window.span + 1e-6
        if free > 0:
            return leaves - now
    return 0.0


def _count(window: Window, used: tuple[tuple[int, int], ...], now: float) -> tuple[tuple[int, int], ...]:
    oldest, slot = _oldest(window, now), math.floor(now / window.width)
    kept = tuple(entry for entry in used if entry[0] >= oldest)
    if kept and kept[-1][0] >= slot:
        return (*kept[:-1], (kept[-1][0], kept[-1][1] + 1))
    return (*kept, (slot, 1))
