"""Looks at everything that the relay needs, beside a running one or without: what is tested is what the daemon uses.

It reads, asks some dozen questions, and changes nothing: no lock is taken, no work is claimed, nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from relay.config.describe import leaves
from relay.config.load import Loaded
from relay.config.model import Settings
from relay.config.values import SecretRef
from relay.core.doctor import Check
from relay.core.jobs import Json
from relay.core.redact import Redactor
from relay.daemon.client import DaemonAway, DaemonDenied, DaemonError, ask
from relay.daemon.doctor_appliance import ApplianceDoctor
from relay.daemon.doctor_listener import ListenerDoctor
from relay.daemon.doctor_machine import MachineDoctor
from relay.daemon.doctor_servicenow import ServiceNowDoctor
from relay.daemon.process import KnownSecrets
from relay.host.clock import Clock
from relay.host.folders import Folders
from relay.host.hardening import exposures
from relay.host.logs import Logs

VARIABLE = "CREDENTIALS_DIRECTORY"
HANDED_OUT = Path("/run/credentials/bseries-relay.service")
"""Where systemd keeps the running service's credentials; root may read them."""
PATIENCE = 10.0
"""Seconds that the running relay may take to say how it is."""


def examine(loaded: Loaded, folders: Folders, environ: Mapping[str, str]) -> list[Check]:
    """Every check, by subject: this machine, ServiceNow, each appliance, the listener."""
    clock, redactor = Clock(), Redactor()
    with Logs(clock, redactor, environ).start("critical", "console") as logs:  # what is found is told once, by us
        secrets = KnownSecrets(with_credentials(loaded.settings, environ), redactor)
        checks = asyncio.run(_examine(loaded, folders, secrets, clock, logs))
    # A secret never gets into a detail; what the other side says might hold one.
    return [replace(check, detail=redactor.scrub(check.detail)) for check in checks]


async def _examine(loaded: Loaded, folders: Folders, secrets: KnownSecrets, clock: Clock, logs: Logs) -> list[Check]:
    logs.watch(asyncio.get_running_loop())
    settings = loaded.settings
    status, away = await asyncio.to_thread(_status, folders)
    machine = MachineDoctor(loaded, folders, secrets, clock, status, away, exposures()).look()
    sides = [
        ServiceNowDoctor(settings, secrets, clock).look(),
        *(ApplianceDoctor(name, settings, secrets, clock).look() for name in settings.appliances),
        ListenerDoctor(settings, secrets, clock, status).look(),
    ]
    return [*machine, *(check for checks in await asyncio.gather(*sides) for check in checks)]


def with_credentials(settings: Settings, environ: Mapping[str, str], folder: Path = HANDED_OUT) -> Mapping[str, str]:
    """The environment, with the running service's credentials where it has none and the configuration names some."""
    named = any(isinstance(value, SecretRef) and value.kind == "credential" for _, value in leaves(Settings, settings))
    if not named or environ.get(VARIABLE) or not _readable(folder):
        return environ
    return {**environ, VARIABLE: str(folder)}


def _readable(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _status(folders: Folders) -> tuple[Json, str]:
    """What the running relay says of itself; None, and why."""
    try:
        return ask(folders.sockets, folders.state, "status", within=PATIENCE), ""
    except DaemonAway as away:
        return None, f"no relay answers at {away}"
    except DaemonDenied:
        return None, "this user may not ask it"
    except DaemonError as error:
        return None, error.text
