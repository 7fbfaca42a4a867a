"""One allowed call: age, limits, the audited intent, the call, the stored answer.

The order is the promise: the intent is in the audit log and FORWARDING is on disk before the first byte leaves, so that
after a crash nobody has to guess which calls may have been made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from relay.core.errors import ApplianceError, InternalError, RelayError, StorageError, WorkError
from relay.core.forwarding import GiveUp, after_not_executed, age_of, is_own_pace, trying_since
from relay.core.instant import epoch
from relay.core.jobs import Job, Json
from relay.core.policy_values import Allowed
from relay.core.queue import after_unknown, expired
from relay.core.rates import RateWindow
from relay.core.record import Failure, Outcome, Record, Reply
from relay.core.retry import Backoff
from relay.jobs.ledger import Move
from relay.jobs.runner import UNWRITABLE
from relay.pipeline.decide import decide
from relay.pipeline.judge import Judged
from relay.pipeline.parts import Parts
from relay.pipeline.render import OFF_LOOP, Asked, store_answer, verified_by
from relay.pipeline.signed import admit

log = structlog.get_logger("relay.forward")

NO_CLOCK = 5.0
"""Seconds until a record is looked at again whose age cannot be told."""
HELD = 30.0
"""Seconds until work is looked at again that a hold stops."""
DOWN = 1.0
"""Seconds that other calls wait after one met an appliance that cannot be called at all."""
BUDGET = 3011
"""An hour's calls are used up: that an administrator should know, unlike the pace of a second."""
DISK = Backoff(first=0.5, longest=10.0)
"""Waits until what became of a call is stored again that the disk did not take."""
CANNOT_BE_CALLED = frozenset({3001, 3002, 3005, 3006, 3014, 3018})


@dataclass(frozen=True, slots=True)
class Call:
    """A job with what it carries."""

    job: Job
    record: Record
    judged: Judged
    ruling: Allowed

    @property
    def appliance(self) -> str:
        """The appliance that is called."""
        return self.ruling.request.appliance


