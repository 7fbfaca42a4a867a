"""Digests of requests and answers for the audit log."""

from __future__ import annotations

import hmac


class Digester:
    """Keyed digests: two equal bodies have equal digests here, and nobody without the key can test a guess.

    Args:
        key: 32 bytes derived from the storage key for this purpose alone.

    Why keyed: a request to a known operation has few unknown parts, and a plain hash of it would give them away to
    whoever may read the log.
    """

    PURPOSE = "audit digest"

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, body: bytes) -> str:
        """HMAC-SHA-256 of a body, 64 hexadecimal digits."""
        return hmac.digest(self._key, body, "sha256").hex()

    def __repr__(self) -> str:
        return "Digester()"
