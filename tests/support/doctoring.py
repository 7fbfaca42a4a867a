"""The doctor in this process, on a sandbox: what it finds, by subject and check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from relay.config.load import Loaded, load
from relay.config.model import Settings
from relay.core.doctor import Check
from relay.core.jobs import Json
from relay.core.redact import Redactor
from relay.daemon.doctor_appliance import ApplianceDoctor
from relay.daemon.doctor_listener import ListenerDoctor
from relay.daemon.doctor_machine import MachineDoctor
from relay.daemon.doctor_servicenow import ServiceNowDoctor
from relay.daemon.process import KnownSecrets
from relay.host.clock import Clock
from relay.host.folders import find_folders
from relay.sandbox.box import Sandbox
from relay.sandbox.device import Product
from support.living import write_drop_in


@dataclass
class Consulted:
    """A sandbox with a configuration, and the doctors that look at it."""

    box: Sandbox
    clock: Clock = field(default_factory=Clock)

    def configure(self, text: str, name: str = "test.yaml") -> None:
        """Write a drop-in."""
        write_drop_in(self.box, text, name)

    @property
    def loaded(self) -> Loaded:
        """The configuration as it is now."""
        return load(self.box.config_file, {})

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.loaded.settings

    @property
    def secrets(self) -> KnownSecrets:
        """Reads its secrets."""
        return KnownSecrets({}, Redactor())

    async def servicenow(self) -> list[Check]:
        """What is found of ServiceNow."""
        return [*await ServiceNowDoctor(self.settings, self.secrets, self.clock).look()]

    async def appliance(self, name: str = "default") -> list[Check]:
        """What is found of an appliance."""
        return [*await ApplianceDoctor(name, self.settings, self.secrets, self.clock).look()]

    async def listener(self, status: Json = None) -> list[Check]:
        """What is found of the listener."""
        return [*await ListenerDoctor(self.settings, self.secrets, self.clock, status).look()]

    def machine(
        self, status: Json = None, away: str = "it does not run here", exposed: Sequence[str] = ()
    ) -> list[Check]:
        """What is found of this machine."""
        loaded = self.loaded
        folders = find_folders({}, storage=loaded.settings.storage.directory)
        return [*MachineDoctor(loaded, folders, self.secrets, self.clock, status, away, exposed).look()]


@asynccontextmanager
async def consulted(
    folder: Path, *, products: Sequence[Product] = ("pra",), listens: bool = False
) -> AsyncIterator[Consulted]:
    """A sandbox to be looked at."""
    async with Sandbox.start(folder / "box", products=products, relay_port=0 if listens else None) as box:
        yield Consulted(box)
        assert [error for door in box.doors.values() for error in door.errors] == []


def named(checks: Sequence[Check], name: str) -> list[Check]:
    """The checks of a name."""
    return [check for check in checks if check.name == name]


def only(checks: Sequence[Check], name: str) -> Check:
    """The one check of a name."""
    (one,) = named(checks, name)
    return one


def wrong(checks: Sequence[Check]) -> list[tuple[str, str, int]]:
    """Name, result and code of whatever is wrong."""
    return [(check.name, check.result, check.number) for check in checks if check.result in {"warning", "error"}]


def skipped(checks: Sequence[Check]) -> list[str]:
    """The names of what was not looked at."""
    return [check.name for check in checks if check.result == "skipped"]
