"""The settings: one frozen model for each section of the YAML, with its defaults, bounds and description.

The schema, the reference and the sample are made from these models; a key exists if and only if it stands here.
Durations are seconds, sizes bytes, secrets references. A key without a value counts as absent.

Why absent: a drop-in can so take a section or a key away (`proxy: null`), and a section whose keys are all commented
out means its defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field

from relay.config.connection import ApplianceAuth, ProxySettings, ServiceNowAuth, TlsSettings
from relay.config.flows import ApprovalSettings, SessionSettings
from relay.config.leaves import Choice, Duration, Number, Size, Text, Whole
from relay.config.network import HostName, Listen, Network, Origin
from relay.config.policy import PolicySettings
from relay.config.section import (
    Boolean,
    Check,
    Column,
    Conflict,
    File,
    KeyId,
    Name,
    Networks,
    NotKnownError,
    Secret,
    Section,
    Table,
    Timeout,
)
from relay.config.values import Endpoint, SecretRef
from relay.core.signature import MOST_KEYS
from relay.core.urls import read_authority

__all__ = [
    "ApplianceAuth",
    "ApplianceSettings",
    "ApprovalSettings",
    "AuditSettings",
    "ListenerSettings",
    "LoggingSettings",
    "MetricsSettings",
    "PolicySettings",
    "ProxySettings",
    "ServiceNowAuth",
    "ServiceNowSettings",
    "SessionSettings",
    "Settings",
    "StorageSettings",
    "TlsSettings",
]


class RelaySettings(Section):
    """Who this relay is."""

    name: Annotated[
        str,
        Text("a name of letters, digits, ' ', '.', '_' and '-'", r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}", "relay01", 64),
    ] = Field(description="The agent's name in ServiceNow is mid.server. and this name.")


class PollSettings(Section):
    """How the queue is asked."""

    interval: Annotated[float, Duration("50ms", "1h")] = Field(default=5.0, description="Time between polls when idle.")
    batch: Annotated[int, Whole(1, 1000)] = Field(
        default=100, description="The most records of one poll; it adapts below that."
    )


class ExpireSettings(Section):
    """How old work may be. Older work is answered BSR-4012 and not executed.

    Why 30 days at most: so long ids and signatures of finished work are remembered. What came back later was new.
    """

    unsafe: Annotated[float, Duration("1s", "30d")] = Field(
        default=120.0, description="Calls that are not safe to repeat."
    )
    safe: Annotated[float, Duration("1s", "30d")] = Field(default=3600.0, description="Calls that may be repeated.")


class ServiceNowSettings(Section):
    """The ServiceNow side."""

    url: Annotated[str, Origin()] = Field(description="The instance. https only.")
    auth: ServiceNowAuth = Field(description="Exactly one way to sign in.")
    tls: TlsSettings = Field(default=TlsSettings(), description="Certificates, pins and protocol version.")
    proxy: ProxySettings | None = Field(default=None, description="The proxy to the instance. Absent: none.")
    poll: PollSettings = Field(default=PollSettings(), description="How the queue is asked.")
    wake: Annotated[Literal["amb", "off"], Choice("amb", "off")] = Field(
        default="amb",
        description="A push channel that wakes the poll early. This version has none and polls, whatever is written.",
    )
    register_agent: Boolean = Field(
        default=True,
        alias="register",
        description="Find or make the relay's ecc_agent record, refresh it, mark it Down at stop.",
    )
    expire: ExpireSettings = Field(default=ExpireSettings(), description="How old work may be.")
    settle: Annotated[float, Duration("0s", "1h")] = Field(
        default=65.0, description="How long an insert of unknown outcome may still be running."
    )
    answer_bytes: Annotated[int, Size("1KiB", "1GiB")] = Field(
        default=5 * 1024**2, description="Larger answers are an error that names the real size."
    )
    require_signature: Annotated[bool | Literal["unsafe"], Choice("false", "unsafe", "true")] = Field(
        default=False, description="Whether work must be signed: none, calls that are not safe to repeat, or all."
    )
    signature_keys: Mapping[KeyId, Secret] = Field(
        default={},
        max_length=MOST_KEYS,
        examples=[{"2026-11": {"credential": "signature_key"}}],
        description="The keys that ServiceNow signs work with, by their ids: the one in use, and another while it is "
        "replaced. A key is a text of 32 bytes or more.",
    )
    user_fields: tuple[Column, ...] = Field(
        default=("user_name", "x_bmgr_bomgar_pam_username", "u_beyondtrust_username"),
        description="Columns of sys_user that hold a person's user name at the appliance.",
    )
    timeout: Timeout = Field(default=30.0, description="The most that one request may take.")

    def checks(self) -> tuple[Check, ...]:
        """The way to sign in has what it needs."""
        return (self._certificate,)

    def _certificate(self) -> Iterator[Conflict]:
        if self.auth.certificate and self.tls.client_certificate is None:
            yield Conflict("auth.certificate needs tls.client_certificate and tls.client_key", lacking=True)


class LimitSettings(Section):
    """What the relay asks of an appliance at most. The defaults are the appliance's own limits for an API account."""

    requests_per_second: Annotated[float, Number(0.1, 100_000)] = Field(default=20.0, description="Calls a second.")
    requests_per_hour: Annotated[int, Whole(1, 100_000_000)] = Field(default=15_000, description="Calls an hour.")
    concurrent: Annotated[int, Whole(1, 256)] = Field(default=8, description="Calls at the same time.")
    response_bytes: Annotated[int, Size("1KiB", "16GiB")] = Field(
        default=20 * 1024**2, description="The largest answer that is read."
    )


