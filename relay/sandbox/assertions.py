"""What the ServiceNow stand-in makes of a JWT that somebody signs in with (RFC 7523).

Why not the relay's own code read backwards: a mistake that is made twice proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SKEW = 300.0
"""Seconds that a clock may differ from the instance's."""


class Assertions:
    """The keys that are known, and the assertions that were used.

    Attributes:
        keys: public keys by key id.
        refused: why the last refused assertion was.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.keys: dict[str, RSAPublicKey] = {}
        self.refused = ""
        self._clock = clock
        self._used: set[str] = set()

    def subject(self, client_id: str, assertion: str) -> str | None:
        """The user whom an assertion for this OAuth application names; None when it proves nothing."""
        try:
            return self._verified(client_id, assertion)
        except (ValueError, KeyError, TypeError, binascii.Error, InvalidSignature) as error:
            self.refused = f"{type(error).__name__}: {error}"
            return None

    def _verified(self, client_id: str, assertion: str) -> str:
        first, second, third = assertion.split(".")
        header, claims = _object(first), _object(second)
        if header["alg"] != "RS256":
            raise ValueError("alg")
        key = self.keys[header["kid"]]
        key.verify(_decoded(third), f"{first}.{second}".encode(), padding.PKCS1v15(), hashes.SHA256())
        now = self._clock()
        if claims["aud"] != client_id or claims["iss"] != client_id:
            raise ValueError("aud or iss")
        if claims["exp"] <= now - SKEW:
            raise ValueError("exp: it has expired")
        if claims["iat"] > now + SKEW:
            raise ValueError("iat: it is from the future")
        if claims["jti"] in self._used:
            raise ValueError("jti: it was used before")
        self._used.add(claims["jti"])
        return str(claims["sub"])


def _object(part: str) -> dict[str, Any]:
    value = json.loads(_decoded(part))
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _decoded(part: str) -> bytes:
    if "=" in part:
        raise ValueError("padding")
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
