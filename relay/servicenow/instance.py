"""The ServiceNow side as a whole, built from the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import Self

from relay.config.model import ServiceNowAuth, ServiceNowSettings
from relay.config.values import SecretRef
from relay.core.approval_values import RuleSet
from relay.core.errors import ConfigError
from relay.core.session_rows import Table
from relay.host.clock import Clock
from relay.host.http import HttpClient
from relay.host.secrets import ROTATION, SecretReader
from relay.host.targets import make_target
from relay.servicenow.agent import EccAgent
from relay.servicenow.anchor import TableAnchor
from relay.servicenow.auth import Auth, BasicAuth, CertificateAuth
from relay.servicenow.auth_jwt import JwtGrant
from relay.servicenow.auth_oauth import ClientGrant, Grant, OAuth, PasswordGrant
from relay.servicenow.batcher import Batcher
from relay.servicenow.inspection import Inspection
from relay.servicenow.queue import EccQueue
from relay.servicenow.session import Lane, Session, Shared, token_fetcher
from relay.servicenow.sessions import SessionRecords
from relay.servicenow.tickets import Lacking, TicketLookups
from relay.servicenow.vendor import VendorPosts

SESSIONS: Mapping[str, int] = {"poll": 1, "claim": 2, "push": 3, "lookup": 1}
"""Sessions of each lane. Each can have one request under way; more in parallel hardly speed up a busy instance."""

IMPORTS = 4
"""Sessions for what appliances' sessions become: of their own, so that imports never delay the queue."""

TICKETS = 10
"""Sessions for look-ups of requests for approval: a person waits for each. So many serve 50 a second at 100 ms each
with room to spare; those that are not needed are never opened."""

AGENT_PREFIX = "mid.server."


@dataclass(frozen=True, slots=True)
class Instance:
    """A ServiceNow instance, seen by one agent.

    Attributes:
        queue: its ECC queue.
        agent: our row in `ecc_agent`.
        shared: what its sessions have in common.
        vendor: posts to the vendor's application.

    """

    queue: EccQueue
    agent: EccAgent
    shared: Shared
    vendor: VendorPosts
    _auth: Auth = field(repr=False)
    _lanes: Mapping[str, Lane] = field(repr=False)
    _token_client: HttpClient = field(repr=False)
    _imports: Lane = field(repr=False)
    _batcher: Batcher = field(repr=False)
    _tickets: Lane = field(repr=False)
    _lacking: Lacking = field(repr=False)
    _files: list[Lane] = field(default_factory=list, repr=False)

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
            ConfigError: a secret, key or certificate cannot be used.

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
        imports = Lane([Session(shared, auth, "session") for _ in range(IMPORTS)])
        vendor = VendorPosts(shared)
        batcher = Batcher(settings.poll.batch)
        tickets = Lane([Session(shared, auth, "approval") for _ in range(TICKETS)])
        lacking = Lacking(clock.monotonic)
        return cls(queue, agent, shared, vendor, auth, lanes, token_client, imports, batcher, tickets, lacking)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent since the start, by lane."""
        return dict(self.shared.requests)

    def renew(self) -> Iterator[ConfigError]:
        """Take over secrets and certificates that changed; gives what cannot be used and leaves the former in use."""
        for renew in (self.shared.target.renew, self._auth.renew):
            try:
                if renew():
                    self.shared.renewed()
            except ConfigError as error:
                yield error

    def anchor(self, table: str, field: str) -> TableAnchor:
        """Where checkpoints of the audit log go."""
        return TableAnchor(table, field, self._lanes["lookup"])

    def sessions(self, tables: Iterable[Table], *, named: bool = False) -> SessionRecords:
        """Where one appliance's sessions go; their rows to these tables, which must be there when they are `named`.

        Its files have a session of their own: an upload may take hours, in which nothing else waits for it.
        """
        files = Lane([Session(self.shared, self._auth, "file")])
        self._files.append(files)
        return SessionRecords(tables, self._imports, self._batcher, self.shared.clock, files, named=named)

    def tickets(self, rules: RuleSet, user_fields: Sequence[str]) -> TicketLookups:
        """Tasks and users for requests for approval that are decided by these rules."""
        return TicketLookups(rules, user_fields, self._tickets, self._lacking, self.shared.now)

    def inspection(self) -> Inspection:
        """What can be found out about the instance without writing to it."""
        return Inspection(self._lanes["lookup"])

    async def aclose(self) -> None:
        """Close all connections."""
        await self.vendor.aclose()
        for lane in (*self._lanes.values(), self._imports, self._tickets, *self._files):
            await lane.aclose()
        await self._token_client.aclose()


def make_auth(settings: ServiceNowAuth, secrets: SecretReader, shared: Shared, client: HttpClient) -> Auth:
    """The way to sign in that the settings choose. Its secrets are read once, so that a missing one shows at start.

    Raises:
        ConfigError: a secret cannot be read, or is none of its kind.

    """
    if (basic := settings.basic) is not None:
        return BasicAuth(basic.username, partial(secrets.read, basic.password), _hint(basic.password))
    if settings.certificate:
        return CertificateAuth(shared.target.renew)
    grant, hint = _grant(settings, secrets, shared)
    return OAuth(grant, token_fetcher(shared, client), shared.clock, hint)


def _grant(settings: ServiceNowAuth, secrets: SecretReader, shared: Shared) -> tuple[Grant, str]:
    if (by_user := settings.oauth_password) is not None:
        secret, password = partial(secrets.latest, by_user.client_secret), partial(secrets.latest, by_user.password)
        grant = PasswordGrant(by_user.client_id, secret, by_user.username, password)
        return grant, _hint(by_user.client_secret, by_user.password)
    if (by_key := settings.oauth_jwt) is not None:
        secret, key = partial(secrets.latest, by_key.client_secret), partial(secrets.latest, by_key.key)
        return JwtGrant(
            by_key.client_id,
            secret,
            key,
            key_id=by_key.key_id,
            subject=by_key.subject,
            now=lambda: shared.now() or shared.clock.wall(),
        ), _hint(by_key.client_secret, by_key.key)
    by_client = settings.oauth_client
    assert by_client is not None  # noqa: S101 - for the type checker: the settings choose exactly one way
    return ClientGrant(by_client.client_id, partial(secrets.latest, by_client.client_secret)), _hint(
        by_client.client_secret
    )


def _hint(*refs: SecretRef) -> str:
    return ROTATION if any(ref.kind == "credential" for ref in refs) else ""
