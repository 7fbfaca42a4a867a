"""What the relay answers by itself: heartbeats, the commands for the agent, the placeholder for a token."""

from __future__ import annotations

import json
from dataclasses import dataclass

from relay.core.errors import WorkError
from relay.core.policy_values import TokenPlaceholder
from relay.core.record import Failure, Heartbeat, Outcome, Record, Reply, SystemCommand
from relay.core.refusal import shown
from relay.pipeline.parts import Parts

JSON_TYPE = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
PLACEHOLDER = {"access_token": "held-by-the-relay", "token_type": "Bearer", "expires_in": 3600}
"""Vendor scripts behind a MID server first ask for a token; the real one never leaves the relay."""
NAMED = frozenset(
    {
        "FileChange",
        "autoUpgrade",
        "clear_cookies",
        "credentials_reload",
        "deleteExpiredIHubPlans",
        "delete_mid_keypair",
        "getResourceState",
        "grabLog",
        "installNmap",
        "invalidate_cache",
        "load_properties",
        "pauseMid",
        "resetQueryWindow",
        "restart",
        "restartService",
        "resumeMid",
        "signature_validation_certs_reload",
        "stop",
        "threaddump",
        "updateConfig",
        "upgradeNow",
    }
)
"""What ServiceNow tells its agents. Only these names go into the audit log: any other is whatever the row's writer
typed, a secret perhaps."""


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """An answer made here, and parameters that it adds to the echoed ones."""

    outcome: Outcome
    operation: str
    parameters: tuple[tuple[str, str], ...] = ()


async def answer_here(
    parts: Parts, record: Record, ruling: Heartbeat | SystemCommand | TokenPlaceholder
) -> LocalAnswer:
    """Answer work that needs no appliance; a system command takes effect here."""
    if isinstance(ruling, TokenPlaceholder):
        return LocalAnswer(Reply(200, JSON_TYPE, json.dumps(PLACEHOLDER).encode()), "oauth-token")
    if isinstance(ruling, Heartbeat):
        return LocalAnswer(Reply(200, JSON_TYPE, b""), "heartbeat", _state(parts))
    return await _command(parts, record, ruling.command)


async def _command(parts: Parts, record: Record, command: str) -> LocalAnswer:
    operation = f"system-command:{command}" if command in NAMED else "system-command"
    author = f"servicenow:{record['sys_created_by']}"[:128]
    if command == "pauseMid":
        await parts.holds.set("remote", author=author, reason="pauseMid from ServiceNow")
    elif command == "resumeMid":
        await parts.holds.lift("remote", author=author)
    elif command != "getResourceState":
        error = WorkError(4014, f"'{shown(command)}'")
        return LocalAnswer(Failure(error.text), operation)
    body = json.dumps(dict(_state(parts)))
    return LocalAnswer(Reply(200, JSON_TYPE, body.encode()), operation, _state(parts))


def _state(parts: Parts) -> tuple[tuple[str, str], ...]:
    return (("mid_operational_state", "Up" if parts.holds.work else "Paused"),)
