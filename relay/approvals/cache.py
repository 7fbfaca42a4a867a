"""What ServiceNow answered about requests that were allowed, for a short while; off unless the configuration says so.

Why the answers and not the decision: a repetition is decided anew, by the time that it is then. Denials are never kept:
whoever was denied may have mended the ticket a moment later.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from relay.core.approval_fields import REQUEST_ID, RESPONSE_URL
from relay.core.approval_values import Findings, Request

MOST = 1_000
Key = tuple[str, frozenset[tuple[str, str]]]


class Cache:
    """Answers by everything that a request says, but for its id and the way back."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[float, Findings]] = OrderedDict()

    def put(self, request: Request, findings: Findings, now: float) -> None:
        """Keep what allowed a request; `now` is monotonic."""
        self._known[_key(request)] = (now, findings)
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def get(self, request: Request, now: float, lasts: float) -> Findings | None:
        """What allowed an equal request less than `lasts` seconds ago; its clock goes on."""
        found = self._known.get(_key(request))
        if found is None or not 0.0 <= now - found[0] < lasts:
            return None
        kept, findings = found
        return findings if findings.now is None else replace(findings, now=findings.now + (now - kept))


def _key(request: Request) -> Key:
    fields = {name: value for name, value in request.fields.items() if name not in {REQUEST_ID, RESPONSE_URL}}
    return request.appliance, frozenset(fields.items())
