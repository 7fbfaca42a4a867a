"""What belongs to the process and outlives a reload: clocks, secrets, folders, the log, what is wrong, the figures."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.config.values import SecretRef
from relay.core.redact import Redactor
from relay.core.secret import Secret
from relay.daemon.intake import Intake
from relay.daemon.lock import StateLock
from relay.daemon.metrics import Figures
from relay.host.clock import Clock
from relay.host.folders import Folders
from relay.host.secrets import SecretReader
from relay.host.systemd import Notifier
from relay.jobs.conditions import Conditions


class KnownSecrets(SecretReader):
    """Reads secrets and tells the log what it must never show."""

    def __init__(self, environ: Mapping[str, str], redactor: Redactor) -> None:
        super().__init__(environ)
        self._redactor = redactor

    def read(self, ref: SecretRef, username: str | None = None) -> Secret:
        """See `SecretReader.read`."""
        secret = super().read(ref, username)
        self._redactor.add(secret, username)
        return secret

    def learn(self, secret: Secret) -> None:
        """See `SecretReader.learn`."""
        self._redactor.learn(secret)


@dataclass(frozen=True, slots=True)
class Process:
    """The process that the relay runs in. `life` is its own name, which no other process has."""

    environ: Mapping[str, str]
    folders: Folders
    lock: StateLock
    secrets: SecretReader
    clock: Clock
    notifier: Notifier
    conditions: Conditions
    figures: Figures
    intake: Intake
    jitter: Callable[[], float] = field(default=random.random)
    life: str = field(default_factory=lambda: secrets.token_hex(8))
