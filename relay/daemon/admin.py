"""What administrators may ask of the running relay, and order it to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from relay.core.errors import ConfigError, WorkError
from relay.core.jobs import Job, Json, Tombstone
from relay.core.queue import DEAD, QUEUE
from relay.core.record import Failure
from relay.core.session_job import SESSION
from relay.core.session_standing import DISCARDED
from relay.daemon.admin_approvals import ApprovalAdmin
from relay.daemon.admin_sessions import SessionAdmin
from relay.daemon.app import Running
from relay.daemon.kinds import KINDS, Kind
from relay.daemon.process import Process
from relay.daemon.report import moment, status
from relay.jobs.ledger import Move, StaleJob
from relay.pipeline.render import Asked, store_answer
from relay.pipeline.rows import rows
from relay.pipeline.verify import GUARD, forget_user

if TYPE_CHECKING:
    from relay.daemon.supervisor import Supervisor

MOST = 1000
"""Jobs in one list."""

Arguments = Mapping[str, Json]


class Admin:
    """The commands of the control socket."""

    def __init__(self, supervisor: Supervisor, process: Process) -> None:
        self._supervisor = supervisor
        self._process = process
        self._commands: dict[str, Callable[[Arguments, str], Awaitable[Json]]] = {
            "status": self._status,
            "pause": self._pause,
            "resume": self._resume,
            "reload": self._reload,
            "jobs list": self._list,
            "jobs show": self._show,
            "jobs retry": self._retry,
            "jobs discard": self._discard,
            "audit checkpoint": self._checkpoint,
            "audit rotate": self._rotate,
            **SessionAdmin(self._running, self._log).commands,
            **ApprovalAdmin(self._running, self._log).commands,
        }

    async def serve(self, command: str, arguments: Arguments, author: str) -> Json:
        """Carry out a command.

        Raises:
            RelayError: it is unknown, refused, or cannot be done now.

        """
        known = self._commands.get(command)
        if known is None:
            raise ConfigError(1022, "the running relay does not know this command")
        try:
            return await known(arguments, author)
        except StaleJob as lost:
            raise ConfigError(1022, f"{lost}: the job went on meanwhile; look at it again") from None

    def _running(self) -> Running:
        running = self._supervisor.app.running
        if running is None:
            for one in self._process.conditions.all():
                if one.subject == "store":
                    raise type(one.error)(one.error.number, one.error.detail)
            raise ConfigError(1022, "the relay has no store open right now; ask again in a moment")
        return running

    async def _status(self, _: Arguments, __: str) -> Json:
        return await status(self._supervisor.app, self._process)

    # -- holds -------------------------------------------------------------------------------------------------------

    async def _pause(self, arguments: Arguments, author: str) -> Json:
        reason = _text(arguments, "reason", 500)
        parts = self._running().parts
        everything = arguments.get("all") is True
        await self._log("hold", author, reason)
        await parts.holds.set("local", author=author, reason=reason, everything=everything)
        return {"paused": True}

    async def _resume(self, _: Arguments, author: str) -> Json:
        parts = self._running().parts
        await self._log("resume", author, "")
        lifted = [kind for kind in parts.holds.all() if await parts.holds.lift(kind, author=author)]
        self._process.conditions.clear(GUARD)
        if "guard" in lifted and not self._supervisor.app.plan.user:
            await forget_user(parts)
        return {"lifted": lifted}

    async def _log(self, event: str, author: str, reason: str) -> None:
        line = {"event": event, "job": "", "attempt": 0, "by": author, "reason": reason}
        await self._running().parts.audit.append([line])

    async def _reload(self, _: Arguments, __: str) -> Json:
        self._supervisor.reload()
        await self._supervisor.applied()
        return {"reloaded": True}

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def _list(self, arguments: Arguments, _: str) -> Json:
        limit, kind = arguments.get("limit"), _kind(arguments)
        chosen = _chosen([*KINDS.values()] if kind is None else [KINDS[kind]], arguments)
        most = min(max(limit, 1), MOST) if isinstance(limit, int) else 100
        store = self._running().parts.store
        found = [job for one, states in chosen.items() for job in await store.select(one, sorted(states), most)]
        jobs = sorted(found, key=lambda job: job.created)[:most]
        counts = (await store.counts()).items()
        total = sum(number for (one, state, _), number in counts if state in chosen.get(one, ()))
        return {"jobs": [_shown(job) for job in jobs], "total": total}

    async def _job(self, arguments: Arguments) -> Job:
        (job,) = await self._running().parts.store.get([_text(arguments, "id", 64)])
        if job is None:
            raise ConfigError(1022, "there is no such job; 'jobs list' shows them")
        return job

    async def _show(self, arguments: Arguments, _: str) -> Json:
        (stone,) = await self._running().parts.store.tombstones([_text(arguments, "id", 64)])
        if stone is not None:
            return {"jobs": [_remembered(stone)]}
        return {"jobs": [_shown(await self._job(arguments))]}

    async def _retry(self, arguments: Arguments, author: str) -> Json:
        job = await self._job(arguments)
        kind = KINDS[job.kind]
        event = kind.retry.get(job.state)
        if event is None:
            raise ConfigError(1022, f"a job in {job.state} has no step that could be taken again")
        if job.kind == SESSION.kind and "path" in job.data and not job.data.get("lsid"):
            raise ConfigError(1022, "nothing can be made of this post, however often it is tried; it can be discarded")
        move = Move(job, event, data=kind.forgotten())
        await self._log("retry", author, job.id)
        return {"jobs": [_shown(await self._running().parts.ledger.step(move))]}

    async def _discard(self, arguments: Arguments, author: str) -> Json:
        job = await self._job(arguments)
        reason = _text(arguments, "reason", 500)
        parts = self._running().parts
        if "discarded" not in KINDS[job.kind].table.rows[job.state]:
            raise ConfigError(1022, f"a job in {job.state} cannot be discarded")
        await self._log("discard", author, f"{job.id}: {reason}")
        if job.kind != QUEUE.kind or job.state == DEAD:
            outcome = {} if job.kind == QUEUE.kind else {"outcome": DISCARDED}
            await parts.ledger.step(Move(job, "discarded", data={"discarded": reason, **outcome}))
        else:
            (record,) = await rows(parts.store, [job])
            error = WorkError(4013, reason)
            data = {"decision": "deny", "rule": "administrator", "code": error.number}
            await store_answer(parts, Asked(job, record), "discarded", Failure(error.text), data=data)
        return {"discarded": job.id}

    # -- the audit log -----------------------------------------------------------------------------------------------

    async def _checkpoint(self, _: Arguments, __: str) -> Json:
        note = await self._running().checkpoints.now()
        return {"note": note.text, "size": note.size, "root": note.root.hex()}

    async def _rotate(self, _: Arguments, author: str) -> Json:
        return {"key": (await self._running().checkpoints.rotate(author)).vkey}


def _chosen(kinds: Sequence[Kind], arguments: Arguments) -> dict[str, frozenset[str]]:
    """By kind the states that a list is about: a state that is named, those that are stuck, or all that are open.

    Raises:
        ConfigError: BSR-1022, no kind has a state of that name.

    """
    wanted = arguments.get("state")
    if wanted is None:
        dead = arguments.get("dead") is True
        return {one.table.kind: one.stuck if dead else one.table.states - one.finished for one in kinds}
    name = str(wanted).upper()
    chosen = {one.table.kind: frozenset({name}) for one in kinds if name in one.table.states}
    if not chosen:
        known = sorted({state for one in kinds for state in one.table.states})
        raise ConfigError(1022, f"there is no such state; there are {', '.join(known)}")
    return chosen


def _kind(arguments: Arguments) -> str | None:
    kind = arguments.get("kind")
    if kind is not None and kind not in KINDS:
        raise ConfigError(1022, f"there is no such kind of jobs; there are {', '.join(KINDS)}")
    return None if kind is None else str(kind)


def _text(arguments: Arguments, name: str, longest: int) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise ConfigError(1022, f"'{name}' must be text of 1 to {longest} characters")
    return value


def _remembered(stone: Tombstone) -> dict[str, Json]:
    """What is left of a finished job after its retention."""
    data = {"outcome": stone.outcome, "digest": stone.digest}
    return {"id": stone.id, "kind": stone.kind, "state": "SWEPT", "updated": moment(stone.closed), "data": data}


def _shown(job: Job) -> dict[str, Json]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "priority": job.priority,
        "appliance": job.lane,
        "attempts": job.attempts,
        "created": moment(job.created),
        "updated": moment(job.updated),
        "not_before": moment(job.not_before) if job.not_before else None,
        "data": dict(job.data),
    }
