"""TLS of a socket of ours: our certificate, and nothing older than TLS 1.2. Clients are known by other means."""

from __future__ import annotations

import ssl
from pathlib import Path

from relay.core.secret import Secret
from relay.host.tls import load_certificate


def server_context(certificate: Path, key: Secret) -> ssl.SSLContext:
    """Make the context for a server.

    Args:
        certificate: PEM, with the chain.
        key: PEM.

    Raises:
        ConfigError: BSR-1009 when they cannot be used or do not fit each other, BSR-1010 when others can change the
            certificate.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key, "the listener's certificate")
    return context
