"""The control endpoint: everything that holders of the objects can do, for another process.

A POST to `/sandbox/control` with `Authorization: Bearer TOKEN` and a JSON object: `do` names the action, the rest are
its arguments. The answer is JSON: `{"result": ...}`, or `{"error": "..."}` with status 400. Targets are `servicenow`
and the appliances' names.

| do | arguments | result |
|---|---|---|
| facts | | URLs, files, agent |
| insert | table, rows | sys_ids |
| find | table, query, limit | rows |
| update | table, sys_id, values | whether something changed |
| hide | sys_ids | null; access rules hide exactly these rows from now on |
| revoke | target | null; every token, and every session of the instance, is worth nothing |
| set | target, values | names of what was set; see `Knobs`, `Rules`, `RateLimit`, `Vendor`, `Device`, `Account` |
| fault | target, fault | the fault; see `Fault` |
| faults | target | the faults and how often they fired |
| clear | target | null |
| door | target, open | null; closing refuses connections |
| work | count, kinds, seed, hold, sign | sys_ids; the jobs are remembered, with `hold` not yet inserted |
| release | count | how many of the jobs held back were inserted |
| progress | | jobs, asked, answered |
| latencies | | seconds from question to answer of each answered job |
| counters | | requests, effects and tokens of both sides |
| oracle | final | see `relay.sandbox.oracle.Summary` |

What there is for sessions, outbound events, requests for approval and tables stands in `relay.sandbox.playing`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from typing import Any

from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault, Faults
from relay.sandbox.livesessions import Sessions
from relay.sandbox.playing import Playing
from relay.sandbox.web import Request, Response, json_response

PATH = "/sandbox/control"
_DEVICE_KNOBS = frozenset({"dialect", "language", "latency", "healthy", "version", "api_version"})
_SESSIONS_KNOBS = frozenset({"lag"})


class Control:
    """Answers control requests for one sandbox; `token` is made anew for each."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.token = secrets.token_urlsafe(32)
        self.faults = Faults()
        self._actions: dict[str, Callable[..., Any]] = {
            "facts": self._facts,
            "insert": self._insert,
            "find": self._find,
            "update": self._update,
            "hide": self._hide,
            "revoke": self._revoke,
            "set": self._set,
            "fault": self._fault,
            "faults": self._faults,
            "clear": self._clear,
            "door": self._door,
            "work": self._work,
            "release": self._release,
            "progress": self._progress,
            "latencies": self._latencies,
            "counters": self._counters,
            "oracle": self._oracle,
            **Playing(box).actions,
        }

    def classify(self, _: Request) -> frozenset[str]:
        """Control requests have no lanes."""
        return frozenset()

    async def handle(self, request: Request) -> Response:
        """Answer one control request."""
        given = request.header("authorization").encode()
        if not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
            return json_response(401, {"error": "wrong token"})
        if request.path != PATH or request.method != "POST":
            return json_response(404, {"error": f"only POST {PATH}"})
        try:
            asked = json.loads(request.body)
            action = self._actions[asked.pop("do")]
            result = action(**asked)
            if isinstance(result, Awaitable):
                result = await result
        except (ValueError, TypeError, LookupError, AttributeError) as problem:
            return json_response(400, {"error": f"{type(problem).__name__}: {problem}"})
        return json_response(200, {"result": result})

    def _facts(self) -> dict[str, Any]:
        return self.box.facts()

    def _insert(self, table: str, rows: list[dict[str, str]]) -> list[str]:
        return [self.box.servicenow.insert(table, row)["sys_id"] for row in rows]

    def _find(self, table: str, query: str = "", limit: int = 1000) -> list[dict[str, str]]:
        return self.box.servicenow.tables.find(table, query)[:limit]

    def _update(self, table: str, sys_id: str, values: dict[str, str]) -> bool:
        row = self.box.servicenow.tables.get(table, sys_id)
        return row is not None and self.box.servicenow.update(table, row, values)

    def _hide(self, sys_ids: list[str]) -> None:
        self.box.servicenow.hidden = set(sys_ids)

    def _revoke(self, target: str) -> None:
        if target == "servicenow":
            self.box.servicenow.access.revoke()
        else:
            for account in self.box.appliances[target].accounts.by_id.values():
                account.revoke()

    def _set(self, target: str, values: dict[str, Any]) -> list[str]:
        for name, value in values.items():
            holder = next((row for row in self._holders(target) if _has(row, name)), None)
            if holder is None:
                msg = f"{target} has nothing named {name}"
                raise ValueError(msg)
            setattr(holder, name, value)
        return sorted(values)

    def _holders(self, target: str) -> list[object]:
        if target == "servicenow":
            instance = self.box.servicenow
            return [instance.knobs, instance.rules, instance.rate, instance.vendor]
        device = self.box.appliances[target]
        return [device, device.sessions, *device.accounts.by_id.values()]

    def _fault(self, target: str, fault: dict[str, Any]) -> dict[str, Any]:
        return self._of(target).add(Fault(**fault)).facts()

    def _faults(self, target: str) -> list[dict[str, Any]]:
        return [fault.facts() for fault in self._of(target).all()]

    def _clear(self, target: str) -> None:
        self._of(target).clear()

    def _of(self, target: str) -> Faults:
        return self.box.servicenow.faults if target == "servicenow" else self.box.appliances[target].faults

    async def _door(self, target: str, open: bool) -> None:  # noqa: A002, FBT001 - an argument of the protocol
        door = self.box.doors[target]
        await (door.open() if open else door.close())

    def _work(
        self, count: int, kinds: list[str] | None = None, seed: int = 0, *, hold: bool = False, sign: bool = False
    ) -> list[str]:
        jobs = self.box.maker(seed, sign=sign).mix(count, kinds)
        self.box.held += jobs
        if not hold:
            self._release(len(self.box.held))
        return [job.sys_id for job in jobs]

    def _release(self, count: int) -> int:
        now, self.box.held = self.box.held[:count], self.box.held[count:]
        self.box.put(now)
        return len(now)

    def _progress(self) -> dict[str, int]:
        answered = sum(job.sys_id in self.box.servicenow.answered for job in self.box.jobs)
        return {"jobs": len(self.box.jobs) + len(self.box.held), "asked": len(self.box.jobs), "answered": answered}

    def _latencies(self) -> list[float]:
        asked, answered = self.box.servicenow.asked, self.box.servicenow.answered
        return [answered[job.sys_id] - asked[job.sys_id] for job in self.box.jobs if job.sys_id in answered]

    def _counters(self) -> dict[str, Any]:
        instance = self.box.servicenow
        appliances = {
            name: {
                "requests": dict(device.requests),
                "calls": dict(device.calls),
                "effects": dict(device.effects),
                "keep_alive": device.keep_alive,
                "tokens": sum(account.issued for account in device.accounts.by_id.values()),
                "limited": sum(account.limited for account in device.accounts.by_id.values()),
            }
            for name, device in self.box.appliances.items()
        }
        return {
            "servicenow": {
                "requests": dict(instance.requests),
                "served": dict(instance.served),
                "tokens": instance.access.tokens_issued,
                "sessions": len(instance.access.sessions),
            },
            "appliances": appliances,
            "errors": [repr(error) for door in self.box.doors.values() for error in door.errors],
        }

    def _oracle(self, final: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - an argument of the protocol
        return self.box.check(final=final).facts()


def _has(holder: object, name: str) -> bool:
    if is_dataclass(holder):
        return name in {field.name for field in fields(holder)}
    return name in (_SESSIONS_KNOBS if isinstance(holder, Sessions) else _DEVICE_KNOBS)
