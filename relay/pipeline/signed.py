"""Whether a call's record is signed as it must be; asked before anything else is decided about the call.

A good signature becomes its record's own in a step by itself, `signature accepted`: the nonce and the job's change are
one commit, the first one after the signature was judged.

Why not with the claim: the payload may have to be fetched after it, and without ServiceNow's clock nothing can be
judged. Why not with `sending`: a record may be answered without a call, as too old or one too many in a minute, and
whoever reads that answer takes the work for undone; a copy of the record must not pass after it. A crash after the step
does no harm: the nonce is this job's own, so the same record passes again.
"""

from __future__ import annotations

import structlog

from relay.core.errors import ConfigError, ServiceNowError, WorkError
from relay.core.jobs import Job
from relay.core.policy_values import Allowed
from relay.core.record import Record
from relay.core.signature import Signed, Verified, check, needed, parse, refuse_untimely
from relay.jobs.ledger import Move
from relay.pipeline.parts import SIGNATURES, Parts
from relay.pipeline.ports import SigningKeys

log = structlog.get_logger("relay.forward")

AGAIN = 5.0
"""Seconds until a signature is looked at again that could not be judged."""
SPENT = {"used": (4022, ""), "forgotten": (4021, "older than what the relay remembers of signatures")}


async def admit(parts: Parts, job: Job, record: Record, ruling: Allowed, text: str | None) -> Job | None:
    """The job whose call may be made as far as signatures go; None: that cannot be told now, and the job was put off.

    Args:
        parts: what the stages share.
        job: CLAIMED.
        record: the row that asks.
        ruling: what the policy made of it.
        text: the record's signature.

    Raises:
        WorkError: BSR-4017 to 4022, the record is to be refused.

    """
    # Without any key nothing can be judged: an instance may begin to sign before the relay has its key.
    keys = parts.keys
    if text is None or keys is None:
        request = ruling.request
        if needed(parts.limits.require_signature, safe=ruling.harmless, by_operation=ruling.require_signature):
            raise WorkError(4017, f"operation '{request.operation}'")
        return job
    try:
        verified = _judged(parts, keys, record, ruling, text)
    except (ConfigError, ServiceNowError) as error:
        parts.conditions.fail(SIGNATURES, error)
        log.info("forward.not_judged", code=error.code)
        await parts.ledger.step(Move(job, "put off", wait=AGAIN))
        return None
    parts.conditions.clear(SIGNATURES)
    mark = {"by_verified": True, "key_id": verified.key_id}
    if mark.items() <= job.data.items():
        return job  # it was accepted in an earlier try of this call, and the row has not changed since
    done = await parts.ledger.step_once(Move(job, "signature accepted", data=mark), verified.nonce)
    if not isinstance(done, Job):
        raise WorkError(*SPENT[done])
    return done


def _judged(parts: Parts, keys: SigningKeys, record: Record, ruling: Allowed, text: str) -> Verified:
    """Judge a signature with the key as it is now.

    Raises:
        WorkError: it is not good.
        ConfigError: its key cannot be read.
        ServiceNowError: BSR-2025, its time cannot be judged.

    """
    signature, now = parse(text), parts.queue.now()
    request, limits = ruling.request, parts.limits
    oldest = limits.expire_safe if request.safe else limits.expire_unsafe
    try:
        key = keys.of(signature.key_id)
    except ConfigError:
        if now is not None:
            refuse_untimely(signature, now=now, oldest=oldest)  # else such records would wait for the key for ever
        raise
    if now is None:
        raise ServiceNowError(2025)
    signed = Signed(
        agent=limits.agent,
        appliance=request.appliance,
        operation=request.operation,
        arguments=ruling.arguments,
        correlator=record["agent_correlator"],
        by=record["sys_created_by"],
    )
    return check(signature, key, signed, now=now, oldest=oldest)
