"""From settings and secrets to a `Target`: one side's address, trust and proxy. Made once for each side."""

from __future__ import annotations

import hashlib
from pathlib import Path

from relay.config.model import ProxySettings, TlsSettings
from relay.core.errors import ConfigError
from relay.host.exchange import Target
from relay.host.secrets import SecretReader
from relay.host.tls import TlsOptions, WatchedContext, client_context
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
    material = _Material(tls, proxy, secrets)
    context, way = material.make()
    target = Target(name, url, context, way, connect_timeout=min(10.0, timeout / 3), learn=secrets.learn)

    def renew() -> bool:
        nonlocal context, way
        if not material.changed():
            return False
        former, former_way = context, way
        context, way = material.make()
        # What was last seen of the other side holds until the next handshake.
        context.shown = former.shown
        if way is not None and former_way is not None and way.context and former_way.context:
            way.context.shown = former_way.context.shown
        target.context, target.proxy = context, way
        return True

    target.renew = renew
    return target


class _Material:
    """The files and secrets that a target's TLS contexts and proxy account are made of."""

    def __init__(self, tls: TlsSettings, proxy: ProxySettings | None, secrets: SecretReader) -> None:
        self._tls = tls
        self._proxy = proxy
        self._secrets = secrets
        self._made_of = b""

    def changed(self) -> bool:
        """Whether it is other than what `make` last used. The system's trust store does not count.

        Raises:
            ConfigError: a file or secret cannot be read.

        """
        return self._digest() != self._made_of

    def make(self) -> tuple[WatchedContext, Proxy | None]:
        """Make contexts and account.

        Raises:
            ConfigError: a file, key or secret cannot be used.

        """
        # First: what changes from here on is other than what is kept, and so is not missed.
        made_of = self._digest()
        tls = self._tls
        context = client_context(
            TlsOptions(
                ca_file=tls.ca_file,
                client_certificate=tls.client_certificate,
                client_key=self._secrets.read(tls.client_key) if tls.client_key else None,
                pins=tls.pins,
                minimum_version=tls.minimum_version,
            )
        )
        proxy = self._make_proxy(self._proxy) if self._proxy else None
        self._made_of = made_of
        return context, proxy

    def _make_proxy(self, settings: ProxySettings) -> Proxy:
        return Proxy(
            settings.url,
            settings.username,
            self._secrets.read(settings.password, settings.username) if settings.password else None,
            client_context(TlsOptions(ca_file=settings.ca_file)) if settings.url.startswith("https:") else None,
        )

    def _digest(self) -> bytes:
        proxy = self._proxy
        found = [_content(file) for file in (self._tls.ca_file, self._tls.client_certificate) if file]
        found += [_content(proxy.ca_file)] if proxy and proxy.ca_file else []
        refs = (self._tls.client_key, proxy.password if proxy else None)
        found += [self._secrets.read(ref).reveal().encode() for ref in refs if ref]
        return b"".join(hashlib.sha256(each).digest() for each in found)


def _content(file: Path) -> bytes:
    try:
        if not file.is_file() and file.exists():
            raise ConfigError(1009, f"{file}: no regular file")  # reading a pipe would wait for its writer
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(1009, f"{file}: {error.strerror}") from None
