"""The ServiceNow side as a whole, built from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import Self

from relay.config.model import ServiceNowAuth, ServiceNowSettings
from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.host.clock import Clock
from relay.host.http import HttpClient
from relay.host.secrets import ROTATION, SecretReader
from relay.host.targets import make_target
from relay.servicenow.agent import EccAgent
from relay.servicenow.auth import Auth, BasicAuth, OAuth, client_grant, password_grant
from relay.servicenow.queue import EccQueue
from relay.servicenow.session import Lane, Session, Shared, token_fetcher

SESSIONS: Mapping[str, int] = {"poll": 1, "claim": 2, "push": 3, "lookup": 1}
"""Sessions of each lane. Each can have one request under way; more in parallel hardly speed up a busy instance."""

AGENT_PREFIX = "mid.server."


@dataclass(frozen=True, slots=True)
class Instance:
    """A ServiceNow instance, seen by one agent.

    Attributes:
        queue: its ECC queue.
        agent: our row in `ecc_agent`.
        shared: what its sessions have in common.

    """

    queue: EccQueue
    agent: EccAgent
    shared: Shared
    _lanes: Mapping[str, Lane] = field(repr=False)
    _token_client: HttpClient = field(repr=False)

    @classmethod
    def connect(
        cls,
        settings: ServiceNowSettings,
        name: str,
        secrets: SecretReader,
        clock: Clock,
        *,
        host_name: str = "",
    ) -> Self:
        """Build everything; the first request goes out when the first method is called.

        Args:
            settings: the section `servicenow`.
            name: the relay's name, without `mid.server.`.
            secrets: reads the credentials, now and after a 401.
            clock: this machine's clocks.
            host_name: this machine's name, for the agent's row.

        Raises:
            ConfigError: a secret, key or certificate cannot be used, or this version lacks the way to sign in.

        """
        target = make_target(
            "servicenow", settings.url, settings.tls, settings.proxy, secrets, timeout=settings.timeout
        )
        shared = Shared(target, settings.timeout, clock)
        token_client = HttpClient(target, keep_alive=False, cookies=False)
        auth = make_auth(settings.auth, secrets, shared, token_client)
        lanes = {lane: Lane([Session(shared, auth, lane) for _ in range(count)]) for lane, count in SESSIONS.items()}
        queue = EccQueue(AGENT_PREFIX + name, **lanes, most=settings.poll.batch, now=shared.now)
        facts = {"version": metadata.version("bseries-relay"), **({"host_name": host_name} if host_name else {})}
        agent = EccAgent(name, lanes["lookup"], lambda: shared.now() or clock.wall(), facts)
        return cls(queue, agent, shared, lanes, token_client)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent since the start, by lane."""
        return dict(self.shared.requests)

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in self._lanes.values():
            await lane.aclose()
        await self._token_client.aclose()


def make_auth(settings: ServiceNowAuth, secrets: SecretReader, shared: Shared, client: HttpClient) -> Auth:
    """The way to sign in that the settings choose. Its secrets are read once, so that a missing one shows at start.

    Raises:
        ConfigError: a secret cannot be read, or this version does not have this way.

    """
    if (basic := settings.basic) is not None:
        return BasicAuth(basic.username, partial(secrets.read, basic.password), _hint(basic.password))
    if (by_client := settings.oauth_client) is not None:
        grant = client_grant(by_client.client_id, partial(secrets.read, by_client.client_secret))
        hint = _hint(by_client.client_secret)
    elif (by_password := settings.oauth_password) is not None:
        grant = password_grant(
            by_password.client_id,
            partial(secrets.read, by_password.client_secret),
            by_password.username,
            partial(secrets.read, by_password.password),
        )
        hint = _hint(by_password.password)
    else:
        raise ConfigError(1017, "servicenow.auth: neither basic, oauth_client nor oauth_password")
    grant()
    return OAuth(grant, token_fetcher(shared, client), shared.clock, hint)


def _hint(ref: SecretRef) -> str:
    return ROTATION if ref.kind == "credential" else ""
