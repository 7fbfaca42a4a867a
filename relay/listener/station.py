"""What the configuration says of the listener, with its secrets read."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from relay.config.model import Settings
from relay.config.values import Endpoint, SecretRef
from relay.core.addresses import Address, Network, closest
from relay.core.posts import Sender
from relay.core.secret import Secret
from relay.host.server_tls import server_context
from relay.host.tls import leaf


@dataclass(frozen=True, slots=True)
class Station:
    """Where to listen, and whom to believe.

    Attributes:
        endpoint: address and port; of no matter when systemd passed a socket.
        context: our certificate.
        senders: the appliances, in the order of the configuration. One that is disabled is still known: its posts
            would otherwise pile up at its side, and whoever handles them knows better.
        balancers: networks of load balancers that speak the PROXY protocol.
        certificate: ours (DER).

    """

    endpoint: Endpoint
    context: ssl.SSLContext
    senders: tuple[Sender, ...]
    balancers: tuple[Network, ...] = ()
    certificate: bytes = b""

    def balances(self, address: Address) -> bool:
        """Whether a caller at this address must speak the PROXY protocol; nobody else may."""
        return closest(self.balancers, address) is not None


def station_of(settings: Settings, read: Callable[[SecretRef], Secret]) -> Station | None:
    """The station of a configuration; None when it has no listener.

    Args:
        settings: the configuration.
        read: gives a secret.

    Raises:
        ConfigError: a secret or the certificate cannot be used.

    """
    listener = settings.listener
    if listener is None:
        return None
    senders = []
    for name in settings.appliances:
        token = settings.event_token(name)
        senders.append(Sender(name, settings.accept_from(name), None if token is None else read(token)))
    context = server_context(listener.tls.certificate, read(listener.tls.key))
    certificate = leaf(listener.tls.certificate)
    return Station(listener.listen, context, tuple(senders), listener.proxy_protocol_from, certificate)
