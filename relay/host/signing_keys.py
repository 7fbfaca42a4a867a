"""The keys that ServiceNow signs work with, read where the configuration says they are.

Why they are read again and again: a key that was taken away or replaced because somebody may know it must not be good
for a minute longer, and no reload is needed to say so. Hence also no key is kept that cannot be read any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.core.signature import SHORTEST_KEY
from relay.host.clock import Clock
from relay.host.secrets import SecretReader

LIFE = 1.0
"""Seconds that a reading is good for: a burst of records needs one, and nobody replaces a key more often."""


class ConfiguredKeys:
    """The keys of `servicenow.signature_keys`.

    Args:
        places: where each key is kept, by its id.
        secrets: reads them.
        clock: tells how old a reading is.

    """

    def __init__(self, places: Mapping[str, SecretRef], secrets: SecretReader, clock: Clock) -> None:
        self._places = dict(places)
        self._secrets = secrets
        self._clock = clock
        self._read: dict[str, tuple[float, Secret]] = {}

    def of(self, key_id: str) -> bytes | None:
        """The key of this id as it is now; None when no key has the id.

        Raises:
            ConfigError: BSR-1009 or 1010, it cannot be read; 1028, it is too short.

        """
        place = self._places.get(key_id)
        if place is None:
            return None
        now = self._clock.monotonic()
        read, secret = self._read.get(key_id, (now - LIFE, None))
        if secret is None or now - read >= LIFE:
            self._read.pop(key_id, None)
            secret = self._secrets.read(place)
            usable(place, secret)
            self._read[key_id] = (now, secret)
        return secret.reveal().encode()

    def check(self) -> None:
        """Read every key.

        Raises:
            ConfigError: as `of`; also BSR-1028 when one text has two ids, since an audit line would name the wrong one.

        """
        found: dict[bytes | None, str] = {}
        for key_id in self._places:
            other = found.setdefault(self.of(key_id), key_id)
            if other != key_id:
                raise ConfigError(1028, f"signature_keys: '{other}' and '{key_id}' are the same")


def usable(place: SecretRef, secret: Secret) -> None:
    """Refuse a key that can be guessed.

    Raises:
        ConfigError: BSR-1028.

    """
    if len(secret.reveal().encode()) < SHORTEST_KEY:
        raise ConfigError(1028, f"{place}: it has fewer than {SHORTEST_KEY} bytes")
