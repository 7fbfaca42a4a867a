"""All appliances of the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Self

from relay.appliance.client import Appliance
from relay.config.model import Settings
from relay.core.errors import ApplianceError, ConfigError
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.host.clock import Clock
from relay.host.exchange import Target
from relay.host.http import Download
from relay.host.secrets import SecretReader
from relay.host.targets import make_target


class Fleet:
    """Sends each call to its appliance. Appliances that are not enabled have a name and nothing else.

    Args:
        appliances: by name; None for one that is disabled.

    """

    def __init__(self, appliances: Mapping[str, Appliance | None]) -> None:
        self._appliances = dict(appliances)

    @classmethod
    def open(cls, settings: Settings, secrets: SecretReader, clock: Clock, version: str) -> Self:
        """Make all that the settings name. It reads certificates and keys; nothing is connected yet.

        Raises:
            ConfigError: a file or secret cannot be used.

        """
        appliances: dict[str, Appliance | None] = {}
        for name, section in settings.appliances.items():
            if not section.enabled:
                appliances[name] = None
                continue
            target = make_target(
                f"appliance {name}", section.url, section.tls, section.proxy, secrets, timeout=section.timeout
            )
            appliances[name] = Appliance(
                name,
                section,
                target,
                secrets,
                answer_bytes=settings.servicenow.answer_bytes,
                version=version,
                clock=clock,
            )
        return cls(appliances)

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now.

        Raises:
            ApplianceError: not now, or BSR-3012: not at all.

        """
        await self._find(request.appliance).admit(request)

    async def call(self, request: ApplianceRequest) -> Reply:
        """Send a call once.

        Raises:
            ApplianceError: no usable answer.

        """
        return await self._find(request.appliance).call(request)

    def receive(self, request: ApplianceRequest) -> AbstractAsyncContextManager[Download]:
        """Send a call once; the body of its answer is read within the block.

        Raises:
            ApplianceError: no answer.

        """
        return self._find(request.appliance).receive(request)

    @property
    def by_name(self) -> dict[str, Target]:
        """Where the appliances are that are enabled, by name."""
        return {name: appliance.target for name, appliance in self._appliances.items() if appliance is not None}

    @property
    def targets(self) -> list[Target]:
        """Where the appliances are that are enabled."""
        return [*self.by_name.values()]

    def renew(self) -> Iterator[ConfigError]:
        """Take over certificates and proxy accounts that changed; gives what cannot be used, the former stay in use.

        The accounts' secrets are read for each token.
        """
        for target in self.targets:
            try:
                target.renew()
            except ConfigError as error:
                yield error

    async def aclose(self) -> None:
        """End everything under way."""
        for appliance in self._appliances.values():
            if appliance is not None:
                await appliance.aclose()

    def _find(self, name: str) -> Appliance:
        appliance = self._appliances.get(name)
        if appliance is None:
            raise ApplianceError(3012, name)
        return appliance
