"""The settings of a connection to either side: proxy, TLS, and the ways to sign in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from relay.config.leaves import Choice
from relay.config.network import Pin, ProxyUrl
from relay.config.section import Account, Boolean, Check, Conflict, File, Secret, Section, need_both


class ProxySettings(Section):
    """A proxy on the way to one side. There is none unless it is written here; the environment is ignored."""

    url: Annotated[str, ProxyUrl()] = Field(
        description="The proxy. It must understand CONNECT. With https the CONNECT itself goes by TLS, too."
    )
    username: Account | None = Field(
        default=None, examples=["relay"], description="The proxy's account, when it asks for one."
    )
    password: Secret | None = Field(
        default=None, examples=[{"credential": "proxy_password"}], description="The password of the proxy's account."
    )
    ca_file: File | None = Field(
        default=None,
        examples=["/etc/bseries-relay/proxy-ca.pem"],
        description="Certificates (PEM) of the authorities to trust for an https proxy. Absent: the system's.",
    )

    def checks(self) -> tuple[Check, ...]:
        """An account is a name and its password."""
        return (lambda: need_both(self.username, self.password, "username and password"),)


class TlsSettings(Section):
    """How the other side proves itself, and how the relay does when it is asked."""

    ca_file: File | None = Field(
        default=None, description="Certificates (PEM) of the authorities to trust. Absent: the system's trust store."
    )
    client_certificate: File | None = Field(
        default=None,
        examples=["/etc/bseries-relay/client.pem"],
        description="The relay's own certificate (PEM) for mutual TLS.",
    )
    client_key: Secret | None = Field(
        default=None,
        examples=[{"credential": "client_key"}],
        description="The private key (PEM) of client_certificate.",
    )
    pins: tuple[Annotated[str, Pin()], ...] = Field(
        default=(),
        examples=[["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]],
        description="SHA-256 of public keys; any one must match the server's. Empty: no pinning.",
    )
    minimum_version: Annotated[Literal["TLSv1.2", "TLSv1.3"], Choice("TLSv1.2", "TLSv1.3")] = Field(
        default="TLSv1.2", description="The oldest protocol version that is accepted."
    )

    def checks(self) -> tuple[Check, ...]:
        """A certificate needs its key."""
        return (lambda: need_both(self.client_certificate, self.client_key, "client_certificate and client_key"),)


class BasicAuth(Section):
    """A ServiceNow user's name and password."""

    username: Account = Field(description="The ServiceNow user.")
    password: Secret = Field(examples=[{"credential": "servicenow_password"}], description="That user's password.")


class OAuthClientAuth(Section):
    """OAuth 2.0, grant type client credentials."""

    client_id: Account = Field(examples=["0123456789abcdef"], description="The OAuth application's client id.")
    client_secret: Secret = Field(
        examples=[{"credential": "servicenow_client"}], description="The OAuth application's client secret."
    )


class OAuthPasswordAuth(OAuthClientAuth):
    """OAuth 2.0, grant type password."""

    username: Account = Field(description="The ServiceNow user.")
    password: Secret = Field(examples=[{"credential": "servicenow_password"}], description="That user's password.")


class OAuthJwtAuth(OAuthClientAuth):
    """OAuth 2.0, grant type JWT bearer."""

    key: Secret = Field(
        examples=[{"credential": "servicenow_jwt_key"}], description="The private key (PEM) that signs the assertion."
    )
    key_id: Account = Field(examples=["0123456789abcdef"], description="The key's id in ServiceNow's JWT verifier map.")
    subject: Account = Field(description="The ServiceNow user that the assertion is for.")


class ServiceNowAuth(Section):
    """How the relay signs in at ServiceNow: exactly one of these."""

    basic: BasicAuth | None = Field(default=None, description="User name and password.")
    oauth_client: OAuthClientAuth | None = Field(default=None, description="OAuth client credentials.")
    oauth_password: OAuthPasswordAuth | None = Field(default=None, description="OAuth with a user's password.")
    oauth_jwt: OAuthJwtAuth | None = Field(default=None, description="OAuth with a signed assertion.")
    certificate: Boolean = Field(
        default=False, examples=[True], description="Mutual TLS alone, with tls.client_certificate."
    )

    def checks(self) -> tuple[Check, ...]:
        """There is one way."""
        return (self._one,)

    def _one(self) -> Iterator[Conflict]:
        ways = list(type(self).model_fields)
        chosen = [name for name in ways if getattr(self, name)]
        if len(chosen) != 1:
            found = " and ".join(chosen) or "none"
            yield Conflict(f"exactly one of {', '.join(ways)}; found {found}", lacking=not chosen)


class ApplianceAuth(Section):
    """The appliance's API account."""

    client_id: Account = Field(examples=["0123456789abcdef"], description="The API account's OAuth client id.")
    client_secret: Secret = Field(
        examples=[{"credential": "appliance_secret"}], description="The API account's OAuth client secret."
    )
