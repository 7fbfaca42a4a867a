"""What ServiceNow answered about requests that were allowed, for a short while; off unless the configuration says so.

Why the answers and not the decision: a repetition is decided anew, by the time that it is then. Denials are never kept:
whoever was denied may have mended the ticket a moment later.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from relay.core.approval_fields import REQUEST_ID, RESPONSE_URL
from relay.core.approval_job import SKEW
from relay.core.approval_values import Findings, Request

MOST = 1_000
Key = tuple[str, frozenset[tuple[str, str]]]
Moment = tuple[float, float]
"""By the clock that cannot be set, which stands still while a machine sleeps, and by the one that goes on then."""


class Cache:
    """Answers by everything that a request says, but for its id and the way back."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[Moment, Findings]] = OrderedDict()

    def put(self, request: Request, findings: Findings, now: Moment) -> None:
        """Keep what allowed a request."""
        self._known[_key(request)] = (now, findings)
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def get(self, request: Request, now: Moment, lasts: float) -> Findings | None:
        """What allowed an equal request less than `lasts` seconds ago; its clock goes on."""
        found = self._known.get(_key(request))
        if found is None:
            return None
        kept, findings = found
        passed = _between(kept, now)
        if passed is None or passed >= lasts:
            return None
        return findings if findings.now is None else replace(findings, now=findings.now + passed)


def _between(kept: Moment, now: Moment) -> float | None:
    """Seconds from one moment to another by the clock that says more; None when one of them went back."""
    steady, wall = now[0] - kept[0], now[1] - kept[1]
    return max(steady, wall) if steady >= 0.0 and wall >= -SKEW else None


def _key(request: Request) -> Key:
    fields = {name: value for name, value in request.fields.items() if name not in {REQUEST_ID, RESPONSE_URL}}
    return request.appliance, frozenset(fields.items())
