"""Everything that can fail because of the configuration, built before anything runs.

Why apart from running: a reload builds the new plan while the old one works, and only a plan that could be built
replaces it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from relay.appliance.fleet import Fleet
from relay.config.model import ServiceNowAuth, Settings
from relay.config.rules import policy_of
from relay.core.errors import ConfigError
from relay.core.policy import Policy
from relay.daemon.process import Process
from relay.daemon.report import VERSION
from relay.daemon.stations import Stations
from relay.host.exchange import Target
from relay.host.signing_keys import ConfiguredKeys
from relay.pipeline.parts import Limits
from relay.servicenow.instance import Instance


@dataclass(frozen=True, slots=True)
class Plan:
    """What a configuration comes to; holds no connection yet."""

    settings: Settings
    policy: Policy
    instance: Instance
    fleet: Fleet
    limits: Limits
    concurrent: Mapping[str, int]
    user: str
    keys: ConfiguredKeys | None
    stations: Stations

    def renew(self) -> list[ConfigError]:
        """Take over secrets and certificates that changed; what cannot be used, of which the former stays in use."""
        return [*self.instance.renew(), *self.fleet.renew(), *self.stations.renew()]

    @property
    def targets(self) -> list[Target]:
        """Every other side that is connected to."""
        return [self.instance.shared.target, *self.fleet.targets]

    async def aclose(self) -> None:
        """Close what was opened on the way."""
        await self.fleet.aclose()
        await self.instance.aclose()


def make_plan(settings: Settings, process: Process) -> Plan:
    """Build the plan of a configuration.

    Raises:
        ConfigError: a file, a key or a secret that it names cannot be used.

    """
    for key in (settings.storage.key, settings.storage.former_key):
        if key is not None:
            process.secrets.read(key)  # the store is opened later, when the old plan has gone
    agent = f"mid.server.{settings.relay.name}"
    servicenow = settings.servicenow
    keys = ConfiguredKeys(servicenow.signature_keys, process.secrets, process.clock)
    keys.check()
    enabled = {name: one for name, one in settings.appliances.items() if one.enabled}
    return Plan(
        settings=settings,
        policy=policy_of(settings),
        instance=Instance.connect(
            servicenow, settings.relay.name, process.secrets, process.clock, host_name=socket.gethostname()
        ),
        fleet=Fleet.open(settings, process.secrets, process.clock, VERSION),
        limits=Limits(
            agent=agent,
            poll_interval=servicenow.poll.interval,
            poll_batch=servicenow.poll.batch,
            expire_unsafe=servicenow.expire.unsafe,
            expire_safe=servicenow.expire.safe,
            settle=servicenow.settle,
            answer_bytes=servicenow.answer_bytes,
            keep_bodies=settings.storage.keep_bodies,
            retention=settings.storage.retention,
            retry_for={name: one.retry_for for name, one in settings.appliances.items()},
            require_signature=servicenow.require_signature,
        ),
        concurrent={name: one.limits.concurrent for name, one in enabled.items()},
        user=_user(servicenow.auth),
        keys=keys if servicenow.signature_keys else None,
        stations=Stations(settings, process.secrets),
    )


def _user(auth: ServiceNowAuth) -> str:
    """The ServiceNow user that our own changes will carry, where the configuration tells it; "" until we see it.

    An assertion's subject does not tell it: which column of the user's record it stands for is decided by the
    instance's OAuth application, and may be the address.
    """
    for way in (auth.basic, auth.oauth_password):
        if way is not None:
            return way.username
    return ""
