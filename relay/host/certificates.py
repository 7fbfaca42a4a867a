"""The certificates that connections were made with, and when they end. Only leaves: issuers' are renewed by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cryptography import x509

from relay.host.exchange import Target
from relay.host.tls import WatchedContext

Kind = Literal["server", "proxy", "client", "listener"]


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that is in use.

    Attributes:
        target: the other side, as logs call it; `listener` for what calls us.
        certificate: `server` and `proxy` were shown by these, `client` and `listener` are the relay's own.
        ends: seconds since the epoch.

    """

    target: str
    certificate: Kind
    ends: float


def held(target: Target) -> Iterator[Held]:
    """The certificates of a target that are known by now: others' are seen in the first handshake."""
    proxy = target.proxy.context if target.proxy is not None else None
    found: tuple[tuple[Kind, bytes], ...] = (
        ("server", _watched(target.context).shown),
        ("proxy", _watched(proxy).shown),
        ("client", _watched(target.context).own),
    )
    for certificate, data in found:
        ends = _end(data)
        if ends is not None:
            yield Held(target.name, certificate, ends)


def held_by_us(certificate: bytes) -> Iterator[Held]:
    """The listener's certificate (DER)."""
    ends = _end(certificate)
    if ends is not None:
        yield Held("listener", "listener", ends)


def names_in(certificate: bytes) -> tuple[str, ...]:
    """The names and addresses that a certificate (DER) is for; none of one that has none, or cannot be understood."""
    try:
        found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        names = found.value.get_values_for_type(x509.DNSName)
        return (*names, *map(str, found.value.get_values_for_type(x509.IPAddress)))
    except (ValueError, x509.ExtensionNotFound):
        return ()


def _watched(context: object) -> WatchedContext | type[WatchedContext]:
    return context if isinstance(context, WatchedContext) else WatchedContext  # which has seen nothing


@lru_cache(maxsize=64)
def _end(data: bytes) -> float | None:
    """When a certificate (DER) ends; None of none, and of one that our parser does not understand."""
    try:
        return x509.load_der_x509_certificate(data).not_valid_after_utc.timestamp()
    except (ValueError, OverflowError):
        return None
