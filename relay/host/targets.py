"""From settings and secrets to a `Target`: one side's address, trust and proxy. Made once for each side."""

from __future__ import annotations

from relay.config.model import ProxySettings, TlsSettings
from relay.host.exchange import Target
from relay.host.secrets import SecretReader
from relay.host.tls import TlsOptions, client_context
from relay.host.transport import Proxy


def make_target(
    name: str, url: str, tls: TlsSettings, proxy: ProxySettings | None, secrets: SecretReader, *, timeout: float
) -> Target:
    """Build the target of one side. It reads files and costs tens of milliseconds.

    Args:
        name: what logs call it.
        url: the side's origin.
        tls: trust, pins, client certificate.
        proxy: its proxy, when it has one.
        secrets: reads the client key and the proxy's password.
        timeout: the side's time for a whole call, in seconds; a connection gets at most a third of it, and 10 s.

    Raises:
        ConfigError: BSR-1006, 1009 or 1010: a file, key or secret cannot be used.

    """
    options = TlsOptions(
        ca_file=tls.ca_file,
        client_certificate=tls.client_certificate,
        client_key=secrets.read(tls.client_key) if tls.client_key else None,
        pins=tls.pins,
        minimum_version=tls.minimum_version,
    )
    return Target(
        name,
        url,
        client_context(options),
        _proxy(proxy, secrets) if proxy else None,
        connect_timeout=min(10.0, timeout / 3),
    )


def _proxy(settings: ProxySettings, secrets: SecretReader) -> Proxy:
    return Proxy(
        settings.url,
        settings.username,
        secrets.read(settings.password) if settings.password else None,
        client_context(TlsOptions()) if settings.url.startswith("https:") else None,
    )