class Caller:
    """Makes allowed calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rates: dict[str, RateWindow] = {}
        self._down: dict[str, tuple[ApplianceError, float]] = {}

    async def carry(self, job: Job, record: Record, judged: Judged, ruling: Allowed) -> None:
        """Make the call, or find that it must not be made now or at all."""
        call = Call(job, record, judged, ruling)
        if await self._not_again(call):
            return
        admitted = await self._signed(call)
        if admitted is None:
            return
        call = admitted
        if await self._too_old(call) or await self._held(call):
            return
        error = await self._admitted(call)
        if error is not None:
            await self._not_executed(call, error, began=False)
        elif not await self._too_often(call) and not await self._too_old(call):
            await self._send(call)

    # -- before the call ---------------------------------------------------------------------------------------------

    async def _not_again(self, call: Call) -> bool:
        """Whether the call may have been made when it was safe to repeat, or not allowed at all, and is unsafe now.

        Between its being settled and now the configuration may have changed.
        """
        if call.ruling.request.safe or not call.job.data.get("unknown"):
            return False
        error = ApplianceError(3010, "the operation is no longer safe to repeat")
        data = {"code": error.number, "operation": call.ruling.request.operation, "rule": call.ruling.rule}
        await self._store(call, "given up", Failure(error.text), data)
        return True

    async def _signed(self, call: Call) -> Call | None:
        """The call of a record that is signed as it must be; else it is answered, or waits until that can be told."""
        try:
            job = await admit(self._parts, call.job, call.record, call.ruling, call.judged.signature)
        except WorkError as error:
            await self._refuse(call, "refused by policy", error, "signature")
            return None
        return None if job is None else replace(call, job=job)

    async def _held(self, call: Call) -> bool:
        """Whether a hold stops the call; it then waits."""
        holds = self._parts.holds
        if call.ruling.handed_over and holds.news:
            return False
        if holds.unsafe_work or (holds.work and call.ruling.request.safe):
            return False
        await self._put_off(call, HELD)
        return True

    async def _too_old(self, call: Call) -> bool:
        """Whether the record's age forbids the call; it is then answered, or waits where the age cannot be told."""
        parts = self._parts
        seen_for = max(0.0, parts.clock.wall() - call.job.created)
        age = age_of(epoch(call.record["sys_created_on"]), parts.queue.now(), seen_for)
        if age is None:
            log.info("forward.no_clock")
            await self._put_off(call, NO_CLOCK)
            return True
        limits = parts.limits
        safe = call.ruling.request.safe
        if not expired(age, safe=safe, unsafe_limit=limits.expire_unsafe, safe_limit=limits.expire_safe):
            return False
        await self._refuse(call, "expired", WorkError(4012, f"{age:.0f} s old"), rule="age")
        return True

    async def _too_often(self, call: Call) -> bool:
        """Whether the operation's own rate is used up; it is then answered."""
        operation, per_minute = call.ruling.request.operation, call.ruling.per_minute
        if call.job.attempts:
            return False
        window = self._rates.get(operation, RateWindow())
        self._rates[operation], wait = window.take(per_minute, self._parts.clock.monotonic())
        if not wait:
            return False
        detail = f"{operation}: {per_minute} a minute, free again in {wait:.0f} s"
        await self._refuse(call, "refused by policy", WorkError(4009, detail), "rate")
        return True

    async def _admitted(self, call: Call) -> ApplianceError | None:
        """Why the call cannot start now, None when it can."""
        if call.ruling.handed_over:
            return None
        down = self._down.get(call.appliance)
        if down is not None and down[1] > self._parts.clock.monotonic():
            return down[0]
        try:
            await self._parts.appliances.admit(call.ruling.request)
        except ApplianceError as error:
            return error
        return None

    async def _refuse(self, call: Call, event: str, error: WorkError, rule: str) -> None:
        log.warning("forward.refused", code=error.code, error=error.text)
        operation = call.ruling.request.operation
        data: dict[str, Json] = {"decision": "deny", "rule": rule, "operation": operation, "code": error.number}
        if rule == "signature":
            data |= {"by_verified": None, "key_id": None}  # of an earlier try, before the configuration changed
        await self._store(call, event, Failure(error.text), data)

    async def _put_off(self, call: Call, seconds: float) -> None:
        await self._parts.ledger.step(Move(call.job, "put off", wait=seconds))

    # -- the call ----------------------------------------------------------------------------------------------------

    async def _send(self, call: Call) -> None:
        parts = self._parts
        call = await self._begin(call)
        started = parts.clock.monotonic()
        try:
            reply = await self._reply(call)
        except RelayError as error:
            known = error
            await self._surely(lambda: self._no_reply(call, known))
        except Exception as fault:  # the call may be on its way: its job must still be decided
            log.exception("forward.fault", code="BSR-9001")
            broken = InternalError(9001, type(fault).__name__)
            await self._surely(lambda: self._unknown(call, broken))
        else:
            milliseconds = round((parts.clock.monotonic() - started) * 1000)
            await self._surely(lambda: self._responded(call, reply, milliseconds))

    async def _reply(self, call: Call) -> Reply:
        parts = self._parts
        if call.ruling.handed_over:
            return await decide(parts.approvals, call.ruling, call.record.sys_id)
        reply = await parts.appliances.call(call.ruling.request)
        self._down.pop(call.appliance, None)
        parts.conditions.clear(f"appliance {call.appliance}")
        return reply

    async def _surely(self, store: Callable[[], Awaitable[None]]) -> None:
        """Store what became of a call, again and again when the disk is full: nobody else knows it."""
        tries = 0
        while True:
            try:
                await store()
            except StorageError as error:
                if error.number == UNWRITABLE:
                    raise
                tries += 1
                log.warning("forward.not_stored", code=error.code, error=error.text, tries=tries)
                self._parts.conditions.fail("store", error)
                await asyncio.sleep(DISK.delay(tries, self._parts.jitter()))
            else:
                return

    async def _begin(self, call: Call) -> Call:
        """Put the intent into the audit log and FORWARDING on disk."""
        parts, request = self._parts, call.ruling.request
        attempt = call.job.attempts + 1
        payload = call.record.payload.encode("utf-8", "surrogatepass")
        facts: dict[str, Json] = {
            "decision": "allow",
            "operation": request.operation,
            "rule": call.ruling.rule,
            "safe": request.safe,
        }
        intent = {
            "event": "intent",
            "job": call.job.id,
            "attempt": attempt,
            "seen": call.job.created,
            "appliance": request.appliance,
            "by": call.record["sys_created_by"],
            **verified_by(call.job),
            "request_bytes": len(payload),
            "request_digest": parts.digest(payload),
            # Somebody changed the row between our poll and our claim: `by` made it, but may not have asked for this.
            **({"changed": True} if call.job.data.get("changed") else {}),
            **facts,
        }
        await parts.audit.append([intent])
        parts.conditions.clear("audit")
        data = {**facts, "trying_since": trying_since(call.job.data, parts.clock.wall())}
        job = await parts.ledger.step(Move(call.job, "sending", data=data, fields={"attempts": attempt}))
        return Call(job, call.record, call.judged, call.ruling)

    # -- after the call ----------------------------------------------------------------------------------------------

    async def _responded(self, call: Call, reply: Reply, milliseconds: int) -> None:
        outcome: Outcome = reply
        data: dict[str, Json] = {"code": None}
        if call.judged.format == "json":
            try:
                outcome = await self._shaped(reply)
            except ApplianceError as error:
                outcome, data = Failure(error.text), {"code": error.number}
        log.info(
            "forward.responded",
            operation=call.ruling.request.operation,
            appliance=call.appliance,
            by=call.record["sys_created_by"][:64],
            status=reply.status,
            bytes=len(reply.body),
            milliseconds=milliseconds,
        )
        await self._store(call, "responded", outcome, data, milliseconds)

    async def _shaped(self, reply: Reply) -> Reply:
        """The reply as JSON; a large one is read in a worker thread, so that nothing else waits for it."""
        if len(reply.body) > OFF_LOOP:
            return await asyncio.to_thread(self._parts.shaper.to_json, reply)
        return self._parts.shaper.to_json(reply)

    async def _no_reply(self, call: Call, error: RelayError) -> None:
        """The call began and ended without an answer that can be used."""
        if isinstance(error, ApplianceError) and error.executed:
            log.warning("forward.unusable", code=error.code, error=error.text)
            await self._store(call, "responded", Failure(error.text), {"code": error.number})
        elif isinstance(error, WorkError):
            log.warning("forward.refused", code=error.code, error=error.text)
            await self._store(call, "responded", Failure(error.text), {"code": error.number})
        elif isinstance(error, ApplianceError) and not error.maybe_sent:
            await self._not_executed(call, error, began=True)
        else:
            await self._unknown(call, error)

    async def _unknown(self, call: Call, error: RelayError) -> None:
        """The call may have been executed."""
        safe, times = call.ruling.request.safe, call.job.data.get("unknown", 0) + 1
        verdict = after_unknown(safe=safe, times=times)
        log.warning("forward.unknown", code=error.code, error=error.text, then=verdict.event)
        if verdict.code:
            answer = error if safe else ApplianceError(verdict.code, error.text)
            await self._store(call, verdict.event, Failure(answer.text), {"code": answer.number})
        else:
            wait = self._parts.jitter()
            await self._parts.ledger.step(Move(call.job, verdict.event, data={"unknown": times}, wait=wait))

    async def _not_executed(self, call: Call, error: ApplianceError, *, began: bool) -> None:
        """The call was surely not executed: repeat it for a while, then answer."""
        parts, data = self._parts, call.job.data
        now = parts.clock.wall()
        since = trying_since(data, now)
        tries = data.get("tries", 0) + 1
        retry_for = parts.limits.retry_for[call.appliance]
        verdict = after_not_executed(
            error, trying_for=now - since, retry_for=retry_for, tries=tries, jitter=parts.jitter()
        )
        self._note(call.appliance, error)
        say = log.debug if is_own_pace(error) else log.warning
        say("forward.not_executed", code=error.code, error=error.text, tries=tries)
        if isinstance(verdict, GiveUp):
            outcome = error.reply or Failure(error.text)
            known = {"code": error.number, "operation": call.ruling.request.operation, "rule": call.ruling.rule}
            await self._store(call, "responded" if began else "given up", outcome, {**known, "decision": "allow"})
            return
        event = "not executed" if began else "put off"
        tried = {} if is_own_pace(error) else {"tries": tries, "trying_since": since}
        await parts.ledger.step(Move(call.job, event, data=tried, wait=verdict.seconds))

    def _note(self, appliance: str, error: ApplianceError) -> None:
        """Let other calls to this appliance wait a moment instead of each finding out by itself."""
        if is_own_pace(error) and error.number != BUDGET:
            return
        self._parts.conditions.fail(f"appliance {appliance}", error)
        known = self._down.get(appliance)
        if error.number in CANNOT_BE_CALLED and (known is None or known[0] is not error):
            self._down[appliance] = (error, self._parts.clock.monotonic() + DOWN)

    async def _store(
        self, call: Call, event: str, outcome: Outcome, data: dict[str, Json], milliseconds: int = 0
    ) -> None:
        await store_answer(
            self._parts,
            Asked(call.job, call.record, call.judged.parameters),
            event,
            outcome,
            data=data,
            milliseconds=milliseconds,
        )
