"""What the listener is to serve by the configuration at work, with certificate and tokens as the files have them."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config.model import Settings
from relay.core.errors import ConfigError
from relay.host.secrets import SecretReader
from relay.listener.station import Station, station_of


class Stations:
    """The station of a configuration, renewed when a file changes.

    Attributes:
        now: the last that could be made; None without a listener.

    Raises:
        ConfigError: a file or secret cannot be used.

    """

    def __init__(self, settings: Settings, secrets: SecretReader) -> None:
        self._settings = settings
        self._secrets = secrets
        self.now: Station | None = station_of(settings, secrets.read)

    def renew(self) -> Iterator[ConfigError]:
        """Read the files again; gives what cannot be used, the former stays in use."""
        try:
            self.now = station_of(self._settings, self._secrets.latest)
        except ConfigError as error:
            yield error