class ApplianceSettings(Section):
    """One appliance."""

    product: Annotated[Literal["pra", "rs"], Choice("pra", "rs")] = Field(
        examples=["pra"], description="Privileged Remote Access (pra) or Remote Support (rs)."
    )
    enabled: Boolean = Field(default=True, description="Work for a disabled appliance is answered BSR-3012.")
    url: Annotated[str, Origin()] = Field(
        examples=["https://access.example.com"], description="The appliance. https only."
    )
    also_known_as: tuple[Annotated[str, HostName()], ...] = Field(
        default=(),
        examples=[["support.example.com"]],
        description="Other host names of the same appliance, as they stand in work.",
    )
    auth: ApplianceAuth = Field(description="The API account.")
    tls: TlsSettings = Field(default=TlsSettings(), description="Certificates, pins and protocol version.")
    proxy: ProxySettings | None = Field(default=None, description="The proxy to the appliance. Absent: none.")
    limits: LimitSettings = Field(default=LimitSettings(), description="What is asked of the appliance at most.")
    timeout: Timeout = Field(default=30.0, description="The most that one call may take.")
    retry_for: Annotated[float, Duration("0s", "1h")] = Field(
        default=20.0, description="A call that surely was not executed is repeated this long."
    )
    accept_from: Networks | None = Field(
        default=None, examples=[["10.1.2.3"]], description="Replaces listener.accept_from for this appliance."
    )
    event_token: Secret | None = Field(
        default=None,
        examples=[{"credential": "event_token"}],
        description="Replaces listener.event_token for this appliance.",
    )
    sessions: SessionSettings | None = Field(
        default=None, examples=[{"mode": "off"}], description="Replaces sessions for this appliance."
    )
    approvals: ApprovalSettings | None = Field(
        default=None, examples=[{"mode": "off"}], description="Replaces approvals for this appliance."
    )

    @property
    def origins(self) -> frozenset[tuple[str, int]]:
        """Host and port of the appliance under all its names.

        Another name answers on the same port as `url`, unless it says otherwise.
        """
        main = read_authority(self.url.removeprefix("https://"))
        return frozenset((main, *(read_authority(other, main[1]) for other in self.also_known_as)))


class ListenerTls(Section):
    """The listener's own certificate."""

    certificate: File = Field(
        examples=["/etc/bseries-relay/listener.pem"], description="The certificate (PEM), with the chain."
    )
    key: Secret = Field(
        examples=[{"credential": "listener_key"}], description="The private key (PEM) of the certificate."
    )


class ListenerSettings(Section):
    """What the appliance calls. Absent: no listening socket at all."""

    listen: Annotated[Endpoint, Listen()] = Field(description="Address and port.")
    tls: ListenerTls = Field(description="The listener's own certificate.")
    accept_from: Networks = Field(
        default=(), examples=[["10.1.2.3", "10.1.3.0/24"]], description="Addresses and networks of appliances."
    )
    event_token: Secret | None = Field(
        default=None, examples=[{"credential": "event_token"}], description="A token that the appliance sends along."
    )
    proxy_protocol_from: Networks = Field(
        default=(), examples=[["10.1.4.0/24"]], description="Networks of load balancers that speak the PROXY protocol."
    )


class StorageSettings(Section):
    """Where work is kept until it is done."""

    engine: Annotated[Literal["sqlite"], Choice("sqlite")] = Field(
        default="sqlite", description="The embedded default."
    )
    directory: File | None = Field(
        default=None,
        examples=["/var/lib/bseries-relay"],
        description="The state folder. Absent: systemd's, or the user's.",
    )
    key: Secret | None = Field(
        default=None,
        examples=[{"credential": "storage_key"}],
        description="Encrypts stored bodies. Absent: one is made on the first start.",
    )
    former_key: Secret | None = Field(
        default=None,
        examples=[{"credential": "storage_key_former"}],
        description="The key before this one: still opens what it encrypted, and encrypts nothing any more.",
    )
    keep_bodies: Annotated[float, Duration()] = Field(default=0.0, description="How long bodies stay after delivery.")
    retention: Annotated[float, Duration()] = Field(
        default=604_800.0, description="How long details of finished jobs stay."
    )


class AnchorSettings(Section):
    """A ServiceNow table that checkpoints of the audit log are written to."""

    table: Table = Field(examples=["u_relay_checkpoint"], description="The table's name.")
    field: Column = Field(examples=["u_checkpoint"], description="The column that takes the checkpoint.")


