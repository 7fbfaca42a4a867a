"""OAuth by a signed assertion, RFC 7523: a JWT that names the user, instead of a password.

ServiceNow allows its clock and ours to differ by 300 seconds (its OAuth documentation). So an assertion is dated by its
own clock, as the last `Date` header told it; before the first one, and when ours alone is wrong, the refusal brings it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.servicenow.auth import ReadSecret
from relay.servicenow.auth_oauth import ClientGrant, Fields

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE: Final = 300.0  # seconds; it is used once and at once
SKEW: Final = 30.0  # seconds between two clocks that explain a refusal; a `Date` header and its way cost a few
LEAST_BITS: Final = 2048


class JwtGrant(ClientGrant):
    """The grant type JWT bearer.

    Args:
        client_id: of the OAuth application; the assertion's issuer and audience.
        client_secret: of the OAuth application.
        key: the private key, PEM.
        key_id: what the instance calls its counterpart.
        subject: the user that the token shall be for.
        now: ServiceNow's clock where it is known, else this machine's; seconds since the epoch.

    Raises:
        ConfigError: BSR-1024: the key is none, or none for RS256.

    """

    def __init__(
        self,
        client_id: str,
        client_secret: ReadSecret,
        key: ReadSecret,
        *,
        key_id: str,
        subject: str,
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._key_id = key_id
        self._subject = subject
        self._now = now
        self._dated = 0.0
        self._usable = signing_key(key())
        super().__init__(client_id, client_secret)

    def fields(self) -> Fields:
        """See `Grant`. A key that was changed to one that cannot be used leaves the former in use."""
        with contextlib.suppress(ConfigError):  # who watches the files tells; see `renew`
            self._usable = signing_key(self._key())
        self._dated = self._now()
        claims: dict[str, str | int] = {
            "iss": self._client_id,
            "sub": self._subject,
            "aud": self._client_id,
            "iat": int(self._dated),
            "exp": int(self._dated + LIFE),
            "jti": uuid4().hex,
        }
        return self._form(GRANT_TYPE, assertion=sign(self._usable, {"kid": self._key_id}, claims))

    def again(self) -> bool:
        """Whether the refusal told that the assertion was dated by a clock that differs from ServiceNow's."""
        return abs(self._now() - self._dated) > SKEW

    def _secrets(self) -> tuple[Secret, ...]:
        key = self._key()
        self._usable = signing_key(key)
        return (*super()._secrets(), key)


def signing_key(pem: Secret) -> RSAPrivateKey:
    """The private key in a PEM text.

    Raises:
        ConfigError: BSR-1024: there is none, or none that RS256 can use.

    """
    what = "the key of oauth_jwt"
    try:
        key = load_pem_private_key(pem.reveal().encode(), None)
    except TypeError:
        raise ConfigError(1024, f"{what} has a pass phrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(1024, f"{what} is no private key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(1024, f"{what} is no RSA key")
    if key.key_size < LEAST_BITS:
        raise ConfigError(1024, f"{what} is an RSA key of {key.key_size} bits; {LEAST_BITS} are the least")
    return key


def sign(key: RSAPrivateKey, header: Mapping[str, str], claims: Mapping[str, str | int]) -> Secret:
    """A JWT in compact form, signed with RS256 (RFC 7515, RFC 7518)."""
    parts = ({"alg": "RS256", "typ": "JWT", **header}, dict(claims))
    signed = b".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return Secret((signed + b"." + _encoded(signature)).decode("ascii"))


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
