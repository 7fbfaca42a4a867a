"""What a stand-in was told to do wrong.

A fault names an action, which requests it befalls, and how often. Actions before the request is processed (nothing
takes effect): `latency` (then goes on), `hang`, `reset`, `status`, `page` (the hibernation page), `late` (the
connection breaks at once and the request takes effect `seconds` later). Actions after it took effect: `stall` (then
goes on), `hang after`, `reset after`, `status after`, `failure` (HTTP 200 that ends with a failure), `truncate` (a
complete answer of half a document), `cut` (the connection ends within the body), `drip` (a piece each `seconds`),
`bad gzip`, `gzip bomb` and `large body` (of `size` bytes), `content type`. Played by ServiceNow's handlers
themselves: `missing` (`count` answers of a batch left out), `unserviced` (only `count` parts of a batch served),
`foreign` (`count` rows of another agent mixed into a list).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from relay.sandbox.web import Request

Action = Literal[
    "latency",
    "hang",
    "reset",
    "status",
    "page",
    "late",
    "stall",
    "hang after",
    "reset after",
    "status after",
    "failure",
    "truncate",
    "cut",
    "drip",
    "bad gzip",
    "gzip bomb",
    "large body",
    "content type",
    "missing",
    "unserviced",
    "foreign",
]
ACTIONS: frozenset[str] = frozenset(get_args(Action))
QUIRKS = frozenset({"missing", "unserviced", "foreign"})


@dataclass(slots=True, eq=False)
class Fault:
    """One instruction to misbehave.

    Attributes:
        action: see the module.
        times: how many matching requests it befalls; None means every one until it is removed.
        skip: matching requests that pass unharmed first.
        method: only requests of this method.
        path: only requests whose path matches this expression somewhere.
        lane: only requests of this lane (`poll`, `claim`, `push`, `close`, `read`, `batch`, `attachment`, `token`,
            `agent`, `forward`, and on the appliance the action or report).
        sub: parts of a batch instead of whole requests.
        when: a further condition, in process only.
        seconds: how long `latency`, `stall`, `late`, and each piece of `drip` take.
        status: of `status` and `status after`.
        headers: further headers of `status`, `status after`; for `content type` the new one.
        body: of `status` and `status after`; None means the usual error document.
        size: decoded bytes of `gzip bomb`, bytes of `large body`.
        count: see the module.
        fired: how many requests it befell.

    """

    action: Action
    times: int | None = 1
    skip: int = 0
    method: str | None = None
    path: str | None = None
    lane: str | None = None
    sub: bool = False
    when: Callable[[Request], bool] | None = None
    seconds: float = 0.0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    size: int = 100_000_000
    count: int = 1
    fired: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            msg = f"no such action: {self.action}"
            raise ValueError(msg)

    def fits(self, request: Request) -> bool:
        """Whether the request is one of those that this fault is for."""
        return (
            self.sub == request.sub
            and (self.method is None or self.method == request.method)
            and (self.path is None or re.search(self.path, request.path) is not None)
            and (self.lane is None or self.lane in request.lanes)
            and (self.when is None or self.when(request))
        )

    def facts(self) -> dict[str, Any]:
        """The fault as JSON, for the control endpoint."""
        return {
            name: getattr(self, name)
            for name in (
                "action",
                "times",
                "skip",
                "method",
                "path",
                "lane",
                "sub",
                "seconds",
                "status",
                "count",
                "fired",
            )
        }


class Faults:
    """The faults that are set on one stand-in."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Set a fault and return it, so that its `fired` can be looked at."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Behave again."""
        self._faults.clear()

    def all(self) -> tuple[Fault, ...]:
        """The faults that are set, spent ones too."""
        return tuple(self._faults)

    def take(self, request: Request) -> list[Fault]:
        """The faults that befall this request, in the order they were set; each is counted."""
        taken = []
        for fault in self._faults:
            if (fault.times is not None and fault.fired >= fault.times) or not fault.fits(request):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.fired += 1
            taken.append(fault)
        return taken