class AuditSettings(Section):
    """The tamper-evident log."""

    checkpoint_every: Annotated[float, Duration("1s")] = Field(
        default=300.0, description="Time between signed checkpoints."
    )
    anchor: AnchorSettings | None = Field(default=None, description="Write checkpoints to ServiceNow too. Absent: not.")


class LoggingSettings(Section):
    """What the relay says of its own doing."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Choice("debug", "info", "warning", "error")] = Field(
        default="info", description="The least severity that is written."
    )
    format: Annotated[Literal["auto", "journal", "json", "console"], Choice("auto", "journal", "json", "console")] = (
        Field(default="auto", description="auto: the journal under systemd, a console on a terminal, else JSON lines.")
    )


class MetricsSettings(Section):
    """Figures for Prometheus. Absent: no metrics socket."""

    listen: Annotated[Endpoint, Listen()] = Field(examples=["127.0.0.1:9464"], description="Address and port.")


class Settings(Section):
    """The whole configuration."""

    version: Annotated[Literal[1], Whole(1, 1)] = Field(default=1, description="The version of this file's form.")
    relay: RelaySettings = Field(description="Who this relay is.")
    servicenow: ServiceNowSettings = Field(description="The ServiceNow side.")
    appliances: Mapping[Name, ApplianceSettings] = Field(
        min_length=1, description="The appliances, each under a name of your own."
    )
    policy: PolicySettings = Field(default=PolicySettings(), description="What may pass. Nothing else does.")
    listener: ListenerSettings | None = Field(
        default=None, description="What the appliance calls. Absent: no listening socket at all."
    )
    sessions: SessionSettings = Field(default=SessionSettings(), description="What becomes of session events.")
    approvals: ApprovalSettings = Field(default=ApprovalSettings(), description="How approvals are decided.")
    storage: StorageSettings = Field(default=StorageSettings(), description="Where work is kept until it is done.")
    audit: AuditSettings = Field(default=AuditSettings(), description="The tamper-evident log.")
    logging: LoggingSettings = Field(default=LoggingSettings(), description="What the relay says of its own doing.")
    metrics: MetricsSettings | None = Field(
        default=None, description="Figures for Prometheus. Absent: no metrics socket."
    )

    def checks(self) -> tuple[Check, ...]:
        """What the sections must be to each other."""
        return self._known_sources, self._distinct_hosts, self._keys_to_demand

    def _known_sources(self) -> Iterator[Conflict]:
        """Whoever may call the listener is known by address or token, for each appliance."""
        for name in self.appliances:
            with suppress(NotKnownError):
                if self.listener and not self.accept_from(name) and not self.event_token(name):
                    text = f"listener needs accept_from or event_token, here or at appliance {name}"
                    yield Conflict(text, ("listener",), lacking=True)
                if self.listener and not self.event_token(name):
                    everybody = [str(one) for one in self.accept_from(name) if one.prefixlen == 0]
                    if everybody:
                        text = f"accept_from {everybody[0]} is everybody: without an event_token name the appliances"
                        yield Conflict(text, ("listener",), lacking=True)

    def _keys_to_demand(self) -> Iterator[Conflict]:
        """Whoever demands signatures has a key to judge them with."""
        if self.servicenow.signature_keys:
            return
        demanding: list[tuple[str, ...]] = [("servicenow",)] if self.servicenow.known("require_signature") else []
        with suppress(NotKnownError):
            operations = self.policy.operations.items()
            demanding += [("policy", "operations", name) for name, one in operations if one.known("require_signature")]
        for path in demanding:
            text = "no signature can be judged without servicenow.signature_keys"
            yield Conflict(text, (*path, "require_signature"), lacking=True)

    def _distinct_hosts(self) -> Iterator[Conflict]:
        """A host name in work means one appliance."""
        owner: dict[tuple[str, int], str] = {}
        for name, appliance in self.appliances.items():
            with suppress(NotKnownError):
                for origin in sorted(appliance.origins):
                    if owner.setdefault(origin, name) != name:
                        yield Conflict(f"{origin[0]} is appliance {owner[origin]} already", ("appliances", name))

    def accept_from(self, appliance: str) -> tuple[Network, ...]:
        """From where this appliance's events come; empty means that only the token tells."""
        own = self.appliances[appliance].accept_from
        return own if own is not None else self.listener.accept_from if self.listener else ()

    def event_token(self, appliance: str) -> SecretRef | None:
        """The token of this appliance's events."""
        return self.appliances[appliance].event_token or (self.listener.event_token if self.listener else None)

    def sessions_of(self, appliance: str) -> SessionSettings:
        """What becomes of this appliance's session events."""
        return self.appliances[appliance].sessions or self.sessions

    def approvals_of(self, appliance: str) -> ApprovalSettings:
        """How this appliance's requests for approval are decided."""
        return self.appliances[appliance].approvals or self.approvals

    def imports(self, appliance: str) -> bool:
        """Whether this appliance's sessions are written to ServiceNow.

        Not by the defaults alone: without a listener, only when a section `sessions` is there.
        """
        own = self.appliances[appliance].sessions is not None
        asked = own or self.listener is not None or "sessions" in self.model_fields_set
        return asked and self.sessions_of(appliance).mode in {"import", "both"}
